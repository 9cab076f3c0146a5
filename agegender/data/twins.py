"""Which photos show the same: byte for byte, by their perceptual hash, and at a second look.

A perceptual hash within a few bits is a suspicion, not a proof: among real portraits a quarter of the pairs within 5
bits are different people in the same pose. So every suspected pair is looked at again, by comparing grey thumbnails.
Suspicion is enough to keep photos on one side of a split; only what the second look confirms is left out as a twin.
Labels are not known here.

Hashes are searched exactly, without comparing all with all: their bits are dealt out into `radius + 2` bands. Two
hashes that differ in at most `radius` bits agree in at least two whole bands, so for every two bands it is enough to
compare the hashes that are equal there. A million hashes take about two seconds at a radius of 5.

References
----------
Norouzi, Punjani, Fleet: Fast exact search in Hamming space with multi-index hashing, TPAMI 2014.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from agegender.errors import UsageError
from agegender.photos.hashing import hash_numbers, read_thumbnails

HASH_BITS = 64
MOST_LISTED_PAIRS = 20_000_000  # 320 MB as numbers
# Correlation of two 32 x 32 grey thumbnails. Of UTKFace's 829 pairs within 5 bits, 620 lie above 0.94 and 206 below
# 0.93; of the 61 between 0.90 and 0.985, looked at one by one, a single one lay on the wrong side.
SAME_PHOTO_CORRELATION = 0.94
_MOST_PAIRS_LOOKED_AT = 2_000_000
_PAIRS_AT_ONCE = 4096
_FEW = 1024  # hashes; below, all pairs cost less than sorting
_WIDEST_BANDED_RADIUS = 12  # bits; beyond it two bands tell too little, and all pairs cost less
_BLOCK_SIDE = 512  # a block of exclusive-ors is 2 MB and stays in the cache
_LARGE_BUCKET = 48  # hashes; above, a bucket is compared as a block

Pairs = tuple[NDArray[np.uint64], NDArray[np.uint64]]


@dataclass(frozen=True)
class Twins:
    """What is known of the photos that show the same; all arrays have shape (photos,), in the order of the photos."""

    file_group: NDArray[np.int64]  # photos of equal bytes share a number
    near_pair_count: int  # pairs of distinct files within the radius
    is_near_twin: NDArray[np.bool_]  # whether the file is in at least one such pair
    suspected_group: NDArray[np.int64]  # exact and near twins
    confirmed_group: NDArray[np.int64]  # those that the second look left


def find_twins(digests: pd.Series, hashes: pd.Series, paths: Sequence[Path], *, radius: int | None) -> Twins:
    """Find exact and near twins among readable photos: near within `radius` bits, exact ones alone where it is None."""
    file_group, distinct_digests = pd.factorize(digests)
    file_group = np.asarray(file_group, dtype=np.int64)
    if radius is None:
        nobody = np.zeros(len(file_group), dtype=bool)
        return Twins(file_group, 0, nobody, file_group, file_group)
    # One photo stands for all of equal bytes, so that copies of a file are not counted as near twins too.
    first = np.unique(file_group, return_index=True)[1] if len(file_group) else np.empty(0, dtype=np.int64)
    numbers = hash_numbers(hashes.iloc[first].tolist())
    distinct = distinct_near_pairs(numbers, radius)
    ties = _ties(distinct)
    confirmed = ties[_look_again([paths[place] for place in first], ties)]
    count = len(distinct_digests)
    return Twins(
        file_group=file_group,
        near_pair_count=distinct.pair_count(),
        is_near_twin=distinct.is_twin()[file_group],
        suspected_group=cluster(count, ties)[file_group],
        confirmed_group=cluster(count, confirmed)[file_group],
    )


def _ties(distinct: DistinctPairs) -> NDArray[np.int64]:
    """Return pairs that tie the suspected twins together: all of them, unless there are millions."""
    if distinct.pair_count() <= _MOST_PAIRS_LOOKED_AT:
        return _listed(distinct)
    # Of photos with equal hashes, each is tied to the first; of near hashes, the first to the first.
    first = np.unique(distinct.place, return_index=True)[1]
    others = np.flatnonzero(first[distinct.place] != np.arange(len(distinct.place)))
    equal = np.stack([first[distinct.place[others]], others], axis=1)
    return np.concatenate([equal, first[distinct.pairs]])


def _look_again(paths: Sequence[Path], pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for each suspected pair whether the thumbnails agree: shape (pairs,)."""
    members, place = np.unique(pairs, return_inverse=True)
    place = place.reshape(pairs.shape)
    patterns = np.zeros((len(members), 32 * 32), dtype=np.float32)
    for number, thumbnail in enumerate(read_thumbnails([paths[member] for member in members])):
        patterns[number] = _standardised(thumbnail)
    correlation = np.empty(len(pairs))
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        left, right = place[start : start + _PAIRS_AT_ONCE].T
        correlation[start : start + _PAIRS_AT_ONCE] = np.einsum("ij,ij->i", patterns[left], patterns[right])
    return correlation >= SAME_PHOTO_CORRELATION


