"""Paints what carries the head: shoulders, clothes, neck."""

from __future__ import annotations

import numpy as np

from agegender.drawing.geometry import closed_by_mirror, ellipse, mirrored, smooth
from agegender.drawing.sitting import Colour, Sitting

_COLLAR_DEPTHS = {"v": (0.73, 0.97), "round": (0.62, 0.67), "hood": (0.62, 0.67)}


def paint_body(sitting: Sitting) -> None:
    """Paint shoulders, clothes, neck and the shadow of the chin on it."""
    child, chin = 1.0 - sitting.person.growth, sitting.chin
    neck = 0.52 - 0.10 * child
    width = 2.15 - 0.55 * child
    cloth = np.asarray(sitting.scene.clothes_colours[0])
    shoulders = [(0.0, chin + 0.35), (neck + 0.12, chin + 0.36), (0.75 * width, chin + 0.62), (width, chin + 1.1)]
    outline = smooth(closed_by_mirror([*shoulders, (width, 4.0), (0.0, 4.0)]))
    sitting.canvas.fill(sitting.pose.on_body(outline), cloth, feature="clothes")
    away = -np.sign(sitting.scene.light[0] or 1.0)
    shadow, clothed = ellipse(1.5 * away, chin + 1.4, 0.9, 1.5), sitting.canvas.where("clothes")
    softness = 0.25 * sitting.unit
    sitting.canvas.fill(sitting.pose.on_body(shadow), cloth * 0.7, softness=softness, inside=clothed, opacity=0.7)
    _paint_neck(sitting, neck)
    _paint_collar(sitting, neck, cloth)


def _paint_neck(sitting: Sitting, neck: float) -> None:
    chin, canvas, pose = sitting.chin, sitting.canvas, sitting.pose
    column = [(0.0, 0.5), (0.95 * neck, 0.5), (neck, chin + 0.05), (neck + 0.10, chin + 0.38)]
    is_low = sitting.scene.collar == "v"
    column += [(0.22, chin + 0.72), (0.0, chin + 0.95)] if is_low else [(0.25, chin + 0.62), (0.0, chin + 0.66)]
    canvas.fill(pose.on_body(smooth(closed_by_mirror(column))), sitting.skin * 0.94, feature="neck")
    fallen = sitting.outline * [0.86, 1.0] + np.array([-0.12 * sitting.scene.light[0], 0.30])
    below, bare = pose.on_head(fallen), canvas.where("neck")
    canvas.fill(below, sitting.dark_skin, opacity=0.62, softness=0.07 * sitting.unit, inside=bare)


def _paint_collar(sitting: Sitting, neck: float, cloth: Colour) -> None:
    canvas, pose, unit, chin = sitting.canvas, sitting.pose, sitting.unit, sitting.chin
    if sitting.scene.collar == "shirt":
        accent = np.asarray(sitting.scene.clothes_colours[1])
        flap = np.array([(neck + 0.16, 0.25), (neck + 0.34, 0.50), (0.30, 0.98), (0.02, 0.68)]) + np.array([0.0, chin])
        for shape in (flap, mirrored(flap)):
            canvas.fill(pose.on_body(shape), accent, feature="clothes")
            canvas.stroke([pose.on_body(np.concatenate([shape, shape[:1]]))], 0.02 * unit, accent * 0.7)
        return
    side, middle = _COLLAR_DEPTHS[sitting.scene.collar]
    half = np.array([(neck + 0.11, chin + 0.37), (0.26, chin + side), (0.0, chin + middle)])
    band = smooth(np.concatenate([half, mirrored(half[1::-1])]), closed=False)
    width = 0.22 if sitting.scene.collar == "hood" else 0.08
    canvas.stroke([pose.on_body(band)], width * unit, cloth * 0.82, feature="clothes")
