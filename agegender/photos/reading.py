"""From a file to a photo in memory: uint8 (H, W, 3) RGB, upright, on white where it was transparent.

Ordinary JPEG and PNG go through OpenCV, and what it leaves (CMYK, 16 bits, alpha, animation, other formats) through
Pillow. Headers are looked at first: a bomb is known before it goes off, and a truncated file, which OpenCV fills with
grey without a word, before it becomes somebody's face. What cannot become a photo is a `PhotoError` with its reason.
"""

from __future__ import annotations

import io
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from agegender.errors import PhotoError

# Phones reach 50 megapixels; 150 MB as bytes. More is a decompression bomb to us.
LARGEST_PHOTO_PIXELS = 50_000_000
LARGEST_FILE_BYTES = 500_000_000
# Only formats that photos come in: Pillow would also start Ghostscript for an EPS.
_PILLOW_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM")
_REDUCED_FLAGS = ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))
# The brands, as a file of the MP4 family names them, of photos that telephones and browsers store.
_KINDS_NOT_READ = dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"), "HEIC") | {
    b"avif": "AVIF",
    b"avis": "AVIF",
}
_with_pillow = threading.Lock()

_END_OF_IMAGE = b"\xff\xd9"
_START_OF_SCAN = 0xDA
# Frame headers, C0 to CF, but for the tables DHT (C4), JPG (C8) and DAC (CC) that stand among them.
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PALETTE = 3
# Chunks that change how a PNG looks beyond its pixels, or that make libpng talk on stderr.
_SPECIAL_CHUNKS = {b"tRNS", b"acTL", b"eXIf", b"iCCP"}
_TRUNCATED = "truncated, the end of the picture is missing"

# OpenCV prints on stderr what we raise as PhotoError.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


@dataclass(frozen=True)
class _Header:
    """What a JPEG or PNG says of itself: `width` and `height` as stored, before any EXIF rotation."""

    width: int
    height: int
    damage: str  # why the file cannot be whole, or an empty text
    is_ordinary: bool  # eight bits per channel, grey or colour, without transparency: OpenCV gives its true colours
    is_jpeg: bool = False
    has_palette: bool = False


def as_photo(item: Any, *, smallest_side: int | None = None) -> NDArray[np.uint8]:
    """Return what holds a photo as one: a path, the bytes of a file, an array, or a Pillow image.

    Parameters
    ----------
    item : str, Path, bytes, Pillow image, or NDArray, shape (H, W, 3), uint8, RGB
    smallest_side : int, optional
        As for `read_photo`.

    Returns
    -------
    NDArray, shape (H, W, 3), uint8, RGB
    """
    if isinstance(item, (str, Path)):
        return read_photo(Path(item), smallest_side=smallest_side)
    if isinstance(item, bytes):
        return decode_photo(item, "photo", smallest_side=smallest_side)
    if isinstance(item, Image.Image):
        try:
            return to_photo(item)
        except ValueError as error:
            raise PhotoError(f"photo: {error}") from error
    if isinstance(item, np.ndarray) and item.dtype == np.uint8 and item.ndim == 3 and item.shape[2] == 3:
        return np.ascontiguousarray(item)
    raise PhotoError(
        f"a value of the type {type(item).__name__} is no photo: give a path, the bytes of a file, a Pillow image, or "
        "an array of shape (H, W, 3) and dtype uint8."
    )


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
    """
    return decode_photo(read_bytes(path), path.name, smallest_side=smallest_side)


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a photo's file."""
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
    """Decode the bytes of a photo as `read_photo` does; `name` is only for messages."""
    photo = decode_ordinary(data, name, smallest_side=smallest_side)
    if photo is not None:
        return photo
    with opened_with_pillow(data, name) as image:
        return to_photo(image)


def decode_ordinary(
    data: bytes, name: str, *, smallest_side: int | None = None, as_stored: bool = False
) -> NDArray[np.uint8] | None:
    """Decode an ordinary JPEG or PNG, shape (H, W, 3), uint8, RGB; None for all that Pillow must be asked for.

    `as_stored` leaves EXIF's rotation alone, and palettes to Pillow, which turns them grey by a rounding of their own.
    """
    if not data:
        raise PhotoError(f"{name}: empty file (zero bytes)")
    header = _read_header(data)
    if header is None:
        return None
    _refuse_bomb(header.width, header.height, name)
    if header.damage:
        raise PhotoError(f"{name}: {header.damage}")
    if not header.is_ordinary or (as_stored and header.has_palette):
        return None
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION if as_stored else _flags(header, smallest_side)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise PhotoError(f"{name}: damaged, it cannot be decoded") from error
    return None if pixels is None else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)  # type: ignore[return-value]


