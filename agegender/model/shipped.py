"""The model that comes with the package, which answers where none is named: found, and named with its terms.

agegender/shipped/
  model.onnx            what predicts, without torch
  weights.safetensors   the same numbers, for what needs torch: explanations, another device
  model.json            the card

`docs/ship_model.py` writes all three. It knows nothing of tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from agegender.errors import CardError
from agegender.progress import say

SHIPPED_FOLDER = Path(__file__).resolve().parent.parent / "shipped"
SHIPPED_FILES = ("model.json", "model.onnx", "weights.safetensors")
LICENCE = "LicenseRef-AgeGender-Weights"  # its text lies in licenses/, and in the package's metadata


def shipped_folder() -> Path:
    """Return the folder of the model that comes with the package.

    Raises
    ------
    CardError
        The package was built without it.
    """
    lacking = [name for name in SHIPPED_FILES if not (SHIPPED_FOLDER / name).is_file()]
    if lacking:
        raise CardError(
            f"this agegender came without the model that predicts where none is named ({lacking[0]} is missing in "
            f"{SHIPPED_FOLDER}). Install it again, or train a model with `agegender train` and name it with --model."
        )
    return SHIPPED_FOLDER


def is_shipped(model: Path) -> bool:
    """Return whether a folder, or a file in it, is the package's own."""
    return SHIPPED_FOLDER in (model.resolve(), model.resolve().parent)


def say_terms(card: Mapping[str, Any]) -> None:
    """Say under which licence a model may be used, where its card names one; once in a process."""
    if isinstance(card.get("licence"), str):
        _say_once(f"{card['name']}, the model that comes with agegender: {card['licence']}")


def warn_of_drawn(card: Mapping[str, Any], place: Path) -> None:
    """Say that a model of drawn faces knows no real ones."""
    if (card.get("data") or {}).get("is_drawn") is True:
        say(
            f"{place} was trained on drawn faces and has never seen a real one: what it says of photos means nothing. "
            f"Leave --model out for the model that comes with agegender."
        )


@cache
def _say_once(message: str) -> None:
    say(message)
