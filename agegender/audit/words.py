"""The words and number formats of sentences and pages, so that each says the same thing the same way."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agegender.audit.estimates import Estimate
from agegender.heads import Head, Regression

MISSING = "–"
FEW = 10  # with --no-faces, what is known of fewer photos than this is not shown: it would be about somebody
_MOST_ITEMS = 12


def number(value: Any, digits: int = 1, *, signed: bool = False, is_percent: bool = False) -> str:
    """Return a number as people write it: a true minus, thin thousands, a dash when it is missing.

    >>> number(-1234.56), number(0.3, 2, signed=True), number(float("nan")), number(0.934, 1, is_percent=True)
    ('−1,234.6', '+0.30', '–', '93.4 %')
    """
    if value is None or not math.isfinite(float(value)):
        return MISSING
    scaled = float(value) * (100 if is_percent else 1)
    text = f"{abs(scaled):,.{digits}f}"
    is_zero = not any(character in "123456789" for character in text)
    sign = "" if is_zero else "−" if scaled < 0 else "+" if signed else ""
    return f"{sign}{text}{' %' if is_percent else ''}"


def count(value: Any) -> str:
    """Return a whole number with thousands set apart.

    >>> count(23705)
    '23,705'
    """
    return number(value, 0)


def photos(value: int, *, hides_few: bool = False) -> str:
    """Return a number of photos in words.

    >>> photos(1), photos(1234), photos(3, hides_few=True)
    ('1 photo', '1,234 photos', 'under 10 photos')
    """
    if hides_few and 0 < value < FEW:
        return f"under {FEW} photos"
    return f"{count(value)} photo{'' if value == 1 else 's'}"


def chance_of(log_odds: float) -> str:
    """Return the probability that log-odds stand for.

    >>> chance_of(0.0), chance_of(2.0)
    ('50.0 %', '88.1 %')
    """
    return number(1 / (1 + math.exp(-max(-700.0, min(700.0, log_odds)))), 1, is_percent=True)


def p_value(value: float) -> str:
    """Return a p-value as people write it behind its letter, by APA's rule for small ones.

    >>> p_value(0.0002), p_value(0.0312)
    ('< 0.001', '= 0.031')
    """
    return "< 0.001" if value < 0.001 else f"= {number(value, 3)}"


def interval(value: Estimate, digits: int = 1, *, signed: bool = False, is_percent: bool = False) -> str:
    """Return an estimate and its interval.

    >>> interval(Estimate(-6.1, -7.0, -5.2), signed=True)
    '−6.1 (−7.0 to −5.2)'
    """
    estimate = number(value.value, digits, signed=signed, is_percent=is_percent)
    ends = interval_ends(value, digits, signed=signed, is_percent=is_percent)
    return f"{estimate} {ends}" if ends else estimate


def interval_ends(value: Estimate, digits: int = 1, *, signed: bool = False, is_percent: bool = False) -> str:
    """Return the bracket alone, or nothing where no interval is known.

    >>> interval_ends(Estimate(0.9, 0.87, 0.92), is_percent=True)
    '(87.0 to 92.0 %)'
    """
    if not (math.isfinite(value.low) and math.isfinite(value.high)):
        return ""
    low = number(value.low, digits, signed=signed, is_percent=is_percent).removesuffix(" %")
    return f"({low} to {number(value.high, digits, signed=signed, is_percent=is_percent)})"


def listing(items: Iterable[str]) -> str:
    """Return items as a sentence lists them.

    >>> listing(["a"]), listing(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    parts = list(items)
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def flattened(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Return (name, value) pairs of nested mappings and lists; what has a name in a list is called by it.

    >>> flattened({"image": {"size": 96, "mean": [0.5, 0.4]}, "heads": [{"name": "age", "weight": 1.0}]})
    [('image.size', '96'), ('image.mean', '0.5, 0.4'), ('heads.age.weight', '1.0')]
    """
    if isinstance(value, Mapping):
        named = ((f"{prefix}.{key}" if prefix else str(key), item) for key, item in value.items())
        return [pair for name, item in named for pair in flattened(item, name)]
    if isinstance(value, (list, tuple)) and any(isinstance(item, (Mapping, list)) for item in value):
        named_items = [
            (item["name"], {key: entry for key, entry in item.items() if key != "name"})
            if isinstance(item, Mapping) and "name" in item
            else (place, item)
            for place, item in enumerate(value)
        ]
        return [pair for name, item in named_items for pair in flattened(item, f"{prefix}.{name}")]
    if isinstance(value, (list, tuple)):
        shown = ", ".join(map(str, value[:_MOST_ITEMS]))
        return [(prefix, f"{shown}, … {len(value)} in all" if len(value) > _MOST_ITEMS else shown)]
    return [(prefix, "" if value is None else str(value))]


def capitalised(text: str) -> str:
    """Return a text whose first letter is a capital, the others as they are."""
    return f"{text[:1].upper()}{text[1:]}"


def identifier(columns: Sequence[str]) -> str:
    """Return what anchors and table ids of a grouping start with."""
    return "-".join(columns).replace("_", "-")


def in_unit(text: str, head: Regression) -> str:
    """Return a heading with the unit of a head behind it: "MAE, years"."""
    return f"{text}, {head.unit}" if head.unit else text


def too(head: Regression) -> tuple[str, str]:
    """Return what an over-estimate and an under-estimate make of somebody: "old", "young"."""
    more, less = (word.removesuffix("er") for word in head.words)
    return more, less


def is_first_of_kind(head: Head, heads: Sequence[Head]) -> bool:
    """Return whether a head needs no name beside its figures: the first of its kind goes without."""
    return next(one for one in heads if one.kind == head.kind) == head


def about(head: Head, heads: Sequence[Head], link: str = " in ") -> str:
    """Return " in height" for a head that shares its page with an earlier one of its kind, else nothing."""
    return "" if is_first_of_kind(head, heads) else f"{link}{head.title}"


def photo_anchor(path: str) -> str:
    """Return the anchor of a photo, the same on every page that shows it.

    >>> photo_anchor("a/anna.jpg")
    'photo-6f9bfb153be6'
    """
    return f"photo-{hashlib.sha256(path.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"


def own_id(base: str, head: Head, heads: Sequence[Head]) -> str:
    """Return an anchor or a key of a head: the base alone for the first of its kind."""
    return base if is_first_of_kind(head, heads) else f"{base}-{head.name}"
