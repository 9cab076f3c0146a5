"""Owns what tells whether two photo files are the same: the SHA-512 of the bytes and the 64-bit perceptual hash.

The perceptual hash is ImageHash's `phash` bit for bit, so that tables hashed elsewhere can be compared. It knows no
table and does not search; `dataset.cleaning` calls it.

References
----------
Buchner: ImageHash, https://github.com/JohannesBuchner/imagehash (phash with hash_size 8 and highfreq_factor 4).
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agegender.errors import PhotoError
from agegender.photos.grey_thumbnails import SIDE, grey_thumbnail
from agegender.photos.reading import LARGEST_FILE_BYTES
from agegender.photos.reading_ahead import spread

HASH_SIDE = 8
_NEAR_TIE = 1e-4  # far above the rounding of sums of 1024 bytes, about 1e-9; far below the gap in nearly every photo


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
    """Yield the fingerprint of every file, in order; a file that cannot be read never stops the others.

    Parameters
    ----------
    paths : sequence of Path
    workers : int, optional
        Threads, or processes for thousands of files; by default one per processor that this process may use.
    """
    yield from spread(_fingerprint_task, paths, workers=workers)


def read_thumbnails(paths: Sequence[Path], *, workers: int | None = None) -> Iterator[NDArray[np.uint8]]:
    """Yield the grey 32 x 32 thumbnail that a file's hash is made of, in order; a black one where there is none."""
    yield from spread(_thumbnail_task, paths, workers=workers)


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
    photo_count = len(thumbnails)
    across = thumbnails.reshape(-1, SIDE).astype(np.float64) @ _COSINES.T
    down = _COSINES @ across.reshape(photo_count, SIDE, HASH_SIDE)
    frequencies = down.reshape(photo_count, HASH_SIDE**2)
    middle = np.partition(frequencies, (31, 32), axis=1)[:, 31:33]
    bits = frequencies > middle.mean(axis=1, keepdims=True)
    # Where the middle values all but coincide, as on flat or symmetric pictures, rounding decides: follow ImageHash's.
    for photo in np.flatnonzero(middle[:, 1] - middle[:, 0] < _NEAR_TIE):
        bits[photo] = _reference_bits(thumbnails[photo])
    return np.packbits(bits, axis=1).view(">u8").astype(np.uint64).reshape(photo_count)


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


def _digest_in_pieces(file: object) -> str:
    digest = hashlib.sha512()
    while piece := file.read(2**20):  # type: ignore[attr-defined]
        digest.update(piece)
    return digest.hexdigest()


def _low_cosines() -> NDArray[np.float64]:
    """Return the 8 lowest rows of scipy's unnormalised DCT-II: shape (8, 32)."""
    frequency, pixel = np.mgrid[:HASH_SIDE, :SIDE]
    return 2 * np.cos(np.pi * frequency * (2 * pixel + 1) / (2 * SIDE))


_COSINES = _low_cosines()


def _reference_bits(thumbnail: NDArray[np.uint8]) -> NDArray[np.bool_]:
    import scipy.fft  # as slow to import as five hundred photos are to hash, and few photos need it

    transformed = scipy.fft.dct(scipy.fft.dct(thumbnail, axis=0), axis=1)[:HASH_SIDE, :HASH_SIDE]
    bits: NDArray[np.bool_] = transformed > np.median(transformed)
    return bits.ravel()
