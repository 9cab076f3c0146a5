"""Owns which photos show the same: byte for byte, by their perceptual hash, and at a second look.

A perceptual hash within a few bits is a suspicion, not a proof: among real portraits a quarter of the pairs within 5
bits are different people in the same pose. So every suspected pair is looked at again, by comparing grey thumbnails.
Suspicion is enough to keep photos on one side of a split; only what the second look confirms is left out as a twin.
It knows no labels. `dataset.cleaning` calls it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.data.twin_search import DistinctPairs, cluster, distinct_near_pairs, near_pairs
from agegender.photos.fingerprints import hash_numbers, read_thumbnails

# Correlation of two 32 x 32 grey thumbnails. Of UTKFace's 829 pairs within 5 bits, 620 lie above 0.94 and 206 below
# 0.93; of the 61 between 0.90 and 0.985, looked at one by one, a single one lay on the wrong side.
SAME_PHOTO_CORRELATION = 0.94
_MOST_PAIRS_LOOKED_AT = 2_000_000
_PAIRS_AT_ONCE = 4096


@dataclass(frozen=True)
class Twins:
    """What is known of the photos that show the same; all arrays are in the order of the photos.

    Attributes
    ----------
    file_group : ndarray, shape (photos,), int64
        Photos of equal bytes share a number.
    near_pair_count : int
        Pairs of distinct files within the radius.
    is_near_twin : ndarray, shape (photos,), bool
        Whether the file is in at least one such pair.
    suspected_group, confirmed_group : ndarray, shape (photos,), int64
        Groups of exact and near twins, the second after the second look.
    """

    file_group: NDArray[np.int64]
    near_pair_count: int
    is_near_twin: NDArray[np.bool_]
    suspected_group: NDArray[np.int64]
    confirmed_group: NDArray[np.int64]


def find_twins(digests: pd.Series, hashes: pd.Series, paths: Sequence[Path], *, radius: int | None) -> Twins:
    """Find exact and near twins among readable photos.

    Parameters
    ----------
    digests, hashes : Series of str
        SHA-512 of each file and its perceptual hash as ImageHash prints it.
    paths : sequence of Path
        Where the photos are, for the second look.
    radius : int or None
        Hamming radius in bits; None looks for exact twins alone.
    """
    file_group, distinct_digests = pd.factorize(digests)
    file_group = np.asarray(file_group, dtype=np.int64)
    if radius is None:
        nobody = np.zeros(len(file_group), dtype=bool)
        return Twins(file_group, 0, nobody, file_group, file_group)
    # One photo stands for all of equal bytes, so that copies of a file are not counted as near twins too.
    first = np.unique(file_group, return_index=True)[1] if len(file_group) else np.empty(0, dtype=np.int64)
    numbers = hash_numbers(hashes.iloc[first].tolist())
    distinct = distinct_near_pairs(numbers, radius)
    ties = _ties(numbers, distinct, radius)
    confirmed = ties[_look_again([paths[place] for place in first], ties)]
    count = len(distinct_digests)
    return Twins(
        file_group=file_group,
        near_pair_count=distinct.pair_count(),
        is_near_twin=distinct.is_twin()[file_group],
        suspected_group=cluster(count, ties)[file_group],
        confirmed_group=cluster(count, confirmed)[file_group],
    )


def _ties(numbers: NDArray[np.uint64], distinct: DistinctPairs, radius: int) -> NDArray[np.int64]:
    """Return pairs that tie the suspected twins together: all of them, unless there are millions."""
    if distinct.pair_count() <= _MOST_PAIRS_LOOKED_AT:
        return near_pairs(numbers, radius)
    # Of photos with equal hashes, each is tied to the first; of near hashes, the first to the first.
    first = np.unique(distinct.place, return_index=True)[1]
    others = np.flatnonzero(first[distinct.place] != np.arange(len(numbers)))
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
