"""Owns the 32 x 32 grey thumbnail that a perceptual hash is made of, equal to Pillow's in every pixel, but faster.

ImageHash lets Pillow decode, turn grey and shrink. Ordinary JPEG and PNG take a shorter way here: OpenCV decodes (both
use libjpeg-turbo and its default settings), and Pillow's grey and Lanczos arithmetic, which is arithmetic of whole
numbers, is done as matrix products. Everything else goes through Pillow itself. It knows no files and no hashes;
`fingerprints` calls it.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agegender.errors import PhotoError
from agegender.photos.headers import read_header
from agegender.photos.reading import LARGEST_PHOTO_PIXELS

SIDE = 32  # pixels: hash size 8 times ImageHash's highfreq_factor 4
_LEARNT_PIXELS = 4_000_000  # the noise from which the order is learnt has the photo's size, eight bytes per pixel
_MOST_SIZES = 100_000
_STRIP_PIXELS = 65_536  # a strip of the photo and its three float copies stay in the processor's cache

# Pillow: grey = (19595 R + 38470 G + 7471 B + 32768) >> 16. Below 2**24, so that float32 holds every step exactly.
_GREY = np.array([[19595, 38470, 7471, 32768]], dtype=np.float32) / np.float32(65536)
_PRECISION = 1 << 22  # Pillow's fixed point for 8-bit resampling
_PUSH = np.full(4, 0.25 / _PRECISION)  # a scalar of OpenCV has four channels
_LANCZOS_LOBES = 3.0
_PNG_COLOUR_TYPE = 25  # its place in the file
_PILLOW_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM")  # as `reading` does
_with_pillow = threading.Lock()
_buffers = threading.local()
_met_sizes: set[tuple[int, int]] = set()

Strip = tuple[int, NDArray[np.float64]]  # its first row, and its grey values: (rows, width)


def grey_thumbnail(content: bytes) -> NDArray[np.uint8]:
    """Decode a photo and shrink it as `Image.open(…).convert("L").resize((32, 32), LANCZOS)` does.

    Parameters
    ----------
    content : bytes
        The whole file. Its EXIF orientation is left alone, as ImageHash leaves it.

    Returns
    -------
    ndarray, shape (32, 32), uint8

    Raises
    ------
    PhotoError
        The bytes are no photo, end too early, or have more than `LARGEST_PHOTO_PIXELS`.
    """
    photo = _decode_fast(content)
    return _pillow_thumbnail(content) if photo is None else shrink(photo)


def shrink(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn a colour photo grey and shrink it to 32 x 32, pixel for pixel as Pillow does.

    Parameters
    ----------
    photo : ndarray, shape (height, width, 3), uint8, RGB

    Returns
    -------
    ndarray, shape (32, 32), uint8
    """
    height, width = photo.shape[:2]
    # To learn Pillow's order costs as much as Pillow's own way: it pays from the second photo of a size on.
    is_usual = (height, width) in _met_sizes and height * width <= _LEARNT_PIXELS
    order = _pillow_order(height, width) if is_usual else None
    if len(_met_sizes) < _MOST_SIZES:
        _met_sizes.add((height, width))
    if order is None:
        grey = Image.fromarray(photo).convert("L")
        return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    strips = _grey_strips(photo)
    return _shrink_across_first(strips, height) if order == "across" else _shrink_down_first(strips, height, width)


def _shrink_across_first(strips: Iterator[Strip], height: int) -> NDArray[np.uint8]:
    columns = np.empty((height, SIDE))
    for top, grey in strips:
        _narrow(grey, out=columns[top : top + len(grey)])
    return _rounded(_lanczos_weights(height).T @ _rounded(columns))


def _shrink_down_first(strips: Iterator[Strip], height: int, width: int) -> NDArray[np.uint8]:
    weights, rows = _lanczos_weights(height).T, np.zeros((SIDE, width))
    for top, grey in strips:
        rows += weights[:, top : top + len(grey)] @ grey
    return _rounded(_rounded(rows) @ _lanczos_weights(width))


