"""Owns the geometry of a face crop, so that prediction cuts faces out exactly as the training data were cut.

It finds no face and reads no file: a photo and a box come in, a photo goes out. `dataset.cropping` and prediction call
it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from agegender.errors import UsageError
from agegender.photos.face_detection import FaceBox, FaceDetector

LARGEST_MARGIN = 3.0


@dataclass(frozen=True)
class Square:
    """A square piece of a photo in pixels; it may reach beyond the edges."""

    left: int
    top: int
    side: int


def check_margin(margin: float) -> None:
    """Raise a `UsageError` for a margin that is not between 0 and 3."""
    if not 0 <= margin <= LARGEST_MARGIN:
        raise UsageError(f"crop margin {margin}: give a share of the face's size between 0 and {LARGEST_MARGIN:.0f}.")


def face_square(box: FaceBox, margin: float) -> Square:
    """Return the square around a face: its longer side, and `margin` of that on every side.

    Parameters
    ----------
    box : FaceBox
    margin : float
        Share of the face's longer side, 0 to 3; 0.4 makes the square 1.8 times the face.

    Raises
    ------
    UsageError
        The margin is out of range.

    Examples
    --------
    >>> face_square(FaceBox(40, 40, 100, 100, 1.0), 0.5)
    Square(left=-10, top=-10, side=200)
    """
    check_margin(margin)
    side = max(1, round(max(box.width, box.height) * (1 + 2 * margin)))
    left = round(box.x + box.width / 2 - side / 2)
    top = round(box.y + box.height / 2 - side / 2)
    return Square(left, top, side)


def centre_square(photo: NDArray[np.uint8]) -> Square:
    """Return the largest square in the middle of a photo of shape (height, width, 3).

    >>> centre_square(np.zeros((100, 60, 3), dtype=np.uint8))
    Square(left=0, top=20, side=60)
    """
    height, width = photo.shape[:2]
    side = min(height, width)
    return Square((width - side) // 2, (height - side) // 2, side)


def crop_square(photo: NDArray[np.uint8], square: Square) -> NDArray[np.uint8]:
    """Cut a square out; what lies beyond the photo repeats its edge, so that the face keeps its place and size.

    Parameters
    ----------
    photo : ndarray, shape (height, width, 3), uint8 RGB

    Returns
    -------
    ndarray, shape (side, side, 3), uint8 RGB
    """
    rows = np.clip(np.arange(square.top, square.top + square.side), 0, photo.shape[0] - 1)
    columns = np.clip(np.arange(square.left, square.left + square.side), 0, photo.shape[1] - 1)
    inside = photo[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if inside.shape[:2] == (square.side, square.side):
        return np.ascontiguousarray(inside)
    above, left = int((rows == rows[0]).sum()) - 1, int((columns == columns[0]).sum()) - 1
    below, right = square.side - inside.shape[0] - above, square.side - inside.shape[1] - left
    return cv2.copyMakeBorder(inside, above, below, left, right, cv2.BORDER_REPLICATE)  # type: ignore[return-value]


def crop_photo(photo: NDArray[np.uint8], box: FaceBox, margin: float) -> NDArray[np.uint8]:
    """Cut a face out with its margin: shape (side, side, 3), uint8 RGB.

    Raises
    ------
    UsageError
        The margin is out of range.
    """
    return crop_square(photo, face_square(box, margin))


def crop_largest_face(photo: NDArray[np.uint8], detector: FaceDetector, margin: float) -> NDArray[np.uint8]:
    """Cut the largest face out, or the middle where there is none: what training photos went through by default.

    Parameters
    ----------
    photo : ndarray, shape (height, width, 3), uint8 RGB
    detector : FaceDetector
        The one whose name the model's card carries as `crop`.
    margin : float
        The card's `crop_margin`.

    Returns
    -------
    ndarray, shape (side, side, 3), uint8 RGB
    """
    faces = detector.detect(photo)
    return crop_square(photo, face_square(faces[0], margin) if faces else centre_square(photo))
