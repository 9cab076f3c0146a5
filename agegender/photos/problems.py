"""What is doubtful about a photo that somebody wants predicted, in a few words each; nothing is left out for it.

Blur and light are judged by the thresholds of `quality`, on the face that was cut out. Dark skin makes a photo darker
and soft focus is common in old portraits, so these are hints where to look.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agegender.photos.quality import THRESHOLDS, light_and_blur

NO_FACE = "no face found"
FOUND_LATE = "found at the second look"
SEVERAL = "several faces"
TINY = "tiny"
UNLIKE = "unlike the training photos"
_OF_SCORES = {"blurry": "blurred", "dark": "dark", "bright": "overexposed"}
PROBLEMS = (NO_FACE, FOUND_LATE, SEVERAL, TINY, *_OF_SCORES.values(), UNLIKE)


def pixel_problems(face: NDArray[np.uint8], network_side: int) -> list[str]:
    """Return what is wrong with a face, shape (height, width, 3), uint8 RGB, by its pixels.

    It is tiny where it has fewer than half the pixels across that the network takes, and then not called blurred.
    """
    is_tiny = 2 * min(face.shape[:2]) < network_side
    scores = light_and_blur(face)
    found = [word for check, word in _OF_SCORES.items() if scores[check] < THRESHOLDS[check]]
    return [TINY, *(word for word in found if word != _OF_SCORES["blurry"])] if is_tiny else found


def face_count_problems(count: int, *, is_second_look: bool = False) -> list[str]:
    """Return what is to be said of a photo in which so many faces were found."""
    seen = [FOUND_LATE] if count and is_second_look else []
    return [NO_FACE] if count == 0 else [*seen, SEVERAL] if count > 1 else seen
