"""A small trained model of version 0.1, as it was stored, and the photos of drawn heads that it was tried on."""

from __future__ import annotations

import lzma
from pathlib import Path

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
