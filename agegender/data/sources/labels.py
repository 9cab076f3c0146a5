"""Owns how one written label becomes a value of the faces table, for every source alike.

Nothing is clipped and nothing is guessed: an age that nobody could have is a reason to drop the row, a label that says
"unknown" is a missing value, and what cannot be understood is missing and counted by whoever asked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from agegender.data.faces_table import OLDEST_AGE_YEARS

AGE_OUT_OF_RANGE = "age out of range"
_UNKNOWN = frozenset({"", "-1", "-1.0", "nan", "none", "null", "na", "n/a", "?", "unknown", "u"})
_MALE = frozenset({"male", "m", "man", "men", "boy"})
_FEMALE = frozenset({"female", "f", "woman", "women", "girl"})
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Age:
    """An age as read: `years` (None when unknown), why its row must go, and whether the label was understood at all."""

    years: float | None = None
    dropped_because: str | None = None
    is_understood: bool = True


def read_age(label: object) -> Age:
    """Return the age that a label states, in years.

    -1, empty and NaN mean unknown, as in LAGENDA. 0 is an age. Other numbers outside 0 to 122 drop their row.

    >>> read_age("26.5").years, read_age("-1").years, read_age(150).dropped_because, read_age("old").is_understood
    (26.5, None, 'age out of range', False)
    """
    text = "" if label is None else str(label).strip()
    if text.lower() in _UNKNOWN:
        return Age()
    if not _NUMBER.fullmatch(text):
        return Age(is_understood=False)
    years = float(text)
    if not math.isfinite(years) or not 0 <= years <= OLDEST_AGE_YEARS:
        return Age(dropped_because=AGE_OUT_OF_RANGE)
    return Age(years)


def read_gender(label: object) -> str | None:
    """Return "male", "female" or None for the spellings that datasets use for these words.

    >>> read_gender("F"), read_gender("Male"), read_gender("u")
    ('female', 'male', None)
    """
    text = "" if label is None else str(label).strip().lower()
    if text in _MALE:
        return "male"
    return "female" if text in _FEMALE else None


def is_unknown(label: object) -> bool:
    """Return whether a label says in so many words that nothing is known."""
    return label is None or str(label).strip().lower() in _UNKNOWN


def choose(field: str, choices: Sequence[str]) -> str | None:
    """Return the choice that a field of one digit numbers, None when there is no such choice.

    >>> choose("1", ("male", "female")), choose("3", ("male", "female")), choose("", ("male", "female"))
    ('female', None, None)
    """
    number = int(field) if field.isascii() and field.isdigit() else -1
    return choices[number] if 0 <= number < len(choices) else None
