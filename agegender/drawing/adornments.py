"""Paints earrings, hair bow and glasses."""

from __future__ import annotations

import numpy as np

from agegender.drawing.geometry import ellipse, smooth
from agegender.drawing.layout import eye_centre
from agegender.drawing.sitting import Sitting

_GOLD, _SILVER = np.array([232.0, 190.0, 84.0]), np.array([214.0, 220.0, 228.0])
_BOW_COLOURS = np.array([(224, 72, 110), (246, 196, 70), (120, 90, 200), (238, 120, 90), (70, 150, 190)], float)
_GLASS = (235, 242, 250)


def paint_earrings(sitting: Sitting) -> None:
    """Paint a pair of earrings."""
    if not sitting.person.has_earrings:
        return
    metal = _GOLD if sitting.generator.random() < 0.6 else _SILVER
    for side in (-1.0, 1.0):
        drop = ellipse(side * 1.09, 0.56, 0.085, 0.13)
        sitting.canvas.fill(sitting.pose.on_head(drop), metal * 0.8, feature="earrings")
        lit = sitting.pose.on_head(drop - np.array([0.02, 0.03]))
        sitting.canvas.fill(lit, np.minimum(metal * 1.15, 255), softness=0.02 * sitting.unit, opacity=0.7)


def paint_hair_bow(sitting: Sitting) -> None:
    """Paint a bow on the hair."""
    if not sitting.person.has_hair_bow:
        return
    canvas, pose = sitting.canvas, sitting.pose
    colour = _BOW_COLOURS[sitting.generator.integers(len(_BOW_COLOURS))]
    knot = np.array([0.52, sitting.skull_top + 0.12])
    wing, fold = smooth([(0.03, 0.0), (0.22, -0.20), (0.34, -0.02), (0.24, 0.17)]), [(0.05, 0.0), (0.20, -0.04)]
    for side in (-1.0, 1.0):
        canvas.fill(pose.on_head(wing * [side, 1.0] + knot), colour, feature="hair_bow")
        crease = pose.on_head(np.array(fold) * [side, 1.0] + knot)
        canvas.stroke([crease], 0.03 * sitting.unit, colour * 0.7, opacity=0.7)
    canvas.fill(pose.on_head(ellipse(knot[0], knot[1], 0.07, 0.08)), colour * 0.8, feature="hair_bow")


def paint_glasses(sitting: Sitting) -> None:
    """Paint the scene's glasses over everything else on the face."""
    kind = sitting.scene.glasses
    if kind == "none":
        return
    pose, (x, y) = sitting.pose, eye_centre(sitting)
    is_heavy = kind == "dark"
    frame = np.array([24.0, 22.0, 24.0]) if is_heavy else np.asarray(sitting.scene.clothes_colours[1]) * 0.45
    corners = [(-0.34, -0.16), (0.0, -0.19), (0.36, -0.17), (0.32, 0.20), (0.0, 0.27), (-0.28, 0.21)]
    rim = ellipse(0.0, 0.04, 0.33, 0.32) if kind == "round" else smooth(corners)
    for side in (-1.0, 1.0):
        lens = pose.on_face((rim + np.array([x, y])) * [side, 1.0])
        sitting.canvas.fill(lens, _GLASS, opacity=0.10)
        hinge, ear = [(side * (x + 0.33), y - 0.08)], [(side * 1.08, y - 0.06)]
        lines = [np.concatenate([lens, lens[:1]]), np.concatenate([pose.on_face(hinge), pose.on_head(ear)])]
        sitting.canvas.stroke(lines, (0.075 if is_heavy else 0.045) * sitting.unit, frame, feature="glasses")
    bridge = smooth([(-x + 0.31, y - 0.02), (0.0, y - 0.10), (x - 0.31, y - 0.02)], closed=False)
    sitting.stroke([bridge], 0.05, frame, feature="glasses")
