"""The order of painting, from the background to the grain: a person and a scene become a photo and a feature map."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from agegender.drawing.canvas import Canvas, ellipse, smooth
from agegender.drawing.clothing import paint_body, paint_earrings, paint_glasses, paint_hair_bow
from agegender.drawing.hair import paint_back_hair, paint_beard, paint_hair
from agegender.drawing.head import paint_ageing, paint_eyes, paint_head, paint_mouth, paint_nose
from agegender.drawing.person import Person
from agegender.drawing.portrait import Colour, Portrait, Pose, Scene, face_outline

SUPERSAMPLING = 1.5  # 2 looks hardly better and takes half as long again
_PAINT_STREAM = 3
_GRAIN = 2.0  # standard deviation of the camera's noise, of 255


def draw_portrait(person: Person, scene: Scene, image_size: int, *, seed: int, index: int) -> tuple[NDArray, NDArray]:
    """Paint one portrait.

    Parameters
    ----------
    person, scene : Person, Scene
        What is painted.
    image_size : int
        Pixels of a side.
    seed, index : int
        Single strands, spots and the grain are drawn from these.

    Returns
    -------
    photo : ndarray, shape (image_size, image_size, 3), uint8
        RGB.
    features : ndarray, shape (image_size, image_size), uint8
        The number in `causes.FEATURES` of the topmost feature at each pixel.
    """
    generator = np.random.default_rng((seed, _PAINT_STREAM, index))
    side = round(SUPERSAMPLING * image_size)
    portrait = Portrait(person, scene, Pose(scene, side), Canvas(side), generator, face_outline(person))
    for paint in (
        paint_backdrop,
        paint_back_hair,
        paint_body,
        paint_head,
        paint_ageing,
        paint_beard,
        paint_nose,
        paint_mouth,
        paint_eyes,
        paint_hair,
        paint_earrings,
        paint_hair_bow,
        paint_glasses,
    ):
        paint(portrait)
    return _developed(portrait, image_size), _coarse(portrait.canvas.features, image_size)


def _developed(portrait: Portrait, image_size: int) -> NDArray:
    scene = portrait.scene
    planes = cv2.merge(list(portrait.canvas.image))
    small = np.asarray(cv2.resize(planes, (image_size, image_size), interpolation=cv2.INTER_AREA), np.float32)
    light = np.float32(scene.brightness) * np.array([1.0 + scene.warmth, 1.0, 1.0 - scene.warmth], np.float32)
    grain = portrait.generator.standard_normal(small.shape, dtype=np.float32) * np.float32(_GRAIN)
    return np.clip(small * light + grain, 0.0, 255.0).astype(np.uint8)


def _coarse(features: NDArray, image_size: int) -> NDArray:
    small = cv2.resize(features, (image_size, image_size), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(small, np.uint8)


def paint_backdrop(portrait: Portrait) -> None:
    """Cover the whole canvas with the scene's background."""
    first, second = (np.asarray(colour) for colour in portrait.scene.background_colours)
    side = portrait.canvas.side
    if portrait.scene.background == "plain":
        second = first * 0.86
    ramp = np.linspace(0.0, 1.0, side, dtype=np.float32)[:, None]
    slant = np.clip(ramp + np.float32(0.4 * portrait.scene.light[0]) * (ramp.T - 0.5), 0.0, 1.0)
    for plane, start, end in zip(
        portrait.canvas.image, first.astype(np.float32), second.astype(np.float32), strict=True
    ):
        plane[:] = start + (end - start) * slant
    scenery = {"blobs": _blobs, "hills": _hills, "window": _window, "shelf": _shelf}.get(portrait.scene.background)
    if scenery:
        scenery(portrait, first, second)


def _blobs(portrait: Portrait, first: Colour, second: Colour) -> None:
    side, generator = portrait.canvas.side, portrait.generator
    for _ in range(6):
        x, y = generator.random(2) * side
        radius = generator.uniform(0.06, 0.2) * side
        colour = np.clip((first + second) / 2 * generator.uniform(0.7, 1.4), 0, 255)
        portrait.canvas.fill(ellipse(x, y, radius, radius), colour, opacity=0.6, softness=0.012 * side)


def _hills(portrait: Portrait, _: Colour, second: Colour) -> None:
    side, generator = portrait.canvas.side, portrait.generator
    for layer, height in enumerate((0.45, 0.6, 0.75)):
        xs = np.linspace(-0.1, 1.1, 7)
        ridge = height + generator.normal(0.0, 0.06, 7)
        line = smooth(np.stack([xs, ridge], axis=1), closed=False) * side
        corners = [[1.2 * side, 1.1 * side], [-0.2 * side, 1.1 * side]]
        portrait.canvas.fill(np.concatenate([line, corners]), second * (0.9 - 0.17 * layer), softness=0.006 * side)


def _window(portrait: Portrait, first: Colour, _: Colour) -> None:
    side, generator = portrait.canvas.side, portrait.generator
    left = generator.choice((0.03, 0.62)) + generator.uniform(-0.05, 0.05)
    top = generator.uniform(0.03, 0.15)
    for row in range(2):
        for column in range(2):
            x, y = left + 0.17 * column, top + 0.24 * row
            pane = np.array([[x, y], [x + 0.15, y], [x + 0.15, y + 0.22], [x, y + 0.22]]) * side
            portrait.canvas.fill(pane, np.clip(first * 0.4 + 150, 0, 250), opacity=0.85, softness=0.006 * side)


def _shelf(portrait: Portrait, first: Colour, second: Colour) -> None:
    side, generator = portrait.canvas.side, portrait.generator
    for bottom in (0.3, 0.62):
        x = generator.uniform(-0.05, 0.02)
        while x < 1.0:
            width, height = generator.uniform(0.03, 0.07), generator.uniform(0.13, 0.22)
            book = np.array([[x, bottom - height], [x + width, bottom - height], [x + width, bottom], [x, bottom]])
            colour = np.clip(second * generator.uniform(0.6, 1.25, 3), 0, 255)
            portrait.canvas.fill(book * side, colour, opacity=0.7, softness=0.007 * side)
            x += width + 0.006
        board = np.array([[0, bottom], [1, bottom], [1, bottom + 0.025], [0, bottom + 0.025]]) * side
        portrait.canvas.fill(board, first * 0.55, softness=0.006 * side)
