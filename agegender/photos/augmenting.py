"""Owns the random changes that a training photo sees: drawn for a whole batch from one generator, applied in one warp.

The same generator gives the same changes, whoever applies them and in how many threads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from agegender.photos.lighting import lighting_tables
from agegender.photos.warping import warp_square
from agegender.settings import AugmentationSettings


@dataclass(frozen=True)
class Changes:
    """What happens to each of N photos.

    Attributes
    ----------
    turns : ndarray, shape (N, 2, 2), float64
        Zoom, rotation and flip, as `warp_square` takes them.
    shifts : ndarray, shape (N, 2), float64
        Across and down, shares of the side.
    tables : ndarray, shape (N, 256), uint8
        Light.
    """

    turns: NDArray[np.float64]
    shifts: NDArray[np.float64]
    tables: NDArray[np.uint8]

    def apply(self, photo: NDArray[np.uint8], place: int, out: NDArray[np.uint8]) -> None:
        """Write the photo, changed as number `place` is, into `out`, uint8 (S, S, 3)."""
        (a, b), (c, d) = self.turns[place].tolist()
        across, down = self.shifts[place].tolist()
        warp_square(photo, len(out), turn=((a, b), (c, d)), shift=(across, down), out=out)
        cv2.LUT(out, self.tables[place], dst=out)


def draw_changes(generator: np.random.Generator, count: int, settings: AugmentationSettings) -> Changes:
    """Draw the changes of `count` photos, uniform within the ranges of `settings`, zoom and contrast on a log scale."""
    # All numbers are drawn, used or not, so that switching one change off leaves the others as they were.
    drawn = generator.uniform(-1, 1, size=(count, 7))
    angles = np.radians(settings.rotation_degrees) * drawn[:, 0]
    scales = np.exp(-math.log(settings.zoom) * drawn[:, 1])
    mirrors = np.where(settings.flip & (drawn[:, 4] < 0), -1.0, 1.0)
    turns = np.empty((count, 2, 2))
    turns[:, 0, 0] = mirrors * scales * np.cos(angles)
    turns[:, 0, 1] = -scales * np.sin(angles)
    turns[:, 1, 0] = mirrors * scales * np.sin(angles)
    turns[:, 1, 1] = scales * np.cos(angles)
    tables = lighting_tables(settings.lighting * drawn[:, 5], -math.log(1 - settings.lighting) * drawn[:, 6])
    return Changes(turns, settings.shift * drawn[:, 2:4], tables)
