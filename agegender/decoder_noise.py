"""Keeps what libjpeg, libpng and libtiff print about damaged photos off the screen: commands say it in their own words.

These libraries write to file descriptor 2 themselves. While a command runs, that descriptor leads through a pipe, and
whatever is not theirs is passed on; Python's own stderr goes past it.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_NOISE = re.compile(
    rb"Corrupt JPEG data|Premature end of JPEG|Invalid SOS parameters|Inconsistent progression|Unsupported marker"
    rb"|Warning: unknown JFIF|Application transferred|Unknown Adobe|Bogus |libpng (warning|error): |libjpeg|TIFF\w*: "
    rb"|tempfile\.tif: |\w*: Warning, |(LZW|Fax[34]|JPEG|ZIP|PixarLog|SGILog|LogLuv|PackBits|Deflate|Thunder|NeXT)\w*: "
)
_LAST_WORDS_SECONDS = 1.0


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Drop the decoders' lines from file descriptor 2 while the block runs."""
    try:
        screen = os.dup(2)
        reading, writing = os.pipe()
    except OSError:  # no descriptor to spare, or none at all: then there is nothing to keep clean
        yield
        return
    os.dup2(writing, 2)
    os.close(writing)
    passing = threading.Thread(target=_pass_on, args=(reading, screen), daemon=True)
    passing.start()
    ours = None
    if sys.stderr is sys.__stderr__ and sys.stderr is not None:
        ours = open(os.dup(screen), "w", encoding=sys.stderr.encoding, errors="backslashreplace", buffering=1)  # noqa: PTH123, SIM115
        sys.stderr = ours
    try:
        yield
    finally:
        if ours is not None:
            sys.stderr = sys.__stderr__
            with suppress(OSError):
                ours.close()
        os.dup2(screen, 2)
        passing.join(_LAST_WORDS_SECONDS)  # a child process may hold the pipe open for longer
        os.close(screen)


def _pass_on(reading: int, screen: int) -> None:
    """Copy whole lines that are not noise, until nobody can write any more."""
    rest = b""
    with suppress(OSError):
        while data := os.read(reading, 65536):
            *lines, rest = (rest + data).split(b"\n")
            said = b"".join(line + b"\n" for line in lines if not _NOISE.match(line))
            if said:
                os.write(screen, said)
        if rest and not _NOISE.match(rest):
            os.write(screen, rest)
    os.close(reading)
