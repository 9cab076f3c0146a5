"""Owns what every painting step is given: the person, the scene, the canvas, and the colours that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agegender.drawing.canvas import Canvas
from agegender.drawing.geometry import Points, Pose
from agegender.drawing.person import Person
from agegender.drawing.scene import Scene

Colour = NDArray[np.float64]  # RGB, 0..255
Paint = Sequence[float] | Colour

_SKIN_STOPS = (0.0, 0.25, 0.45, 0.62, 0.8, 1.0)
_SKIN_COLOURS = ((251, 224, 205), (240, 199, 166), (216, 165, 124), (184, 128, 90), (138, 90, 62), (88, 57, 43))
_HAIR_STOPS = (0.0, 0.25, 0.5, 0.75, 1.0)
_HAIR_COLOURS = ((28, 24, 24), (62, 40, 28), (112, 68, 38), (160, 98, 50), (222, 180, 106))
_GREY = np.array([206.0, 205.0, 204.0])


@dataclass(frozen=True)
class Sitting:
    """One portrait in the making.

    Attributes
    ----------
    person, scene, pose, canvas
        Who, in what light, placed where, painted on what.
    generator : Generator
        For what is neither a sign of a label nor a choice of the scene: single strands, spots.
    outline : ndarray, shape (points, 2)
        The edge of the face in head coordinates.
    """

    person: Person
    scene: Scene
    pose: Pose
    canvas: Canvas
    generator: np.random.Generator
    outline: Points

    @property
    def unit(self) -> float:
        """Pixels per unit of head coordinates."""
        return self.pose.unit

    @property
    def chin(self) -> float:
        """Height of the chin's edge in head coordinates."""
        return float(self.outline[:, 1].max())

    @property
    def skull_top(self) -> float:
        """Height of the top of the bare head in head coordinates."""
        return float(self.outline[:, 1].min())

    @property
    def skin(self) -> Colour:
        """Colour of lit skin."""
        return _between(self.person.skin_tone, _SKIN_STOPS, _SKIN_COLOURS)

    @property
    def dark_skin(self) -> Colour:
        """Colour of folds and of skin in shadow."""
        return self.skin * [0.66, 0.52, 0.48]

    @property
    def young_hair(self) -> Colour:
        """Colour of the hair before it greys."""
        return _between(self.person.hair_tone, _HAIR_STOPS, _HAIR_COLOURS)

    @property
    def hair(self) -> Colour:
        """Colour of the hair as a whole."""
        return self.young_hair + (_GREY - self.young_hair) * self.person.grey

    @property
    def grey_strand(self) -> Colour:
        """Colour of a single grey strand."""
        return _GREY + 18.0

    def fill(self, points: ArrayLike, colour: Paint, *, softness: float = 0.0, **how: Any) -> None:
        """Fill a shape on the front of the face; points and softness in head coordinates, `how` as `Canvas.fill`."""
        self.canvas.fill(self.pose.on_face(points), colour, softness=softness * self.unit, **how)

    def stroke(
        self, lines: Sequence[ArrayLike], width: float, colour: Paint, *, softness: float = 0.0, **how: Any
    ) -> None:
        """Draw lines on the front of the face; points, width and softness in head coordinates."""
        placed = [self.pose.on_face(line) for line in lines]
        self.canvas.stroke(placed, width * self.unit, colour, softness=softness * self.unit, **how)


def _between(position: float, stops: tuple[float, ...], colours: tuple[tuple[float, ...], ...]) -> Colour:
    return np.array([np.interp(position, stops, channel) for channel in zip(*colours, strict=True)])
