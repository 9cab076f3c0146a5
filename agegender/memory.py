"""Memory kept between the steps of long work, where the C library would give it back after each.

glibc returns blocks of some megabytes to the system as soon as they are freed, and the next step faults every page in
again: of a training step in bf16 some 5 % of the processor's time. Elsewhere nothing is changed.
"""

from __future__ import annotations

import ctypes
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Of glibc's mallopt; what the C library does by itself after a while is what is put back.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_COUNT = -1, -3, -4
_LARGEST_THRESHOLD = 32 * 2**20
_KEPT = ((_MMAP_COUNT, 0), (_TRIM_THRESHOLD, 2**31 - 1))
_USUAL = ((_MMAP_COUNT, 65_536), (_MMAP_THRESHOLD, _LARGEST_THRESHOLD), (_TRIM_THRESHOLD, 2 * _LARGEST_THRESHOLD))
_IS_GLIBC = platform.libc_ver()[0] == "glibc"
_lock = threading.Lock()
_blocks: list[None] = []  # that are entered


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keep freed memory for this process until the end of the outermost such block, then give it back."""
    with _lock:
        if not _blocks:
            _set(_KEPT)
        _blocks.append(None)
    try:
        yield
    finally:
        with _lock:
            _blocks.pop()
            if not _blocks:
                _set(_USUAL)
                if _IS_GLIBC:
                    ctypes.CDLL(None).malloc_trim(0)


def _set(options: tuple[tuple[int, int], ...]) -> None:
    if _IS_GLIBC:
        library = ctypes.CDLL(None)
        for name, value in options:
            library.mallopt(name, value)
