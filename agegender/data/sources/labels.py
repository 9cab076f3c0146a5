"""How written labels become values of the faces table, for every source alike: ages, ranges of ages, genders, tables.

Nothing is clipped and nothing is guessed: an age that nobody could have is a reason to drop the row, a label that says
"unknown" is a missing value, and what cannot be understood is missing and counted by whoever asked.

Spreadsheets do harm to ranges: Excel takes `3-9` for a day in September (or in March, where months come first) and
writes `03-Sep`; such labels are read back to the range that they were.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from agegender.data.faces_table import OLDEST_AGE_YEARS, SPLITS
from agegender.errors import TableError
from agegender.progress import say
from agegender.reading_tables import read_table
from agegender.table_cells import plain_name

AGE_OUT_OF_RANGE = "age out of range"
_UNKNOWN = frozenset({"", "-1", "-1.0", "nan", "none", "null", "na", "n/a", "?", "unknown", "u"})
_MALE = frozenset({"male", "m", "man", "men", "boy"})
_FEMALE = frozenset({"female", "f", "woman", "women", "girl"})
_SIDES = {"training": "train", "val": "valid", "validation": "valid", **{side: side for side in SPLITS}}
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_RANGE = re.compile(r"\(?\s*(\d{1,3})\s*(?:-|–|,|to)\s*(\d{1,3})\s*\)?")
_OPEN = re.compile(r"(?:more than|over|>=?)\s*(\d{1,3})|(\d{1,3})\s*\+", re.IGNORECASE)
_DAY_MONTH = re.compile(r"(\d{1,2})[- /]([a-z]{3})[a-z]*|([a-z]{3})[a-z]*[- /](\d{1,2})", re.IGNORECASE)
_DATE = re.compile(r"\d{4}-(\d{2})-(\d{2})(?:[ T]00:00(:00)?)?")


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


def read_side(label: object) -> str | None:
    """Return which side of a split a word names, None for any other word.

    >>> read_side("Val"), read_side("holdout")
    ('valid', None)
    """
    return _SIDES.get(str(label).strip().lower())


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


def read_label_file(path: Path, needed: Collection[str] = (), *, says: bool = True) -> pd.DataFrame:
    """Return a table of any usual kind as texts, so that no library guesses what a label means.

    Empty cells are empty texts. Columns that are the `needed` ones but for case and blanks are called as these; `says`
    what is unusual about the file on stderr.
    """
    read = read_table(path, what="label table", as_texts=True)
    if says:
        for notice in read.notices:
            say(f"{path.name}: {notice}")
    plainly = {plain_name(name): name for name in needed}
    others = {name: plainly.get(plain_name(name)) for name in read.rows if name not in needed}
    table = read.rows.rename(columns={name: ours for name, ours in others.items() if ours and ours not in read.rows})
    missing = [name for name in needed if name not in table]
    if missing:
        raise TableError(
            f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            f"it has {', '.join(map(str, table.columns)) or 'none'}."
        )
    return table


def find_label_file(root: Path, name: str) -> Path | None:
    """Return the first file of that name below `root`, or beside it, where people unpack tables and photos apart."""
    beside = [root.parent / name] if (root.parent / name).is_file() else []
    return next(iter([*sorted(root.rglob(name)), *beside]), None)
