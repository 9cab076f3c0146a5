"""Paints single strands, locks and curls: what makes a patch of colour look like hair, and where grey begins."""

from __future__ import annotations

import numpy as np

from agegender.drawing.canvas import Mask
from agegender.drawing.geometry import Points
from agegender.drawing.sitting import Colour, Sitting

_PULLED_OUT = 0.04  # share of grey hair up to which none is seen


def paint_strands(
    sitting: Sitting, first: Points, second: Points, count: int, *, inside: Mask, wave: float = 0.0
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
    places = sitting.generator.random(count)[:, None, None]
    kinds = _kinds(sitting, count)
    along = np.linspace(0.0, 1.0, len(first))[None, :]
    sway = wave * 0.07 * sitting.unit * np.sin(11.0 * along + 2.0 * places[:, :, 0])
    strands = first + (second - first) * places + sway[..., None] * np.array([1.0, 0.3])
    for kind, (colour, opacity) in _shades(sitting).items():
        chosen = list(strands[kinds == kind])
        if chosen:
            width, softness = 0.016 * sitting.unit, 0.004 * sitting.unit
            sitting.canvas.stroke(chosen, width, colour, opacity=opacity, softness=softness, inside=inside)


def paint_curls(sitting: Sitting, hair: Mask, *, count: int = 170) -> None:
    """Draw small arcs all over the `hair`, shape (side, side), which they also roughen at its edge."""
    rows, columns = np.nonzero(hair > 0.35)
    if not len(rows):
        return
    generator = sitting.generator
    chosen = generator.integers(0, len(rows), count)
    starts, radii = (
        generator.uniform(0, 2 * np.pi, (count, 1)),
        generator.uniform(0.05, 0.10, (count, 1)) * sitting.unit,
    )
    angles = starts + np.linspace(0.0, 4.2, 7)
    centres = np.stack([columns[chosen], rows[chosen]], axis=1)[:, None, :]
    arcs = centres + radii[..., None] * np.stack([np.cos(angles), np.sin(angles)], axis=2)
    kinds = _kinds(sitting, count)
    for kind, (colour, opacity) in _shades(sitting).items():
        lines = list(arcs[kinds == kind])
        if lines:
            sitting.canvas.stroke(lines, 0.03 * sitting.unit, colour, opacity=opacity, feature="hair")


def resampled(edge: Points, count: int = 14) -> Points:
    """Return `count` points along an edge, shape (count, 2), so that two edges have equally many."""
    position, steps = np.linspace(0.0, len(edge) - 1.0, count), np.arange(len(edge))
    return np.stack([np.interp(position, steps, edge[:, axis]) for axis in (0, 1)], axis=1)


def _kinds(sitting: Sitting, count: int) -> np.ndarray:
    grey = 0.75 * max(0.0, sitting.person.grey - _PULLED_OUT)
    return np.searchsorted([grey, grey + 0.5 * (1.0 - grey)], sitting.generator.random(count))


def _shades(sitting: Sitting) -> dict[int, tuple[Colour, float]]:
    light = np.minimum(sitting.hair * 1.22 + 8.0, 250.0)
    return {1: (sitting.hair * 0.64, 0.6), 2: (light, 0.5), 0: (sitting.grey_strand, 0.7)}
