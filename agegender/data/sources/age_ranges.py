"""Owns ages that are given as ranges, and the harm that spreadsheets do to them.

Excel takes `3-9` for a day in September (or in March, where months come first) and writes `03-Sep`; such labels are
read back to the range that they were.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_RANGE = re.compile(r"\(?\s*(\d{1,3})\s*(?:-|–|,|to)\s*(\d{1,3})\s*\)?")
_OPEN = re.compile(r"(?:more than|over|>=?)\s*(\d{1,3})|(\d{1,3})\s*\+", re.IGNORECASE)
_DAY_MONTH = re.compile(r"(\d{1,2})[- /]([a-z]{3})[a-z]*|([a-z]{3})[a-z]*[- /](\d{1,2})", re.IGNORECASE)
_DATE = re.compile(r"\d{4}-(\d{2})-(\d{2})(?:[ T]00:00(:00)?)?")


@dataclass(frozen=True)
class AgeRange:
    """Whole years of age from `low_years` to `high_years`, both included; no `high_years` where the range is open."""

    low_years: float
    high_years: float | None

    @property
    def midpoint_years(self) -> float | None:
        """Return the middle of the range, None where it is open: nobody knows the middle of "more than 70"."""
        return None if self.high_years is None else (self.low_years + self.high_years) / 2


def read_age_range(label: object) -> AgeRange | None:
    """Return the range that a label states, None when it is no range.

    >>> read_age_range("20-29"), read_age_range("more than 70")
    (AgeRange(low_years=20.0, high_years=29.0), AgeRange(low_years=70.0, high_years=None))
    >>> read_age_range("03-Sep") == read_age_range("9-Mar") == read_age_range("3-9")
    True
    """
    text = str(label).strip()
    if match := _OPEN.fullmatch(text):
        return AgeRange(float(match[1] or match[2]), None)
    numbers = _numbers(text)
    if numbers is None or numbers[0] > numbers[1] or numbers[1] > 122:
        return None
    return AgeRange(float(numbers[0]), float(numbers[1]))


def _numbers(text: str) -> tuple[int, int] | None:
    if match := _RANGE.fullmatch(text):
        return int(match[1]), int(match[2])
    if match := _DATE.fullmatch(text):
        return _ordered(int(match[1]), int(match[2]))
    if match := _DAY_MONTH.fullmatch(text):
        month = (match[2] or match[3]).lower()
        return _ordered(int(match[1] or match[4]), _MONTHS.index(month) + 1) if month in _MONTHS else None
    return None


def _ordered(one: int, other: int) -> tuple[int, int]:
    # Day and month may stand either way round, depending on where the spreadsheet was opened.
    return min(one, other), max(one, other)
