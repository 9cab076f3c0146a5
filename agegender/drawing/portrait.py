"""Owns the order of painting: a person and a scene become a photo and a feature map."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from agegender.drawing.adornments import paint_earrings, paint_glasses, paint_hair_bow
from agegender.drawing.ageing import paint_ageing
from agegender.drawing.backdrop import paint_backdrop
from agegender.drawing.beard import paint_beard
from agegender.drawing.body import paint_body
from agegender.drawing.canvas import Canvas
from agegender.drawing.eyes import paint_eyes
from agegender.drawing.geometry import Pose
from agegender.drawing.hair import paint_back_hair, paint_hair
from agegender.drawing.head import face_outline, paint_head
from agegender.drawing.nose_and_mouth import paint_mouth, paint_nose
from agegender.drawing.person import Person
from agegender.drawing.scene import Scene
from agegender.drawing.sitting import Sitting

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
    sitting = Sitting(person, scene, Pose(scene, side), Canvas(side), generator, face_outline(person))
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
        paint(sitting)
    return _developed(sitting, image_size), _coarse(sitting.canvas.features, image_size)


def _developed(sitting: Sitting, image_size: int) -> NDArray:
    scene = sitting.scene
    planes = cv2.merge(list(sitting.canvas.image))
    small = np.asarray(cv2.resize(planes, (image_size, image_size), interpolation=cv2.INTER_AREA), np.float32)
    light = np.float32(scene.brightness) * np.array([1.0 + scene.warmth, 1.0, 1.0 - scene.warmth], np.float32)
    grain = sitting.generator.standard_normal(small.shape, dtype=np.float32) * np.float32(_GRAIN)
    return np.clip(small * light + grain, 0.0, 255.0).astype(np.uint8)


def _coarse(features: NDArray, image_size: int) -> NDArray:
    small = cv2.resize(features, (image_size, image_size), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(small, np.uint8)
