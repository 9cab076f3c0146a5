"""What tells whether two photo files are the same: the SHA-512 of the bytes and the 64-bit perceptual hash.

The perceptual hash is ImageHash's `phash` bit for bit, so that tables hashed elsewhere can be compared. ImageHash lets
Pillow decode, turn grey and shrink to 32 x 32; here OpenCV decodes ordinary photos (both use libjpeg-turbo with its
default settings), and Pillow's arithmetic, which is of whole numbers, is done as matrix products: a third less time.

References
----------
Buchner: ImageHash, https://github.com/JohannesBuchner/imagehash (phash with hash_size 8 and highfreq_factor 4).
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from agegender.errors import PhotoError
from agegender.photos.reading import LARGEST_FILE_BYTES, decode_ordinary, opened_with_pillow
from agegender.photos.reading_ahead import spread

HASH_SIDE = 8
SIDE = 32  # pixels: hash side 8 times ImageHash's highfreq_factor 4

# Pillow: grey = (19595 R + 38470 G + 7471 B + 32768) >> 16. Below 2**24, so that float32 holds every step exactly.
_GREY = np.array([[19595, 38470, 7471, 32768]], dtype=np.float32) / np.float32(65536)
_PRECISION = 1 << 22  # Pillow's fixed point for 8-bit resampling
_PUSH = np.full(4, 0.25 / _PRECISION)  # a scalar of OpenCV has four channels
_LANCZOS_LOBES = 3.0
_QUICK_PIXELS = 250_000  # larger photos leave the processor's cache, and decoding them is what costs
_MOST_SIZES = 100_000
_met_sizes: set[tuple[int, int]] = set()


class Fingerprint(NamedTuple):
    """What identifies one photo file.

    Attributes
    ----------
    file_sha512 : str or None
        128 hex digits; None when the bytes cannot be read at all.
    phash : str or None
        16 hex digits as ImageHash prints them; None when the bytes are no readable photo.
    """

    file_sha512: str | None
    phash: str | None


def fingerprint_files(paths: Sequence[Path], *, workers: int | None = None) -> Iterator[Fingerprint]:
    """Yield the fingerprint of every file, in order; a file that cannot be read never stops the others."""
    return spread(_fingerprint_task, paths, workers=workers)


def read_thumbnails(paths: Sequence[Path], *, workers: int | None = None) -> Iterator[NDArray[np.uint8]]:
    """Yield the grey 32 x 32 thumbnail that a file's hash is made of, in order; a black one where there is none."""
    return spread(_thumbnail_task, paths, workers=workers)


