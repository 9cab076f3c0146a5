"""Owns where the features of the face are, in head coordinates, as it depends on how grown the person is."""

from __future__ import annotations

from agegender.drawing.sitting import Sitting


def eye_centre(sitting: Sitting) -> tuple[float, float]:
    """Return where the right eye of the picture is; children's are lower and further apart."""
    child = 1.0 - sitting.person.growth
    return 0.45 + 0.02 * child, 0.02 + 0.08 * child


def eye_size(sitting: Sitting) -> tuple[float, float]:
    """Return half the width and the height of the open eye above its middle; children's are large, old lids droop."""
    person = sitting.person
    child = 1.0 - person.growth
    width = 0.208 + 0.125 * child
    height = (0.112 + 0.14 * child) * (1.0 - 0.30 * person.eye_narrowness) * (1.0 - 0.42 * person.droop)
    return width, height * (1.0 - 0.15 * person.smile)


def mouth_height(sitting: Sitting) -> float:
    """Return the height of the line between the lips."""
    return 0.68 * sitting.chin
