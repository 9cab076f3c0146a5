"""Paints nose and mouth."""

from __future__ import annotations

import numpy as np

from agegender.drawing.geometry import Points, closed_by_mirror, ellipse, mirrored, smooth
from agegender.drawing.layout import mouth_height
from agegender.drawing.sitting import Sitting

_LIPSTICK = np.array([188.0, 44.0, 66.0])
_TEETH = (246, 240, 230)
_LEAST_OPEN = 0.45  # smile from which the teeth show


def paint_nose(sitting: Sitting) -> None:
    """Paint the nose by its shadows; it is small and its bridge flat in children."""
    person, dark = sitting.person, sitting.dark_skin
    child = 1.0 - person.growth
    tip, top = 0.40 * sitting.chin - 0.03 * child, -0.05 + 0.32 * child
    wide = 0.185 + 0.05 * person.skin_tone - 0.065 * child
    ridge = [(0, top), (0.08, top), (0.10, tip - 0.2), (wide, tip - 0.02), (0.7 * wide, tip + 0.07), (0, tip + 0.10)]
    nose = sitting.canvas.mask(sitting.pose.on_face(smooth(closed_by_mirror(ridge))))
    sitting.canvas.mark(nose, "nose", over=("skin", "jaw", "forehead", "nasolabial_folds", "under_eye"))
    away = -np.sign(sitting.scene.light[0] or 1.0)
    flank = [(0.05, top), (0.10, tip - 0.2), (wide, tip), (0.3 * wide, tip + 0.04), (0.05, tip - 0.15)]
    depth = 0.34 * sitting.scene.contrast * (1.0 - 0.5 * child)
    sitting.fill(smooth(np.array(flank) * [away, 1.0]), dark, opacity=depth, softness=0.035)
    under = [(0, tip + 0.08), (wide, tip + 0.04), (0.6 * wide, tip + 0.13), (0, tip + 0.16)]
    sitting.fill(smooth(closed_by_mirror(under)), dark, opacity=0.45, softness=0.025)
    wing = smooth([(0.80 * wide, tip - 0.10), (1.02 * wide, tip - 0.01), (0.80 * wide, tip + 0.07)], closed=False)
    sitting.stroke([wing, mirrored(wing)], 0.02, dark, opacity=0.55, softness=0.008)
    for side in (-1.0, 1.0):
        nostril = ellipse(side * 0.48 * wide, tip + 0.055, 0.30 * wide, 0.028)
        sitting.fill(nostril, dark * 0.55, opacity=0.75, softness=0.01)
    shine = np.minimum(sitting.skin * 1.25 + 14, 255)
    sitting.fill(ellipse(-0.03 * away, tip - 0.08, 0.05, 0.07), shine, opacity=0.45, softness=0.03)


def paint_mouth(sitting: Sitting) -> None:
    """Paint the lips, open over the teeth in a broad smile."""
    person, y, smile = sitting.person, mouth_height(sitting), sitting.person.smile
    child = 1.0 - person.growth
    wide, corner = 0.34 - 0.09 * child + 0.10 * smile, y - 0.025 - 0.10 * smile
    thick = 0.095 - 0.02 * child + 0.03 * person.lip_colour + 0.02 * person.skin_tone
    gap = 0.19 * max(0.0, smile - _LEAST_OPEN)
    paint = _lip_colour(sitting)
    right = [(0, y - 0.75 * thick), (0.12, y - thick), (0.5 * wide, y - 0.6 * thick), (wide, corner)]
    right += [(0.55 * wide, y + gap + 0.75 * thick), (0, y + gap + 1.25 * thick + 0.02 * smile)]
    sitting.fill(smooth(closed_by_mirror(right)), paint, feature="lips", opacity=0.92, softness=0.012)
    line = smooth([(-wide, corner), (-0.5 * wide, y), (0, y + 0.01), (0.5 * wide, y), (wide, corner)], closed=False)
    if gap > 0.0:
        _paint_teeth(sitting, line, wide, gap)
    sitting.stroke([line], 0.024, sitting.dark_skin * 0.6, opacity=0.85, softness=0.006)
    shine = ellipse(0, y + gap + 0.6 * thick, 0.4 * wide, 0.25 * thick)
    sitting.fill(shine, np.minimum(paint * 1.3 + 25, 255), opacity=0.4, softness=0.02)
    below = ellipse(0, y + gap + 1.25 * thick + 0.09, 0.6 * wide, 0.045)
    sitting.fill(below, sitting.dark_skin, opacity=0.32, softness=0.03)
    for side in (-1.0, 1.0):
        dimple = ellipse(side * (wide + 0.02), corner + 0.01, 0.035, 0.045)
        sitting.fill(dimple, sitting.dark_skin, opacity=0.35 + 0.2 * smile, softness=0.018)


def _lip_colour(sitting: Sitting) -> np.ndarray:
    natural = sitting.skin * [0.86, 0.60, 0.58]
    lipstick = _LIPSTICK * (0.75 + 0.3 * (1.0 - sitting.person.skin_tone))
    return natural + (lipstick - natural) * 0.85 * sitting.person.lip_colour


def _paint_teeth(sitting: Sitting, line: Points, wide: float, gap: float) -> None:
    y = mouth_height(sitting)
    half = np.array([(0.78 * wide, y - 0.02), (0.45 * wide, y + 0.75 * gap), (0.0, y + gap)])
    bottom = smooth(np.concatenate([half, mirrored(half[1::-1])]), closed=False)
    inner = line[np.abs(line[:, 0]) < 0.8 * wide]
    sitting.fill(np.concatenate([inner, bottom]), _TEETH, feature="lips")
