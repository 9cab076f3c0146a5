"""Owns how a file becomes a photo in memory: uint8 (H, W, 3) RGB, upright, on white where it was transparent.

Ordinary JPEG and PNG go through OpenCV, everything odd (CMYK, 16 bits, palettes, alpha, animation) through Pillow.
Whatever cannot become a photo is a `PhotoError` with a short reason. It knows nothing of labels and tables; sources,
cleaning, batches, inference and explanation call it.
"""

from __future__ import annotations

import io
import stat
import struct
import threading
import warnings
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from agegender.errors import PhotoError
from agegender.photos.headers import Header, read_header

# Phones reach 50 megapixels; 150 MB as bytes. More is a decompression bomb to us.
LARGEST_PHOTO_PIXELS = 50_000_000
LARGEST_FILE_BYTES = 500_000_000
# Only formats that photos come in: Pillow would also start Ghostscript for an EPS.
_PILLOW_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM")
_REDUCED_FLAGS = ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))
_with_pillow = threading.Lock()

# OpenCV prints on stderr what we raise as PhotoError.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def read_photo(path: Path, *, smallest_side: int | None = None) -> NDArray[np.uint8]:
    """Read one photo.

    Parameters
    ----------
    path : Path
    smallest_side : int, optional
        Pixels. A huge JPEG may then be decoded at a half, quarter or eighth of its size, its shorter side never
        below this: much faster, and as good as averaging where it is shrunk anyway.

    Returns
    -------
    NDArray, shape (H, W, 3), uint8, RGB

    Raises
    ------
    PhotoError
        It is missing, empty, truncated, no image, or has more than `LARGEST_PHOTO_PIXELS`.
    """
    return decode_photo(read_bytes(path), path.name, smallest_side=smallest_side)


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a photo's file, so that a fingerprint and a decoder can share one reading.

    Raises
    ------
    PhotoError
        It is missing, empty, no ordinary file, larger than `LARGEST_FILE_BYTES`, or may not be read.
    """
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):  # a named pipe would wait for ever
            raise PhotoError(f"{path.name}: not an ordinary file")
        if facts.st_size > LARGEST_FILE_BYTES:
            raise PhotoError(f"{path.name}: file of {facts.st_size / 1e6:.0f} MB, too large for a photo")
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise PhotoError(f"{path.name}: no such file in {path.parent}") from error
    except OSError as error:
        raise PhotoError(f"{path.name}: cannot be read ({error.strerror or error})") from error
    if not data:
        raise PhotoError(f"{path.name}: empty file (zero bytes)")
    return data


def decode_photo(data: bytes, name: str, *, smallest_side: int | None = None) -> NDArray[np.uint8]:
    """Decode the bytes of a photo; `name` is only for messages.

    Returns
    -------
    NDArray, shape (H, W, 3), uint8, RGB

    Raises
    ------
    PhotoError
        The bytes are empty, truncated, no image, or of more than `LARGEST_PHOTO_PIXELS`.
    """
    if not data:
        raise PhotoError(f"{name}: empty file (zero bytes)")
    header = read_header(data)
    if header is None:
        return _decode_with_pillow(data, name)
    _refuse_bomb(header.width, header.height, name)
    if header.damage:
        raise PhotoError(f"{name}: {header.damage}")
    if not header.is_ordinary:
        return _decode_with_pillow(data, name)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), _flags(header, smallest_side))
    except cv2.error as error:
        raise PhotoError(f"{name}: damaged, it cannot be decoded") from error
    if pixels is None:
        return _decode_with_pillow(data, name)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)  # type: ignore[return-value]


def to_photo(image: Image.Image) -> NDArray[np.uint8]:
    """Return a Pillow image of any mode as a photo: upright, on white where it was transparent.

    Returns
    -------
    NDArray, shape (H, W, 3), uint8, RGB

    Raises
    ------
    ValueError
        Its pixels are floating-point numbers, whose range nobody knows.
    """
    image = _upright(image)
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers")
    if image.mode == "I" or image.mode.startswith("I;16"):
        # Pillow would clip 16 bits at 255 and give a white page.
        grey = np.round(np.asarray(image).astype(np.float32).clip(0, 65535) / 257).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return np.array(image.convert("RGB"))


def _decode_with_pillow(data: bytes, name: str) -> NDArray[np.uint8]:
    try:
        # Pillow speaks in warnings, whose filters belong to the whole process: one photo at a time, hence the lock.
        with _with_pillow, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=_PILLOW_FORMATS) as image:
                _refuse_bomb(*image.size, name)
                return to_photo(image)
    except UnidentifiedImageError as error:
        raise PhotoError(f"{name}: not an image, or of a kind that is not read here") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PhotoError(f"{name}: decompression bomb, over {LARGEST_PHOTO_PIXELS / 1e6:.0f} megapixels") from error
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, struct.error) as error:
        # What Pillow's parsers raise on damaged files is documented nowhere; these are what fuzzing them gave.
        reason = "truncated, the end of the picture is missing" if "truncated" in str(error) else f"damaged ({error})"
        raise PhotoError(f"{name}: {reason}") from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except (ValueError, SyntaxError, EOFError, KeyError, TypeError, struct.error):
        return image  # its EXIF is damaged, its pixels may well be whole


def _refuse_bomb(width: int, height: int, name: str) -> None:
    if width * height > LARGEST_PHOTO_PIXELS:
        raise PhotoError(
            f"{name}: {width}x{height} pixels declared, over {LARGEST_PHOTO_PIXELS / 1e6:.0f} megapixels"
            " (a decompression bomb?)"
        )


def _flags(header: Header, smallest_side: int | None) -> int:
    if header.is_jpeg and smallest_side:
        for factor, flag in _REDUCED_FLAGS:
            if min(header.width, header.height) >= factor * smallest_side:
                return flag
    return cv2.IMREAD_COLOR
