"""Paints the hair: what hangs behind the head, the cap on it, and what falls in front of the shoulders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agegender.drawing.canvas import Mask, blurred, moved
from agegender.drawing.geometry import Points, closed_by_mirror, ellipse, smooth
from agegender.drawing.sitting import Sitting
from agegender.drawing.strands import paint_curls, paint_strands, resampled

_CURLY = 1.0  # wave from which hair is drawn as curls
_Point = tuple[float, float]


@dataclass(frozen=True)
class Style:
    """A hair style: how thick on the skull, how far it hangs, how wide, and what is special.

    `back` and `front` are the heights where hair behind and before the shoulders ends, in head coordinates, None for
    none; `fringe` is how far the hair falls over the forehead; `wave` is its curl.
    """

    volume: float
    back: float | None = None
    front: float | None = None
    width: float = 1.22
    fringe: float = 0.0
    wave: float = 0.0
    part: float = 0.0
    opacity: float = 1.0


STYLES = {
    "wisps": Style(0.03, opacity=0.5),
    "buzz": Style(0.05, opacity=0.8),
    "crop": Style(0.14, part=0.35),
    "parted": Style(0.20, part=0.55),
    "quiff": Style(0.30, part=0.1),
    "curly": Style(0.24, wave=1.0),
    "bowl": Style(0.18, fringe=0.38),
    "shoulder": Style(0.18, back=1.75, width=1.22, part=0.1),
    "pixie": Style(0.20, fringe=0.22, part=0.6),
    "long": Style(0.20, back=2.6, front=2.5, width=1.28, part=0.05),
    "wavy": Style(0.24, back=2.4, front=2.2, width=1.36, wave=0.6, part=0.3),
    "fringe": Style(0.20, back=2.3, front=2.0, width=1.26, fringe=0.42),
    "bob": Style(0.22, back=1.35, front=1.15, width=1.32, part=0.25),
    "curls": Style(0.42, back=1.7, width=1.55, wave=1.0),
    "bun": Style(0.16, part=0.0),
    "ponytail": Style(0.16, part=0.2),
    "pigtails": Style(0.16, part=0.0),
}


def paint_back_hair(sitting: Sitting) -> None:
    """Paint what is behind the head, before body and head."""
    name = sitting.person.hair_style
    if STYLES[name].back is not None:
        _paint_sheet(sitting, STYLES[name])
    if name == "bun":
        _paint_bun(sitting)
    if name == "ponytail":
        _paint_tail(sitting, 1.0, (0.7, -0.9), (1.55, 0.2), (1.25, 1.7))
    if name == "pigtails":
        for side in (-1.0, 1.0):
            _paint_tail(sitting, side, (0.95, -0.35), (1.65, 0.25), (1.4, 1.25))


def paint_hair(sitting: Sitting) -> None:
    """Paint the cap on the skull, its shadow on the skin, and the locks in front of the shoulders."""
    style, canvas, pose = STYLES[sitting.person.hair_style], sitting.canvas, sitting.pose
    outer, line = _outer_edge(sitting, style), _hair_line(sitting, style)
    cap = np.concatenate([pose.on_head(outer), pose.on_face(line[::-1])])
    hair = canvas.mask(cap, softness=0.035 * sitting.unit)
    _cast_shadow(sitting, hair)
    density = style.opacity * (1.0 - 0.35 * sitting.person.recession)
    canvas.fill(cap, sitting.hair, feature="hair", opacity=density, softness=0.035 * sitting.unit)
    if style.wave >= _CURLY:
        paint_curls(sitting, hair)
    else:
        _paint_cap_strands(sitting, style, outer, line, hair * density)
    if style.front is not None:
        for side in (-1.0, 1.0):
            _paint_lock(sitting, style, side)
    shine = pose.on_head(ellipse(0.55 * sitting.scene.light[0], sitting.skull_top + 0.12, 0.62, 0.24))
    glossy = np.minimum(sitting.hair * 1.5 + 38, 255)
    canvas.fill(shine, glossy, opacity=0.30, softness=0.13 * sitting.unit, inside=hair * density)


def _outer_edge(sitting: Sitting, style: Style) -> Points:
    """Return the outside of the cap from the left ear over the top to the right one, in head coordinates."""
    volume, top = style.volume * (1.0 - 0.6 * sitting.person.recession), sitting.skull_top
    side = [(1.06 + 0.4 * volume, 0.10), (1.07 + 0.8 * volume, -0.35), (1.0 + volume, -0.90)]
    right = np.array([*side, (0.62 + 0.8 * volume, top + 0.10 - 0.9 * volume), (0.0, top - volume)])
    outer = smooth(np.concatenate([right * [-1.0, 1.0], right[-2::-1]]), closed=False)
    outer[:, 1] += style.part * 0.06 * np.sign(outer[:, 0]) * (outer[:, 1] < -0.8)
    return outer


def _hair_line(sitting: Sitting, style: Style) -> Points:
    """Return where hair meets skin from the left ear to the right one, in head coordinates; it recedes with age."""
    back = sitting.person.recession
    forehead = -0.93 - 0.08 * (1.0 - sitting.person.growth)
    temple = [(0.99, 0.12), (0.93, -0.30), (0.80 - 0.10 * back, -0.62 - 0.50 * back)]
    temple += [(0.45 - 0.06 * back, forehead - 0.02 - 0.46 * back)]
    middle = [(0.0, forehead - 0.06 + 0.2 * style.fringe - 0.36 * back)]
    line = np.concatenate([np.array(temple) * [-1.0, 1.0], middle, temple[::-1]])
    fallen = np.abs(line[:, 0]) < 0.9
    line[fallen, 1] += style.fringe * (1.0 - 0.5 * back) * (1.0 - 0.35 * np.abs(line[fallen, 0]))
    if style.part:
        line[4] += [-0.9 * style.part, -0.12]
    return smooth(line, closed=False)


def _cast_shadow(sitting: Sitting, hair: Mask) -> None:
    unit = sitting.unit
    fallen = blurred(moved(hair, -0.05 * sitting.scene.light[0] * unit, 0.09 * unit), 0.05 * unit)
    sitting.canvas.shade(fallen * sitting.canvas.where("skin", "forehead", "ears"), (0.80, 0.70, 0.68))


def _paint_cap_strands(sitting: Sitting, style: Style, outer: Points, line: Points, hair: Mask) -> None:
    """Draw strands from the parting down each side, between the outer edge and the hair line."""
    top = len(outer) // 2
    part = int(np.argmin(line[:, 1] + 3.0 * np.abs(line[:, 0] + 0.9 * style.part)))
    left, right = (outer[top::-1], line[part::-1]), (outer[top:], line[part:])
    for above, below in (left, right):
        edges = sitting.pose.on_head(resampled(above)), sitting.pose.on_face(resampled(below))
        paint_strands(sitting, *edges, 44, inside=hair)


def _paint_sheet(sitting: Sitting, style: Style) -> None:
    """Draw the hair that hangs down behind head and shoulders."""
    top, end, width = sitting.skull_top - style.volume, float(style.back or 0.0), style.width
    right = [(0.0, top), (0.75, top + 0.15), (width - 0.1, -0.7), (width, 0.2), (width + 0.05, 0.7 * end)]
    outline = closed_by_mirror([*right, (width - 0.12, end)])
    shape = smooth(outline)
    if style.wave >= _CURLY:
        coarse = smooth(outline, steps=3)
        shape = smooth(coarse * (1.0 + 0.05 * (-1.0) ** np.arange(len(coarse)))[:, None], steps=4)
    placed = sitting.pose.on_head(shape)
    sitting.canvas.fill(placed, sitting.hair * 0.72, feature="hair", softness=0.02 * sitting.unit)
    mask = sitting.canvas.mask(placed)
    if style.wave >= _CURLY:
        paint_curls(sitting, mask)
        return
    inner, outer = [(0.75, -0.6), (0.8, 0.4), (0.75, end)], [(width - 0.08, -0.6), (width, 0.4), (width - 0.1, end)]
    for side in (-1.0, 1.0):
        edges = [sitting.pose.on_head(resampled(np.array(edge) * [side, 1.0])) for edge in (inner, outer)]
        paint_strands(sitting, edges[0], edges[1], 14, inside=mask, wave=style.wave)


def _paint_lock(sitting: Sitting, style: Style, side: float) -> None:
    """Draw the hair that falls over the ear and in front of the shoulder on one side, with its shadow."""
    end, width = float(style.front or 0.0), style.width
    outer = np.array([(0.86, -1.05), (width - 0.1, -0.5), (width, 0.3), (width + 0.08, 0.65 * end), (width, end)])
    inner = np.array([(0.62, -1.05), (0.92, -0.45), (0.93, 0.3), (0.86, 0.65 * end), (0.92, end - 0.05)])
    for edge, sway in ((outer, 0.07), (inner, 0.05)):
        edge[:, 0] += style.wave * sway * np.sin(edge[:, 1] * 5.0)
    first, second = (sitting.pose.on_head(smooth(edge * [side, 1.0], closed=False)) for edge in (outer, inner))
    shape, canvas, unit = np.concatenate([first, second[::-1]]), sitting.canvas, sitting.unit
    mask = canvas.mask(shape, softness=0.02 * unit)
    shadow = blurred(moved(mask, -0.06 * side * unit, 0.03 * unit), 0.045 * unit)
    canvas.shade(shadow * canvas.where("skin", "jaw", "neck", "clothes"), (0.84, 0.76, 0.74))
    canvas.fill(shape, sitting.hair, feature="hair", softness=0.02 * unit)
    paint_strands(sitting, first, second, 26, inside=mask, wave=style.wave)


def _paint_tail(sitting: Sitting, side: float, start: _Point, bend: _Point, end: _Point) -> None:
    """Draw a tail from `start` over `bend` to `end`, given for the right side."""
    outer = [start, (bend[0], start[1] - 0.05), bend, (end[0] + 0.06, end[1])]
    inner = [(start[0] - 0.1, start[1] + 0.15), (bend[0] - 0.42, start[1] + 0.35), (bend[0] - 0.48, bend[1])]
    inner += [(end[0] - 0.10, end[1] - 0.06)]
    first, second = (
        sitting.pose.on_head(smooth(np.array(edge) * [side, 1.0], closed=False)) for edge in (outer, inner)
    )
    shape = np.concatenate([first, second[::-1]])
    sitting.canvas.fill(shape, sitting.hair * 0.85, feature="hair", softness=0.02 * sitting.unit)
    paint_strands(sitting, first, second, 18, inside=sitting.canvas.mask(shape))


def _paint_bun(sitting: Sitting) -> None:
    y, width, height = sitting.skull_top - 0.20, 0.44, 0.32
    shape = sitting.pose.on_head(ellipse(0.0, y, width, height))
    sitting.canvas.fill(shape, sitting.hair * 0.9, feature="hair", softness=0.02 * sitting.unit)
    rims = [smooth([(-width, y), (0.0, y + bulge), (width, y)], closed=False) for bulge in (-height, height)]
    first, second = (sitting.pose.on_head(rim) for rim in rims)
    paint_strands(sitting, first, second, 18, inside=sitting.canvas.mask(shape))