def _standardised(thumbnail: NDArray[np.uint8]) -> NDArray[np.float32]:
    centred = thumbnail.astype(np.float32).ravel() - thumbnail.mean(dtype=np.float32)
    length = float(np.sqrt(centred @ centred))
    if length < 1.0:  # a flat picture agrees with every other flat one
        return np.full(centred.shape, 1 / np.sqrt(centred.size), dtype=np.float32)
    return (centred / length).astype(np.float32)


@dataclass(frozen=True)
class DistinctPairs:
    """The near pairs of the distinct values among some hashes."""

    values: NDArray[np.uint64]  # the distinct hashes, ascending
    counts: NDArray[np.int64]  # how many of the hashes have each value
    place: NDArray[np.int64]  # the value of each hash, shape (hashes,)
    pairs: NDArray[np.int64]  # places in `values`, the first smaller, in order: shape (pairs, 2)

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
    """Return every pair of hashes that differ in at most `radius` bits: places, ascending, shape (pairs, 2).

    >>> near_pairs(np.array([0, 255, 1], dtype=np.uint64), 1).tolist()
    [[0, 2]]
    """
    distinct = distinct_near_pairs(hashes, radius)
    if distinct.pair_count() > MOST_LISTED_PAIRS:
        raise UsageError(f"{distinct.pair_count()} pairs lie within {radius} bits, too many to list: lower the radius.")
    return _listed(distinct)


def _listed(distinct: DistinctPairs) -> NDArray[np.int64]:
    """Return the pairs of hashes that pairs of values stand for."""
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
    """Return the near pairs among the distinct values, so that a thousand equal hashes cost no more than one."""
    if not 0 <= radius <= HASH_BITS:
        raise UsageError(f"near-duplicate radius {radius}: a hash has {HASH_BITS} bits, so give 0 to {HASH_BITS}.")
    values, place, counts = np.unique(np.asarray(hashes, dtype=np.uint64), return_inverse=True, return_counts=True)
    is_banded = len(values) >= _FEW and radius <= _WIDEST_BANDED_RADIUS
    found = list(_banded_pairs(values, radius) if is_banded else _all_pairs(values, radius))
    left = np.concatenate([pair[0] for pair in found]) if found else np.empty(0, np.uint64)
    right = np.concatenate([pair[1] for pair in found]) if found else np.empty(0, np.uint64)
    pairs = np.searchsorted(values, np.stack([np.minimum(left, right), np.maximum(left, right)], axis=1))
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    return DistinctPairs(values, counts.astype(np.int64), place.reshape(-1).astype(np.int64), pairs.astype(np.int64))


def cluster(count: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give `count` things that pairs tie together, directly or through others, the same number: shape (count,).

    >>> cluster(4, np.array([[0, 2], [2, 3]])).tolist()
    [0, 1, 0, 0]
    """
    ties = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(ties, directed=False)[1].astype(np.int64)


def _cut_bits(band_count: int) -> tuple[int, ...]:
    """Deal the bits out like cards: neighbouring frequencies go together in photos, so a band takes distant ones."""
    return tuple(sum(1 << bit for bit in range(first, HASH_BITS, band_count)) for first in range(band_count))


def _banded_pairs(values: NDArray[np.uint64], radius: int) -> Iterator[Pairs]:
    """Yield near pairs of values, each once: at the first two bands on which they agree."""
    masks = _cut_bits(radius + 2)
    for chosen in combinations(range(len(masks)), 2):
        key_mask = np.uint64(masks[chosen[0]] | masks[chosen[1]])
        earlier = [np.uint64(masks[band]) for band in range(chosen[1]) if band not in chosen]
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