@contextmanager
def opened_with_pillow(data: bytes, name: str) -> Iterator[Image.Image]:
    """Give the bytes of a photo as a Pillow image; whatever goes wrong with it, opened or used, is a `PhotoError`."""
    try:
        # Pillow speaks in warnings, whose filters belong to the whole process: one photo at a time, hence the lock.
        with _with_pillow, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=_PILLOW_FORMATS) as image:
                _refuse_bomb(*image.size, name)
                yield image
    except PhotoError:
        raise
    except UnidentifiedImageError as error:
        raise PhotoError(f"{name}: {_what_it_is(data)}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PhotoError(f"{name}: decompression bomb, over {LARGEST_PHOTO_PIXELS / 1e6:.0f} megapixels") from error
    except Exception as error:  # Pillow's parsers raise what they please on damaged files
        reason = _TRUNCATED if "truncated" in str(error) else f"damaged ({str(error) or type(error).__name__})"
        raise PhotoError(f"{name}: {reason}") from error


def to_photo(image: Image.Image) -> NDArray[np.uint8]:
    """Return a Pillow image of any mode as a photo: shape (H, W, 3), uint8, RGB, upright, on white."""
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


def _what_it_is(data: bytes) -> str:
    """Return what to say of bytes that no reader here knows."""
    kind = _KINDS_NOT_READ.get(data[8:12]) if data[4:8] == b"ftyp" else None
    if kind is None:
        return "not an image, or of a kind that is not read here"
    return f"{kind}, a kind that is not read here: save it as JPEG"


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


def _flags(header: _Header, smallest_side: int | None) -> int:
    if header.is_jpeg and smallest_side:
        for factor, flag in _REDUCED_FLAGS:
            if min(header.width, header.height) >= factor * smallest_side:
                return flag
    return cv2.IMREAD_COLOR


def _read_header(data: bytes) -> _Header | None:
    """Return what a JPEG or PNG says of itself; None for every other kind and for headers that make no sense."""
    try:
        if data.startswith(b"\xff\xd8\xff"):
            return _read_jpeg_header(data)
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return _read_png_header(data)
    except (struct.error, IndexError):
        pass  # it ends within the header
    return None


def _read_jpeg_header(data: bytes) -> _Header | None:
    position = 2
    frame: tuple[int, int, int, int] | None = None
    while True:
        while data[position] == 0xFF and data[position + 1] == 0xFF:
            position += 1  # fill bytes are allowed before a marker
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker in _FRAME_MARKERS:
            frame = struct.unpack_from(">BHHB", data, position + 4)
        if marker == _START_OF_SCAN:
            break
        position += 2 + struct.unpack_from(">H", data, position + 2)[0]
    if frame is None:
        return None
    bits, height, width, channels = frame
    # FF D9 cannot stand inside coded pixels; one before them may belong to a thumbnail.
    is_whole = data.endswith(_END_OF_IMAGE) or data.find(_END_OF_IMAGE, position) > 0
    return _Header(width, height, "" if is_whole else _TRUNCATED, bits == 8 and channels in (1, 3), is_jpeg=True)


def _read_png_header(data: bytes) -> _Header:
    width, height, bits, kind = struct.unpack_from(">IIBB", data, 16)
    is_ordinary = bits == 8 and kind in (0, 2, _PALETTE)
    position, name, damage = 8, b"", ""
    while name != b"IEND" and position + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        is_ordinary &= name not in _SPECIAL_CHUNKS
        if data[end - 4 : end] != struct.pack(">I", zlib.crc32(data[position + 4 : end - 4])):
            damage = "damaged, a checksum is wrong"
        position = end
    if name != b"IEND" or position > len(data):
        damage = _TRUNCATED
    return _Header(width, height, damage, is_ordinary, has_palette=kind == _PALETTE)
