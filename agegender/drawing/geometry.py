"""Owns the shapes in space: curves through points, and where a point of the head lands in the picture.

Head coordinates: x to the right of the picture, y down, the origin between the eyes, 1 = half the width of the face.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agegender.drawing.scene import Scene

Points = NDArray[np.float64]
_NECK = np.array([0.0, 1.6])


def smooth(points: ArrayLike, *, closed: bool = True, steps: int = 8) -> Points:
    """Return a Catmull-Rom curve through `points`, `steps` points for each of them, shape (n, 2)."""
    corners = np.asarray(points, float)
    if closed:
        around = np.concatenate([corners[-1:], corners, corners[:2]])
    else:
        around = np.concatenate([corners[:1], corners, corners[-1:]])
    before, start, end, after = around[:-3, None], around[1:-2, None], around[2:-1, None], around[3:, None]
    t = np.linspace(0.0, 1.0, steps, endpoint=False)[None, :, None]
    curve = 0.5 * (
        2 * start
        + (end - before) * t
        + (2 * before - 5 * start + 4 * end - after) * t**2
        + (3 * start - before - 3 * end + after) * t**3
    )
    flat = curve.reshape(-1, 2)
    return flat if closed else np.concatenate([flat, corners[-1:]])


def ellipse(x: float, y: float, width: float, height: float, *, steps: int = 28) -> Points:
    """Return an ellipse by its centre and half axes, shape (steps, 2)."""
    angles = np.linspace(0.0, 2 * np.pi, steps, endpoint=False)
    return np.stack([x + width * np.cos(angles), y + height * np.sin(angles)], axis=1)


def mirrored(points: ArrayLike) -> Points:
    """Return the shape on the other side of the face."""
    return np.asarray(points, float) * [-1.0, 1.0]


def closed_by_mirror(right: ArrayLike) -> Points:
    """Return the whole outline of a symmetric shape from its right half, given from top to bottom."""
    half = np.asarray(right, float)
    other = mirrored(half[::-1])
    keep = np.abs(other[:, 0]) > 1e-9
    return np.concatenate([half, other[keep]])


@dataclass(frozen=True)
class Pose:
    """Where the head is: turns head coordinates into pixels of a canvas of `side` pixels."""

    scene: Scene
    side: int

    @property
    def unit(self) -> float:
        """Pixels per unit of head coordinates."""
        return self.scene.face_width * self.side

    def on_face(self, points: ArrayLike) -> Points:
        """Place points of the front of the face: they follow the turn of the head as on a ball."""
        shape = np.asarray(points, float)
        depth = np.sqrt(np.clip(1.0 - (shape[:, 0] / 1.12) ** 2 - (shape[:, 1] / 1.65) ** 2, 0.0, 1.0))
        turned = shape + depth[:, None] * np.array([self.scene.turn, self.scene.nod])
        return self._placed(turned, self.scene.tilt_radians)

    def on_head(self, points: ArrayLike) -> Points:
        """Place points of the outline of the head, which a turn hardly moves."""
        return self._placed(np.asarray(points, float), self.scene.tilt_radians)

    def on_body(self, points: ArrayLike) -> Points:
        """Place points of neck and shoulders, which stay upright."""
        return self._placed(np.asarray(points, float), self.scene.tilt_radians * 0.25)

    def _placed(self, points: Points, tilt: float) -> Points:
        rotation = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
        upright = (points - _NECK) @ rotation + _NECK
        return (upright * self.scene.face_width + [0.5 + self.scene.shift[0], 0.495 + self.scene.shift[1]]) * self.side
