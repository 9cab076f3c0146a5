"""Paints eyes, brows, nose and mouth."""

from __future__ import annotations

import numpy as np

from agegender.sources.drawing.geometry import Points, ellipse, mirrored, smooth
from agegender.sources.drawing.sitting import Sitting

_IRIS_COLOURS = ((58, 36, 24), (86, 56, 30), (96, 112, 70), (78, 118, 158), (110, 130, 142))
_LIP_PAINT = np.array([188.0, 44.0, 66.0])


def paint_features(sitting: Sitting) -> None:
    """Paint the features of the face in the order in which they cover each other."""
    iris = np.array(_IRIS_COLOURS[_iris_index(sitting)], float)
    _paint_sockets(sitting)
    _paint_nose(sitting)
    _paint_mouth(sitting)
    for side in (-1.0, 1.0):
        _paint_eye(sitting, side, iris)
        _paint_brow(sitting, side)


def eye_centre(sitting: Sitting) -> tuple[float, float]:
    """Return where the right eye of the picture is in head coordinates; children's are lower and further apart."""
    child = 1.0 - sitting.person.growth
    return 0.45 + 0.02 * child, 0.02 + 0.08 * child


def mouth_height(sitting: Sitting) -> float:
    """Return the height of the mouth in head coordinates."""
    return 0.68 * float(sitting.outline[:, 1].max())


def _iris_index(sitting: Sitting) -> int:
    light = sitting.person.labels.ethnicity == "White"
    return int(sitting.generator.integers(0, 5 if light else 2))


def _eye_size(sitting: Sitting) -> tuple[float, float]:
    person = sitting.person
    child = 1.0 - person.growth
    width = 0.212 + 0.105 * child
    height = (0.115 + 0.125 * child) * (1.0 - 0.30 * person.eye_narrowness) * (1.0 - 0.42 * person.droop)
    return width, height * (1.0 - 0.15 * person.smile)


def _paint_sockets(sitting: Sitting) -> None:
    x, y = eye_centre(sitting)
    for side in (-1.0, 1.0):
        hollow = sitting.pose.on_face(ellipse(side * (x - 0.04), y - 0.10, 0.29, 0.17))
        sitting.canvas.fill(hollow, sitting.dark_skin, opacity=0.30, softness=0.09 * sitting.unit)


def _paint_eye(sitting: Sitting, side: float, iris: np.ndarray) -> None:
    canvas, pose, unit, person = sitting.canvas, sitting.pose, sitting.unit, sitting.person
    x, y = eye_centre(sitting)
    width, height = _eye_size(sitting)
    slant = 0.035 * person.eye_narrowness - 0.03 * person.droop
    upper = np.array(
        [
            (-width, 0.03),
            (-0.5 * width, -0.8 * height),
            (0.1 * width, -height),
            (0.65 * width, -0.62 * height),
            (width, -slant),
        ]
    )
    lower = np.array([(0.6 * width, 0.62 * height), (0.0, 0.78 * height), (-0.6 * width, 0.52 * height)])
    centre = np.array([x, y])
    place = lambda shape: pose.on_face((np.asarray(shape, float) + centre) * [side, 1.0])  # noqa: E731
    opening = smooth(np.concatenate([upper, lower]))
    canvas.fill(place(opening * 1.28), sitting.skin * 0.97, feature="eyes", opacity=0.5, softness=0.01 * unit)
    canvas.fill(place(opening), (244, 240, 236), feature="eyes")
    white = canvas.mask(place(opening))
    radius = 0.105 + 0.075 * (1.0 - person.growth)
    canvas.fill(place(ellipse(0.0, -0.12 * height, radius, radius)), iris, inside=white)
    canvas.fill(
        place(ellipse(0.0, 0.25 * radius, 0.62 * radius, 0.5 * radius)),
        iris * 1.5 + 12,
        inside=white,
        opacity=0.5,
        softness=0.012 * unit,
    )
    canvas.fill(place(ellipse(0.0, -0.12 * height, 0.5 * radius, 0.5 * radius)), (12, 10, 10), inside=white)
    shadow = np.concatenate([upper, upper[::-1] + [0.0, 0.5 * height]])
    canvas.fill(place(shadow), (60, 40, 40), opacity=0.35, softness=0.015 * unit, inside=white)
    glint = np.sign(sitting.scene.light[0] or 1.0) * side
    canvas.fill(
        place(ellipse(0.3 * radius * glint, -0.35 * radius - 0.12 * height, 0.2 * radius, 0.22 * radius)),
        (255, 255, 255),
        inside=white,
    )
    _paint_lids(sitting, place, smooth(upper, closed=False), lower, height)


