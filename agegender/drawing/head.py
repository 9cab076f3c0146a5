"""Paints the head without its hair: skin and light, signs of age, nose, mouth, eyes, lids and brows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from agegender.drawing.canvas import Mask, Points, blurred, closed_by_mirror, ellipse, mirrored, moved, smooth
from agegender.drawing.portrait import LEAST_VISIBLE, Portrait

_EAR = np.array([(0.96, -0.12), (1.14, -0.20), (1.20, 0.05), (1.10, 0.36), (0.97, 0.42)])
_INNER_EAR = np.array([(1.02, -0.04), (1.11, -0.09), (1.13, 0.06), (1.05, 0.24)])
_FOREHEAD_ENDS = -0.42  # in head coordinates
_JAW_BEGINS = 0.60  # of the height of the chin
_LIPSTICK = np.array([188.0, 44.0, 66.0])
_TEETH = (246, 240, 230)
_LEAST_OPEN = 0.45  # smile from which the teeth show
_IRIS_COLOURS = np.array([(58, 36, 24), (86, 56, 30), (96, 112, 70), (78, 118, 158), (110, 130, 142)], float)
_EYE_WHITE = (244, 240, 236)
_MASCARA = (20, 16, 16)
_LEAST_MADE_UP = 0.3  # lash weight from which lashes stand out and the lid is painted

Place = Callable[[ArrayLike], Points]


def paint_head(portrait: Portrait) -> None:
    """Paint ears and face with the light on them."""
    _paint_ears(portrait)
    edge = portrait.pose.on_head(portrait.outline)
    portrait.canvas.fill(edge, portrait.skin, feature="skin")
    face = portrait.canvas.mask(edge)
    _mark_regions(portrait)
    _shade_edges(portrait, face)
    _colour_cheeks(portrait, face)


def _paint_ears(portrait: Portrait) -> None:
    canvas, pose = portrait.canvas, portrait.pose
    for side in (-1.0, 1.0):
        hidden = np.array([side * max(0.0, side * portrait.scene.turn) / 3.0, 0.0])
        ear, inner = (pose.on_head(smooth(shape * [side, 1.0]) - hidden) for shape in (_EAR, _INNER_EAR))
        canvas.fill(ear, portrait.skin * [0.95, 0.90, 0.88], feature="ears")
        canvas.fill(inner, portrait.dark_skin, opacity=0.4, softness=0.025 * portrait.unit)


def _mark_regions(portrait: Portrait) -> None:
    canvas, chin = portrait.canvas, portrait.chin
    for feature, top, bottom in (("forehead", -2.0, _FOREHEAD_ENDS), ("jaw", _JAW_BEGINS * chin, 1.3 * chin)):
        band = [(-1.3, top), (1.3, top), (1.3, bottom), (-1.3, bottom)]
        canvas.mark(canvas.mask(portrait.pose.on_face(band)), feature, over=("skin",))


def _shade_edges(portrait: Portrait, face: Mask) -> None:
    """Darken the side away from the light and lighten the other, as on a ball."""
    canvas, unit, light = portrait.canvas, portrait.unit, np.asarray(portrait.scene.light)
    towards = 0.20 * unit * light
    lit = blurred(moved(face, towards[0], towards[1]), 0.20 * unit)
    canvas.shade(face * (1.0 - lit), list(1.0 - portrait.scene.contrast * np.array([0.46, 0.59, 0.62])))
    glow = portrait.pose.on_face(ellipse(0.45 * light[0], -0.35 + 0.22 * light[1], 0.55, 0.5))
    canvas.shade(canvas.mask(glow, softness=0.25 * unit) * face, 1.0 + 0.07 * portrait.scene.contrast)


def _colour_cheeks(portrait: Portrait, face: Mask) -> None:
    child = 1.0 - portrait.person.growth
    blush = 0.12 + 0.26 * child
    for side in (-1.0, 1.0):
        cheek = ellipse(0.56 * side, 0.50 - 0.08 * child, 0.26, 0.2)
        portrait.fill(cheek, portrait.skin * [1.0, 0.66, 0.62], opacity=blush, softness=0.11, inside=face)


def paint_ageing(portrait: Portrait) -> None:
    """Paint every sign as strongly as the person has it."""
    _paint_forehead_lines(portrait)
    _paint_under_eyes(portrait)
    _paint_nasolabial_folds(portrait)
    _paint_crows_feet(portrait)
    _paint_jowls(portrait)
    _paint_spots(portrait)


def _paint_folds(portrait: Portrait, lines: list[Points], strength: float, feature: str) -> None:
    """Paint a soft shadow and a thin dark line in it, both growing with `strength`."""
    if strength < LEAST_VISIBLE:
        return
    visible, dark = strength**1.1, portrait.dark_skin
    portrait.stroke(lines, 0.085, dark, feature=feature, opacity=0.48 * visible, softness=0.022)
    portrait.stroke(lines, 0.016 + 0.024 * strength, dark * 0.8, opacity=0.06 + 0.54 * visible)


def _paint_forehead_lines(portrait: Portrait) -> None:
    strength, generator = portrait.person.forehead_lines, portrait.generator
    lines = []
    for number in range(1 + int(3.99 * strength)):
        half = (0.30 + 0.28 * strength) * (1.0 - 0.09 * number) * generator.uniform(0.85, 1.1)
        heights = -0.55 - 0.125 * number + generator.normal(0.0, 0.015, 5) + np.array([0.02, -0.02, 0.01, -0.02, 0.02])
        lines.append(smooth(np.stack([np.linspace(-half, half, 5), heights], axis=1), closed=False))
    _paint_folds(portrait, lines, strength, "forehead_lines")
    frown = np.array([(0.07, -0.40), (0.055, -0.28), (0.07, -0.18)])
    _paint_folds(portrait, [frown, mirrored(frown)], max(0.0, strength - 0.25), "forehead_lines")


def _paint_under_eyes(portrait: Portrait) -> None:
    strength, (x, y) = portrait.person.under_eye, portrait.eye_centre
    bag = np.array([(-0.22, 0.13), (-0.10, 0.215), (0.06, 0.235), (0.20, 0.17)]) + np.array([x, y])
    curves = [smooth(bag, closed=False)]
    if strength > 0.5:
        curves.append(smooth(bag * [0.95, 1.0] + np.array([0.02, 0.085]), closed=False))
    for side in (-1.0, 1.0):
        hollow, colour = ellipse(side * x, y + 0.19, 0.21, 0.06), portrait.dark_skin * [0.95, 0.95, 1.1]
        feature = "under_eye" if strength > 0.1 else None
        portrait.fill(hollow, colour, opacity=0.45 * strength, softness=0.035, feature=feature)
    _paint_folds(portrait, curves + [mirrored(curve) for curve in curves], strength, "under_eye")


def _paint_nasolabial_folds(portrait: Portrait) -> None:
    strength, y = portrait.person.nasolabial_folds, portrait.mouth_height
    fold = [(0.22, 0.60 * y), (0.36, 0.76 * y), (0.45, 0.95 * y), (0.43, y + 0.05 + 0.16 * strength)]
    curves = [smooth(fold, closed=False)]
    if strength > 0.55:
        curves.append(np.array([(0.38, y + 0.14), (0.37, y + 0.22), (0.38, y + 0.30)]))
    _paint_folds(portrait, curves + [mirrored(curve) for curve in curves], strength, "nasolabial_folds")


def _paint_crows_feet(portrait: Portrait) -> None:
    strength, (x, y) = portrait.person.crows_feet, portrait.eye_centre
    lines = []
    for angle in np.linspace(-0.5, 0.65, 2 + int(2.99 * strength)):
        start = np.array([x + 0.26, y + 0.10 * angle])
        reach = (0.10 + 0.16 * strength) * np.array([np.cos(angle), np.sin(angle)])
        lines.append(np.stack([start, start + 0.5 * reach + np.array([0.0, 0.012]), start + reach]))
    _paint_folds(portrait, lines + [mirrored(line) for line in lines], strength, "crows_feet")


def _paint_jowls(portrait: Portrait) -> None:
    strength, chin = portrait.person.jowls, portrait.chin
    if strength < LEAST_VISIBLE:
        return
    sag = smooth(np.array([(0.50, 0.80), (0.55, 0.92), (0.72, 0.86), (0.68, 0.74)]) * [1.0, chin])
    skin = portrait.canvas.where("jaw", "skin")
    for shape in (sag, mirrored(sag)):
        portrait.fill(shape, portrait.dark_skin, opacity=0.45 * strength, softness=0.05, inside=skin)


def _paint_spots(portrait: Portrait) -> None:
    generator, skin = portrait.generator, portrait.canvas.where("skin", "forehead", "jaw")
    for _ in range(int(22 * portrait.person.spots)):
        x, y = generator.uniform(-0.85, 0.85), generator.choice((-1.0, 1.0)) * generator.uniform(0.35, 1.0)
        size = generator.uniform(0.025, 0.055)
        spot = ellipse(x, y, size, 0.8 * size, steps=10)
        portrait.fill(spot, portrait.dark_skin, feature="spots", opacity=0.5, softness=0.012, inside=skin)


def paint_nose(portrait: Portrait) -> None:
    """Paint the nose by its shadows; it is small and its bridge flat in children."""
    person, dark = portrait.person, portrait.dark_skin
    child = 1.0 - person.growth
    tip, top = 0.40 * portrait.chin - 0.03 * child, -0.05 + 0.32 * child
    wide = 0.185 + 0.05 * person.skin_tone - 0.065 * child
    ridge = [(0, top), (0.08, top), (0.10, tip - 0.2), (wide, tip - 0.02), (0.7 * wide, tip + 0.07), (0, tip + 0.10)]
    nose = portrait.canvas.mask(portrait.pose.on_face(smooth(closed_by_mirror(ridge))))
    portrait.canvas.mark(nose, "nose", over=("skin", "jaw", "forehead", "nasolabial_folds", "under_eye"))
    away = -np.sign(portrait.scene.light[0] or 1.0)
    flank = [(0.05, top), (0.10, tip - 0.2), (wide, tip), (0.3 * wide, tip + 0.04), (0.05, tip - 0.15)]
    depth = 0.34 * portrait.scene.contrast * (1.0 - 0.5 * child)
    portrait.fill(smooth(np.array(flank) * [away, 1.0]), dark, opacity=depth, softness=0.035)
    under = [(0, tip + 0.08), (wide, tip + 0.04), (0.6 * wide, tip + 0.13), (0, tip + 0.16)]
    portrait.fill(smooth(closed_by_mirror(under)), dark, opacity=0.45, softness=0.025)
    wing = smooth([(0.80 * wide, tip - 0.10), (1.02 * wide, tip - 0.01), (0.80 * wide, tip + 0.07)], closed=False)
    portrait.stroke([wing, mirrored(wing)], 0.02, dark, opacity=0.55, softness=0.008)
    for side in (-1.0, 1.0):
        nostril = ellipse(side * 0.48 * wide, tip + 0.055, 0.30 * wide, 0.028)
        portrait.fill(nostril, dark * 0.55, opacity=0.75, softness=0.01)
    shine = np.minimum(portrait.skin * 1.25 + 14, 255)
    portrait.fill(ellipse(-0.03 * away, tip - 0.08, 0.05, 0.07), shine, opacity=0.45, softness=0.03)


def paint_mouth(portrait: Portrait) -> None:
    """Paint the lips, open over the teeth in a broad smile."""
    person, y, smile = portrait.person, portrait.mouth_height, portrait.person.smile
    child = 1.0 - person.growth
    wide, corner = 0.34 - 0.09 * child + 0.10 * smile, y - 0.025 - 0.10 * smile
    thick = 0.095 - 0.02 * child + 0.03 * person.lip_colour + 0.02 * person.skin_tone
    gap = 0.19 * max(0.0, smile - _LEAST_OPEN)
    paint = _lip_colour(portrait)
    right = [(0, y - 0.75 * thick), (0.12, y - thick), (0.5 * wide, y - 0.6 * thick), (wide, corner)]
    right += [(0.55 * wide, y + gap + 0.75 * thick), (0, y + gap + 1.25 * thick + 0.02 * smile)]
    portrait.fill(smooth(closed_by_mirror(right)), paint, feature="lips", opacity=0.92, softness=0.012)
    line = smooth([(-wide, corner), (-0.5 * wide, y), (0, y + 0.01), (0.5 * wide, y), (wide, corner)], closed=False)
    if gap > 0.0:
        _paint_teeth(portrait, line, wide, gap)
    portrait.stroke([line], 0.024, portrait.dark_skin * 0.6, opacity=0.85, softness=0.006)
    shine = ellipse(0, y + gap + 0.6 * thick, 0.4 * wide, 0.25 * thick)
    portrait.fill(shine, np.minimum(paint * 1.3 + 25, 255), opacity=0.4, softness=0.02)
    below = ellipse(0, y + gap + 1.25 * thick + 0.09, 0.6 * wide, 0.045)
    portrait.fill(below, portrait.dark_skin, opacity=0.32, softness=0.03)
    for side in (-1.0, 1.0):
        dimple = ellipse(side * (wide + 0.02), corner + 0.01, 0.035, 0.045)
        portrait.fill(dimple, portrait.dark_skin, opacity=0.35 + 0.2 * smile, softness=0.018)


def _lip_colour(portrait: Portrait) -> np.ndarray:
    natural = portrait.skin * [0.86, 0.60, 0.58]
    lipstick = _LIPSTICK * (0.75 + 0.3 * (1.0 - portrait.person.skin_tone))
    return natural + (lipstick - natural) * 0.85 * portrait.person.lip_colour


def _paint_teeth(portrait: Portrait, line: Points, wide: float, gap: float) -> None:
    y = portrait.mouth_height
    half = np.array([(0.78 * wide, y - 0.02), (0.45 * wide, y + 0.75 * gap), (0.0, y + gap)])
    bottom = smooth(np.concatenate([half, mirrored(half[1::-1])]), closed=False)
    inner = line[np.abs(line[:, 0]) < 0.8 * wide]
    portrait.fill(np.concatenate([inner, bottom]), _TEETH, feature="lips")


def paint_eyes(portrait: Portrait) -> None:
    """Paint both eyes and brows."""
    x, y = portrait.eye_centre
    is_light = portrait.person.labels.ethnicity == "White"
    iris = _IRIS_COLOURS[portrait.generator.integers(0, len(_IRIS_COLOURS) if is_light else 2)]
    for side in (-1.0, 1.0):
        socket = ellipse(side * (x - 0.04), y - 0.10, 0.29, 0.17)
        portrait.fill(socket, portrait.dark_skin, opacity=0.30, softness=0.09)
        _paint_eye(portrait, side, iris)
        _paint_brow(portrait, side)


def _paint_eye(portrait: Portrait, side: float, iris: np.ndarray) -> None:
    width, height = portrait.eye_size
    slant = 0.035 * portrait.person.eye_narrowness - 0.03 * portrait.person.droop
    shares = np.array([(-1.0, 0.0), (-0.5, -0.8), (0.1, -1.0), (0.65, -0.62), (1.0, 0.0)])
    upper = shares * [width, height] + np.array([(0, 0.03), (0, 0), (0, 0), (0, 0), (0, -slant)])
    lower = np.array([(0.6, 0.62), (0.0, 0.78), (-0.6, 0.52)]) * [width, height]

    def place(points: ArrayLike) -> Points:
        return (np.asarray(points, float) + portrait.eye_centre) * [side, 1.0]

    opening = smooth(np.concatenate([upper, lower]))
    portrait.fill(place(opening * 1.28), portrait.skin * 0.97, feature="eyes", opacity=0.5, softness=0.01)
    portrait.fill(place(opening), _EYE_WHITE, feature="eyes")
    white = portrait.canvas.mask(portrait.pose.on_face(place(opening)))
    _paint_iris(portrait, place, iris, height, white)
    shadow = np.concatenate([upper, upper[::-1] + np.array([0.0, 0.5 * height])])
    portrait.fill(place(shadow), (60, 40, 40), opacity=0.35, softness=0.015, inside=white)
    _paint_lids(portrait, place, smooth(upper, closed=False))
    portrait.stroke([place(smooth(lower, closed=False))], 0.016, portrait.dark_skin, opacity=0.55)


def _paint_iris(portrait: Portrait, place: Place, iris: np.ndarray, height: float, white: np.ndarray) -> None:
    radius, middle = 0.103 + 0.085 * (1.0 - portrait.person.growth), -0.12 * height
    # place() mirrors the left eye; the light must not be mirrored with it.
    towards_light = np.sign(portrait.scene.light[0] or 1.0) * np.sign(place([(0.0, 0.0)])[0, 0])
    portrait.fill(place(ellipse(0.0, middle, radius, radius)), iris, inside=white)
    glow = ellipse(0.0, 0.25 * radius, 0.62 * radius, 0.5 * radius)
    portrait.fill(place(glow), iris * 1.5 + 12, inside=white, opacity=0.5, softness=0.012)
    portrait.fill(place(ellipse(0.0, middle, 0.5 * radius, 0.5 * radius)), (12, 10, 10), inside=white)
    glint = ellipse(0.3 * radius * towards_light, middle - 0.35 * radius, 0.2 * radius, 0.22 * radius)
    portrait.fill(place(glint), (255, 255, 255), inside=white)


def _paint_lids(portrait: Portrait, place: Place, upper: Points) -> None:
    person, lash = portrait.person, portrait.person.lash_weight
    fold = upper * [1.04, 1.0] - [0.0, 0.055 + 0.035 * person.droop]
    portrait.stroke([place(fold)], 0.024, portrait.dark_skin, opacity=0.45 + 0.4 * person.droop, softness=0.008)
    if lash > _LEAST_MADE_UP:
        painted, colour = np.concatenate([upper, fold[::-1]]), portrait.dark_skin * [0.9, 0.7, 0.85]
        portrait.fill(place(painted), colour, feature="lashes", opacity=0.55 * lash, softness=0.012)
    colour = portrait.dark_skin * (1.0 - 0.7 * lash) * 0.75
    portrait.stroke([place(upper)], 0.028 + 0.045 * lash, colour, feature="lashes")
    if lash > _LEAST_MADE_UP:
        roots = upper[len(upper) // 2 :: 3]
        reach = lash * np.stack([0.02 + 0.35 * np.clip(roots[:, 0], 0, None), np.full(len(roots), -0.06)], axis=1)
        lashes = [place(np.stack([root, root + out])) for root, out in zip(roots, reach, strict=True)]
        portrait.stroke(lashes, 0.022, _MASCARA, feature="lashes")


def _paint_brow(portrait: Portrait, side: float) -> None:
    person, (x, y) = portrait.person, portrait.eye_centre
    thin = 1.0 - person.brow_weight
    weight = (0.045 + 0.080 * person.brow_weight) * (0.55 + 0.45 * person.growth)
    height = y - 0.27 - 0.06 * thin - 0.04 * (1.0 - person.growth)
    arch = 0.05 + 0.03 * thin
    top = np.array([(-0.26, -0.02), (-0.05, -0.045), (0.14, -arch), (0.31, 0.065)]) + np.array([x, height])
    bottom = np.array([(0.14, 0.75 * weight - arch), (-0.05, weight), (-0.25, weight - 0.02)]) + np.array([x, height])
    young = portrait.young_hair * 0.8
    colour = young + (190.0 - young) * 0.75 * person.grey
    shape = smooth(np.concatenate([top, bottom])) * [side, 1.0]
    opacity = 0.62 + 0.33 * person.brow_weight
    portrait.fill(shape, colour, feature="brows", opacity=opacity, softness=0.012)
    starts = np.linspace(x - 0.24, x + 0.22, 10)
    levels = np.interp(starts, top[:, 0], top[:, 1])
    hairs = [
        np.array([(start, level + weight), (start + 0.06, level - 0.01)])
        for start, level in zip(starts, levels, strict=True)
    ]
    portrait.stroke([hair * [side, 1.0] for hair in hairs], 0.012, colour * 0.7, opacity=0.5)
