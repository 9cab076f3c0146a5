"""Which rows belong together: the columns one can group by, and the group of every row.

A missing value is no group of its own. A column with more than `MOST_VALUES` values keeps the most frequent ones as
groups; its other rows stay in every rest, and the notes say so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.audit.dependence import TIES
from agegender.errors import TableError
from agegender.heads.age_bands import AGE_GROUPS, with_age_group

MOST_VALUES = 30  # more values than this are no grouping but an identity
MOST_GROUPS = 120  # of an intersection
SMALLEST_RANKED_GROUP = 30  # below this an interval is so wide that a rank would be noise
LABEL_COLUMNS = ("gender", "ethnicity", "age_group", "age_band", "expression", "mask", "source")
AGE_COLUMNS = ("age_group", "age_band")  # made of the labelled age
CROSSED_COLUMNS = ("gender", "ethnicity", "age_group")
TITLES = {"gender": "gender label", "age_group": "age", "age_band": "age band"}
_BAND = re.compile(r"(\d{1,3})(?:–\d{1,3}|\+)?")
_NO_GROUPS = {*TIES, "split", "phash", "dropped_because", "fold", "root"}


@dataclass(frozen=True)
class Grouping:
    """The group of every row.

    Attributes
    ----------
    columns : tuple of str
    values : tuple of tuples of str
        The groups' values in each column, in natural order.
    codes : array, shape (rows,), int
        Number in `values`; `len(values)` for a known group beyond the most frequent ones; -1 where a value is missing.
    notes : tuple of str
        What is not shown, as sentences.
    """

    columns: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    codes: NDArray[np.int64]
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> NDArray[np.int64]:
        """Return the rows of each group, the left-over ones last."""
        return np.bincount(self.codes[self.codes >= 0], minlength=self.size)

    @property
    def size(self) -> int:
        """Return how many groups there are, the left-over rows counted as one where there are any."""
        return len(self.values) + int((self.codes == len(self.values)).any())

    def of_rows(self, chosen: NDArray[np.bool_]) -> Grouping:
        """Return the same groups for some of the rows."""
        return replace(self, codes=self.codes[chosen])


def group_columns(predictions: pd.DataFrame) -> tuple[str, ...]:
    """Return the columns by which the rows can be grouped: two to `MOST_VALUES` values of text.

    The known label columns come first, `age_group` (derived from `age_years`) among them, then others in their order.
    """
    table = with_age_group(predictions)
    return tuple(name for name in _candidates(table) if 2 <= value_count(table, name) <= MOST_VALUES)


def crowded_columns(predictions: pd.DataFrame) -> list[str]:
    """Return the columns with too many values to group by: labels, and others whose values come twice on average."""
    counts = {name: value_count(predictions, name) for name in _candidates(predictions)}
    return [
        name
        for name, number in counts.items()
        if number > MOST_VALUES and (name in LABEL_COLUMNS or 2 * number <= predictions[name].count())
    ]


def crossings(columns: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the intersections that are looked at, of the columns that there are.

    >>> crossings(["age_group", "gender"])
    [('gender', 'age_group')]
    """
    usable = [name for name in CROSSED_COLUMNS if name in columns]
    return [names for size in (2, 3) for names in combinations(usable, size)]


def title(columns: Sequence[str]) -> str:
    """Return how a grouping is called.

    >>> title(("ethnicity", "age_group"))
    'ethnicity × age'
    """
    return " × ".join(TITLES.get(name, name.replace("_", " ")) for name in columns)


def value_count(table: pd.DataFrame, column: str) -> int:
    """Return how many different values a column has, missing ones not counted."""
    return int(table[column].nunique())


def make(table: pd.DataFrame, columns: Sequence[str]) -> Grouping:
    """Return the group of every row by one column or by several together."""
    if not columns:
        raise TableError("no column to group by was named.")
    missing = [name for name in columns if name not in table]
    if missing:
        raise TableError(
            f"cannot group by {', '.join(missing)}: the table has {', '.join(map(str, table.columns)) or 'no columns'}."
        )
    singles = [_single(table, name) for name in columns]
    return singles[0] if len(singles) == 1 else _crossed(singles)


