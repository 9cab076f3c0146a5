"""Bytes that are no photo, or nearly one: each is a photo of the right kind or a `PhotoError`, and nothing else."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
from bad_photos import encoded, expected_photo, write_bad_photos
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from agegender.errors import PhotoError
from agegender.photos.hashing import fingerprint_files
from agegender.photos.reading import LARGEST_PHOTO_PIXELS, decode_photo

from .conftest import examples

IMAGE = Image.fromarray(expected_photo())
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 56, 3), dtype=np.uint8))
SEEDS = [
    *(
        encoded(image, kind)
        for image in (IMAGE, NOISE)
        for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
    ),
    encoded(NOISE, "JPEG", progressive=True),
    encoded(NOISE.convert("CMYK"), "JPEG"),
    encoded(NOISE.convert("L"), "JPEG"),
    encoded(NOISE.quantize(16), "PNG", transparency=1),
    encoded(NOISE.convert("RGBA"), "PNG"),
    encoded(NOISE, "PNG", save_all=True, append_images=[IMAGE.resize(NOISE.size)]),
    encoded(NOISE.quantize(8), "GIF", save_all=True, append_images=[IMAGE.quantize(8)]),
    encoded(NOISE, "TIFF", compression="tiff_lzw"),
    encoded(NOISE, "TIFF", compression="jpeg"),
    encoded(NOISE, "WEBP", lossless=True),
]


@st.composite
def near_photos(draw: st.DrawFn) -> bytes:
    """Return a photo that was cut, whose bytes were changed, or which was grown in its middle."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    # Headers are where files lie; half of all changes are made there.
    somewhere = st.one_of(st.integers(0, min(64, len(data) - 1)), st.integers(0, len(data) - 1))
    for _ in range(draw(st.integers(1, 6))):
        place = min(draw(somewhere), len(data) - 1)
        match draw(st.sampled_from(["cut", "flip", "flip", "byte", "byte", "number", "grow", "drop"])):
            case "cut":
                del data[max(1, place) :]
            case "flip":
                data[place] ^= 1 << draw(st.integers(0, 7))
            case "byte":
                data[place] = draw(st.integers(0, 255))
            case "number":
                order = draw(st.sampled_from(["<I", ">I"]))
                number = struct.pack(order, draw(st.sampled_from([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 65_000, 100_000])))
                data[place : place + 4] = number
            case "grow":
                data[place:place] = draw(st.binary(max_size=64))
            case "drop":
                del data[place : place + draw(st.integers(1, 64))]
        data = data or bytearray(b"\0")
    return mended_checksums(bytes(data)) if draw(st.booleans()) else bytes(data)


def mended_checksums(data: bytes) -> bytes:
    """Return a PNG with right checksums, so that its changes come as far as the decoder."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    out, position = [data[:8]], 8
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        body = data[position + 4 : position + 8 + length]
        out.append(data[position : position + 4] + body + struct.pack(">I", zlib.crc32(body)))
        position += 12 + length
    return b"".join(out) + data[position:]


def check(data: bytes) -> None:
    """Decode in both of the ways that photos are read here."""
    for side in (None, 16):
        try:
            photo = decode_photo(data, "fuzzed", smallest_side=side)
        except PhotoError:
            continue
        assert photo.dtype == np.uint8
        assert photo.ndim == 3
        assert photo.shape[2] == 3
        assert 0 < photo.shape[0] * photo.shape[1] <= LARGEST_PHOTO_PIXELS


@examples(600, 65_000)
@given(data=near_photos())
def test_a_damaged_photo_is_a_photo_or_a_photo_error(data: bytes) -> None:
    check(data)


@examples(200, 10_000)
@given(start=st.sampled_from([b"", *(seed[:12] for seed in SEEDS)]), rest=st.binary(max_size=400))
def test_random_bytes_are_a_photo_error(start: bytes, rest: bytes) -> None:
    check(start + rest)


@examples(25, 500)
@given(batch=st.lists(near_photos(), min_size=1, max_size=4))
def test_damaged_files_are_fingerprinted_or_told_why_not(batch: list[bytes], tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("hashed")
    for number, data in enumerate(batch):
        (folder / f"{number}.jpg").write_bytes(data)
    assert len(list(fingerprint_files(sorted(folder.iterdir())))) == len(batch)


BOMB = """
import resource, sys
from pathlib import Path
from agegender.photos.reading import read_photo
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    try:
        read_photo(Path(path))
        raise SystemExit(f"{path} was read")
    except Exception as error:
        print(type(error).__name__, error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_bombs_are_refused_before_they_take_memory(tmp_path: Path) -> None:
    bombs = [str(path) for kind, path in write_bad_photos(tmp_path).items() if kind.startswith("bomb")]
    # A TIFF and a WebP of as many pixels, by their headers alone.
    tiff = bytearray(encoded(Image.new("L", (4, 4)), "TIFF"))
    for tag in (256, 257):
        place = tiff.find(struct.pack("<H", tag))
        struct.pack_into("<I", tiff, place + 8, 65_000)
    (tmp_path / "bomb.tiff").write_bytes(tiff)
    bombs.append(str(tmp_path / "bomb.tiff"))
    done = subprocess.run([sys.executable, "-c", BOMB, *bombs], capture_output=True, text=True, check=True)
    *errors, kilobytes = done.stdout.splitlines()
    assert [line.split()[0] for line in errors] == ["PhotoError"] * len(bombs)
    assert int(kilobytes) < 100_000
