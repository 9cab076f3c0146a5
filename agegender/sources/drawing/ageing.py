"""Paints the signs of age on the skin: lines, folds, shadows, spots."""

from __future__ import annotations

import numpy as np

from agegender.sources.drawing.features import eye_centre, mouth_height
from agegender.sources.drawing.geometry import ellipse, smooth
from agegender.sources.drawing.sitting import Sitting


def paint_ageing(sitting: Sitting) -> None:
    """Paint every sign as strongly as the person has it."""
    _forehead_lines(sitting)
    _under_eye(sitting)
    _nasolabial_folds(sitting)
    _crows_feet(sitting)
    _jowls(sitting)
    _spots(sitting)


def _fold(sitting: Sitting, lines: list[np.ndarray], strength: float, feature: str) -> None:
    """Paint lines as folds: a soft shadow and a thin dark line in it, both growing with `strength`."""
    if strength < 0.03:
        return
    canvas, unit = sitting.canvas, sitting.unit
    placed = [sitting.pose.on_face(line) for line in lines]
    visible = strength**1.25
    canvas.stroke(
        placed, 0.085 * unit, sitting.dark_skin, feature=feature, opacity=0.48 * visible, softness=0.022 * unit
    )
    canvas.stroke(placed, (0.016 + 0.024 * strength) * unit, sitting.dark_skin * 0.8, opacity=0.08 + 0.66 * visible)


def _forehead_lines(sitting: Sitting) -> None:
    strength = sitting.person.forehead_lines
    lines = []
    for number in range(1 + int(3.99 * strength)):
        y = -0.55 - 0.125 * number
        half = (0.30 + 0.28 * strength) * (1.0 - 0.09 * number) * sitting.generator.uniform(0.85, 1.1)
        bend = sitting.generator.normal(0.0, 0.015, 5) + [0.02, -0.02, 0.01, -0.02, 0.02]
        lines.append(smooth(np.stack([np.linspace(-half, half, 5), y + bend], axis=1), closed=False))
    _fold(sitting, lines, strength, "forehead_lines")
    frown = [np.array([(side * 0.07, -0.40), (side * 0.055, -0.28), (side * 0.07, -0.18)]) for side in (-1.0, 1.0)]
    _fold(sitting, frown, max(0.0, strength - 0.25), "forehead_lines")


def _under_eye(sitting: Sitting) -> None:
    strength = sitting.person.under_eye
    x, y = eye_centre(sitting)
    lines = []
    for side in (-1.0, 1.0):
        bag = np.array([(x - 0.22, y + 0.13), (x - 0.1, y + 0.215), (x + 0.06, y + 0.235), (x + 0.2, y + 0.17)]) * [
            side,
            1.0,
        ]
        lines.append(smooth(bag, closed=False))
        if strength > 0.5:
            lines.append(smooth(bag * [0.95, 1.0] + [side * 0.02, 0.085], closed=False))
        shadow = sitting.pose.on_face(ellipse(side * x, y + 0.19, 0.21, 0.06))
        sitting.canvas.fill(
            shadow,
            sitting.dark_skin * [0.95, 0.95, 1.1],
            opacity=0.45 * strength,
            softness=0.035 * sitting.unit,
            feature="under_eye" if strength > 0.1 else None,
        )
    _fold(sitting, lines, strength, "under_eye")


def _nasolabial_folds(sitting: Sitting) -> None:
    strength = sitting.person.nasolabial_folds
    y = mouth_height(sitting)
    lines = []
    for side in (-1.0, 1.0):
        fold = [(0.22, 0.60 * y), (0.36, 0.76 * y), (0.45, 0.95 * y), (0.43, y + 0.05 + 0.16 * strength)]
        lines.append(smooth(np.array(fold) * [side, 1.0], closed=False))
        if strength > 0.55:
            lines.append(np.array([(0.38, y + 0.14), (0.37, y + 0.22), (0.38, y + 0.30)]) * [side, 1.0])
    _fold(sitting, lines, strength, "nasolabial_folds")


def _crows_feet(sitting: Sitting) -> None:
    strength = sitting.person.crows_feet
    x, y = eye_centre(sitting)
    lines = []
    for side in (-1.0, 1.0):
        for angle in np.linspace(-0.5, 0.65, 2 + int(2.99 * strength)):
            start = np.array([x + 0.26, y + 0.10 * angle])
            reach = (0.10 + 0.16 * strength) * np.array([np.cos(angle), np.sin(angle)])
            lines.append(np.array([start, start + 0.5 * reach + [0.0, 0.012], start + reach]) * [side, 1.0])
    _fold(sitting, lines, strength, "crows_feet")


def _jowls(sitting: Sitting) -> None:
    strength = sitting.person.jowls
    chin = float(sitting.outline[:, 1].max())
    for side in (-1.0, 1.0):
        sag = smooth(
            np.array([(0.50, 0.80 * chin), (0.55, 0.92 * chin), (0.72, 0.86 * chin), (0.68, 0.74 * chin)]) * [side, 1.0]
        )
        sitting.canvas.fill(
            sitting.pose.on_face(sag),
            sitting.dark_skin,
            opacity=0.45 * strength,
            softness=0.05 * sitting.unit,
            inside=sitting.canvas.where("jaw", "skin"),
        )


def _spots(sitting: Sitting) -> None:
    skin = sitting.canvas.where("skin", "forehead", "jaw")
    for _ in range(int(22 * sitting.person.spots)):
        x, y = (
            sitting.generator.uniform(-0.85, 0.85),
            sitting.generator.choice((-1.0, 1.0)) * sitting.generator.uniform(0.35, 1.0),
        )
        size = sitting.generator.uniform(0.025, 0.055)
        spot = sitting.pose.on_face(ellipse(x, y, size, 0.8 * size, steps=10))
        sitting.canvas.fill(
            spot, sitting.dark_skin, feature="spots", opacity=0.5, softness=0.012 * sitting.unit, inside=skin
        )
