"""Paints hair and beard: what hangs behind the head, the cap on it, what falls in front, and single strands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agegender.drawing.canvas import Mask, Points, blurred, closed_by_mirror, ellipse, moved, smooth
from agegender.drawing.portrait import LEAST_VISIBLE, Colour, Portrait

_CURLY = 1.0  # wave from which hair is drawn as curls
_Point = tuple[float, float]
_PULLED_OUT = 0.04  # share of grey hair up to which none is seen
_LEAST_FULL = 0.7  # from here on it is a beard, below stubble
_GREY_BEARD = np.array([196.0, 196.0, 196.0])


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


def paint_back_hair(portrait: Portrait) -> None:
    """Paint what is behind the head, before body and head."""
    name = portrait.person.hair_style
    if STYLES[name].back is not None:
        _paint_sheet(portrait, STYLES[name])
    if name == "bun":
        _paint_bun(portrait)
    if name == "ponytail":
        _paint_tail(portrait, 1.0, (0.7, -0.9), (1.55, 0.2), (1.25, 1.7))
    if name == "pigtails":
        for side in (-1.0, 1.0):
            _paint_tail(portrait, side, (0.95, -0.35), (1.65, 0.25), (1.4, 1.25))


def paint_hair(portrait: Portrait) -> None:
    """Paint the cap on the skull, its shadow on the skin, and the locks in front of the shoulders."""
    style, canvas, pose = STYLES[portrait.person.hair_style], portrait.canvas, portrait.pose
    outer, line = _outer_edge(portrait, style), _hair_line(portrait, style)
    cap = np.concatenate([pose.on_head(outer), pose.on_face(line[::-1])])
    hair = canvas.mask(cap, softness=0.035 * portrait.unit)
    _cast_shadow(portrait, hair)
    density = style.opacity * (1.0 - 0.35 * portrait.person.recession)
    canvas.fill(cap, portrait.hair, feature="hair", opacity=density, softness=0.035 * portrait.unit)
    if style.wave >= _CURLY:
        paint_curls(portrait, hair)
    else:
        _paint_cap_strands(portrait, style, outer, line, hair * density)
    if style.front is not None:
        for side in (-1.0, 1.0):
            _paint_lock(portrait, style, side)
    shine = pose.on_head(ellipse(0.55 * portrait.scene.light[0], portrait.skull_top + 0.12, 0.62, 0.24))
    glossy = np.minimum(portrait.hair * 1.5 + 38, 255)
    canvas.fill(shine, glossy, opacity=0.30, softness=0.13 * portrait.unit, inside=hair * density)


def _outer_edge(portrait: Portrait, style: Style) -> Points:
    """Return the outside of the cap from the left ear over the top to the right one, in head coordinates."""
    volume, top = style.volume * (1.0 - 0.6 * portrait.person.recession), portrait.skull_top
    side = [(1.06 + 0.4 * volume, 0.10), (1.07 + 0.8 * volume, -0.35), (1.0 + volume, -0.90)]
    right = np.array([*side, (0.62 + 0.8 * volume, top + 0.10 - 0.9 * volume), (0.0, top - volume)])
    outer = smooth(np.concatenate([right * [-1.0, 1.0], right[-2::-1]]), closed=False)
    outer[:, 1] += style.part * 0.06 * np.sign(outer[:, 0]) * (outer[:, 1] < -0.8)
    return outer


def _hair_line(portrait: Portrait, style: Style) -> Points:
    """Return where hair meets skin from the left ear to the right one, in head coordinates; it recedes with age."""
    back = portrait.person.recession
    forehead = -0.93 - 0.08 * (1.0 - portrait.person.growth)
    temple = [(0.99, 0.12), (0.93, -0.30), (0.80 - 0.10 * back, -0.62 - 0.50 * back)]
    temple += [(0.45 - 0.06 * back, forehead - 0.02 - 0.46 * back)]
    middle = [(0.0, forehead - 0.06 + 0.2 * style.fringe - 0.36 * back)]
    line = np.concatenate([np.array(temple) * [-1.0, 1.0], middle, temple[::-1]])
    fallen = np.abs(line[:, 0]) < 0.9
    line[fallen, 1] += style.fringe * (1.0 - 0.5 * back) * (1.0 - 0.35 * np.abs(line[fallen, 0]))
    if style.part:
        line[4] += [-0.9 * style.part, -0.12]
    return smooth(line, closed=False)


def _cast_shadow(portrait: Portrait, hair: Mask) -> None:
    unit = portrait.unit
    fallen = blurred(moved(hair, -0.05 * portrait.scene.light[0] * unit, 0.09 * unit), 0.05 * unit)
    portrait.canvas.shade(fallen * portrait.canvas.where("skin", "forehead", "ears"), (0.80, 0.70, 0.68))


def _paint_cap_strands(portrait: Portrait, style: Style, outer: Points, line: Points, hair: Mask) -> None:
    """Draw strands from the parting down each side, between the outer edge and the hair line."""
    top = len(outer) // 2
    part = int(np.argmin(line[:, 1] + 3.0 * np.abs(line[:, 0] + 0.9 * style.part)))
    left, right = (outer[top::-1], line[part::-1]), (outer[top:], line[part:])
    for above, below in (left, right):
        edges = portrait.pose.on_head(resampled(above)), portrait.pose.on_face(resampled(below))
        paint_strands(portrait, *edges, 44, inside=hair)


def _paint_sheet(portrait: Portrait, style: Style) -> None:
    """Draw the hair that hangs down behind head and shoulders."""
    top, end, width = portrait.skull_top - style.volume, float(style.back or 0.0), style.width
    right = [(0.0, top), (0.75, top + 0.15), (width - 0.1, -0.7), (width, 0.2), (width + 0.05, 0.7 * end)]
    outline = closed_by_mirror([*right, (width - 0.12, end)])
    shape = smooth(outline)
    if style.wave >= _CURLY:
        coarse = smooth(outline, steps=3)
        shape = smooth(coarse * (1.0 + 0.05 * (-1.0) ** np.arange(len(coarse)))[:, None], steps=4)
    placed = portrait.pose.on_head(shape)
    portrait.canvas.fill(placed, portrait.hair * 0.72, feature="hair", softness=0.02 * portrait.unit)
    mask = portrait.canvas.mask(placed)
    if style.wave >= _CURLY:
        paint_curls(portrait, mask)
        return
    inner, outer = [(0.75, -0.6), (0.8, 0.4), (0.75, end)], [(width - 0.08, -0.6), (width, 0.4), (width - 0.1, end)]
    for side in (-1.0, 1.0):
        edges = [portrait.pose.on_head(resampled(np.array(edge) * [side, 1.0])) for edge in (inner, outer)]
        paint_strands(portrait, edges[0], edges[1], 14, inside=mask, wave=style.wave)


def _paint_lock(portrait: Portrait, style: Style, side: float) -> None:
    """Draw the hair that falls over the ear and in front of the shoulder on one side, with its shadow."""
    end, width = float(style.front or 0.0), style.width
    outer = np.array([(0.86, -1.05), (width - 0.1, -0.5), (width, 0.3), (width + 0.08, 0.65 * end), (width, end)])
    inner = np.array([(0.62, -1.05), (0.92, -0.45), (0.93, 0.3), (0.86, 0.65 * end), (0.92, end - 0.05)])
    for edge, sway in ((outer, 0.07), (inner, 0.05)):
        edge[:, 0] += style.wave * sway * np.sin(edge[:, 1] * 5.0)
    first, second = (portrait.pose.on_head(smooth(edge * [side, 1.0], closed=False)) for edge in (outer, inner))
    shape, canvas, unit = np.concatenate([first, second[::-1]]), portrait.canvas, portrait.unit
    mask = canvas.mask(shape, softness=0.02 * unit)
    shadow = blurred(moved(mask, -0.06 * side * unit, 0.03 * unit), 0.045 * unit)
    canvas.shade(shadow * canvas.where("skin", "jaw", "neck", "clothes"), (0.84, 0.76, 0.74))
    canvas.fill(shape, portrait.hair, feature="hair", softness=0.02 * unit)
    paint_strands(portrait, first, second, 26, inside=mask, wave=style.wave)


def _paint_tail(portrait: Portrait, side: float, start: _Point, bend: _Point, end: _Point) -> None:
    """Draw a tail from `start` over `bend` to `end`, given for the right side."""
    outer = [start, (bend[0], start[1] - 0.05), bend, (end[0] + 0.06, end[1])]
    inner = [(start[0] - 0.1, start[1] + 0.15), (bend[0] - 0.42, start[1] + 0.35), (bend[0] - 0.48, bend[1])]
    inner += [(end[0] - 0.10, end[1] - 0.06)]
    first, second = (
        portrait.pose.on_head(smooth(np.array(edge) * [side, 1.0], closed=False)) for edge in (outer, inner)
    )
    shape = np.concatenate([first, second[::-1]])
    portrait.canvas.fill(shape, portrait.hair * 0.85, feature="hair", softness=0.02 * portrait.unit)
    paint_strands(portrait, first, second, 18, inside=portrait.canvas.mask(shape))


def _paint_bun(portrait: Portrait) -> None:
    y, width, height = portrait.skull_top - 0.20, 0.44, 0.32
    shape = portrait.pose.on_head(ellipse(0.0, y, width, height))
    portrait.canvas.fill(shape, portrait.hair * 0.9, feature="hair", softness=0.02 * portrait.unit)
    rims = [smooth([(-width, y), (0.0, y + bulge), (width, y)], closed=False) for bulge in (-height, height)]
    first, second = (portrait.pose.on_head(rim) for rim in rims)
    paint_strands(portrait, first, second, 18, inside=portrait.canvas.mask(shape))


def paint_strands(
    portrait: Portrait, first: Points, second: Points, count: int, *, inside: Mask, wave: float = 0.0
) -> None:
    """Draw `count` strands between two edges, some darker, some lighter than the hair, some grey.

    Parameters
    ----------
    first, second : ndarray, shape (points, 2)
        The edges in pixels, the same number of points in the direction in which the hair falls.
    count : int
        Number of strands.
    inside : ndarray, shape (side, side)
        Where there is hair.
    wave : float
        0 straight to 1 curled.
    """
    positions = portrait.generator.random(count)[:, None, None]
    kinds = _kinds(portrait, count)
    along = np.linspace(0.0, 1.0, len(first))[None, :]
    sway = wave * 0.07 * portrait.unit * np.sin(11.0 * along + 2.0 * positions[:, :, 0])
    strands = first + (second - first) * positions + sway[..., None] * np.array([1.0, 0.3])
    for kind, (colour, opacity) in _shades(portrait).items():
        chosen = list(strands[kinds == kind])
        if chosen:
            width, softness = 0.016 * portrait.unit, 0.004 * portrait.unit
            portrait.canvas.stroke(chosen, width, colour, opacity=opacity, softness=softness, inside=inside)


def paint_curls(portrait: Portrait, hair: Mask, *, count: int = 170) -> None:
    """Draw small arcs all over the `hair`, shape (side, side), which they also roughen at its edge."""
    rows, columns = np.nonzero(hair > 0.35)
    if not len(rows):
        return
    generator = portrait.generator
    chosen = generator.integers(0, len(rows), count)
    starts, radii = (
        generator.uniform(0, 2 * np.pi, (count, 1)),
        generator.uniform(0.05, 0.10, (count, 1)) * portrait.unit,
    )
    angles = starts + np.linspace(0.0, 4.2, 7)
    centres = np.stack([columns[chosen], rows[chosen]], axis=1)[:, None, :]
    arcs = centres + radii[..., None] * np.stack([np.cos(angles), np.sin(angles)], axis=2)
    kinds = _kinds(portrait, count)
    for kind, (colour, opacity) in _shades(portrait).items():
        lines = list(arcs[kinds == kind])
        if lines:
            portrait.canvas.stroke(lines, 0.03 * portrait.unit, colour, opacity=opacity, feature="hair")


def resampled(edge: Points, count: int = 14) -> Points:
    """Return `count` points along an edge, shape (count, 2), so that two edges have equally many."""
    position, steps = np.linspace(0.0, len(edge) - 1.0, count), np.arange(len(edge))
    return np.stack([np.interp(position, steps, edge[:, axis]) for axis in (0, 1)], axis=1)


def _kinds(portrait: Portrait, count: int) -> np.ndarray:
    grey = 0.75 * max(0.0, portrait.person.grey - _PULLED_OUT)
    return np.searchsorted([grey, grey + 0.5 * (1.0 - grey)], portrait.generator.random(count))


def _shades(portrait: Portrait) -> dict[int, tuple[Colour, float]]:
    light = np.minimum(portrait.hair * 1.22 + 8.0, 250.0)
    return {1: (portrait.hair * 0.64, 0.6), 2: (light, 0.5), 0: (portrait.grey_strand, 0.7)}


def paint_beard(portrait: Portrait) -> None:
    """Paint stubble or a beard around the mouth, before the mouth."""
    strength = portrait.person.beard
    if strength < LEAST_VISIBLE:
        return
    is_full, y = strength > _LEAST_FULL, portrait.mouth_height
    bottom = portrait.chin + (0.10 if is_full else 0.0)
    right = [(0.0, y - 0.17), (0.30, y - 0.15), (0.50, y - 0.02), (0.80, 0.35), (0.97, 0.18), (0.96, 0.45)]
    right += [(0.80, 0.70 * portrait.chin), (0.42, 0.97 * bottom), (0.0, bottom)]
    overgrown = ("skin", "jaw", "nose", "nasolabial_folds", "spots", *(("neck",) if is_full else ()))
    within = portrait.canvas.where(*overgrown)
    young = portrait.young_hair * 0.9
    colour = young + (_GREY_BEARD - young) * portrait.person.grey
    opacity, softness = (0.9, 0.03) if is_full else (0.28 + 0.5 * strength, 0.06)
    shape = smooth(closed_by_mirror(right))
    portrait.fill(shape, colour, feature="beard", opacity=opacity, softness=softness, inside=within)
    _paint_bristles(portrait, colour, is_full)


def _paint_bristles(portrait: Portrait, colour: Colour, is_full: bool) -> None:
    generator, beard = portrait.generator, portrait.canvas.where("beard")
    rows, columns = np.nonzero(beard)
    if not len(rows):
        return
    chosen = generator.integers(0, len(rows), 220 if is_full else 150)
    roots = np.stack([columns[chosen], rows[chosen]], axis=1).astype(float)
    reach = generator.normal(0.0, 0.3, roots.shape) + np.array([0.0, 1.0])
    length, width, opacity = (0.10, 0.016, 0.5) if is_full else (0.012, 0.01, 0.3)
    bristles = np.stack([roots, roots + length * portrait.unit * reach], axis=1)
    is_light = generator.random(len(bristles)) < 0.3 + 0.4 * portrait.person.grey
    for lines, paint in (
        (bristles[~is_light], colour * 0.6),
        (bristles[is_light], np.minimum(colour * 1.35 + 10, 240)),
    ):
        if len(lines):
            portrait.canvas.stroke(list(lines), width * portrait.unit, paint, opacity=opacity, inside=beard)
