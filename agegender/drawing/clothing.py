"""Paints what a person wears, and the neck that it is worn on: clothes, collar, earrings, hair bow, glasses."""

from __future__ import annotations

import numpy as np

from agegender.drawing.canvas import closed_by_mirror, ellipse, mirrored, smooth
from agegender.drawing.portrait import Colour, Portrait

_COLLAR_DEPTHS = {"v": (0.73, 0.97), "round": (0.62, 0.67), "hood": (0.62, 0.67)}
_GOLD, _SILVER = np.array([232.0, 190.0, 84.0]), np.array([214.0, 220.0, 228.0])
_BOW_COLOURS = np.array([(224, 72, 110), (246, 196, 70), (120, 90, 200), (238, 120, 90), (70, 150, 190)], float)
_GLASS = (235, 242, 250)


def paint_body(portrait: Portrait) -> None:
    """Paint shoulders, clothes, neck and the shadow of the chin on it."""
    child, chin = 1.0 - portrait.person.growth, portrait.chin
    neck = 0.52 - 0.10 * child
    width = 2.15 - 0.55 * child
    cloth = np.asarray(portrait.scene.clothes_colours[0])
    shoulders = [(0.0, chin + 0.35), (neck + 0.12, chin + 0.36), (0.75 * width, chin + 0.62), (width, chin + 1.1)]
    outline = smooth(closed_by_mirror([*shoulders, (width, 4.0), (0.0, 4.0)]))
    portrait.canvas.fill(portrait.pose.on_body(outline), cloth, feature="clothes")
    away = -np.sign(portrait.scene.light[0] or 1.0)
    shadow, clothed = ellipse(1.5 * away, chin + 1.4, 0.9, 1.5), portrait.canvas.where("clothes")
    softness = 0.25 * portrait.unit
    portrait.canvas.fill(portrait.pose.on_body(shadow), cloth * 0.7, softness=softness, inside=clothed, opacity=0.7)
    _paint_neck(portrait, neck)
    _paint_collar(portrait, neck, cloth)


def _paint_neck(portrait: Portrait, neck: float) -> None:
    chin, canvas, pose = portrait.chin, portrait.canvas, portrait.pose
    column = [(0.0, 0.5), (0.95 * neck, 0.5), (neck, chin + 0.05), (neck + 0.10, chin + 0.38)]
    is_low = portrait.scene.collar == "v"
    column += [(0.22, chin + 0.72), (0.0, chin + 0.95)] if is_low else [(0.25, chin + 0.62), (0.0, chin + 0.66)]
    canvas.fill(pose.on_body(smooth(closed_by_mirror(column))), portrait.skin * 0.94, feature="neck")
    fallen = portrait.outline * [0.86, 1.0] + np.array([-0.12 * portrait.scene.light[0], 0.30])
    below, bare = pose.on_head(fallen), canvas.where("neck")
    canvas.fill(below, portrait.dark_skin, opacity=0.62, softness=0.07 * portrait.unit, inside=bare)


def _paint_collar(portrait: Portrait, neck: float, cloth: Colour) -> None:
    canvas, pose, unit, chin = portrait.canvas, portrait.pose, portrait.unit, portrait.chin
    if portrait.scene.collar == "shirt":
        accent = np.asarray(portrait.scene.clothes_colours[1])
        flap = np.array([(neck + 0.16, 0.25), (neck + 0.34, 0.50), (0.30, 0.98), (0.02, 0.68)]) + np.array([0.0, chin])
        for shape in (flap, mirrored(flap)):
            canvas.fill(pose.on_body(shape), accent, feature="clothes")
            canvas.stroke([pose.on_body(np.concatenate([shape, shape[:1]]))], 0.02 * unit, accent * 0.7)
        return
    side, middle = _COLLAR_DEPTHS[portrait.scene.collar]
    half = np.array([(neck + 0.11, chin + 0.37), (0.26, chin + side), (0.0, chin + middle)])
    band = smooth(np.concatenate([half, mirrored(half[1::-1])]), closed=False)
    width = 0.22 if portrait.scene.collar == "hood" else 0.08
    canvas.stroke([pose.on_body(band)], width * unit, cloth * 0.82, feature="clothes")


def paint_earrings(portrait: Portrait) -> None:
    """Paint a pair of earrings."""
    if not portrait.person.has_earrings:
        return
    metal = _GOLD if portrait.generator.random() < 0.6 else _SILVER
    for side in (-1.0, 1.0):
        drop = ellipse(side * 1.09, 0.56, 0.085, 0.13)
        portrait.canvas.fill(portrait.pose.on_head(drop), metal * 0.8, feature="earrings")
        lit = portrait.pose.on_head(drop - np.array([0.02, 0.03]))
        portrait.canvas.fill(lit, np.minimum(metal * 1.15, 255), softness=0.02 * portrait.unit, opacity=0.7)


def paint_hair_bow(portrait: Portrait) -> None:
    """Paint a bow on the hair."""
    if not portrait.person.has_hair_bow:
        return
    canvas, pose = portrait.canvas, portrait.pose
    colour = _BOW_COLOURS[portrait.generator.integers(len(_BOW_COLOURS))]
    knot = np.array([0.52, portrait.skull_top + 0.12])
    wing, fold = smooth([(0.03, 0.0), (0.22, -0.20), (0.34, -0.02), (0.24, 0.17)]), [(0.05, 0.0), (0.20, -0.04)]
    for side in (-1.0, 1.0):
        canvas.fill(pose.on_head(wing * [side, 1.0] + knot), colour, feature="hair_bow")
        crease = pose.on_head(np.array(fold) * [side, 1.0] + knot)
        canvas.stroke([crease], 0.03 * portrait.unit, colour * 0.7, opacity=0.7)
    canvas.fill(pose.on_head(ellipse(knot[0], knot[1], 0.07, 0.08)), colour * 0.8, feature="hair_bow")


def paint_glasses(portrait: Portrait) -> None:
    """Paint the scene's glasses over everything else on the face."""
    kind = portrait.scene.glasses
    if kind == "none":
        return
    pose, (x, y) = portrait.pose, portrait.eye_centre
    is_heavy = kind == "dark"
    frame = np.array([24.0, 22.0, 24.0]) if is_heavy else np.asarray(portrait.scene.clothes_colours[1]) * 0.45
    corners = [(-0.34, -0.16), (0.0, -0.19), (0.36, -0.17), (0.32, 0.20), (0.0, 0.27), (-0.28, 0.21)]
    rim = ellipse(0.0, 0.04, 0.33, 0.32) if kind == "round" else smooth(corners)
    for side in (-1.0, 1.0):
        lens = pose.on_face((rim + np.array([x, y])) * [side, 1.0])
        portrait.canvas.fill(lens, _GLASS, opacity=0.10)
        hinge, ear = [(side * (x + 0.33), y - 0.08)], [(side * 1.08, y - 0.06)]
        lines = [np.concatenate([lens, lens[:1]]), np.concatenate([pose.on_face(hinge), pose.on_head(ear)])]
        portrait.canvas.stroke(lines, (0.075 if is_heavy else 0.045) * portrait.unit, frame, feature="glasses")
    bridge = smooth([(-x + 0.31, y - 0.02), (0.0, y - 0.10), (x - 0.31, y - 0.02)], closed=False)
    portrait.stroke([bridge], 0.05, frame, feature="glasses")
