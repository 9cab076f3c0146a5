"""Plants one photo of every kind that goes wrong somewhere, for tests of any part.

`write_bad_photos(folder)` returns name of the kind -> file. Kinds in `UNREADABLE` must be a `PhotoError`; all others
must read as the picture of `expected_photo`, within what their format loses.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

UNREADABLE = (
    "truncated",
    "truncated_png",
    "truncated_with_thumbnail",
    "zero_byte",
    "text",
    "markup_text",
    "bomb_png",
    "bomb_jpeg",
    "bomb_gif",
)
MARKUP_NAME = "<img src=x onerror=alert(1)>.jpg"
SIZE = (48, 64)  # height, width: a turned photo is told from an upright one


def expected_photo() -> np.ndarray:
    """Return what every readable kind shows: four quarters red, green, blue and grey; uint8 (48, 64, 3)."""
    height, width = SIZE
    photo = np.full((height, width, 3), 128, np.uint8)
    photo[: height // 2, : width // 2] = (220, 30, 30)
    photo[: height // 2, width // 2 :] = (30, 200, 30)
    photo[height // 2 :, : width // 2] = (30, 30, 220)
    return photo


def write_bad_photos(folder: Path) -> dict[str, Path]:
    """Write the whole set into `folder` and return it, kind -> file."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {**_readable(), **_unreadable()}
    paths = {kind: folder / name for kind, (name, _) in contents.items()}
    for kind, (_, data) in contents.items():
        paths[kind].write_bytes(data)
    return paths


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return the bytes of an image saved as `kind`."""
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def _readable() -> dict[str, tuple[str, bytes]]:
    photo = expected_photo()
    image = Image.fromarray(photo)
    grey = image.convert("L")
    palette = image.quantize(16)
    white = Image.fromarray(np.full_like(photo, 255))
    return {
        "jpeg": ("ordinary.jpg", encoded(image, "JPEG", quality=95)),
        "png": ("ordinary.png", encoded(image, "PNG")),
        "progressive": ("progressive.JPG", encoded(image, "JPEG", quality=95, progressive=True)),
        "markup_name": (MARKUP_NAME, encoded(image, "JPEG", quality=95)),
        "cmyk": ("cmyk.jpg", encoded(image.convert("CMYK"), "JPEG", quality=95)),
        "grey": ("grey.jpg", encoded(grey, "JPEG", quality=95)),
        "grey_png": ("grey.png", encoded(grey, "PNG")),
        "grey_16_bit": ("grey_16_bit.png", _png_16_bit(np.asarray(grey))),
        "rgb_16_bit": ("rgb_16_bit.png", _png_16_bit(photo)),
        "palette": ("palette.png", encoded(palette, "PNG")),
        "palette_alpha": ("palette_alpha.png", _palette_with_hole(palette)),
        "rgba": ("rgba.png", encoded(_with_hole(image), "PNG")),
        "grey_alpha": ("grey_alpha.png", encoded(_with_hole(image).convert("LA"), "PNG")),
        "rgba_webp": ("rgba.webp", encoded(_with_hole(image), "WEBP", lossless=True)),
        "animated_gif": ("animated.gif", encoded(palette, "GIF", save_all=True, append_images=[white])),
        "animated_webp": ("animated.webp", encoded(image, "WEBP", save_all=True, append_images=[white], lossless=True)),
        "animated_png": ("animated.png", encoded(image, "PNG", save_all=True, append_images=[white])),
        "exif_rotated": ("exif_rotated.jpg", _turned_with_exif(image, "JPEG", quality=95)),
        "exif_rotated_png": ("exif_rotated.png", _turned_with_exif(image, "PNG")),
        "wrong_suffix": ("really_a_png.jpg", encoded(image, "PNG")),
        "tiff": ("photo.tiff", encoded(image, "TIFF")),
        "bmp": ("photo.bmp", encoded(image, "BMP")),
    }


def _unreadable() -> dict[str, tuple[str, bytes]]:
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    jpeg, png = encoded(Image.fromarray(noise), "JPEG"), encoded(Image.fromarray(noise), "PNG")
    return {
        "truncated": ("truncated.jpg", jpeg[: len(jpeg) // 2]),
        "truncated_png": ("truncated.png", png[: len(png) // 2]),
        "truncated_with_thumbnail": ("truncated_with_thumbnail.jpg", _with_thumbnail(jpeg)[: len(jpeg) // 2]),
        "zero_byte": ("zero_byte.jpg", b""),
        "text": ("text.jpg", b"Dear photo, I am a letter in disguise.\n" * 20),
        "markup_text": ("page.png", b"<html><script>alert(1)</script></html>"),
        "bomb_png": ("bomb.png", _bomb_png(30_000, 30_000)),
        "bomb_jpeg": ("bomb.jpg", _bomb_jpeg(jpeg)),
        "bomb_gif": ("bomb.gif", _bomb_gif()),
    }


def _with_hole(image: Image.Image) -> Image.Image:
    """Make the grey quarter wholly transparent over black: composited on white, it is white."""
    layer = np.array(image.convert("RGBA"))
    layer[SIZE[0] // 2 :, SIZE[1] // 2 :] = 0
    return Image.fromarray(layer)


def _palette_with_hole(palette: Image.Image) -> bytes:
    grey_index = np.asarray(palette)[-1, -1]
    return encoded(palette, "PNG", transparency=int(grey_index))


def _turned_with_exif(image: Image.Image, kind: str, **options: object) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned; a viewer turns it by 90 degrees clockwise
    return encoded(image.transpose(Image.Transpose.ROTATE_90), kind, exif=exif, **options)


def _png_16_bit(pixels: np.ndarray) -> bytes:
    """Write a PNG of 16 bits per channel by hand, since Pillow has no such colour mode."""
    height, width = pixels.shape[:2]
    rows = (pixels.reshape(height, -1).astype(np.uint16) * 257).astype(">u2")
    kind = 2 if pixels.ndim == 3 else 0
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return _png(struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0), packed)


def _bomb_png(width: int, height: int) -> bytes:
    # Small on disk, 2.7 GB in memory: what it declares is all that may be read of it.
    return _png(struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), zlib.compress(bytes(1_000_000)))


def _png(header: bytes, packed: bytes) -> bytes:
    chunks = [(b"IHDR", header), (b"IDAT", packed), (b"IEND", b"")]
    parts = [struct.pack(">I", len(body)) + name + body + _checksum(name + body) for name, body in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _checksum(data: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(data))


def _bomb_jpeg(jpeg: bytes) -> bytes:
    frame = jpeg.index(b"\xff\xc0")
    return jpeg[: frame + 5] + struct.pack(">HH", 60_000, 60_000) + jpeg[frame + 9 :]


def _bomb_gif() -> bytes:
    gif = encoded(Image.new("P", (8, 8)), "GIF")
    return gif[:6] + struct.pack("<HH", 60_000, 60_000) + gif[10:]


def _with_thumbnail(jpeg: bytes) -> bytes:
    """Put a whole small JPEG, end mark and all, into a segment of a larger one."""
    thumbnail = encoded(Image.new("RGB", (16, 16)), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    return jpeg[:2] + segment + jpeg[2:]
