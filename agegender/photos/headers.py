"""Owns what the first bytes of a JPEG or PNG say: its size, how its pixels are kept, and whether the file is whole.

Nothing is decoded here, so that a bomb is known before it goes off, and a truncated file (which OpenCV fills with grey
without a word) before it becomes somebody's face. Only `images.reading` calls it.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

_JPEG_START = b"\xff\xd8\xff"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_END_OF_IMAGE = b"\xff\xd9"
_START_OF_SCAN = 0xDA
_TRUNCATED = "truncated, the end of the picture is missing"
# Frame headers, C0 to CF, but for the tables DHT (C4), JPG (C8) and DAC (CC) that stand among them.
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Chunks that change how a PNG looks beyond its pixels, or that make libpng talk on stderr.
_SPECIAL_CHUNKS = {b"tRNS", b"acTL", b"eXIf", b"iCCP"}


@dataclass(frozen=True)
class Header:
    """What a file says of itself.

    Attributes
    ----------
    width, height : int
        Pixels, as stored (before any EXIF rotation).
    damage : str
        Why the file cannot be whole, or an empty text.
    is_ordinary : bool
        Eight bits per channel, grey or colour, without transparency: OpenCV gives its true colours.
    is_jpeg : bool
    """

    width: int
    height: int
    damage: str
    is_ordinary: bool
    is_jpeg: bool


def read_header(data: bytes) -> Header | None:
    """Return what a JPEG or PNG says of itself; None for every other kind and for headers that make no sense."""
    try:
        if data.startswith(_JPEG_START):
            return _read_jpeg_header(data)
        if data.startswith(_PNG_START):
            return _read_png_header(data)
    except (struct.error, IndexError):
        return None  # it ends within the header
    return None


def _read_jpeg_header(data: bytes) -> Header | None:
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
    return Header(width, height, "" if is_whole else _TRUNCATED, bits == 8 and channels in (1, 3), is_jpeg=True)


def _read_png_header(data: bytes) -> Header:
    width, height, bits, kind = struct.unpack_from(">IIBB", data, 16)
    is_ordinary = bits == 8 and kind in (0, 2, 3)
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
    return Header(width, height, damage, is_ordinary, is_jpeg=False)
