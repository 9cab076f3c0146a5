"""Paints the hair: what hangs behind the head, the cap on it, what falls in front, strand by strand.

Grey shows twice: in the colour as a whole and as single white strands.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agegender.sources.drawing.canvas import blurred, moved
from agegender.sources.drawing.geometry import Points, ellipse, smooth
from agegender.sources.drawing.sitting import Sitting


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
    style = STYLES[sitting.person.hair_style]
    colour = sitting.hair * 0.72
    if style.back is not None:
        _sheet(sitting, style, colour)
    if sitting.person.hair_style == "bun":
        _ball(sitting, 0.0, _skull_top(sitting) - 0.20, 0.44, 0.32)
    if sitting.person.hair_style == "ponytail":
        _tail(sitting, 1.0, (0.7, -0.9), (1.55, 0.2), (1.25, 1.7))
    if sitting.person.hair_style == "pigtails":
        for side in (-1.0, 1.0):
            _tail(sitting, side, (0.95, -0.35), (1.65, 0.25), (1.4, 1.25))


def paint_hair(sitting: Sitting) -> None:
    """Paint the cap on the skull, its shadow on the skin, and the locks in front of the shoulders."""
    style = STYLES[sitting.person.hair_style]
    canvas, unit = sitting.canvas, sitting.unit
    outer, line = _cap_edges(sitting, style)
    cap = np.concatenate([sitting.pose.on_head(outer), sitting.pose.on_face(line[::-1])])
    hair = canvas.mask(cap, softness=0.035 * unit)
    _cast_shadow(sitting, hair)
    thin = style.opacity * (1.0 - 0.35 * sitting.person.recession)
    canvas.fill(cap, sitting.hair, feature="hair", opacity=thin, softness=0.035 * unit)
    if style.wave >= 1.0:
        _curls(sitting, hair)
    else:
        _cap_strands(sitting, style, outer, line, hair * thin)
    if style.front is not None:
        for side in (-1.0, 1.0):
            _lock(sitting, style, side)
    _gloss(sitting, hair * thin)


def _skull_top(sitting: Sitting) -> float:
    return float(sitting.outline[:, 1].min())


def _cap_edges(sitting: Sitting, style: Style) -> tuple[Points, Points]:
    """Return the outer edge of the cap and the hair line, both from the left ear to the right in head coordinates."""
    person = sitting.person
    back, child = person.recession, 1.0 - person.growth
    volume = style.volume * (1.0 - 0.6 * back)
    top = _skull_top(sitting)
    half = [
        (1.06 + 0.4 * volume, 0.10),
        (1.07 + 0.8 * volume, -0.35),
        (1.0 + volume, -0.90),
        (0.62 + 0.8 * volume, top + 0.10 - 0.9 * volume),
        (0.0, top - volume),
    ]
    right = np.array(half)
    outer = smooth(np.concatenate([right * [-1.0, 1.0], right[-2::-1]]), closed=False)
    outer[:, 1] += style.part * 0.06 * np.sign(outer[:, 0]) * (outer[:, 1] < -0.8)
    forehead = -0.93 - 0.08 * child
    temple = np.array(
        [
            (0.99, 0.12),
            (0.93, -0.30),
            (0.80 - 0.10 * back, -0.62 - 0.50 * back),
            (0.45 - 0.06 * back, forehead - 0.02 - 0.46 * back),
        ]
    )
    middle = np.array([(0.0, forehead - 0.06 + style.fringe * 0.2 - 0.36 * back)])
    line = np.concatenate([temple * [-1.0, 1.0], middle, temple[::-1]])
    if style.fringe:
        fallen = np.abs(line[:, 0]) < 0.9
        line[fallen, 1] += style.fringe * (1.0 - 0.5 * back) * (1.0 - 0.35 * np.abs(line[fallen, 0]))
    if style.part:
        line[4, 0] = -0.9 * style.part
        line[4, 1] -= 0.12
    return outer, smooth(line, closed=False)


def _cast_shadow(sitting: Sitting, hair: np.ndarray) -> None:
    light, unit = sitting.scene.light, sitting.unit
    fallen = blurred(moved(hair, -0.05 * light[0] * unit, 0.09 * unit), 0.05 * unit)
    sitting.canvas.shade(fallen * sitting.canvas.where("skin", "forehead", "ears"), (0.80, 0.70, 0.68))


def _cap_strands(sitting: Sitting, style: Style, outer: Points, line: Points, hair: np.ndarray) -> None:
    """Draw strands from the parting down each side, between the outer edge and the hair line."""
    middle_outer, middle_line = (
        len(outer) // 2,
        int(np.argmin(line[:, 1] + 3.0 * np.abs(line[:, 0] + 0.9 * style.part))),
    )
    for above, below in (
        (outer[: middle_outer + 1][::-1], line[: middle_line + 1][::-1]),
        (outer[middle_outer:], line[middle_line:]),
    ):
        if len(below) < 2:
            continue
        _strands(sitting, sitting.pose.on_head(_resampled(above)), sitting.pose.on_face(_resampled(below)), 44, hair)


def _strands(
    sitting: Sitting, first: Points, second: Points, count: int, inside: np.ndarray, wave: float = 0.0
) -> None:
    """Draw `count` strands between two edges of the same number of points: shades of the hair, and grey ones."""
    generator, unit = sitting.generator, sitting.unit
    places = generator.random(count)
    kinds = generator.random(count)
    t = np.linspace(0.0, 1.0, len(first))
    strands = []
    for place in places:
        strand = first + (second - first) * place
        strands.append(strand + [1.0, 0.3] * (wave * 0.07 * unit * np.sin(t * 11.0 + 2.0 * place))[:, None])
    is_grey = kinds < 0.75 * sitting.person.grey
    dark = [strand for strand, kind, grey in zip(strands, kinds, is_grey, strict=True) if not grey and kind > 0.55]
    light = [strand for strand, kind, grey in zip(strands, kinds, is_grey, strict=True) if not grey and kind <= 0.55]
    grey = [strand for strand, grey in zip(strands, is_grey, strict=True) if grey]
    for lines, colour, opacity in (
        (dark, sitting.hair * 0.66, 0.6),
        (light, sitting.hair * 1.22 + 8, 0.5),
        (grey, sitting.grey_strand, 0.7),
    ):
        if lines:
            sitting.canvas.stroke(
                lines, 0.016 * unit, np.minimum(colour, 250), opacity=opacity, softness=0.004 * unit, inside=inside
            )


def _curls(sitting: Sitting, hair: np.ndarray) -> None:
    generator, unit = sitting.generator, sitting.unit
    rows, columns = np.nonzero(hair > 0.35)
    if not len(rows):
        return
    chosen = generator.integers(0, len(rows), 170)
    arcs: dict[str, list[Points]] = {"dark": [], "light": [], "grey": []}
    for row, column in zip(rows[chosen], columns[chosen], strict=True):
        start, radius = generator.uniform(0, 2 * np.pi), generator.uniform(0.05, 0.10) * unit
        angles = start + np.linspace(0.0, 4.2, 7)
        kind = "grey" if generator.random() < 0.75 * sitting.person.grey else str(generator.choice(("dark", "light")))
        arcs[kind].append(np.stack([column + radius * np.cos(angles), row + radius * np.sin(angles)], axis=1))
    for kind, colour in (
        ("dark", sitting.hair * 0.55),
        ("light", sitting.hair * 1.3 + 10),
        ("grey", sitting.grey_strand),
    ):
        if arcs[kind]:
            sitting.canvas.stroke(arcs[kind], 0.03 * unit, np.minimum(colour, 250), opacity=0.65, feature="hair")


def _sheet(sitting: Sitting, style: Style, colour: np.ndarray) -> None:
    top, end, width = _skull_top(sitting) - style.volume, float(style.back or 0.0), style.width
    right = [
        (0.0, top),
        (0.75, top + 0.15),
        (width - 0.1, -0.7),
        (width, 0.2),
        (width + 0.05, 0.7 * end),
        (width - 0.12, end),
    ]
    half = np.array(right)
    points = np.concatenate([half, half[:0:-1] * [-1.0, 1.0]])
    shape = sitting.pose.on_head(smooth(points))
    if style.wave >= 1.0:
        edge = smooth(points, steps=3)
        shape = sitting.pose.on_head(edge * (1.0 + 0.05 * np.where(np.arange(len(edge)) % 2, 1.0, -1.0))[:, None])
        shape = smooth(shape, steps=4)
    sitting.canvas.fill(shape, colour, feature="hair", softness=0.02 * sitting.unit)
    mask = sitting.canvas.mask(shape)
    if style.wave >= 1.0:
        _curls(sitting, mask)
        return
    for side in (-1.0, 1.0):
        inner, outer = (
            np.array([(0.75, -0.6), (0.8, 0.4), (0.75, end)]),
            np.array([(width - 0.08, -0.6), (width, 0.4), (width - 0.1, end)]),
        )
        _strands(
            sitting,
            sitting.pose.on_head(_resampled(inner * [side, 1.0])),
            sitting.pose.on_head(_resampled(outer * [side, 1.0])),
            14,
            mask,
            style.wave,
        )


def _lock(sitting: Sitting, style: Style, side: float) -> None:
    """Draw the hair that falls over the ear and in front of the shoulder on one side."""
    end, width = float(style.front or 0.0), style.width
    outer = np.array(
        [(0.86, -1.05), (width - 0.10, -0.5), (width, 0.3), (width + 0.08, 0.65 * end), (width - 0.02, end)]
    )
    inner = np.array([(0.62, -1.05), (0.92, -0.45), (0.93, 0.3), (0.86, 0.65 * end), (0.92, end - 0.05)])
    outer[:, 0] += style.wave * 0.07 * np.sin(outer[:, 1] * 5.0)
    inner[:, 0] += style.wave * 0.05 * np.sin(inner[:, 1] * 5.0)
    edges = [sitting.pose.on_head(smooth(edge * [side, 1.0], closed=False)) for edge in (outer, inner)]
    shape = np.concatenate([edges[0], edges[1][::-1]])
    canvas, unit = sitting.canvas, sitting.unit
    mask = canvas.mask(shape, softness=0.02 * unit)
    shadow = blurred(moved(mask, -0.06 * side * unit, 0.03 * unit), 0.045 * unit)
    canvas.shade(shadow * canvas.where("skin", "jaw", "neck", "clothes"), (0.84, 0.76, 0.74))
    canvas.fill(shape, sitting.hair, feature="hair", softness=0.02 * unit)
    _strands(sitting, *edges, 26, mask, style.wave)


def _tail(
    sitting: Sitting, side: float, start: tuple[float, float], bend: tuple[float, float], end: tuple[float, float]
) -> None:
    first = np.array([start, (bend[0], start[1] - 0.05), bend, end]) * [side, 1.0]
    second = np.array(
        [(start[0] - 0.1, start[1] + 0.15), (bend[0] - 0.45, start[1] + 0.35), (bend[0] - 0.55, bend[1]), end]
    ) * [side, 1.0]
    edges = [sitting.pose.on_head(smooth(edge, closed=False)) for edge in (first, second)]
    shape = np.concatenate([edges[0], edges[1][::-1]])
    sitting.canvas.fill(shape, sitting.hair * 0.85, feature="hair", softness=0.02 * sitting.unit)
    _strands(sitting, *edges, 18, sitting.canvas.mask(shape))


def _ball(sitting: Sitting, x: float, y: float, width: float, height: float) -> None:
    shape = sitting.pose.on_head(ellipse(x, y, width, height))
    sitting.canvas.fill(shape, sitting.hair * 0.9, feature="hair", softness=0.02 * sitting.unit)
    edges = [
        sitting.pose.on_head(smooth([(x - width, y), (x, y + bulge), (x + width, y)], closed=False))
        for bulge in (-height, height)
    ]
    _strands(sitting, *edges, 18, sitting.canvas.mask(shape))


def _gloss(sitting: Sitting, hair: np.ndarray) -> None:
    """Lighten the side that faces the light and darken the lower edge."""
    light = sitting.scene.light
    shine = ellipse(0.55 * light[0], _skull_top(sitting) + 0.12, 0.62, 0.24)
    sitting.canvas.fill(
        sitting.pose.on_head(shine),
        np.minimum(sitting.hair * 1.5 + 38, 255),
        opacity=0.30,
        softness=0.13 * sitting.unit,
        inside=hair,
    )


def _resampled(edge: Points, count: int = 14) -> Points:
    position = np.linspace(0.0, len(edge) - 1.0, count)
    steps = np.arange(len(edge))
    return np.stack([np.interp(position, steps, edge[:, 0]), np.interp(position, steps, edge[:, 1])], axis=1)
