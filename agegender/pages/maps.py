"""Owns how explanations are coloured: weights per region become a picture, on one scale for the whole page.

Regions that raise the output are warm, those that lower it cool; what hardly matters keeps the grey of the photo. The
colours are those of ColorBrewer's RdBu (age) and PuOr (gender), which colour-blind people can tell apart.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from agegender.pages.thumbnails import hidden, webp

SIDE_PIXELS = 192
Colour = tuple[int, int, int]
AGE_COLOURS: tuple[Colour, Colour] = ((33, 102, 172), (178, 24, 43))  # lower, higher
GENDER_COLOURS: tuple[Colour, Colour] = ((179, 88, 6), (84, 39, 136))
_OUTLINE: Colour = (255, 209, 59)


def face_picture(photo: NDArray[np.uint8], *, hide_faces: bool) -> str:
    """Return the photo (S, S, 3) as the model saw it, as a data: address."""
    return webp(_shown(photo, hide_faces=hide_faces))


def outline_picture(photo: NDArray[np.uint8], region_map: NDArray[np.int64], *, hide_faces: bool) -> str:
    """Return the photo with the borders of its regions, region_map (S, S), as a data: address."""
    picture = _shown(photo, hide_faces=hide_faces)
    picture[_borders(region_map)] = _OUTLINE
    return webp(picture, 72)


def weight_picture(
    photo: NDArray[np.uint8],
    region_map: NDArray[np.int64],
    weights: NDArray[np.float64],
    *,
    scale: float,
    colours: tuple[Colour, Colour],
    hide_faces: bool,
) -> str:
    """Return the weights laid over the grey photo, as a data: address.

    Parameters
    ----------
    photo : array, shape (S, S, 3)
    region_map : array, shape (S, S)
        Region number of each pixel, 0..K-1.
    weights : array, shape (K,)
        NaN counts as nothing.
    scale : float
        The absolute weight that gets the full colour.
    colours : tuple
        For weights below and above zero.
    """
    picture = _shown(photo, hide_faces=hide_faces).astype(np.float32)
    grey = picture.mean(axis=2, keepdims=True) * 0.55 + 100  # light, so that colours speak
    share = np.clip(np.nan_to_num(weights) / (scale or 1.0), -1, 1)[_enlarged(region_map)][..., None]
    colour = np.where(share < 0, *np.asarray(colours, np.float32))
    strength = 0.85 * np.abs(share) ** 0.7
    return webp((grey * (1 - strength) + colour * strength).astype(np.uint8), 72)


def common_scale(weights: list[NDArray[np.float64]]) -> float:
    """Return the absolute weight that gets the full colour: the 98th percentile, so that no single one rules.

    >>> common_scale([np.array([0.0, -2.0]), np.array([np.nan])])
    2.0
    """
    found = np.abs(np.concatenate([np.ravel(values) for values in weights])) if weights else np.zeros(0)
    found = found[np.isfinite(found) & (found > 0)]
    return float(np.round(np.percentile(found, 98, method="higher"), 3)) if len(found) else 1.0


def _shown(photo: NDArray[np.uint8], *, hide_faces: bool) -> NDArray[np.uint8]:
    resized = cv2.resize(photo, (SIDE_PIXELS, SIDE_PIXELS), interpolation=cv2.INTER_AREA).astype(np.uint8)
    return hidden(resized) if hide_faces else resized


def _enlarged(region_map: NDArray[np.int64]) -> NDArray[np.int32]:
    numbers = region_map.astype(np.int32)
    return cv2.resize(numbers, (SIDE_PIXELS, SIDE_PIXELS), interpolation=cv2.INTER_NEAREST).astype(np.int32)


def _borders(region_map: NDArray[np.int64]) -> NDArray[np.bool_]:
    regions = _enlarged(region_map)
    borders = np.zeros(regions.shape, dtype=bool)
    borders[:, 1:] |= regions[:, 1:] != regions[:, :-1]
    borders[1:] |= regions[1:] != regions[:-1]
    return borders
