"""Paints beard and stubble, earrings, hair bow, glasses."""

from __future__ import annotations

import numpy as np

from agegender.sources.drawing.features import eye_centre, mouth_height
from agegender.sources.drawing.geometry import closed_by_mirror, ellipse, smooth
from agegender.sources.drawing.sitting import Sitting


def paint_beard(sitting: Sitting) -> None:
    """Paint stubble or a beard around the mouth, before the mouth."""
    strength = sitting.person.beard
    if strength < 0.03:
        return
    canvas, unit = sitting.canvas, sitting.unit
    chin, y = float(sitting.outline[:, 1].max()), mouth_height(sitting)
    full = strength > 0.7
    bottom = chin + (0.10 if full else 0.0)
    outer = [
        (0.0, y - 0.17),
        (0.30, y - 0.15),
        (0.50, y - 0.02),
        (0.80, 0.35),
        (0.97, 0.18),
        (0.96, 0.45),
        (0.80, 0.70 * chin),
        (0.42, 0.97 * bottom),
        (0.0, bottom),
    ]
    shape = sitting.pose.on_face(smooth(closed_by_mirror(outer)))
    within = canvas.where("skin", "jaw", "nose", "nasolabial_folds", "spots", *(("neck",) if full else ()))
    colour = (
        sitting.young_hair * 0.9 + (np.array([196.0, 196.0, 196.0]) - sitting.young_hair * 0.9) * sitting.person.grey
    )
    opacity = 0.9 if full else 0.28 + 0.5 * strength
    canvas.fill(
        shape, colour, feature="beard", opacity=opacity, softness=(0.03 if full else 0.06) * unit, inside=within
    )
    _bristles(sitting, colour, full)


def _bristles(sitting: Sitting, colour: np.ndarray, full: bool) -> None:
    canvas, generator, unit = sitting.canvas, sitting.generator, sitting.unit
    beard = canvas.where("beard")
    rows, columns = np.nonzero(beard)
    if not len(rows):
        return
    chosen = generator.integers(0, len(rows), 220 if full else 150)
    length = (0.10 if full else 0.012) * unit
    ends = np.stack([columns[chosen], rows[chosen]], axis=1).astype(float)
    slopes = generator.normal(0.0, 0.3, (len(chosen), 2)) + [0.0, 1.0]
    lines = [np.array([end, end + length * slope]) for end, slope in zip(ends, slopes, strict=True)]
    light = generator.random(len(lines)) < 0.3 + 0.4 * sitting.person.grey
    for bright, paint in ((False, colour * 0.6), (True, np.minimum(colour * 1.35 + 10, 240))):
        chosen_lines = [line for line, is_light in zip(lines, light, strict=True) if is_light == bright]
        canvas.stroke(
            chosen_lines or lines[:1],
            (0.016 if full else 0.01) * unit,
            paint,
            opacity=0.5 if full else 0.3,
            inside=beard,
        )


def paint_earrings(sitting: Sitting) -> None:
    """Paint a pair of earrings."""
    if not sitting.person.has_earrings:
        return
    canvas, unit = sitting.canvas, sitting.unit
    metal = np.array([232.0, 190.0, 84.0]) if sitting.generator.random() < 0.6 else np.array([214.0, 220.0, 228.0])
    for side in (-1.0, 1.0):
        drop = ellipse(side * 1.09, 0.56, 0.085, 0.13)
        canvas.fill(sitting.pose.on_head(drop), metal * 0.8, feature="earrings")
        canvas.fill(
            sitting.pose.on_head(drop * [1, 1] - [0.02, 0.03]),
            np.minimum(metal * 1.15, 255),
            softness=0.02 * unit,
            opacity=0.7,
        )


def paint_hair_bow(sitting: Sitting) -> None:
    """Paint a bow on the hair."""
    if not sitting.person.has_hair_bow:
        return
    colour = sitting.generator.choice(
        np.array([(224, 72, 110), (246, 196, 70), (120, 90, 200), (238, 120, 90), (70, 150, 190)])
    )
    x, y = 0.52, float(sitting.outline[:, 1].min()) + 0.12
    for side in (-1.0, 1.0):
        wing = smooth(np.array([(0.03, 0.0), (0.22, -0.20), (0.34, -0.02), (0.24, 0.17)]) * [side, 1.0] + [x, y])
        sitting.canvas.fill(sitting.pose.on_head(wing), colour, feature="hair_bow")
        fold = np.array([(0.05, 0.0), (0.20, -0.04)]) * [side, 1.0] + [x, y]
        sitting.canvas.stroke([sitting.pose.on_head(fold)], 0.03 * sitting.unit, np.asarray(colour) * 0.7, opacity=0.7)
    sitting.canvas.fill(sitting.pose.on_head(ellipse(x, y, 0.07, 0.08)), np.asarray(colour) * 0.8, feature="hair_bow")


def paint_glasses(sitting: Sitting) -> None:
    """Paint the scene's glasses over everything else on the face."""
    kind = sitting.scene.glasses
    if kind == "none":
        return
    canvas, pose, unit = sitting.canvas, sitting.pose, sitting.unit
    x, y = eye_centre(sitting)
    frame = np.asarray(sitting.scene.clothes_colours[1]) * 0.45 if kind != "dark" else np.array([24.0, 22.0, 24.0])
    for side in (-1.0, 1.0):
        if kind == "round":
            rim = ellipse(side * x, y + 0.04, 0.33, 0.32)
        else:
            rim = smooth(
                np.array(
                    [
                        (x - 0.34, y - 0.16),
                        (x, y - 0.19),
                        (x + 0.36, y - 0.17),
                        (x + 0.32, y + 0.20),
                        (x, y + 0.27),
                        (x - 0.28, y + 0.21),
                    ]
                )
                * [side, 1.0]
            )
        canvas.fill(pose.on_face(rim), (235, 242, 250), opacity=0.10)
        closed = np.concatenate([rim, rim[:1]])
        temple = np.array([(x + 0.33, y - 0.08), (1.08, y - 0.06)]) * [side, 1.0]
        canvas.stroke(
            [pose.on_face(closed), np.concatenate([pose.on_face(temple[:1]), pose.on_head(temple[1:])])],
            (0.075 if kind == "dark" else 0.045) * unit,
            frame,
            feature="glasses",
        )
    bridge = smooth([(-x + 0.31, y - 0.02), (0.0, y - 0.10), (x - 0.31, y - 0.02)], closed=False)
    canvas.stroke([pose.on_face(bridge)], 0.05 * unit, frame, feature="glasses")