def _single(table: pd.DataFrame, column: str) -> Grouping:
    cells = table[column]
    if isinstance(cells, pd.DataFrame):
        raise TableError(f"the column {column} stands in the table twice: keep one of them.")
    present = cells.notna().to_numpy()
    numbers, values = pd.factorize(cells[present])  # a table has few values and many rows: only values become text
    texts = [str(value) for value in values]
    names = list(dict.fromkeys(texts))
    number_of = {name: number for number, name in enumerate(names)}
    name_numbers = np.array([number_of[text] for text in texts], dtype=np.int64)[numbers]
    counts = np.bincount(name_numbers, minlength=len(names))
    kept = sorted((names[number] for number in np.argsort(-counts, kind="stable")[:MOST_VALUES]), key=_age_first)
    code_of = {name: number for number, name in enumerate(kept)}
    codes = np.full(len(cells), -1, dtype=np.int64)
    codes[present] = np.array([code_of.get(name, len(kept)) for name in names], dtype=np.int64)[name_numbers]
    notes = _too_many(column, len(counts), MOST_VALUES) if len(counts) > MOST_VALUES else ()
    return Grouping((column,), tuple((name,) for name in kept), codes, notes)


def _crossed(singles: Sequence[Grouping]) -> Grouping:
    columns = tuple(name for single in singles for name in single.columns)
    notes = tuple(note for single in singles for note in single.notes)
    present = np.all([single.codes >= 0 for single in singles], axis=0)
    named = present & np.all([single.codes < len(single.values) for single in singles], axis=0)
    sizes = tuple(len(single.values) for single in singles)
    together = (
        np.ravel_multi_index([single.codes[named] for single in singles], sizes) if named.any() else np.zeros(0, int)
    )
    every = np.bincount(together, minlength=int(np.prod(sizes)))
    there = np.flatnonzero(every)
    cells, counts = np.stack(np.unravel_index(there, sizes), axis=1), every[there]
    cell_numbers = np.searchsorted(there, together)
    order = np.sort(np.argsort(-counts, kind="stable")[:MOST_GROUPS])
    codes = np.where(present, len(order), -1)
    code_of_cell = np.full(len(cells), len(order))
    code_of_cell[order] = np.arange(len(order))
    codes[named] = code_of_cell[cell_numbers.reshape(-1)]
    values = tuple(
        tuple(single.values[code][0] for single, code in zip(singles, cell, strict=True)) for cell in cells[order]
    )
    if len(cells) > MOST_GROUPS:
        notes = (*notes, *_too_many(" × ".join(columns), len(cells), MOST_GROUPS))
    return Grouping(columns, values, codes, notes)


def _candidates(table: pd.DataFrame) -> list[str]:
    named = [name for name in LABEL_COLUMNS if name in table]
    others = [
        name
        for name in map(str, table.columns)
        if name not in {*named, *_NO_GROUPS} and not name.startswith(("is_", "predicted_")) and _is_text(table[name])
    ]
    return [*named, *others]


def _too_many(name: str, found: int, kept: int) -> tuple[str, ...]:
    return (f"{name} has {found} values; the {kept} most frequent are shown, the others count in every rest.",)


def _age_first(name: str) -> tuple[float, str]:
    # Bands by their years ("5–9" before "10–14"), all else by name.
    if name in AGE_GROUPS:
        return float(AGE_GROUPS.index(name)), ""
    band = _BAND.fullmatch(name)
    return (float(band[1]), "") if band else (np.inf, name)


def _is_text(cells: pd.Series) -> bool:
    is_word = pd.api.types.is_object_dtype(cells) or pd.api.types.is_string_dtype(cells)
    return is_word or isinstance(cells.dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(cells)