def _narrow(grey: NDArray[np.float64], *, out: NDArray[np.float64]) -> None:
    """Shrink rows to 32 pixels. Each half of the result needs little more than half of a row: half of the work."""
    width = grey.shape[1]
    left, right = _weights_of_halves(width)
    np.matmul(grey[:, : len(left)], left, out=out[:, : SIDE // 2])
    np.matmul(grey[:, width - len(right) :], right, out=out[:, SIDE // 2 :])


@lru_cache(maxsize=4096)
def _pillow_order(height: int, width: int) -> str | None:
    """Return which side this Pillow shrinks first, "across" or "down", learnt from noise; None when it does neither.

    Pillow rounds to bytes in between, so the order shows. It has changed between versions, and depends on the size.
    """
    noise = np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)
    shrunk = np.asarray(Image.fromarray(noise).resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    whole: Strip = (0, noise.astype(np.float64))
    if np.array_equal(_shrink_across_first(iter([whole]), height), shrunk):
        return "across"
    return "down" if np.array_equal(_shrink_down_first(iter([whole]), height, width), shrunk) else None


def _grey_strips(photo: NDArray[np.uint8]) -> Iterator[Strip]:
    """Yield the photo's rows in Pillow's grey, a few at a time, each good until the next."""
    height, width = photo.shape[:2]
    rows = max(1, _STRIP_PIXELS // width)
    colours, greys, wide = _strip_buffers(max(_STRIP_PIXELS, width))
    for top in range(0, height, rows):
        strip = photo[top : top + rows]
        colour = colours[: strip.size].reshape(strip.shape)
        grey = greys[: strip.size // 3].reshape(strip.shape[:2])
        exact = wide[: strip.size // 3].reshape(strip.shape[:2])
        np.copyto(colour, strip)
        cv2.transform(colour, _GREY, dst=grey)
        np.floor(grey, out=exact)
        yield top, exact


def _strip_buffers(pixels: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    # Fresh arrays of this size would be mapped and zeroed by the system for every photo: slower than the arithmetic.
    if getattr(_buffers, "pixels", 0) < pixels:
        _buffers.pixels = pixels
        _buffers.arrays = (
            np.empty(3 * pixels, np.float32),
            np.empty(pixels, np.float32),
            np.empty(pixels, np.float64),
        )
    arrays: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]] = _buffers.arrays
    return arrays


def _rounded(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Round half up and clip to a byte. OpenCV rounds half to even, so ties get a push smaller than the steps."""
    return np.asarray(cv2.add(values, _PUSH, dtype=cv2.CV_8U), dtype=np.uint8)


@lru_cache(maxsize=256)
def _weights_of_halves(length: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what the first 16 pixels take from a row's beginning and the last 16 from its end, without the zeros."""
    weights = _lanczos_weights(length)
    left, right = weights[:, : SIDE // 2], weights[:, SIDE // 2 :]
    end, start = np.flatnonzero(left.any(axis=1))[-1] + 1, np.flatnonzero(right.any(axis=1))[0]
    return left[:end].copy(), right[start:].copy()


@lru_cache(maxsize=256)
def _lanczos_weights(length: int) -> NDArray[np.float64]:
    """Return Pillow's Lanczos weights from `length` pixels to 32, whole steps of 2**-22: shape (length, 32)."""
    scale = length / SIDE
    stretch = max(scale, 1.0)
    centre = (np.arange(SIDE) + 0.5) * scale
    first = np.maximum((centre - _LANCZOS_LOBES * stretch + 0.5).astype(int), 0)
    end = np.minimum((centre + _LANCZOS_LOBES * stretch + 0.5).astype(int), length)
    pixel = np.arange(length)[:, None]
    distance = (pixel - centre + 0.5) * (1.0 / stretch)
    inside = (distance >= -_LANCZOS_LOBES) & (distance < _LANCZOS_LOBES) & (pixel >= first) & (pixel < end)
    weights = np.where(inside, np.sinc(distance) * np.sinc(distance / _LANCZOS_LOBES), 0.0)
    scaled = weights / weights.sum(axis=0) * _PRECISION
    return np.trunc(scaled + np.where(scaled < 0, -0.5, 0.5)) / _PRECISION


def _decode_fast(content: bytes) -> NDArray[np.uint8] | None:
    """Return the pixels where OpenCV surely gives the same as Pillow; None where Pillow must be asked."""
    header = read_header(content)
    if header is None:
        return None
    if header.damage:
        raise PhotoError(header.damage)
    # Pillow turns a palette grey by another rounding than its pixels.
    is_palette = not header.is_jpeg and content[_PNG_COLOUR_TYPE] == 3
    if not header.is_ordinary or is_palette or not 0 < header.width * header.height <= LARGEST_PHOTO_PIXELS:
        return None
    encoded = np.frombuffer(content, dtype=np.uint8)
    photo = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    return None if photo is None else photo.astype(np.uint8, copy=False)


def _pillow_thumbnail(content: bytes) -> NDArray[np.uint8]:
    try:
        # The filters of warnings belong to the whole process: one photo at a time.
        with _with_pillow, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=_PILLOW_FORMATS) as image:
                if image.width * image.height > LARGEST_PHOTO_PIXELS:
                    raise PhotoError(f"{image.width} x {image.height} pixels, over {LARGEST_PHOTO_PIXELS}")
                return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    except PhotoError:
        raise
    except Exception as error:  # Pillow's readers raise what they please on foreign bytes
        raise PhotoError(f"not a readable photo: {str(error) or type(error).__name__}") from error
