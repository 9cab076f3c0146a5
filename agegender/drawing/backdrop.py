"""Paints what is behind the person: background and simple scenery, never a sign of any label."""

from __future__ import annotations

import numpy as np

from agegender.drawing.geometry import ellipse, smooth
from agegender.drawing.sitting import Colour, Sitting


def paint_backdrop(sitting: Sitting) -> None:
    """Cover the whole canvas with the scene's background."""
    first, second = (np.asarray(colour) for colour in sitting.scene.background_colours)
    side = sitting.canvas.side
    if sitting.scene.background == "plain":
        second = first * 0.86
    ramp = np.linspace(0.0, 1.0, side, dtype=np.float32)[:, None]
    slant = np.clip(ramp + np.float32(0.4 * sitting.scene.light[0]) * (ramp.T - 0.5), 0.0, 1.0)
    for plane, start, end in zip(
        sitting.canvas.image, first.astype(np.float32), second.astype(np.float32), strict=True
    ):
        plane[:] = start + (end - start) * slant
    scenery = {"blobs": _blobs, "hills": _hills, "window": _window, "shelf": _shelf}.get(sitting.scene.background)
    if scenery:
        scenery(sitting, first, second)


def _blobs(sitting: Sitting, first: Colour, second: Colour) -> None:
    side, generator = sitting.canvas.side, sitting.generator
    for _ in range(6):
        x, y = generator.random(2) * side
        radius = generator.uniform(0.06, 0.2) * side
        colour = np.clip((first + second) / 2 * generator.uniform(0.7, 1.4), 0, 255)
        sitting.canvas.fill(ellipse(x, y, radius, radius), colour, opacity=0.6, softness=0.012 * side)


def _hills(sitting: Sitting, _: Colour, second: Colour) -> None:
    side, generator = sitting.canvas.side, sitting.generator
    for layer, height in enumerate((0.45, 0.6, 0.75)):
        xs = np.linspace(-0.1, 1.1, 7)
        ridge = height + generator.normal(0.0, 0.06, 7)
        line = smooth(np.stack([xs, ridge], axis=1), closed=False) * side
        corners = [[1.2 * side, 1.1 * side], [-0.2 * side, 1.1 * side]]
        sitting.canvas.fill(np.concatenate([line, corners]), second * (0.9 - 0.17 * layer), softness=0.006 * side)


def _window(sitting: Sitting, first: Colour, _: Colour) -> None:
    side, generator = sitting.canvas.side, sitting.generator
    left = generator.choice((0.03, 0.62)) + generator.uniform(-0.05, 0.05)
    top = generator.uniform(0.03, 0.15)
    for row in range(2):
        for column in range(2):
            x, y = left + 0.17 * column, top + 0.24 * row
            pane = np.array([[x, y], [x + 0.15, y], [x + 0.15, y + 0.22], [x, y + 0.22]]) * side
            sitting.canvas.fill(pane, np.clip(first * 0.4 + 150, 0, 250), opacity=0.85, softness=0.006 * side)


def _shelf(sitting: Sitting, first: Colour, second: Colour) -> None:
    side, generator = sitting.canvas.side, sitting.generator
    for bottom in (0.3, 0.62):
        x = generator.uniform(-0.05, 0.02)
        while x < 1.0:
            width, height = generator.uniform(0.03, 0.07), generator.uniform(0.13, 0.22)
            book = np.array([[x, bottom - height], [x + width, bottom - height], [x + width, bottom], [x, bottom]])
            colour = np.clip(second * generator.uniform(0.6, 1.25, 3), 0, 255)
            sitting.canvas.fill(book * side, colour, opacity=0.7, softness=0.007 * side)
            x += width + 0.006
        board = np.array([[0, bottom], [1, bottom], [1, bottom + 0.025], [0, bottom + 0.025]]) * side
        sitting.canvas.fill(board, first * 0.55, softness=0.006 * side)
