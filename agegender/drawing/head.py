"""Paints the bare head: ears, the skin of the face and how light falls on it."""

from __future__ import annotations

import numpy as np

from agegender.drawing.canvas import Mask, blurred, moved
from agegender.drawing.geometry import Points, closed_by_mirror, ellipse, smooth
from agegender.drawing.person import Person
from agegender.drawing.sitting import Sitting

_EAR = np.array([(0.96, -0.12), (1.14, -0.20), (1.20, 0.05), (1.10, 0.36), (0.97, 0.42)])
_INNER_EAR = np.array([(1.02, -0.04), (1.11, -0.09), (1.13, 0.06), (1.05, 0.24)])
_FOREHEAD_ENDS = -0.42  # in head coordinates
_JAW_BEGINS = 0.60  # of the height of the chin


def face_outline(person: Person) -> Points:
    """Return the edge of the head without hair: round and short in children, longer and heavier with the years."""
    child = 1.0 - person.growth
    chin, top = 1.44 - 0.50 * child, -1.46 - 0.10 * child
    jaw = 0.80 + 0.05 * person.jaw_width + 0.10 * child + 0.07 * person.jowls
    chin_width = 0.36 + 0.09 * person.jaw_width + 0.08 * child + 0.10 * person.jowls
    skull = [(0.0, top), (0.60, top + 0.12), (0.96, -0.80), (1.03, -0.20)]
    lower = [(1.00 + 0.05 * child, 0.30 * chin), (jaw, 0.66 * chin), (chin_width, 0.95 * chin), (0.0, chin)]
    return smooth(closed_by_mirror(skull + lower))


def paint_head(sitting: Sitting) -> None:
    """Paint ears and face with the light on them."""
    _paint_ears(sitting)
    edge = sitting.pose.on_head(sitting.outline)
    sitting.canvas.fill(edge, sitting.skin, feature="skin")
    face = sitting.canvas.mask(edge)
    _mark_regions(sitting)
    _shade_edges(sitting, face)
    _colour_cheeks(sitting, face)


def _paint_ears(sitting: Sitting) -> None:
    canvas, pose = sitting.canvas, sitting.pose
    for side in (-1.0, 1.0):
        hidden = np.array([side * max(0.0, side * sitting.scene.turn) / 3.0, 0.0])
        ear, inner = (pose.on_head(smooth(shape * [side, 1.0]) - hidden) for shape in (_EAR, _INNER_EAR))
        canvas.fill(ear, sitting.skin * [0.95, 0.90, 0.88], feature="ears")
        canvas.fill(inner, sitting.dark_skin, opacity=0.4, softness=0.025 * sitting.unit)


def _mark_regions(sitting: Sitting) -> None:
    canvas, chin = sitting.canvas, sitting.chin
    for feature, top, bottom in (("forehead", -2.0, _FOREHEAD_ENDS), ("jaw", _JAW_BEGINS * chin, 1.3 * chin)):
        band = [(-1.3, top), (1.3, top), (1.3, bottom), (-1.3, bottom)]
        canvas.mark(canvas.mask(sitting.pose.on_face(band)), feature, over=("skin",))


def _shade_edges(sitting: Sitting, face: Mask) -> None:
    """Darken the side away from the light and lighten the other, as on a ball."""
    canvas, unit, light = sitting.canvas, sitting.unit, np.asarray(sitting.scene.light)
    towards = 0.20 * unit * light
    lit = blurred(moved(face, towards[0], towards[1]), 0.20 * unit)
    canvas.shade(face * (1.0 - lit), list(1.0 - sitting.scene.contrast * np.array([0.46, 0.59, 0.62])))
    glow = sitting.pose.on_face(ellipse(0.45 * light[0], -0.35 + 0.22 * light[1], 0.55, 0.5))
    canvas.shade(canvas.mask(glow, softness=0.25 * unit) * face, 1.0 + 0.07 * sitting.scene.contrast)


def _colour_cheeks(sitting: Sitting, face: Mask) -> None:
    child = 1.0 - sitting.person.growth
    blush = 0.12 + 0.26 * child
    for side in (-1.0, 1.0):
        cheek = ellipse(0.56 * side, 0.50 - 0.08 * child, 0.26, 0.2)
        sitting.fill(cheek, sitting.skin * [1.0, 0.66, 0.62], opacity=blush, softness=0.11, inside=face)
