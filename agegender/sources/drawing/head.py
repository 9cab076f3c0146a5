"""Paints the body and the bare head: clothes, neck, ears, the skin of the face and how light falls on it."""

from __future__ import annotations

import numpy as np

from agegender.sources.drawing.canvas import blurred, moved
from agegender.sources.drawing.geometry import Points, closed_by_mirror, ellipse, mirrored, smooth
from agegender.sources.drawing.person import Person
from agegender.sources.drawing.sitting import Sitting


def face_outline(person: Person) -> Points:
    """Return the edge of the head without hair: round and short in children, longer and heavier with the years."""
    child = 1.0 - person.growth
    chin = 1.42 - 0.42 * child
    jaw = 0.80 + 0.05 * person.jaw_width + 0.10 * child + 0.07 * person.jowls
    chin_width = 0.36 + 0.09 * person.jaw_width + 0.08 * child + 0.10 * person.jowls
    top = -1.46 - 0.10 * child
    right = [
        (0.0, top),
        (0.60, top + 0.12),
        (0.96, -0.80),
        (1.03, -0.20),
        (1.00 + 0.05 * child, 0.30 * chin),
        (jaw, 0.66 * chin),
        (chin_width, 0.95 * chin),
        (0.0, chin),
    ]
    return smooth(closed_by_mirror(right))


def paint_body(sitting: Sitting) -> None:
    """Paint shoulders, clothes, neck and the shadow of the chin on it."""
    canvas, pose, person = sitting.canvas, sitting.pose, sitting.person
    child = 1.0 - person.growth
    width = 2.15 - 0.55 * child
    chin = float(sitting.outline[:, 1].max())
    neck = 0.52 - 0.10 * child + 0.05 * person.jaw_width
    cloth, accent = (np.asarray(colour) for colour in sitting.scene.clothes_colours)
    shoulders = [
        (0.0, chin + 0.35),
        (neck + 0.12, chin + 0.36),
        (width * 0.75, chin + 0.62),
        (width, chin + 1.1),
        (width, 4.0),
        (0.0, 4.0),
    ]
    body = smooth(closed_by_mirror(shoulders))
    canvas.fill(pose.on_body(body), cloth, feature="clothes")
    inside = canvas.where("clothes")
    lit = sitting.scene.light[0]
    canvas.fill(
        pose.on_body(ellipse(-1.5 * np.sign(lit or 1.0), chin + 1.4, 0.9, 1.5)),
        cloth * 0.7,
        softness=0.25 * sitting.unit,
        inside=inside,
        opacity=0.7,
    )
    throat = [
        (neck * 0.95, 0.5),
        (neck, chin + 0.05),
        (neck + 0.10, chin + 0.38),
        (0.25, chin + 0.62),
        (0.0, chin + 0.66),
    ]
    if sitting.scene.collar == "v":
        throat[-2:] = [(0.22, chin + 0.72), (0.0, chin + 0.95)]
    column = closed_by_mirror([(0.0, 0.5), *throat])
    canvas.fill(pose.on_body(smooth(column)), sitting.skin * 0.94, feature="neck")
    bare = canvas.where("neck")
    below = pose.on_head(sitting.outline * [0.86, 1.0] + [0.12 * -lit, 0.30])
    canvas.fill(below, sitting.dark_skin, opacity=0.62, softness=0.07 * sitting.unit, inside=bare)
    _paint_collar(sitting, neck, chin, cloth, accent)


