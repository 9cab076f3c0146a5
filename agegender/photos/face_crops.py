"""How a face is cut out of a photo, so that prediction crops as the training data were cropped.

A cut is a square around the face, its margins above, below and beside of any size, turned so that the eyes lie level
where that is wanted and known. What lies beyond the photo repeats its edge, so that the face keeps its place and size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from agegender.errors import UsageError
from agegender.photos.face_detection import FaceBox, FaceDetector
from agegender.settings import LARGEST_MARGIN, ImageSettings


@dataclass(frozen=True)
class Margins:
    """What is added to a face, as shares of its longer side."""

    above: float = 0.4
    below: float = 0.4
    beside: float = 0.4

    def __post_init__(self) -> None:
        """Refuse what is no share from 0 to 3."""
        for margin in (self.above, self.below, self.beside):
            if not 0 <= margin <= LARGEST_MARGIN:
                raise UsageError(f"--crop-margin {margin:g} is no share from 0 to {LARGEST_MARGIN:g} of the face.")

    @classmethod
    def of(cls, margin: float, margins: tuple[float, float, float] | None = None) -> Margins:
        """Return the same margin on every side, or the three that are given instead."""
        return cls(margin, margin, margin) if margins is None else cls(*margins)


@dataclass(frozen=True)
class Square:
    """A square piece of a photo in pixels; it may reach beyond the edges."""

    left: int
    top: int
    side: int


@dataclass(frozen=True)
class Cut:
    """A square piece of a photo that is turned by `degrees` around a point (x, y) of it, in pixels."""

    square: Square
    degrees: float = 0.0
    around: tuple[float, float] = (0.0, 0.0)


def face_cut(face: FaceBox, margins: Margins, *, aligns: bool = False) -> Cut:
    """Return the cut of a face; with `aligns` its eyes lie level, where the detector has told where they are."""
    square = face_square(face, margins)
    if not (aligns and face.landmarks):
        return Cut(square)
    (right_x, right_y), (left_x, left_y) = face.landmarks[:2]
    degrees = math.degrees(math.atan2(left_y - right_y, left_x - right_x))
    return Cut(square, degrees, (face.x + face.width / 2, face.y + face.height / 2))


def face_square(box: FaceBox, margins: Margins) -> Square:
    """Return the square around a face's longer side and its margins.

    Where the margins make it taller than wide, or wider than tall, the shorter way is widened on both sides.

    Examples
    --------
    >>> face_square(FaceBox(40, 40, 100, 100, 1.0), Margins(0.5, 0.5, 0.5))
    Square(left=-10, top=-10, side=200)
    >>> face_square(FaceBox(40, 40, 100, 100, 1.0), Margins(above=0.6, below=0.2, beside=0.2))
    Square(left=0, top=-20, side=180)
    """
    longer = max(box.width, box.height)
    side = max(1, round(longer * (1 + max(2 * margins.beside, margins.above + margins.below))))
    across = box.x + box.width / 2
    down = box.y + box.height / 2 + longer * (margins.below - margins.above) / 2
    return Square(round(across - side / 2), round(down - side / 2), side)


def centre_square(photo: NDArray[np.uint8]) -> Square:
    """Return the largest square in the middle of a photo of shape (height, width, 3).

    >>> centre_square(np.zeros((100, 60, 3), dtype=np.uint8))
    Square(left=0, top=20, side=60)
    """
    height, width = photo.shape[:2]
    side = min(height, width)
    return Square((width - side) // 2, (height - side) // 2, side)


def cut_out(photo: NDArray[np.uint8], cut: Cut) -> NDArray[np.uint8]:
    """Return the piece of a photo, shape (side, side, 3)."""
    if not cut.degrees:
        return crop_square(photo, cut.square)
    cosine, sine = math.cos(math.radians(cut.degrees)), math.sin(math.radians(cut.degrees))
    turn = np.array([[cosine, -sine], [sine, cosine]])
    around = np.array(cut.around)
    # Pixels are numbered from their centres, which lie half a pixel further.
    first = around + turn @ (np.array([cut.square.left, cut.square.top]) + 0.5 - around) - 0.5
    matrix = np.column_stack([turn, first])
    size = (cut.square.side, cut.square.side)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(photo, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[return-value]


def crop_square(photo: NDArray[np.uint8], square: Square) -> NDArray[np.uint8]:
    """Cut a square out; what lies beyond the photo repeats its edge, so that the face keeps its place and size."""
    rows = np.clip(np.arange(square.top, square.top + square.side), 0, photo.shape[0] - 1)
    columns = np.clip(np.arange(square.left, square.left + square.side), 0, photo.shape[1] - 1)
    inside = photo[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if inside.shape[:2] == (square.side, square.side):
        return np.ascontiguousarray(inside)
    above, left = int((rows == rows[0]).sum()) - 1, int((columns == columns[0]).sum()) - 1
    below, right = square.side - inside.shape[0] - above, square.side - inside.shape[1] - left
    return cv2.copyMakeBorder(inside, above, below, left, right, cv2.BORDER_REPLICATE)  # type: ignore[return-value]


def crop_largest_face(
    photo: NDArray[np.uint8], detector: FaceDetector, margins: Margins, *, aligns: bool = False
) -> NDArray[np.uint8]:
    """Cut the largest face out, or the middle where there is none: what training photos went through by default.

    Parameters
    ----------
    photo : ndarray, shape (height, width, 3), uint8 RGB
    detector : FaceDetector
        The one that the model's card names.
    margins, aligns
        As the card has them.

    Returns
    -------
    ndarray, shape (side, side, 3), uint8 RGB
    """
    return cut_out(photo, cuts_of(photo, detector.detect(photo)[:1], margins, aligns=aligns)[0])


def cuts_of(photo: NDArray[np.uint8], faces: Sequence[FaceBox], margins: Margins, *, aligns: bool = False) -> list[Cut]:
    """Return a cut for each face of a photo, or the one of its middle where there is none."""
    return [face_cut(face, margins, aligns=aligns) for face in faces] or [Cut(centre_square(photo))]


def usual_margins(face: FaceBox, photo: NDArray[np.uint8]) -> tuple[float, float, float]:
    """Return the margins above, below and beside a face with which `face_square` gives the middle of its photo.

    >>> photo = np.zeros((200, 200, 3), np.uint8)
    >>> face_square(FaceBox(50, 60, 100, 100, 1.0), Margins(*usual_margins(FaceBox(50, 60, 100, 100, 1.0), photo)))
    Square(left=0, top=0, side=200)
    """
    longer, square = max(face.width, face.height), centre_square(photo)
    room = square.side / longer - 1
    higher = 2 * (square.top + square.side / 2 - face.y - face.height / 2) / longer  # below more than above
    return tuple(
        min(max(margin, 0.0), LARGEST_MARGIN) for margin in ((room - higher) / 2, (room + higher) / 2, room / 2)
    )  # type: ignore[return-value]


def margins_of(image: ImageSettings) -> Margins:
    """Return the margins that a model's photos were cropped with."""
    return Margins.of(image.crop_margin, image.crop_margins)
