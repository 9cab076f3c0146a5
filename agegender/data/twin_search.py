"""Owns the search for pairs of 64-bit hashes that differ in few bits: exact, and far from comparing all pairs.

It knows hashes alone, neither photos nor labels; `dataset.cleaning` and `dataset.splitting` call it.

The bits are dealt out into `spare + radius` bands. Two hashes that differ in at most `radius` bits agree in at least
`spare` whole bands, so for every choice of `spare` bands it is enough to compare the hashes that are equal there. How
many bands is decided by a sample of the hashes at hand, since real photos fill the buckets very unevenly.

References
----------
Norouzi, Punjani, Fleet: Fast exact search in Hamming space with multi-index hashing, TPAMI 2014.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from agegender.errors import UsageError

HASH_BITS = 64
MOST_LISTED_PAIRS = 20_000_000  # 320 MB as numbers
_FEW = 1024  # hashes; below, all pairs cost less than sorting
_SAMPLED_PAIRS = 60_000
_MOST_SPARE_BANDS = 4
_MOST_CHOICES = 400
# Measured on one core, in nanoseconds: sort one hash, verify one pair found by sorting, one of a block of all pairs.
_SORT_COST = 150.0
_CANDIDATE_COST = 10.0
_ALL_PAIRS_COST = 1.2
_BLOCK_SIDE = 512  # a block of exclusive-ors is 2 MB and stays in the cache
_LARGE_BUCKET = 48  # hashes; above, a bucket is compared as a block


@dataclass(frozen=True)
class DistinctPairs:
    """The near pairs of the distinct values among some hashes.

    Attributes
    ----------
    values : ndarray, shape (values,), uint64
        The distinct hashes, ascending.
    counts : ndarray, shape (values,), int64
        How many of the hashes have each value.
    place : ndarray, shape (hashes,), int64
        The value of each hash.
    pairs : ndarray, shape (pairs, 2), int64
        Places in `values`, the first smaller than the second, in order.
    """

    values: NDArray[np.uint64]
    counts: NDArray[np.int64]
    place: NDArray[np.int64]
    pairs: NDArray[np.int64]

    def pair_count(self) -> int:
        """Return how many pairs of hashes are near, equal ones included, without listing them."""
        first, second = self.pairs.T
        equal = self.counts * (self.counts - 1) // 2
        return int((self.counts[first] * self.counts[second]).sum() + equal.sum())

    def is_twin(self) -> NDArray[np.bool_]:
        """Return for every hash whether it is near to another one: shape (hashes,)."""
        twin = self.counts > 1
        twin[self.pairs.ravel()] = True
        return twin[self.place]


def near_pairs(hashes: NDArray[np.uint64], radius: int) -> NDArray[np.int64]:
    """Return every pair of hashes that differ in at most `radius` bits.

    Parameters
    ----------
    hashes : ndarray, shape (hashes,), uint64
    radius : int
        Bits, 0 to 64.

    Returns
    -------
    ndarray, shape (pairs, 2), int64
        Places in `hashes`, the first smaller than the second, in ascending order.

    Raises
    ------
    UsageError
        `radius` is out of range, or there are more pairs than can be listed: `distinct_near_pairs` counts them.

    Examples
    --------
    >>> near_pairs(np.array([0, 255, 1], dtype=np.uint64), 1).tolist()
    [[0, 2]]
    """
    distinct = distinct_near_pairs(hashes, radius)
    if distinct.pair_count() > MOST_LISTED_PAIRS:
        raise UsageError(f"{distinct.pair_count()} pairs lie within {radius} bits, too many to list: lower the radius.")
    order = np.argsort(distinct.place, kind="stable")
    start = np.cumsum(distinct.counts) - distinct.counts
    repeated = np.flatnonzero(distinct.counts > 1)
    # A value pairs with itself where several hashes share it; keep only one of the two directions then.
    values = np.concatenate([distinct.pairs, np.stack([repeated, repeated], axis=1)])
    sizes = distinct.counts[values]
    group = np.repeat(np.arange(len(values)), sizes.prod(axis=1))
    within = np.arange(len(group)) - np.repeat(np.cumsum(sizes.prod(axis=1)) - sizes.prod(axis=1), sizes.prod(axis=1))
    first = order[start[values[group, 0]] + within // sizes[group, 1]]
    second = order[start[values[group, 1]] + within % sizes[group, 1]]
    once = (values[group, 0] != values[group, 1]) | (first < second)
    pairs = np.sort(np.stack([first[once], second[once]], axis=1), axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def distinct_near_pairs(hashes: NDArray[np.uint64], radius: int) -> DistinctPairs:
    """Return the near pairs among the distinct values, so that a thousand equal hashes cost no more than one.

    Parameters and errors are those of `near_pairs`.
    """
    if not 0 <= radius <= HASH_BITS:
        raise UsageError(f"near-duplicate radius {radius}: a hash has {HASH_BITS} bits, so give 0 to {HASH_BITS}.")
    values, place, counts = np.unique(np.asarray(hashes, dtype=np.uint64), return_inverse=True, return_counts=True)
    bands = _choose_bands(values, radius)
    found = list(_all_pairs(values, radius) if bands is None else _banded_pairs(values, radius, bands))
    left = np.concatenate([pair[0] for pair in found]) if found else np.empty(0, np.uint64)
    right = np.concatenate([pair[1] for pair in found]) if found else np.empty(0, np.uint64)
    pairs = np.searchsorted(values, np.stack([np.minimum(left, right), np.maximum(left, right)], axis=1))
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    return DistinctPairs(values, counts.astype(np.int64), place.reshape(-1).astype(np.int64), pairs.astype(np.int64))


def cluster(count: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give things that pairs tie together, directly or through others, the same number.

    Parameters
    ----------
    count : int
        How many things there are.
    pairs : ndarray, shape (pairs, 2), int64

    Returns
    -------
    ndarray, shape (count,), int64
        A thing in no pair has a number of its own.

    Examples
    --------
    >>> cluster(4, np.array([[0, 2], [2, 3]])).tolist()
    [0, 1, 0, 0]
    """
    ties = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(ties, directed=False)[1].astype(np.int64)


