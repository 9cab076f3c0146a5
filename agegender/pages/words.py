"""Owns the words and number formats of the pages, so that every page says the same thing the same way."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

GENDER_WORDS = (
    "“Gender” here is the dataset's annotated label of how a person presents in a photo. It isn't anybody's identity, "
    "and a prediction of it is no fact about anybody. The data know two labels only, so people whom neither "
    "describes are counted wrongly or not at all."
)
MISSING = "–"
SMALL_GROUP = 30  # below this many photos a group is greyed and never ranked


class Interval(NamedTuple):
    """An estimate with the ends of its 95 % interval, in the unit of its column."""

    estimate: float
    low: float = math.nan
    high: float = math.nan


def scaled(value: Interval, factor: float) -> Interval:
    """Return the interval in another unit, such as shares as percentage points."""
    return Interval(value.estimate * factor, value.low * factor, value.high * factor)


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


def p_value(value: float) -> str:
    """Return a p-value as people write it.

    >>> p_value(0.0002), p_value(0.0312)
    ('< 0.001', '0.031')
    """
    return "< 0.001" if value < 0.001 else number(value, 3)


def interval(value: Interval, digits: int = 1, *, signed: bool = False, is_percent: bool = False) -> str:
    """Return an estimate and its interval.

    >>> interval(Interval(-6.1, -7.0, -5.2), signed=True)
    '−6.1 (−7.0 to −5.2)'
    """
    estimate = number(value.estimate, digits, signed=signed, is_percent=is_percent)
    ends = interval_ends(value, digits, signed=signed, is_percent=is_percent)
    return f"{estimate} {ends}" if ends else estimate


def interval_ends(value: Interval, digits: int = 1, *, signed: bool = False, is_percent: bool = False) -> str:
    """Return the bracket alone, or nothing where no interval is known.

    >>> interval_ends(Interval(0.9, 0.87, 0.92), is_percent=True)
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


_MOST_ITEMS = 12


def flattened(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Return (name, value) pairs of nested mappings and lists.

    >>> flattened({"image": {"size": 96, "mean": [0.5, 0.4]}})
    [('image.size', '96'), ('image.mean', '0.5, 0.4')]
    """
    if isinstance(value, Mapping):
        named = ((f"{prefix}.{key}" if prefix else str(key), item) for key, item in value.items())
        return [pair for name, item in named for pair in flattened(item, name)]
    if isinstance(value, (list, tuple)) and any(isinstance(item, (Mapping, list)) for item in value):
        return [pair for place, item in enumerate(value) for pair in flattened(item, f"{prefix}.{place}")]
    if isinstance(value, (list, tuple)):
        shown = ", ".join(map(str, value[:_MOST_ITEMS]))
        return [(prefix, f"{shown}, … {len(value)} in all" if len(value) > _MOST_ITEMS else shown)]
    return [(prefix, "" if value is None else str(value))]
