"""What every painting step is given: a person in a scene, where the parts of the head are, and in which colours.

Head coordinates: x to the right of the picture, y down, the origin between the eyes, 1 = half the width of the face.
Everything in a scene is sampled without a look at the labels; a test checks that none of it tells them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agegender.drawing.canvas import Canvas, Points, closed_by_mirror, smooth
from agegender.drawing.person import Person

BACKGROUNDS = ("plain", "gradient", "blobs", "hills", "window", "shelf")
COLLARS = ("round", "v", "shirt", "hood")
GLASSES = ("none", "round", "square", "dark")

_SCENE_STREAM = 2
_NECK = np.array([0.0, 1.6])

Colour = NDArray[np.float64]  # RGB, 0..255
Paint = Sequence[float] | Colour

_SKIN_STOPS = (0.0, 0.25, 0.45, 0.62, 0.8, 1.0)
_SKIN_COLOURS = ((251, 224, 205), (240, 199, 166), (216, 165, 124), (184, 128, 90), (138, 90, 62), (88, 57, 43))
_HAIR_STOPS = (0.0, 0.25, 0.5, 0.75, 1.0)
_HAIR_COLOURS = ((28, 24, 24), (62, 40, 28), (112, 68, 38), (160, 98, 50), (222, 180, 106))
_GREY = np.array([206.0, 205.0, 204.0])
LEAST_VISIBLE = 0.03  # of a sign's strength


@dataclass(frozen=True)
class Scene:
    """One photographer's choices.

    Attributes
    ----------
    tilt_radians, turn, nod : float
        Rotation in the picture; turns of the head sideways and up or down as sines of their angles.
    shift : tuple of float
        Displacement of the face's centre, as shares of the side.
    face_width : float
        Half the width of the face, as a share of the side.
    light : tuple of float
        Direction that the light comes from, x and y, length about 1.
    contrast, brightness, warmth : float
        Depth of the shading, overall factor, and red against blue.
    background, collar, glasses : str
        Kinds.
    background_colours, clothes_colours : tuple
        Two RGB colours each, 0..255.
    """

    tilt_radians: float
    turn: float
    nod: float
    shift: tuple[float, float]
    face_width: float
    light: tuple[float, float]
    contrast: float
    brightness: float
    warmth: float
    background: str
    background_colours: tuple[tuple[float, ...], tuple[float, ...]]
    clothes_colours: tuple[tuple[float, ...], tuple[float, ...]]
    collar: str
    glasses: str


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


@dataclass(frozen=True)
class Portrait:
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
    def eye_centre(self) -> tuple[float, float]:
        """Where the right eye of the picture is; children's are lower and further apart."""
        child = 1.0 - self.person.growth
        return 0.45 + 0.02 * child, 0.02 + 0.08 * child

    @property
    def eye_size(self) -> tuple[float, float]:
        """Half the width and the height of the open eye above its middle; children's are large, old lids droop."""
        child = 1.0 - self.person.growth
        width = 0.208 + 0.125 * child
        height = (0.112 + 0.14 * child) * (1.0 - 0.30 * self.person.eye_narrowness) * (1.0 - 0.42 * self.person.droop)
        return width, height * (1.0 - 0.15 * self.person.smile)

    @property
    def mouth_height(self) -> float:
        """Height of the line between the lips."""
        return 0.68 * self.chin

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


def sample_scene(seed: int, index: int) -> Scene:
    """Return the scene of face number `index`."""
    generator = np.random.default_rng((seed, _SCENE_STREAM, index))
    angle = generator.uniform(-1.1, 1.1)
    return Scene(
        tilt_radians=float(generator.normal(0.0, 0.07)),
        turn=float(np.clip(generator.normal(0.0, 0.13), -0.3, 0.3)),
        nod=float(np.clip(generator.normal(0.0, 0.05), -0.12, 0.12)),
        shift=(float(generator.normal(0.0, 0.018)), float(generator.normal(0.0, 0.018))),
        face_width=float(generator.uniform(0.238, 0.276)),
        light=(float(np.sin(angle)), float(-np.cos(angle))),
        contrast=float(generator.uniform(0.5, 1.1)),
        brightness=float(generator.uniform(0.88, 1.08)),
        warmth=float(generator.normal(0.0, 0.03)),
        background=str(generator.choice(BACKGROUNDS)),
        background_colours=(_colour(generator, 0.1, 0.5), _colour(generator, 0.1, 0.5)),
        clothes_colours=(_colour(generator, 0.2, 0.8), _colour(generator, 0.0, 0.6)),
        collar=str(generator.choice(COLLARS)),
        glasses=str(generator.choice(GLASSES, p=(0.78, 0.08, 0.08, 0.06))),
    )


def face_outline(person: Person) -> Points:
    """Return the edge of the head without hair: round and short in children, longer and heavier with the years."""
    child = 1.0 - person.growth
    chin, top = 1.44 - 0.50 * child, -1.46 - 0.10 * child
    jaw = 0.80 + 0.05 * person.jaw_width + 0.10 * child + 0.07 * person.jowls
    chin_width = 0.36 + 0.09 * person.jaw_width + 0.08 * child + 0.10 * person.jowls
    skull = [(0.0, top), (0.60, top + 0.12), (0.96, -0.80), (1.03, -0.20)]
    lower = [(1.00 + 0.05 * child, 0.30 * chin), (jaw, 0.66 * chin), (chin_width, 0.95 * chin), (0.0, chin)]
    return smooth(closed_by_mirror(skull + lower))


def _colour(generator: np.random.Generator, least: float, most: float) -> tuple[float, ...]:
    """Return an RGB colour 0..255 of any hue, saturation between `least` and `most`, any lightness."""
    hue, saturation, value = generator.random(), generator.uniform(least, most), generator.uniform(0.25, 0.97)
    phases = (hue * 6.0 + np.array([5.0, 3.0, 1.0])) % 6.0
    channels = value - value * saturation * np.clip(np.minimum(phases, 4.0 - phases), 0.0, 1.0)
    return tuple(float(channel) * 255.0 for channel in channels)


def _between(position: float, stops: tuple[float, ...], colours: tuple[tuple[float, ...], ...]) -> Colour:
    return np.array([np.interp(position, stops, channel) for channel in zip(*colours, strict=True)])
