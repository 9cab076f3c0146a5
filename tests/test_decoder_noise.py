"""What decoders print about damaged photos stays off the screen; everything else is passed on as it was."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
from bad_photos import encoded
from PIL import Image

from agegender.decoder_noise import quiet_decoders
from agegender.photos.reading import decode_photo


def damaged_jpeg() -> bytes:
    """A JPEG with strange bytes before a marker in its middle, which libjpeg reads, and speaks about."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    data = encoded(noise, "JPEG")
    return data[:-2] + b"\x00\x01\x02\x03" * 30 + data[-2:]


def test_words_of_decoders_are_dropped_and_others_passed_on(capfd):
    with quiet_decoders():
        os.write(2, b"Corrupt JPEG data: 3 extraneous bytes before marker 0xd9\nmine\nlibpng warning: iCCP: too long\n")
        os.write(2, b"no end of line")
    os.write(2, b", and after\n")
    assert capfd.readouterr().err == "mine\nno end of line, and after\n"


def test_a_damaged_photo_is_read_without_a_word(capfd):
    data = damaged_jpeg()
    decode_photo(data, "damaged.jpg")
    assert "Corrupt JPEG data" in capfd.readouterr().err
    with quiet_decoders():
        assert decode_photo(data, "damaged.jpg").shape == (64, 64, 3)
    assert capfd.readouterr().err == ""


def test_a_command_says_what_python_says_and_nothing_of_decoders():
    program = """
import argparse, os, sys
from agegender.console import Result, command_parser, execute
def run(options):
    os.write(2, b"Premature end of JPEG file\\n")
    print("on the way", file=sys.stderr)
    os.system("echo a child speaks >&2")
    return Result({}, "done")
raise SystemExit(execute(command_parser("try", ""), run, []))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "done\n"
    assert sorted(done.stderr.splitlines()) == ["a child speaks", "on the way"]