@dataclass(frozen=True)
class _Bands:
    masks: tuple[int, ...]
    spare: int  # how many of them two near hashes surely share


def _choose_bands(values: NDArray[np.uint64], radius: int) -> _Bands | None:
    """Return the cheapest way to cut the bits, judged by a sample of pairs; None when all pairs cost least."""
    count = len(values)
    if count < _FEW:
        return None
    generator = np.random.default_rng(0)
    left, right = generator.integers(count, size=(2, _SAMPLED_PAIRS))
    different = values[left[left != right]] ^ values[right[left != right]]
    best, best_cost = None, _ALL_PAIRS_COST * count**2 / 2
    for spare in range(1, _MOST_SPARE_BANDS + 1):
        choices = comb(radius + spare, spare)
        if radius + spare > HASH_BITS or choices > _MOST_CHOICES:
            break
        bands = _Bands(_cut_bits(radius + spare), spare)
        agreeing = sum((different & np.uint64(mask)) == 0 for mask in bands.masks)
        candidates = np.array([comb(number, spare) for number in range(radius + spare + 1)])[agreeing].mean()
        cost = choices * count * _SORT_COST + candidates * count**2 / 2 * _CANDIDATE_COST
        if cost < best_cost:
            best, best_cost = bands, cost
    return best


def _cut_bits(band_count: int) -> tuple[int, ...]:
    """Deal the bits out like cards: neighbouring frequencies go together in photos, so a band takes distant ones."""
    return tuple(sum(1 << bit for bit in range(first, HASH_BITS, band_count)) for first in range(band_count))


Pairs = tuple[NDArray[np.uint64], NDArray[np.uint64]]


def _banded_pairs(values: NDArray[np.uint64], radius: int, bands: _Bands) -> Iterator[Pairs]:
    """Yield near pairs of values, each once: at the first choice of bands on which the two agree."""
    for chosen in combinations(range(len(bands.masks)), bands.spare):
        key_mask = np.uint64(sum(bands.masks[band] for band in chosen))
        earlier = [np.uint64(bands.masks[band]) for band in range(chosen[-1]) if band not in chosen]
        order = np.argsort(values & key_mask)
        ordered = values[order]
        keys = ordered & key_mask
        starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        sizes = np.diff(np.append(starts, len(keys)))
        large = sizes > _LARGE_BUCKET
        found = [_small_buckets(ordered, starts[~large], sizes[~large], radius)]
        for start, size in zip(starts[large], sizes[large], strict=True):
            found += _all_pairs(ordered[start : start + size], radius)
        for left, right in found:
            new = np.ones(len(left), dtype=bool)
            for mask in earlier:
                new &= ((left ^ right) & mask) != 0
            yield left[new], right[new]


def _small_buckets(
    ordered: NDArray[np.uint64], starts: NDArray[np.int64], sizes: NDArray[np.int64], radius: int
) -> Pairs:
    """Compare, within every bucket, each hash with the next one, then the one after, until the buckets end."""
    lefts, rights = [], []
    remaining = np.repeat(starts + sizes, sizes)
    position = np.repeat(starts - np.cumsum(sizes) + sizes, sizes) + np.arange(int(sizes.sum()))
    step = 1
    while True:
        inside = position + step < remaining
        position, remaining = position[inside], remaining[inside]
        if not len(position):
            break
        left, right = ordered[position], ordered[position + step]
        near = np.bitwise_count(left ^ right) <= radius
        lefts.append(left[near])
        rights.append(right[near])
        step += 1
    nothing = np.empty(0, dtype=np.uint64)
    return np.concatenate([nothing, *lefts]), np.concatenate([nothing, *rights])


def _all_pairs(values: NDArray[np.uint64], radius: int) -> Iterator[Pairs]:
    """Yield the near pairs by comparing all with all, in blocks."""
    for top in range(0, len(values), _BLOCK_SIDE):
        rows = values[top : top + _BLOCK_SIDE]
        for start in range(top, len(values), _BLOCK_SIDE):
            columns = values[start : start + _BLOCK_SIDE]
            near = np.bitwise_count(rows[:, None] ^ columns[None, :]) <= radius
            if start == top:
                near &= np.tri(len(rows), dtype=bool).T ^ np.eye(len(rows), dtype=bool)
            row, column = np.nonzero(near)
            if len(row):
                yield rows[row], columns[column]
