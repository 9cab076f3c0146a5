"""What a model's card may hold: every entry that the program reads, with its type; a card may come from anywhere.

Entries that are not listed here are shown on pages and read by nobody. Heads, image and intervals are checked where
they are made into objects.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agegender.errors import CardError

LARGEST_CARD_BYTES = 20_000_000
NEEDED = ("name", "body", "heads", "image")
_REMEDY = "Restore the file, or train the model again."

Check = Callable[[Any], bool]


def parse_card(path: Path) -> dict[str, Any]:
    """Read a card's file and compare it with the schema."""
    try:
        if path.stat().st_size > LARGEST_CARD_BYTES:
            raise CardError(f"{path} is larger than {LARGEST_CARD_BYTES:,} bytes, and no card of a model. {_REMEDY}")
        return card_of(path.read_bytes(), str(path))
    except OSError as error:
        raise CardError(f"{path} cannot be read as JSON: {error}. {_REMEDY}") from error


def card_of(text: bytes, place: str) -> dict[str, Any]:
    """Return the card that a text holds, compared with the schema; `place` is only for messages."""
    try:
        card = json.loads(text.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CardError(f"{place} cannot be read as JSON: {error}. {_REMEDY}") from error
    lacking = [entry for entry in NEEDED if not isinstance(card, dict) or entry not in card]
    if lacking:
        raise CardError(f"{place} lacks {', '.join(lacking)}. It was not written by agegender, or by a broken run.")
    for entry, (fits, expected) in _SCHEMA.items():
        found = _entry(card, entry)
        if (found is not None or entry in NEEDED) and not fits(found):
            raise CardError(f"{entry} in {place} is {_short(found)}; expected {expected}. {_REMEDY}")
    return dict(card)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _entry(card: Any, name: str) -> Any:
    """Return an entry by its dotted name; None where it, or what it would stand in, is not there."""
    for part in name.split("."):
        card = card.get(part) if isinstance(card, Mapping) else None
    return card


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 1000


def _is_name(value: Any) -> bool:
    return _is_text(value) and bool(value.strip()) and value.isprintable()


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15


def _is_count(value: Any) -> bool:
    return _is_number(value) and isinstance(value, int) and value >= 0


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def _each(fits: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(map(fits, value.values()))


def _all(fits: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _is_member(value: Any) -> bool:
    return _is_object(value) and _is_name(value.get("folder"))


def _is_finding(value: Any) -> bool:
    lists = [value.get(name) for name in ("columns", "values")] if _is_object(value) else [None]
    return all(_all(_is_text)(one) for one in lists) and _is_text(value.get("sentence")) and _is_count(value.get("n"))


def _is_split_metrics(value: Any) -> bool:
    """Return whether an entry of the metrics is a split's: its photos, and scores of each head."""
    return _is_object(value) and _is_count(value.get("n", 0))


_TEXT, _COUNT, _OBJECT = (_is_text, "a text"), (_is_count, "a whole number from 0"), (_is_object, "an object")
# Entry -> whether a value fits, and what is expected in words.
_SCHEMA: dict[str, tuple[Check, str]] = {
    "name": (_is_name, "a name"),
    "body": (_is_name, "the name of a network"),
    "heads": (_all(_is_object), "a list of heads"),
    "image": _OBJECT,
    "statistics": (_each(_is_object), "a mean and a std of each head"),
    "training_ages": _OBJECT,
    "training_photos": _OBJECT,
    "training_photos.edges": _OBJECT,
    "calibration": (_each(_is_object), "an object for each head"),
    "validation": (_each(_is_count), "a count for each half"),
    "metrics": (_each(_is_split_metrics), "an object for each split"),
    "weights_sha256": (_is_digest, "64 hexadecimal digits"),
    "created": _TEXT,
    "agegender_version": _TEXT,
    "size": _TEXT,
    "weights": _TEXT,
    "precision": _TEXT,
    "device": _TEXT,
    "faces_fingerprint": _TEXT,
    "licence": _TEXT,
    "findings": (_all(_is_finding), "a list of sentences about groups"),
    "teacher": _OBJECT,
    "first_weights": _OBJECT,
    "seed": _COUNT,
    "best_epoch": _COUNT,
    "seconds": (_is_number, "a number"),
    "members": (_all(_is_member), "a list of folders"),
    "vote": _TEXT,
    "balance": (_all(_is_text), "a list of columns"),
    "auxiliary_heads": (_all(_is_object), "a list of heads"),
    "relabelled": (_each(_is_count), "a count for each rule"),
    "log_variances": (_each(_is_number), "a number for each head"),
    "class_counts": (_each(_all(_is_count)), "a count for each class of each head"),
    "data": _OBJECT,
    "data.sources": (_all(_is_text), "a list of texts"),
    "data.photos": (_each(_is_count), "a count for each split"),
    "data.dropped": (_each(_is_count), "a count for each reason"),
    "data.notes": _OBJECT,
}
