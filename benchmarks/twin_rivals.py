"""How others find twins: ImageHash for one photo, and three ways to compare all pairs of hashes."""

from __future__ import annotations

from pathlib import Path

import imagehash
import numba
import numpy as np
from PIL import Image


def image_hash(photo: Path) -> np.ndarray:
    """Hash one photo as the studies do: shape (64,), bool."""
    with Image.open(photo) as image:
        return imagehash.phash(image).hash.ravel()


@numba.njit
def pair_loop(hashes: np.ndarray, radius: int) -> list[tuple[int, int]]:
    """Compare all pairs as the studies do: hashes of shape (photos, 64), bool."""
    pairs = []
    for first in range(len(hashes)):
        for second in range(first + 1, len(hashes)):
            if np.sum(hashes[first] != hashes[second]) <= radius:
                pairs.append((first, second))  # noqa: PERF401
    return pairs


@numba.njit
def popcount_loop(hashes: np.ndarray, radius: int) -> int:
    """Compare all pairs by one exclusive-or and a count of its bits: a harder rival than the studies' loop."""
    found = 0
    for first in range(len(hashes)):
        for second in range(first + 1, len(hashes)):
            bits = hashes[first] ^ hashes[second]
            bits = bits - ((bits >> np.uint64(1)) & np.uint64(0x5555555555555555))
            bits = (bits & np.uint64(0x3333333333333333)) + ((bits >> np.uint64(2)) & np.uint64(0x3333333333333333))
            bits = (bits + (bits >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
            if (bits * np.uint64(0x0101010101010101)) >> np.uint64(56) <= np.uint64(radius):
                found += 1
    return found


def numpy_pairs(hashes: np.ndarray, radius: int) -> int:
    """Compare all pairs a row at a time in numpy."""
    return sum(int((np.bitwise_count(one ^ hashes[place + 1 :]) <= radius).sum()) for place, one in enumerate(hashes))
