"""What stands in the cells and headings of a table that somebody made: numbers, texts, formulas, and names of columns.

Nothing is guessed here: what is no number counts as unknown, and whoever asked says how many there were.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

LARGEST_NUMBER = 1e12  # beyond it squares and sums lose their sense
# What spreadsheets and libraries write where nothing is known; pandas reads the same.
MISSING = frozenset(
    {"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA"}
    | {"NULL", "NaN", "None", "n/a", "nan", "null"}
)
_GLANCE = 100  # cells
_TRUE_OR_FALSE = {"True": True, "TRUE": True, "true": True, "False": False, "FALSE": False, "false": False}
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
_NUMBER = re.compile(r"[+-]?\d+(?:,\d+)?(?:[eE][+-]?\d+)?")
# A spreadsheet runs what starts like this; the apostrophes before it are ours, or we add one more.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_ESCAPED = r"'+[=+\-@\t\r]"


def numbers_of(column: pd.Series) -> pd.Series:
    """Return a column as float64, NaN where a cell is no number; true, false, dates and spans of time are none.

    >>> numbers_of(pd.Series([3, "26,5", " 7 ", True, "old"], dtype=object)).tolist()
    [3.0, 26.5, 7.0, nan, nan]
    """
    kind = column.dtype
    if pd.api.types.is_bool_dtype(kind) or pd.api.types.is_complex_dtype(kind):
        return pd.Series(np.nan, index=column.index, dtype="float64")
    if not pd.api.types.is_numeric_dtype(kind):
        types = pd.api.types
        if not (types.is_object_dtype(kind) or types.is_string_dtype(kind) or isinstance(kind, pd.CategoricalDtype)):
            return pd.Series(np.nan, index=column.index, dtype="float64")
        column = pd.Series([_number_cell(cell) for cell in column], index=column.index, dtype=object)
    numbers = pd.to_numeric(column, errors="coerce").astype("float64")
    return numbers.where(numbers.abs() <= LARGEST_NUMBER)


def _number_cell(cell: Any) -> Any:
    if isinstance(cell, str):
        text = cell.strip()
        return text.replace(",", ".") if _DECIMAL_COMMA.fullmatch(text) else text
    is_number = isinstance(cell, (int, float, Decimal, np.integer, np.floating)) and not isinstance(cell, bool)
    try:
        return float(cell) if is_number else None
    except (OverflowError, ValueError):  # an int of 400 digits, a signalling NaN
        return None


def nested_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns that hold lists and the like, by which nothing can be counted or grouped."""
    kinds = (list, tuple, dict, set, np.ndarray)
    return [
        name for name in table if table[name].dtype == object and any(isinstance(cell, kinds) for cell in table[name])
    ]


def typed(column: pd.Series) -> pd.Series:
    """Return a column of texts as numbers, truth values or texts, whichever all its known cells are.

    Blanks at the ends go, and so does the apostrophe that `harmless` put before a formula.
    """
    texts = column.str.strip()
    known = ~texts.isin(MISSING)
    cells = texts[known]
    if cells.empty:
        return pd.Series(np.nan, index=column.index, dtype="float64")
    numbers = pd.to_numeric(cells.head(_GLANCE), errors="coerce")
    if numbers.notna().all():  # texts are mostly known by their first cells, and numbers are dear to read
        numbers = pd.to_numeric(cells, errors="coerce")
    if numbers.notna().all():
        if known.all() and numbers.dtype.kind == "i":
            return numbers
        return pd.Series(np.nan, index=column.index, dtype="float64").mask(known, _exact(cells, numbers))
    if set(cells.unique()) <= set(_TRUE_OR_FALSE):
        answers = cells.map(_TRUE_OR_FALSE)
        return answers.astype(bool) if known.all() else answers.astype(object).reindex(column.index)
    return without_apostrophes(texts).where(known)


def _exact(cells: pd.Series, numbers: pd.Series) -> pd.Series:
    """Return numbers to the last bit, which pandas' own quick reading misses now and then."""
    try:
        return pd.Series(cells.to_numpy(dtype=object).astype(np.float64), index=cells.index)
    except ValueError:
        return numbers.astype("float64")


def has_decimal_commas(column: pd.Series) -> bool:
    """Return whether all known texts of a column are numbers, and some have a decimal comma."""
    texts = column.str.strip()
    cells = texts[~texts.isin(MISSING)]
    if not bool(cells.str.contains(",", regex=False).any()):
        return False
    return bool(cells.str.fullmatch(_NUMBER.pattern).all())


def harmless(value: Any) -> Any:
    """Return a cell for a CSV file: a text that a spreadsheet would run as a formula gets an apostrophe in front.

    >>> harmless("=1+1"), harmless("-5"), harmless(-5), harmless("a=b")
    ("'=1+1", "'-5", -5, 'a=b')
    """
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def without_apostrophes(texts: pd.Series) -> pd.Series:
    """Return texts without the apostrophe that `harmless` put before formulas, and no other.

    >>> without_apostrophes(pd.Series([harmless(text) for text in ("=1", "'=1", "'tis")])).tolist()
    ['=1', "'=1", "'tis"]
    """
    if not texts.str.startswith("'").any():
        return texts
    return texts.where(~texts.str.match(_ESCAPED).fillna(False).astype(bool), texts.str.slice(1))


def write_csv(table: pd.DataFrame, path: Path, *, adds: bool = False) -> None:
    """Write a CSV file in which no cell and no heading is one that a spreadsheet would run, or add rows to one."""
    made = harmless_table(table)
    texts = [column for _, column in made.items() if not pd.api.types.is_numeric_dtype(column.dtype)]
    # Python's writer forgets that a lone carriage return ends a line for many a reader.
    has_returns = any("\r" in cell for column in texts for cell in column if isinstance(cell, str))
    made.to_csv(
        path,
        mode="a" if adds else "w",
        header=not adds,
        index=False,
        quoting=csv.QUOTE_NONNUMERIC if has_returns else csv.QUOTE_MINIMAL,
    )


def harmless_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table for a CSV file: no cell and no heading that a spreadsheet would run."""
    texts = [place for place, kind in enumerate(table.dtypes) if not pd.api.types.is_numeric_dtype(kind)]
    columns = {
        place: table.iloc[:, place].astype(object).map(harmless) if place in texts else table.iloc[:, place]
        for place in range(table.shape[1])
    }
    made = pd.DataFrame(columns, index=table.index)
    made.columns = pd.Index([harmless(str(name)) for name in table.columns])
    return made


def plain_name(name: object) -> str:
    """Return a column's name as ours are written.

    >>> plain_name(" Age_Years "), plain_name("predicted age years")
    ('age_years', 'predicted_age_years')
    """
    return re.sub(r"[\s_-]+", "_", str(name).strip().strip("\ufeff").lower())


def with_known_names(
    table: pd.DataFrame, is_known: Callable[[str], bool]
) -> tuple[pd.DataFrame, tuple[tuple[str, str], ...]]:
    """Return the table with the columns that are ours but for case and blanks called as ours, and what was renamed."""
    there = set(map(str, table.columns))
    renamed: dict[Any, str] = {}
    for name in table.columns:
        ours = plain_name(name)
        if ours != name and ours not in there and is_known(ours):
            renamed[name] = ours
            there.add(ours)
    return table.rename(columns=renamed), tuple((str(theirs), ours) for theirs, ours in renamed.items())
