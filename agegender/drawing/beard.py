"""Paints beard and stubble."""

from __future__ import annotations

import numpy as np

from agegender.drawing.geometry import closed_by_mirror, smooth
from agegender.drawing.layout import mouth_height
from agegender.drawing.sitting import Colour, Sitting

_LEAST_VISIBLE = 0.03
_LEAST_FULL = 0.7  # from here on it is a beard, below stubble
_GREY = np.array([196.0, 196.0, 196.0])


def paint_beard(sitting: Sitting) -> None:
    """Paint stubble or a beard around the mouth, before the mouth."""
    strength = sitting.person.beard
    if strength < _LEAST_VISIBLE:
        return
    is_full, y = strength > _LEAST_FULL, mouth_height(sitting)
    bottom = sitting.chin + (0.10 if is_full else 0.0)
    right = [(0.0, y - 0.17), (0.30, y - 0.15), (0.50, y - 0.02), (0.80, 0.35), (0.97, 0.18), (0.96, 0.45)]
    right += [(0.80, 0.70 * sitting.chin), (0.42, 0.97 * bottom), (0.0, bottom)]
    overgrown = ("skin", "jaw", "nose", "nasolabial_folds", "spots", *(("neck",) if is_full else ()))
    within = sitting.canvas.where(*overgrown)
    young = sitting.young_hair * 0.9
    colour = young + (_GREY - young) * sitting.person.grey
    opacity, softness = (0.9, 0.03) if is_full else (0.28 + 0.5 * strength, 0.06)
    shape = smooth(closed_by_mirror(right))
    sitting.fill(shape, colour, feature="beard", opacity=opacity, softness=softness, inside=within)
    _paint_bristles(sitting, colour, is_full)


def _paint_bristles(sitting: Sitting, colour: Colour, is_full: bool) -> None:
    generator, beard = sitting.generator, sitting.canvas.where("beard")
    rows, columns = np.nonzero(beard)
    if not len(rows):
        return
    chosen = generator.integers(0, len(rows), 220 if is_full else 150)
    roots = np.stack([columns[chosen], rows[chosen]], axis=1).astype(float)
    reach = generator.normal(0.0, 0.3, roots.shape) + np.array([0.0, 1.0])
    length, width, opacity = (0.10, 0.016, 0.5) if is_full else (0.012, 0.01, 0.3)
    bristles = np.stack([roots, roots + length * sitting.unit * reach], axis=1)
    is_light = generator.random(len(bristles)) < 0.3 + 0.4 * sitting.person.grey
    for lines, paint in (
        (bristles[~is_light], colour * 0.6),
        (bristles[is_light], np.minimum(colour * 1.35 + 10, 240)),
    ):
        if len(lines):
            sitting.canvas.stroke(list(lines), width * sitting.unit, paint, opacity=opacity, inside=beard)
