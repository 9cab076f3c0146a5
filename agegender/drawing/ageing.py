"""Paints the signs of age on the skin: lines, folds, shadows, spots."""

from __future__ import annotations

import numpy as np

from agegender.drawing.geometry import Points, ellipse, mirrored, smooth
from agegender.drawing.layout import eye_centre, mouth_height
from agegender.drawing.sitting import Sitting

_LEAST_VISIBLE = 0.03


def paint_ageing(sitting: Sitting) -> None:
    """Paint every sign as strongly as the person has it."""
    _paint_forehead_lines(sitting)
    _paint_under_eyes(sitting)
    _paint_nasolabial_folds(sitting)
    _paint_crows_feet(sitting)
    _paint_jowls(sitting)
    _paint_spots(sitting)


def _paint_folds(sitting: Sitting, lines: list[Points], strength: float, feature: str) -> None:
    """Paint a soft shadow and a thin dark line in it, both growing with `strength`."""
    if strength < _LEAST_VISIBLE:
        return
    visible, dark = strength**1.1, sitting.dark_skin
    sitting.stroke(lines, 0.085, dark, feature=feature, opacity=0.48 * visible, softness=0.022)
    sitting.stroke(lines, 0.016 + 0.024 * strength, dark * 0.8, opacity=0.06 + 0.54 * visible)


def _paint_forehead_lines(sitting: Sitting) -> None:
    strength, generator = sitting.person.forehead_lines, sitting.generator
    lines = []
    for number in range(1 + int(3.99 * strength)):
        half = (0.30 + 0.28 * strength) * (1.0 - 0.09 * number) * generator.uniform(0.85, 1.1)
        heights = -0.55 - 0.125 * number + generator.normal(0.0, 0.015, 5) + np.array([0.02, -0.02, 0.01, -0.02, 0.02])
        lines.append(smooth(np.stack([np.linspace(-half, half, 5), heights], axis=1), closed=False))
    _paint_folds(sitting, lines, strength, "forehead_lines")
    frown = np.array([(0.07, -0.40), (0.055, -0.28), (0.07, -0.18)])
    _paint_folds(sitting, [frown, mirrored(frown)], max(0.0, strength - 0.25), "forehead_lines")


def _paint_under_eyes(sitting: Sitting) -> None:
    strength, (x, y) = sitting.person.under_eye, eye_centre(sitting)
    bag = np.array([(-0.22, 0.13), (-0.10, 0.215), (0.06, 0.235), (0.20, 0.17)]) + np.array([x, y])
    curves = [smooth(bag, closed=False)]
    if strength > 0.5:
        curves.append(smooth(bag * [0.95, 1.0] + np.array([0.02, 0.085]), closed=False))
    for side in (-1.0, 1.0):
        hollow, colour = ellipse(side * x, y + 0.19, 0.21, 0.06), sitting.dark_skin * [0.95, 0.95, 1.1]
        feature = "under_eye" if strength > 0.1 else None
        sitting.fill(hollow, colour, opacity=0.45 * strength, softness=0.035, feature=feature)
    _paint_folds(sitting, curves + [mirrored(curve) for curve in curves], strength, "under_eye")


def _paint_nasolabial_folds(sitting: Sitting) -> None:
    strength, y = sitting.person.nasolabial_folds, mouth_height(sitting)
    fold = [(0.22, 0.60 * y), (0.36, 0.76 * y), (0.45, 0.95 * y), (0.43, y + 0.05 + 0.16 * strength)]
    curves = [smooth(fold, closed=False)]
    if strength > 0.55:
        curves.append(np.array([(0.38, y + 0.14), (0.37, y + 0.22), (0.38, y + 0.30)]))
    _paint_folds(sitting, curves + [mirrored(curve) for curve in curves], strength, "nasolabial_folds")


def _paint_crows_feet(sitting: Sitting) -> None:
    strength, (x, y) = sitting.person.crows_feet, eye_centre(sitting)
    lines = []
    for angle in np.linspace(-0.5, 0.65, 2 + int(2.99 * strength)):
        start = np.array([x + 0.26, y + 0.10 * angle])
        reach = (0.10 + 0.16 * strength) * np.array([np.cos(angle), np.sin(angle)])
        lines.append(np.stack([start, start + 0.5 * reach + np.array([0.0, 0.012]), start + reach]))
    _paint_folds(sitting, lines + [mirrored(line) for line in lines], strength, "crows_feet")


def _paint_jowls(sitting: Sitting) -> None:
    strength, chin = sitting.person.jowls, sitting.chin
    if strength < _LEAST_VISIBLE:
        return
    sag = smooth(np.array([(0.50, 0.80), (0.55, 0.92), (0.72, 0.86), (0.68, 0.74)]) * [1.0, chin])
    skin = sitting.canvas.where("jaw", "skin")
    for shape in (sag, mirrored(sag)):
        sitting.fill(shape, sitting.dark_skin, opacity=0.45 * strength, softness=0.05, inside=skin)


def _paint_spots(sitting: Sitting) -> None:
    generator, skin = sitting.generator, sitting.canvas.where("skin", "forehead", "jaw")
    for _ in range(int(22 * sitting.person.spots)):
        x, y = generator.uniform(-0.85, 0.85), generator.choice((-1.0, 1.0)) * generator.uniform(0.35, 1.0)
        size = generator.uniform(0.025, 0.055)
        spot = ellipse(x, y, size, 0.8 * size, steps=10)
        sitting.fill(spot, sitting.dark_skin, feature="spots", opacity=0.5, softness=0.012, inside=skin)
