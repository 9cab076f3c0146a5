"""Owns what is in the picture without being a sign of any label: pose, light, background, clothes, glasses.

Everything here is sampled without a look at the labels; a test checks that none of it tells them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BACKGROUNDS = ("plain", "gradient", "blobs", "hills", "window", "shelf")
COLLARS = ("round", "v", "shirt", "hood")
GLASSES = ("none", "round", "square", "dark")

_SCENE_STREAM = 2


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


def _colour(generator: np.random.Generator, least: float, most: float) -> tuple[float, ...]:
    """Return an RGB colour 0..255 of any hue, saturation between `least` and `most`, any lightness."""
    hue, saturation, value = generator.random(), generator.uniform(least, most), generator.uniform(0.25, 0.97)
    phases = (hue * 6.0 + np.array([5.0, 3.0, 1.0])) % 6.0
    channels = value - value * saturation * np.clip(np.minimum(phases, 4.0 - phases), 0.0, 1.0)
    return tuple(float(channel) * 255.0 for channel in channels)