def _paint_collar(sitting: Sitting, neck: float, chin: float, cloth: np.ndarray, accent: np.ndarray) -> None:
    canvas, pose, unit = sitting.canvas, sitting.pose, sitting.unit
    if sitting.scene.collar == "shirt":
        flap = np.array(
            [(neck + 0.16, chin + 0.25), (neck + 0.34, chin + 0.50), (0.30, chin + 0.98), (0.02, chin + 0.68)]
        )
        for side in (flap, mirrored(flap)):
            canvas.fill(pose.on_body(side), accent, feature="clothes")
            canvas.stroke([pose.on_body(np.concatenate([side, side[:1]]))], 0.02 * unit, accent * 0.7)
        return
    depth = 1.0 if sitting.scene.collar == "v" else 0.7
    edge = [(neck + 0.11, chin + 0.37), (0.26, chin + (0.73 if depth == 1.0 else 0.62)), (0.0, chin + depth - 0.03)]
    band = np.concatenate([np.array(edge), mirrored(edge[::-1][1:])])
    width = 0.22 if sitting.scene.collar == "hood" else 0.08
    canvas.stroke([pose.on_body(smooth(band, closed=False))], width * unit, cloth * 0.82, feature="clothes")


def paint_head(sitting: Sitting) -> None:
    """Paint ears and face with the light on them."""
    canvas, pose, unit, scene = sitting.canvas, sitting.pose, sitting.unit, sitting.scene
    for side in (-1.0, 1.0):
        hidden = 0.10 * max(0.0, side * scene.turn) / 0.3
        ear = smooth(
            np.array([(0.96, -0.12), (1.14, -0.20), (1.20, 0.05), (1.10, 0.36), (0.97, 0.42)]) * [side, 1.0]
            - [side * hidden, 0.0]
        )
        canvas.fill(pose.on_head(ear), sitting.skin * [0.95, 0.90, 0.88], feature="ears")
        inner = smooth(
            np.array([(1.02, -0.04), (1.11, -0.09), (1.13, 0.06), (1.05, 0.24)]) * [side, 1.0] - [side * hidden, 0.0]
        )
        canvas.fill(pose.on_head(inner), sitting.dark_skin, opacity=0.4, softness=0.025 * unit)
    edge = pose.on_head(sitting.outline)
    canvas.fill(edge, sitting.skin, feature="skin")
    face = canvas.mask(edge)
    _mark_regions(sitting)
    _shade_edges(sitting, face)
    _colour_cheeks(sitting, face)


def _mark_regions(sitting: Sitting) -> None:
    chin = float(sitting.outline[:, 1].max())
    brow = np.array([(-1.3, -2.0), (1.3, -2.0), (1.3, -0.42), (-1.3, -0.42)])
    jaw = np.array([(-1.3, 0.60 * chin), (1.3, 0.60 * chin), (1.3, 1.3 * chin), (-1.3, 1.3 * chin)])
    sitting.canvas.mark(sitting.canvas.mask(sitting.pose.on_face(brow)), "forehead", over=("skin",))
    sitting.canvas.mark(sitting.canvas.mask(sitting.pose.on_face(jaw)), "jaw", over=("skin",))


def _shade_edges(sitting: Sitting, face: np.ndarray) -> None:
    """Darken the side away from the light and lighten the other, as on a ball."""
    canvas, unit, scene = sitting.canvas, sitting.unit, sitting.scene
    away = np.array(scene.light) * -0.20 * unit
    lit = blurred(moved(face, -away[0], -away[1]), 0.20 * unit)
    canvas.shade(face * (1.0 - lit), (1.0 - 0.62 * scene.contrast * np.array([0.75, 0.95, 1.0])).tolist())
    glow = np.array(scene.light) * 0.45
    spot = canvas.mask(sitting.pose.on_face(ellipse(glow[0], -0.35 + 0.5 * glow[1], 0.55, 0.5)), softness=0.25 * unit)
    canvas.shade(spot * face, 1.0 + 0.07 * scene.contrast)


def _colour_cheeks(sitting: Sitting, face: np.ndarray) -> None:
    person, unit = sitting.person, sitting.unit
    blush = 0.10 + 0.26 * (1.0 - person.growth) + 0.10 * person.lip_colour
    colour = sitting.skin * [1.0, 0.66, 0.62]
    for side in (-1.0, 1.0):
        cheek = sitting.pose.on_face(ellipse(0.56 * side, 0.50 - 0.08 * (1 - person.growth), 0.26, 0.2))
        sitting.canvas.fill(cheek, colour, opacity=blush, softness=0.11 * unit, inside=face)
