"""A small trained model of version 0.1, as it was stored, and the photos of drawn heads that it was tried on."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
from PIL import Image

GOLDEN = Path(__file__).parent / "golden" / "0.1"
STORED = GOLDEN / "soft-labels"
CARD_FILE, WEIGHTS_FILE = "model.json", "weights.safetensors"


def write_golden(place: Path, *more: str, stored: Path = STORED) -> Path:
    """Write its weights, its card and such more of its files into a folder; return that."""
    place.mkdir(parents=True, exist_ok=True)
    (place / WEIGHTS_FILE).write_bytes(lzma.decompress((stored / f"{WEIGHTS_FILE}.xz").read_bytes()))
    for name in (CARD_FILE, *more):
        (place / name).write_bytes((stored / name).read_bytes())
    return place


def write_noisy_photos(place: Path, count: int) -> Path:
    """Write 000.png and so on, the photos with noise of their own, no two alike; return the folder."""
    place.mkdir(parents=True, exist_ok=True)
    drawn = np.load(GOLDEN / "photos.npz")["photos"]
    generator = np.random.default_rng(5)
    for number in range(count):
        noisy = drawn[number % len(drawn)].astype(int) + generator.integers(-30, 30, drawn[0].shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(place / f"{number:03}.png")
    return place
