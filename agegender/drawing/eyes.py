"""Paints eyes, lids, lashes and brows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from agegender.drawing.geometry import Points, ellipse, smooth
from agegender.drawing.layout import eye_centre, eye_size
from agegender.drawing.sitting import Sitting

_IRIS_COLOURS = np.array([(58, 36, 24), (86, 56, 30), (96, 112, 70), (78, 118, 158), (110, 130, 142)], float)
_EYE_WHITE = (244, 240, 236)
_MASCARA = (20, 16, 16)
_LEAST_MADE_UP = 0.3  # lash weight from which lashes stand out and the lid is painted

Place = Callable[[ArrayLike], Points]


def paint_eyes(sitting: Sitting) -> None:
    """Paint both eyes and brows."""
    x, y = eye_centre(sitting)
    is_light = sitting.person.labels.ethnicity == "White"
    iris = _IRIS_COLOURS[sitting.generator.integers(0, len(_IRIS_COLOURS) if is_light else 2)]
    for side in (-1.0, 1.0):
        socket = ellipse(side * (x - 0.04), y - 0.10, 0.29, 0.17)
        sitting.fill(socket, sitting.dark_skin, opacity=0.30, softness=0.09)
        _paint_eye(sitting, side, iris)
        _paint_brow(sitting, side)


def _paint_eye(sitting: Sitting, side: float, iris: np.ndarray) -> None:
    width, height = eye_size(sitting)
    slant = 0.035 * sitting.person.eye_narrowness - 0.03 * sitting.person.droop
    shares = np.array([(-1.0, 0.0), (-0.5, -0.8), (0.1, -1.0), (0.65, -0.62), (1.0, 0.0)])
    upper = shares * [width, height] + np.array([(0, 0.03), (0, 0), (0, 0), (0, 0), (0, -slant)])
    lower = np.array([(0.6, 0.62), (0.0, 0.78), (-0.6, 0.52)]) * [width, height]

    def place(points: ArrayLike) -> Points:
        return (np.asarray(points, float) + eye_centre(sitting)) * [side, 1.0]

    opening = smooth(np.concatenate([upper, lower]))
    sitting.fill(place(opening * 1.28), sitting.skin * 0.97, feature="eyes", opacity=0.5, softness=0.01)
    sitting.fill(place(opening), _EYE_WHITE, feature="eyes")
    white = sitting.canvas.mask(sitting.pose.on_face(place(opening)))
    _paint_iris(sitting, place, iris, height, white)
    shadow = np.concatenate([upper, upper[::-1] + np.array([0.0, 0.5 * height])])
    sitting.fill(place(shadow), (60, 40, 40), opacity=0.35, softness=0.015, inside=white)
    _paint_lids(sitting, place, smooth(upper, closed=False))
    sitting.stroke([place(smooth(lower, closed=False))], 0.016, sitting.dark_skin, opacity=0.55)


def _paint_iris(sitting: Sitting, place: Place, iris: np.ndarray, height: float, white: np.ndarray) -> None:
    radius, middle = 0.103 + 0.085 * (1.0 - sitting.person.growth), -0.12 * height
    # place() mirrors the left eye; the light must not be mirrored with it.
    towards_light = np.sign(sitting.scene.light[0] or 1.0) * np.sign(place([(0.0, 0.0)])[0, 0])
    sitting.fill(place(ellipse(0.0, middle, radius, radius)), iris, inside=white)
    glow = ellipse(0.0, 0.25 * radius, 0.62 * radius, 0.5 * radius)
    sitting.fill(place(glow), iris * 1.5 + 12, inside=white, opacity=0.5, softness=0.012)
    sitting.fill(place(ellipse(0.0, middle, 0.5 * radius, 0.5 * radius)), (12, 10, 10), inside=white)
    glint = ellipse(0.3 * radius * towards_light, middle - 0.35 * radius, 0.2 * radius, 0.22 * radius)
    sitting.fill(place(glint), (255, 255, 255), inside=white)


def _paint_lids(sitting: Sitting, place: Place, upper: Points) -> None:
    person, lash = sitting.person, sitting.person.lash_weight
    fold = upper * [1.04, 1.0] - [0.0, 0.055 + 0.035 * person.droop]
    sitting.stroke([place(fold)], 0.024, sitting.dark_skin, opacity=0.45 + 0.4 * person.droop, softness=0.008)
    if lash > _LEAST_MADE_UP:
        painted, colour = np.concatenate([upper, fold[::-1]]), sitting.dark_skin * [0.9, 0.7, 0.85]
        sitting.fill(place(painted), colour, feature="lashes", opacity=0.55 * lash, softness=0.012)
    colour = sitting.dark_skin * (1.0 - 0.7 * lash) * 0.75
    sitting.stroke([place(upper)], 0.028 + 0.045 * lash, colour, feature="lashes")
    if lash > _LEAST_MADE_UP:
        roots = upper[len(upper) // 2 :: 3]
        reach = lash * np.stack([0.02 + 0.35 * np.clip(roots[:, 0], 0, None), np.full(len(roots), -0.06)], axis=1)
        lashes = [place(np.stack([root, root + out])) for root, out in zip(roots, reach, strict=True)]
        sitting.stroke(lashes, 0.022, _MASCARA, feature="lashes")


def _paint_brow(sitting: Sitting, side: float) -> None:
    person, (x, y) = sitting.person, eye_centre(sitting)
    thin = 1.0 - person.brow_weight
    weight = (0.045 + 0.080 * person.brow_weight) * (0.55 + 0.45 * person.growth)
    height = y - 0.27 - 0.06 * thin - 0.04 * (1.0 - person.growth)
    arch = 0.05 + 0.03 * thin
    top = np.array([(-0.26, -0.02), (-0.05, -0.045), (0.14, -arch), (0.31, 0.065)]) + np.array([x, height])
    bottom = np.array([(0.14, 0.75 * weight - arch), (-0.05, weight), (-0.25, weight - 0.02)]) + np.array([x, height])
    young = sitting.young_hair * 0.8
    colour = young + (190.0 - young) * 0.75 * person.grey
    shape = smooth(np.concatenate([top, bottom])) * [side, 1.0]
    opacity = 0.62 + 0.33 * person.brow_weight
    sitting.fill(shape, colour, feature="brows", opacity=opacity, softness=0.012)
    starts = np.linspace(x - 0.24, x + 0.22, 10)
    levels = np.interp(starts, top[:, 0], top[:, 1])
    hairs = [
        np.array([(start, level + weight), (start + 0.06, level - 0.01)])
        for start, level in zip(starts, levels, strict=True)
    ]
    sitting.stroke([hair * [side, 1.0] for hair in hairs], 0.012, colour * 0.7, opacity=0.5)
