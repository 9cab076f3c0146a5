"""Which faces of a predictions table are explained: some at random, which speak for all, and some for what they show.

The kind of a head decides what is bad: of numbers the largest errors, of classes the mistakes that were most certain.
Faces at random are drawn from all, whatever else was chosen; only they may be averaged.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from agegender.audit.grouping import LABEL_COLUMNS
from agegender.errors import TableError, UsageError, did_you_mean
from agegender.heads import Head, Regression, heads_of_predictions

AT_RANDOM = "chosen at random"


@dataclass(frozen=True)
class Choice:
    """How many faces of a table to explain, and of which group.

    Attributes
    ----------
    worst : int
        Faces of each regression with the largest errors.
    mistakes : int
        Faces of each classification that were taken for another class, the most certain first.
    best : int
        Faces of each head with the smallest errors, or recognised with the highest probability.
    random : int
        Faces at random out of all of the group; one of them may have been chosen for its error too.
    group : mapping
        Column -> value (`{"ethnicity": "Black"}`); empty: everyone.
    """

    worst: int = 0
    mistakes: int = 0
    best: int = 0
    random: int = 0
    group: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0

    @property
    def needs_predictions(self) -> bool:
        """Whether labels alone do not tell which faces are meant."""
        return bool(self.worst or self.mistakes or self.best)


# A mean over 48 photos is known to about 0.4 standard deviations when some twenty parts are looked at together.
REPORT_CHOICE = Choice(worst=6, mistakes=6, random=48)


def choose_faces(table: pd.DataFrame, choice: Choice, heads: Sequence[Head] | None = None) -> pd.DataFrame:
    """Return rows of a table, in the order in which they are to be explained, none twice.

    Parameters
    ----------
    table : DataFrame
        A predictions table; for faces at random alone, labels and `path` do.
    heads : sequence of Head, optional
        By default those of the table's columns.

    Returns
    -------
    DataFrame
        With the columns `reason` ("largest error of age: over-estimated by 31.0 years", "chosen at random"),
        `chosen_for` (the name of the head whose answer was the reason, or nothing) and `is_random`.
    """
    table = of_group(table, choice.group).reset_index(drop=True)
    known = [head for head in heads or heads_of_predictions(table) if {head.column, head.predicted} <= set(table)]
    for head in known:
        table = head.with_errors(table)
    reasons: dict[int, tuple[str, str]] = {}
    for head in known:
        what, count = (
            (f"largest error of {head.title}", choice.worst)
            if isinstance(head, Regression)
            else (f"most certain mistake of {head.title}", choice.mistakes)
        )
        _add(reasons, head, what, _worst_first(head, table), count)
    for head in known:
        _add(reasons, head, f"nearest to the label of {head.title}", _best_first(head, table), choice.best)
    drawn = table.sort_values("path").sample(min(choice.random, len(table)), random_state=choice.seed).index
    for place in drawn:
        reasons.setdefault(place, (AT_RANDOM, ""))
    chosen = table.loc[list(reasons)]
    return chosen.assign(
        reason=[reason for reason, _ in reasons.values()],
        chosen_for=[name for _, name in reasons.values()],
        is_random=chosen.index.isin(drawn),
    )


def _add(reasons: dict[int, tuple[str, str]], head: Head, what: str, ranked: pd.DataFrame, count: int) -> None:
    """Add the first faces of a ranking that were not chosen yet."""
    rows = ranked.drop(index=list(reasons), errors="ignore").head(count)
    for place, row in zip(rows.index.tolist(), rows.to_dict("records"), strict=True):
        reasons[place] = f"{what}: {_error_words(head, row)}", head.name


def of_group(table: pd.DataFrame, group: Mapping[str, str]) -> pd.DataFrame:
    """Return the rows of a group, as column -> value."""
    for column, value in group.items():
        if column not in table:
            hint = did_you_mean(column, table.columns)
            raise TableError(f"the faces table has no column {column!r}.{hint} It has {', '.join(table.columns)}.")
        present = sorted(table[column].dropna().astype(str).unique())
        if value not in present:
            hint = did_you_mean(value, present)
            raise UsageError(f"nobody has {column}={value!r}.{hint} There are {', '.join(present[:20]) or 'none'}.")
        table = table[table[column].astype(str) == value]
    return table


def label_columns(table: pd.DataFrame, heads: Sequence[Head]) -> list[str]:
    """Return the columns that are told of an explained face: labels, what it is grouped by, and its split."""
    names = dict.fromkeys([*(head.column for head in heads), *LABEL_COLUMNS, "split"])
    return [name for name in names if name in table]


def _worst_first(head: Head, table: pd.DataFrame) -> pd.DataFrame:
    if isinstance(head, Regression):
        by_error = table.dropna(subset=[head.absolute_error_column])
        return by_error.sort_values(head.absolute_error_column, kind="stable").iloc[::-1]
    mistakes = table[table[head.right_column] == 0]
    return mistakes.sort_values(head.confidence_column, kind="stable", na_position="first").iloc[::-1]


def _best_first(head: Head, table: pd.DataFrame) -> pd.DataFrame:
    if isinstance(head, Regression):
        by_error = table.dropna(subset=[head.absolute_error_column])
        return by_error.sort_values(head.absolute_error_column, kind="stable")
    right = table[table[head.right_column] == 1]
    return right.sort_values(head.confidence_column, kind="stable", na_position="first").iloc[::-1]


def _error_words(head: Head, row: Mapping[Hashable, Any]) -> str:
    if isinstance(head, Regression):
        error = row[head.error_column]
        return f"{'over' if error > 0 else 'under'}-estimated by {abs(error):.1f} {head.unit}".rstrip()
    sure = row[head.confidence_column]
    confidence = f", {100 * sure:.0f} % sure" if pd.notna(sure) else ""
    if row[head.right_column] == 1:
        return f"{row[head.column]} recognised{confidence}"
    return f"labelled {row[head.column]}, taken for {row[head.predicted]}{confidence}"
