"""Owns the one way from a photo of any shape to the model's square: a single affine warp, the same in every part.

Training warps with random turns, everything else with none, and both go through the same filter, so that a network
never sees sharper or softer photos than it learned from. It knows nothing of files, labels or random numbers.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

UNTURNED = ((1.0, 0.0), (0.0, 1.0))
# Bilinear sampling skips pixels when it shrinks; above this ratio they are averaged first.
_SMOOTHED_FROM = 1.2


def fit_square(photo: NDArray[np.uint8], size: int, *, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Return the central square of a photo, resized: what validation, prediction and explanation see.

    Parameters
    ----------
    photo : ndarray, shape (H, W, 3), uint8
    size : int
        Pixels of the square's side.
    out : ndarray, shape (size, size, 3), uint8, optional
        Where to write, for instance one place of a batch.

    Returns
    -------
    NDArray, shape (size, size, 3), uint8

    Examples
    --------
    >>> fit_square(np.full((200, 300, 3), 7, np.uint8), 96)[0, 0].tolist()
    [7, 7, 7]
    """
    return warp_square(photo, size, out=out)


def warp_square(
    photo: NDArray[np.uint8],
    size: int,
    *,
    turn: tuple[tuple[float, float], tuple[float, float]] = UNTURNED,
    shift: tuple[float, float] = (0.0, 0.0),
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Return a square of a photo: crop, zoom, rotation, flip and shift in one warp, edges reflected.

    Parameters
    ----------
    photo : ndarray, shape (H, W, 3), uint8
    size : int
        Pixels of the result's side.
    turn : 2x2 numbers
        From offsets in the result to offsets in the photo's central square, both as shares of their side.
    shift : (across, down)
        Where in the photo the result's centre lies, from the photo's centre, as shares of the central square's side.
    out : ndarray, shape (size, size, 3), uint8, optional

    Returns
    -------
    NDArray, shape (size, size, 3), uint8

    Notes
    -----
    A shrunk photo is first averaged over whole pixels, then smoothed by a Gaussian of the width that remains, so that
    no pattern finer than the result folds into it.
    """
    height, width = photo.shape[:2]
    side = min(height, width)
    if out is None:
        out = np.empty((size, size, 3), np.uint8)
    if turn == UNTURNED and shift == (0.0, 0.0) and side == size:
        top, left = (height - size) // 2, (width - size) // 2
        np.copyto(out, photo[top : top + size, left : left + size])
        return out
    ratio = side / size
    shrinking = ratio * math.sqrt(abs(turn[0][0] * turn[1][1] - turn[0][1] * turn[1][0]))
    photo, reduction = _smoothed(photo, shrinking)
    ratio /= reduction
    matrix = _pixel_matrix(
        turn, ratio, size, (width / 2 + shift[0] * side) / reduction, (height / 2 + shift[1] * side) / reduction
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cv2.warpAffine(photo, matrix, (size, size), dst=out, flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    return out


def _smoothed(photo: NDArray[np.uint8], shrinking: float) -> tuple[NDArray[np.uint8], int]:
    """Return the photo without what is too fine for the result, and by which whole factor it was reduced."""
    reduction = max(1, int(shrinking + 1e-6))
    if reduction > 1:
        height, width = photo.shape[0] // reduction, photo.shape[1] // reduction
        whole = photo[: height * reduction, : width * reduction]
        photo = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    remaining = shrinking / reduction
    if remaining > _SMOOTHED_FROM:
        photo = cv2.GaussianBlur(photo, (3, 3), 0.5 * math.sqrt(remaining**2 - 1))  # type: ignore[assignment]
    return photo, reduction


def _pixel_matrix(
    turn: tuple[tuple[float, float], tuple[float, float]], ratio: float, size: int, across: float, down: float
) -> NDArray[np.float64]:
    """Return the map from the result's pixel numbers to the photo's, whose centres lie half a pixel further."""
    (a, b), (c, d) = turn
    a, b, c, d = a * ratio, b * ratio, c * ratio, d * ratio
    middle = (size - 1) / 2
    return np.array([[a, b, across - 0.5 - (a + b) * middle], [c, d, down - 0.5 - (c + d) * middle]])
