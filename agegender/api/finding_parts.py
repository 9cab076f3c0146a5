"""Where the parts of the face are in a photo to be explained: the drawing, the source or the detector tells."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agegender.data.sources.drawn_faces import read_causes
from agegender.drawing.causes import FEATURES
from agegender.errors import PhotoError
from agegender.explanation.face_parts import FaceParts, aligned_parts, drawn_parts, found_parts
from agegender.photos.face_crops import centre_square
from agegender.photos.face_detection import HaarDetector


def find_parts(
    photo: NDArray[np.uint8], side: int, *, is_aligned: bool = False, file: Path | None = None
) -> FaceParts | None:
    """Return where the parts of the face are once a photo is fitted to `side` pixels; None where nothing tells.

    A drawn face knows from the files beside it, an aligned photo from its source, any other from the detector's box.
    """
    if file is not None:
        with suppress(PhotoError):  # no drawing of ours, as most photos
            return _parts_of_drawing(file, side)
    if is_aligned:
        return aligned_parts(side)
    found = HaarDetector().detect(photo)
    if not found:
        return None
    box, square = found[0], centre_square(photo)
    corner = ((box.x - square.left) / square.side, (box.y - square.top) / square.side)
    return found_parts(side, (*corner, box.width / square.side, box.height / square.side))


def _parts_of_drawing(file: Path, side: int) -> FaceParts:
    masks = read_causes(file).masks
    numbers = np.argmax(np.stack([masks[feature] for feature in FEATURES]), axis=0).astype(np.uint8)
    square = centre_square(numbers[..., None])
    inside = numbers[square.top : square.top + square.side, square.left : square.left + square.side]
    chosen = (np.arange(side) + 0.5) * square.side // side  # the nearest pixel: thin features keep their share
    return drawn_parts(inside[np.ix_(chosen.astype(int), chosen.astype(int))], FEATURES)
