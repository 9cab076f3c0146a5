"""The paint: curves through points, soft-edged shapes on a picture, and the feature map that grows with it.

Points come in pixels of the canvas, x before y.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from agegender.drawing.causes import FEATURES

Points = NDArray[np.float64]  # (points, 2), x before y
Mask = NDArray[np.float32]  # (height, width) of a window, 0..1
_SUBPIXEL_BITS = 4


class Canvas:
    """A square picture being painted.

    Attributes
    ----------
    image : ndarray, shape (3, side, side), float32
        RGB planes, 0..255: planes, because numpy mixes them three times as fast as pixels.
    features : ndarray, shape (side, side), uint8
        The number of the topmost feature at each pixel.
    """

    def __init__(self, side: int) -> None:
        self.side = side
        self.image = np.zeros((3, side, side), np.float32)
        self.features = np.zeros((side, side), np.uint8)

    def fill(
        self,
        points: ArrayLike,
        colour: Sequence[float] | NDArray,
        *,
        feature: str | None = None,
        opacity: float = 1.0,
        softness: float = 0.0,
        inside: Mask | None = None,
    ) -> None:
        """Fill a closed shape.

        Parameters
        ----------
        points : array, shape (points, 2)
            Its corners.
        colour : RGB, 0..255
            The paint.
        feature : str, optional
            What the pixels become in the feature map.
        opacity : float
            0..1.
        softness : float
            Standard deviation of the edge in pixels.
        inside : ndarray, shape (side, side), optional
            Paint only where this is, as much as it is.
        """
        self._lay([np.asarray(points, float)], None, colour, feature, opacity, softness, inside)

    def stroke(
        self,
        lines: Sequence[ArrayLike],
        width: float,
        colour: Sequence[float] | NDArray,
        *,
        feature: str | None = None,
        opacity: float = 1.0,
        softness: float = 0.0,
        inside: Mask | None = None,
    ) -> None:
        """Draw open lines of `width` pixels in one coat: where they cross, the paint is no thicker."""
        self._lay([np.asarray(line, float) for line in lines], width, colour, feature, opacity, softness, inside)

    def shade(self, mask: Mask, factor: float | Sequence[float]) -> None:
        """Multiply the picture by `factor` where `mask`, shape (side, side), is 1, and by less where it is less."""
        rows, columns = _window_of(mask)
        part = mask[rows, columns]
        for plane, change in zip(
            self.image, np.broadcast_to(np.asarray(factor, np.float32) - np.float32(1.0), 3), strict=True
        ):
            plane[rows, columns] *= 1.0 + part * change

    def mask(self, points: ArrayLike, *, softness: float = 0.0) -> Mask:
        """Return the shape as a mask of the whole canvas, shape (side, side), 0..1."""
        whole = np.zeros((self.side, self.side), np.float32)
        found = self._shape([np.asarray(points, float)], None, softness)
        if found:
            rows, columns, part = found
            whole[rows, columns] = part
        return whole

    def mark(self, mask: Mask, feature: str, *, over: Sequence[str]) -> None:
        """Call pixels of `mask` `feature` where they have been one of `over`."""
        self.features[mask * self.where(*over) > 0.5] = FEATURES.index(feature)

    def where(self, *features: str) -> Mask:
        """Return a mask of the pixels that are one of `features` by now."""
        wanted = np.zeros(256, np.float32)
        wanted[[FEATURES.index(name) for name in features]] = 1.0
        return np.asarray(cv2.LUT(self.features, wanted), np.float32)

    def _lay(
        self,
        lines: list[Points],
        width: float | None,
        colour: Sequence[float] | NDArray,
        feature: str | None,
        opacity: float,
        softness: float,
        inside: Mask | None,
    ) -> None:
        found = self._shape(lines, width, softness)
        if found is None or opacity <= 0.0:
            return
        rows, columns, part = found
        if inside is not None:
            part = part * inside[rows, columns]
        paint = part * np.float32(opacity)
        for plane, level in zip(self.image, np.asarray(colour, np.float32), strict=True):
            window = plane[rows, columns]
            window += (level - window) * paint
        if feature is not None:
            self.features[rows, columns][part > (0.5 if width is None else 0.25)] = FEATURES.index(feature)

    def _shape(self, lines: list[Points], width: float | None, softness: float) -> tuple[slice, slice, Mask] | None:
        """Return the window that the shape touches and its mask there, or None off the canvas."""
        corners = np.concatenate(lines)
        margin = 2.0 + (width or 0.0) + 3.0 * softness
        low = np.maximum(np.floor(corners.min(axis=0) - margin), 0).astype(int)
        high = np.minimum(np.ceil(corners.max(axis=0) + margin), self.side).astype(int)
        if (high <= low).any():
            return None
        window = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        scaled = [((line - low) * 2**_SUBPIXEL_BITS + 0.5).astype(np.int32) for line in lines]
        if width is None:
            cv2.fillPoly(window, scaled, 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        else:
            thickness = max(round(width), 1)
            cv2.polylines(window, scaled, False, 255, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
        return slice(low[1], high[1]), slice(low[0], high[0]), blurred(window * np.float32(1 / 255), softness)


def blurred(mask: Mask, softness: float) -> Mask:
    """Blur with a Gaussian of `softness` pixels; large ones on a smaller copy, which is as smooth and much faster."""
    if softness < 0.3:
        return mask
    step = int(softness // 2.5)
    if step < 2 or min(mask.shape) < 4 * step:
        return np.asarray(cv2.GaussianBlur(mask, (0, 0), softness), np.float32)
    small = cv2.resize(mask, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), softness / step)
    large = cv2.resize(small, (mask.shape[1], mask.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(large, np.float32)


def moved(mask: Mask, x: float, y: float) -> Mask:
    """Return the mask moved by whole pixels, zeros following."""
    matrix = np.array([[1.0, 0.0, round(x)], [0.0, 1.0, round(y)]], np.float32)
    shifted = cv2.warpAffine(mask, matrix, (mask.shape[1], mask.shape[0]), flags=cv2.INTER_NEAREST)
    return np.asarray(shifted, np.float32)


def _window_of(mask: Mask) -> tuple[slice, slice]:
    left, top, width, height = cv2.boundingRect((mask > 0.002).view(np.uint8))
    return slice(top, top + height), slice(left, left + width)


def smooth(points: ArrayLike, *, closed: bool = True, steps: int = 8) -> Points:
    """Return a Catmull-Rom curve through `points`, `steps` points for each of them, shape (n, 2)."""
    corners = np.asarray(points, float)
    if closed:
        around = np.concatenate([corners[-1:], corners, corners[:2]])
    else:
        around = np.concatenate([corners[:1], corners, corners[-1:]])
    before, start, end, after = around[:-3, None], around[1:-2, None], around[2:-1, None], around[3:, None]
    t = np.linspace(0.0, 1.0, steps, endpoint=False)[None, :, None]
    curve = 0.5 * (
        2 * start
        + (end - before) * t
        + (2 * before - 5 * start + 4 * end - after) * t**2
        + (3 * start - before - 3 * end + after) * t**3
    )
    flat = curve.reshape(-1, 2)
    return flat if closed else np.concatenate([flat, corners[-1:]])


def ellipse(x: float, y: float, width: float, height: float, *, steps: int = 28) -> Points:
    """Return an ellipse by its centre and half axes, shape (steps, 2)."""
    angles = np.linspace(0.0, 2 * np.pi, steps, endpoint=False)
    return np.stack([x + width * np.cos(angles), y + height * np.sin(angles)], axis=1)


def mirrored(points: ArrayLike) -> Points:
    """Return the shape on the other side of the face."""
    return np.asarray(points, float) * [-1.0, 1.0]


def closed_by_mirror(right: ArrayLike) -> Points:
    """Return the whole outline of a symmetric shape from its right half, given from top to bottom."""
    half = np.asarray(right, float)
    other = mirrored(half[::-1])
    keep = np.abs(other[:, 0]) > 1e-9
    return np.concatenate([half, other[keep]])