def _paint_lids(sitting: Sitting, place, upper: Points, lower: Points, height: float) -> None:  # noqa: ANN001
    canvas, unit, person = sitting.canvas, sitting.unit, sitting.person
    lash = person.lash_weight
    colour = sitting.dark_skin * (1.0 - 0.7 * lash) * 0.75
    width = (0.028 + 0.045 * lash) * unit
    fold = upper * [1.04, 1.0] - [0.0, 0.055 + 0.035 * person.droop]
    canvas.stroke(
        [place(fold)], 0.024 * unit, sitting.dark_skin, opacity=0.45 + 0.4 * person.droop, softness=0.008 * unit
    )
    if lash > 0.3:
        painted = np.concatenate([upper, fold[::-1]])
        canvas.fill(
            place(painted),
            sitting.dark_skin * [0.9, 0.7, 0.85],
            feature="lashes",
            opacity=0.55 * lash,
            softness=0.012 * unit,
        )
    canvas.stroke([place(upper)], width, colour, feature="lashes")
    if lash > 0.3:
        ends = upper[len(upper) // 2 :: 3]
        outward = np.stack([0.02 + 0.35 * np.clip(ends[:, 0], 0, None), np.full(len(ends), -0.06)], axis=1) * lash
        canvas.stroke(
            [place([end, end + out]) for end, out in zip(ends, outward, strict=True)],
            0.022 * unit,
            (20, 16, 16),
            feature="lashes",
        )
    canvas.stroke([place(smooth(lower, closed=False))], 0.016 * unit, sitting.dark_skin, opacity=0.55)


def _paint_brow(sitting: Sitting, side: float) -> None:
    canvas, unit, person = sitting.canvas, sitting.unit, sitting.person
    x, y = eye_centre(sitting)
    weight = (0.045 + 0.080 * person.brow_weight) * (0.55 + 0.45 * person.growth)
    height = y - 0.27 - 0.06 * (1 - person.brow_weight) - 0.04 * (1 - person.growth)
    arch = 0.05 + 0.03 * (1.0 - person.brow_weight)
    top = [(x - 0.26, height - 0.02), (x - 0.05, height - 0.045), (x + 0.14, height - arch), (x + 0.31, height + 0.065)]
    bottom = [
        (x + 0.14, height - arch + 0.75 * weight),
        (x - 0.05, height + weight),
        (x - 0.25, height - 0.02 + weight),
    ]
    shape = smooth([*top, *bottom]) * [side, 1.0]
    colour = sitting.young_hair * 0.8 + (190.0 - sitting.young_hair * 0.8) * 0.75 * person.grey
    canvas.fill(
        sitting.pose.on_face(shape),
        colour,
        feature="brows",
        opacity=0.62 + 0.33 * person.brow_weight,
        softness=0.012 * unit,
    )
    starts = np.linspace(x - 0.24, x + 0.22, 10)
    hairs = []
    for start in starts:
        level = np.interp(start, [p[0] for p in top], [p[1] for p in top])
        hairs.append(
            sitting.pose.on_face(np.array([(start, level + weight), (start + 0.06, level - 0.01)]) * [side, 1.0])
        )
    canvas.stroke(hairs, 0.012 * unit, colour * 0.7, opacity=0.5)


def _paint_nose(sitting: Sitting) -> None:
    canvas, pose, unit, person, scene = sitting.canvas, sitting.pose, sitting.unit, sitting.person, sitting.scene
    child = 1.0 - person.growth
    tip = 0.40 * float(sitting.outline[:, 1].max()) - 0.03 * child
    wide = 0.185 + 0.05 * person.skin_tone - 0.065 * child
    top = -0.05 + 0.32 * child
    body = smooth(
        [
            (-0.08, top),
            (0.08, top),
            (0.10, tip - 0.2),
            (wide, tip - 0.02),
            (wide * 0.7, tip + 0.07),
            (0, tip + 0.10),
            (-wide * 0.7, tip + 0.07),
            (-wide, tip - 0.02),
            (-0.10, tip - 0.2),
        ]
    )
    nose = canvas.mask(pose.on_face(body))
    canvas.mark(nose, "nose", over=("skin", "jaw", "forehead"))
    away = -np.sign(scene.light[0] or 1.0)
    flank = smooth(
        [
            (0.05 * away, top),
            (0.10 * away, tip - 0.2),
            (wide * away, tip),
            (0.3 * wide * away, tip + 0.04),
            (0.05 * away, tip - 0.15),
        ]
    )
    canvas.fill(
        pose.on_face(flank), sitting.dark_skin, opacity=0.34 * scene.contrast * (1 - 0.5 * child), softness=0.035 * unit
    )
    under = smooth(
        [
            (-wide, tip + 0.04),
            (0, tip + 0.08),
            (wide, tip + 0.04),
            (0.6 * wide, tip + 0.13),
            (0, tip + 0.16),
            (-0.6 * wide, tip + 0.13),
        ]
    )
    canvas.fill(pose.on_face(under), sitting.dark_skin, opacity=0.45, softness=0.025 * unit)
    for side in (-1.0, 1.0):
        nostril = ellipse(side * 0.48 * wide, tip + 0.055, 0.30 * wide, 0.028)
        canvas.fill(pose.on_face(nostril), sitting.dark_skin * 0.55, opacity=0.75, softness=0.01 * unit)
        wing = smooth(
            [(side * wide * 0.80, tip - 0.10), (side * wide * 1.02, tip - 0.01), (side * wide * 0.80, tip + 0.07)],
            closed=False,
        )
        canvas.stroke([pose.on_face(wing)], 0.02 * unit, sitting.dark_skin, opacity=0.55, softness=0.008 * unit)
    canvas.fill(
        pose.on_face(ellipse(-0.03 * away, tip - 0.08, 0.05, 0.07)),
        np.minimum(sitting.skin * 1.25 + 14, 255),
        opacity=0.45,
        softness=0.03 * unit,
    )


def _paint_mouth(sitting: Sitting) -> None:
    canvas, pose, unit, person = sitting.canvas, sitting.pose, sitting.unit, sitting.person
    child = 1.0 - person.growth
    y, smile = mouth_height(sitting), person.smile
    wide = 0.34 - 0.09 * child + 0.10 * smile
    corner = y - 0.025 - 0.10 * smile
    thick = 0.095 - 0.02 * child + 0.03 * person.lip_colour + 0.02 * person.skin_tone
    gap = 0.19 * max(0.0, smile - 0.45)
    natural = sitting.skin * [0.86, 0.60, 0.58]
    paint = natural + (_LIP_PAINT * (0.75 + 0.3 * (1 - person.skin_tone)) - natural) * 0.85 * person.lip_colour
    upper = [
        (-wide, corner),
        (-0.5 * wide, y - 0.6 * thick),
        (-0.12, y - thick),
        (0, y - 0.75 * thick),
        (0.12, y - thick),
        (0.5 * wide, y - 0.6 * thick),
        (wide, corner),
    ]
    lower = [
        (0.55 * wide, y + gap + 0.75 * thick),
        (0, y + gap + 1.25 * thick + 0.02 * smile),
        (-0.55 * wide, y + gap + 0.75 * thick),
    ]
    canvas.fill(pose.on_face(smooth([*upper, *lower])), paint, feature="lips", opacity=0.92, softness=0.012 * unit)
    line = smooth([(-wide, corner), (-0.5 * wide, y), (0, y + 0.01), (0.5 * wide, y), (wide, corner)], closed=False)
    if gap > 0.0:
        _paint_teeth(sitting, line, wide, gap, y)
    canvas.stroke([pose.on_face(line)], 0.024 * unit, sitting.dark_skin * 0.6, opacity=0.85, softness=0.006 * unit)
    canvas.fill(
        pose.on_face(ellipse(0, y + gap + 0.6 * thick, 0.4 * wide, 0.25 * thick)),
        np.minimum(paint * 1.3 + 25, 255),
        opacity=0.4,
        softness=0.02 * unit,
    )
    canvas.fill(
        pose.on_face(ellipse(0, y + gap + 1.25 * thick + 0.09, 0.6 * wide, 0.045)),
        sitting.dark_skin,
        opacity=0.32,
        softness=0.03 * unit,
    )
    for side in (-1.0, 1.0):
        dimple = pose.on_face(ellipse(side * (wide + 0.02), corner + 0.01, 0.035, 0.045))
        canvas.fill(dimple, sitting.dark_skin, opacity=0.35 + 0.2 * smile, softness=0.018 * unit)


def _paint_teeth(sitting: Sitting, line: Points, wide: float, gap: float, y: float) -> None:
    bottom = smooth(
        [
            (0.78 * wide, y - 0.02),
            (0.45 * wide, y + 0.75 * gap),
            (0, y + gap),
            (-0.45 * wide, y + 0.75 * gap),
            (-0.78 * wide, y - 0.02),
        ],
        closed=False,
    )
    shape = np.concatenate([line[(np.abs(line[:, 0]) < 0.8 * wide)], bottom])
    sitting.canvas.fill(sitting.pose.on_face(shape), (246, 240, 230), feature="lips")


__all__ = ["eye_centre", "mirrored", "mouth_height", "paint_features"]