def perceptual_hashes(thumbnails: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return the perceptual hash of grey thumbnails: which of the 64 lowest frequencies exceed their median.

    Parameters
    ----------
    thumbnails : ndarray, shape (photos, 32, 32), uint8

    Returns
    -------
    ndarray, shape (photos,), uint64
        The first bit of ImageHash's text is the highest.
    """
    import scipy.fft  # slower to import than five hundred photos are to hash

    # Columns first, as ImageHash does: on flat or symmetric pictures rounding decides.
    down = scipy.fft.dct(thumbnails, axis=1)[:, :HASH_SIDE]
    frequencies = scipy.fft.dct(down, axis=2)[:, :, :HASH_SIDE].reshape(len(thumbnails), HASH_SIDE**2)
    bits = frequencies > np.median(frequencies, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8").astype(np.uint64).reshape(len(thumbnails))


def hash_text(phash: int) -> str:
    """Return a hash as ImageHash prints it.

    >>> hash_text(255)
    '00000000000000ff'
    """
    return f"{phash:016x}"


def hash_numbers(texts: Sequence[str]) -> NDArray[np.uint64]:
    """Return printed hashes as numbers: shape (texts,), uint64.

    >>> hash_numbers(["00000000000000ff"]).tolist()
    [255]
    """
    return np.array([int(text, 16) for text in texts], dtype=np.uint64)


def grey_thumbnail(content: bytes) -> NDArray[np.uint8]:
    """Decode a photo and shrink it as `Image.open(…).convert("L").resize((32, 32), LANCZOS)` does.

    Parameters
    ----------
    content : bytes
        The whole file. Its EXIF orientation is left alone, as ImageHash leaves it.

    Returns
    -------
    ndarray, shape (32, 32), uint8
    """
    photo = decode_ordinary(content, "photo", as_stored=True)
    if photo is not None:
        return shrink(photo)
    with opened_with_pillow(content, "photo") as image:
        return _shrink_with_pillow(image.convert("L"))


def shrink(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn a photo, shape (H, W, 3), grey and shrink it to (32, 32), uint8, pixel for pixel as Pillow does."""
    size = height, width = photo.shape[:2]
    # To learn Pillow's order costs as much as Pillow's own way: it pays from the second photo of a size on.
    is_usual = size in _met_sizes and height * width <= _QUICK_PIXELS
    if len(_met_sizes) < _MOST_SIZES:
        _met_sizes.add(size)
    is_across_first = _is_across_first(height, width) if is_usual else None
    if is_across_first is None:
        return _shrink_with_pillow(Image.fromarray(photo).convert("L"))
    grey = np.floor(cv2.transform(photo.astype(np.float32), _GREY)).astype(np.float64)
    return _shrink_by_products(grey, across_first=is_across_first)


def _shrink_with_pillow(grey: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def _shrink_by_products(grey: NDArray[np.float64], *, across_first: bool) -> NDArray[np.uint8]:
    across, down = _lanczos_weights(grey.shape[1]), _lanczos_weights(grey.shape[0]).T
    return _rounded(down @ _rounded(grey @ across)) if across_first else _rounded(_rounded(down @ grey) @ across)


@lru_cache(maxsize=4096)
def _is_across_first(height: int, width: int) -> bool | None:
    """Return which side this Pillow shrinks first, learnt from noise; None when the products do not give the same.

    Pillow rounds to bytes in between, so the order shows. It has changed between versions, and depends on the size.
    """
    noise = np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)
    shrunk = _shrink_with_pillow(Image.fromarray(noise))
    for across_first in (True, False):
        if np.array_equal(_shrink_by_products(noise.astype(np.float64), across_first=across_first), shrunk):
            return across_first
    return None


def _rounded(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Round half up and clip to a byte. OpenCV rounds half to even, so ties get a push smaller than the steps."""
    return np.asarray(cv2.add(values, _PUSH, dtype=cv2.CV_8U), dtype=np.uint8)


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


def _thumbnail_task(paths: Sequence[Path]) -> list[NDArray[np.uint8]]:
    return [_thumbnail(_read_file(path)[1]) for path in paths]


def _thumbnail(content: bytes) -> NDArray[np.uint8]:
    try:
        return grey_thumbnail(content)
    except PhotoError:
        return np.zeros((SIDE, SIDE), dtype=np.uint8)


def _fingerprint_task(paths: Sequence[Path]) -> list[Fingerprint]:
    digests: list[str | None] = []
    known: dict[str, str | None] = {}  # copies of a file need not be decoded again
    thumbnails: dict[str, NDArray[np.uint8]] = {}
    for path in paths:
        digest, content = _read_file(path)
        digests.append(digest)
        if digest is None or digest in known or digest in thumbnails:
            continue
        try:
            thumbnails[digest] = grey_thumbnail(content)
        except PhotoError:
            known[digest] = None  # None means unreadable, and an unreadable file is nobody's duplicate.
    if thumbnails:
        hashes = perceptual_hashes(np.stack(list(thumbnails.values())))
        known.update(zip(thumbnails, map(hash_text, hashes.tolist()), strict=True))
    return [Fingerprint(digest, known.get(digest) if digest else None) for digest in digests]


def _read_file(path: Path) -> tuple[str | None, bytes]:
    """Return the SHA-512 and the bytes of a file; no bytes when it is too large for a photo."""
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):  # opening a named pipe would wait for ever
            return None, b""
        with path.open("rb") as file:
            if facts.st_size > LARGEST_FILE_BYTES:
                return _digest_in_pieces(file), b""
            content = file.read()
    except (OSError, ValueError):
        return None, b""
    return hashlib.sha512(content).hexdigest(), content


def _digest_in_pieces(file: BinaryIO) -> str:
    digest = hashlib.sha512()
    while piece := file.read(2**20):
        digest.update(piece)
    return digest.hexdigest()
