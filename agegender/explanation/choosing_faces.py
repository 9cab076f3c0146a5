"""Which faces of a predictions table are worth explaining: the worst, the best, typical ones, some at random.

The kind of a head decides what is bad: of numbers the largest errors, of classes the mistakes that were most certain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from agegender.audit.grouping import LABEL_COLUMNS
from agegender.errors import TableError, UsageError, did_you_mean
from agegender.heads import Classification, Head, Regression, heads_of_predictions
from agegender.heads.classification import as_names


@dataclass(frozen=True)
class Choice:
    """How many faces of a table to explain, and of which group.

    Attributes
    ----------
    worst, best : int
        Faces of each head with the largest and the smallest errors.
    worst_each_way : int
        Over-estimates and under-estimates of each regression, mistakes of each classification.
    has_typical : bool
        Whether to add a typical face of each class.
    random : int
        Faces at random, among those not chosen yet.
    group : mapping
        Column -> value (`{"ethnicity": "Black"}`); empty: everyone.
    """

    worst: int = 0
    best: int = 0
    random: int = 0
    group: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    worst_each_way: int = 0
    has_typical: bool = False

    @property
    def needs_predictions(self) -> bool:
        """Whether labels alone do not tell which faces are meant."""
        return bool(self.worst or self.best or self.worst_each_way or self.has_typical)


REPORT_CHOICE = Choice(worst_each_way=5, has_typical=True)


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
        With a column `reason` ("worst over-estimate", "chosen at random").
    """
    table = of_group(table, choice.group).reset_index(drop=True)
    known = [head for head in heads or heads_of_predictions(table) if {head.column, head.predicted} <= set(table)]
    for head in known:
        table = head.with_errors(table)
    reasons: dict[int, str] = {}
    ranked = ranking_heads(known)
    for which, count, order in (("worst", choice.worst, _worst_first), ("best", choice.best, _best_first)):
        for head in ranked:
            rows = order(head, table).drop(index=list(reasons), errors="ignore").head(count)
            reasons |= {place: f"{which}: {_error_words(head, row)}" for place, row in rows.iterrows()}
    for head in ranked:
        for place, reason in _worst_each_way(head, table, choice.worst_each_way).items():
            reasons.setdefault(place, reason)
    if choice.has_typical:
        _add_typical(reasons, table, known)
    rest = table.drop(index=list(reasons)).sort_values("path")
    some = rest.sample(min(choice.random, len(rest)), random_state=choice.seed)
    reasons |= dict.fromkeys(some.index, "chosen at random")
    return table.loc[list(reasons)].assign(reason=list(reasons.values()))


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


def ranking_heads(heads: Sequence[Head]) -> list[Head]:
    """Return the heads by whose errors faces are chosen.

    All but the first classification where a regression stands beside it: it tells of what typical faces are shown.
    """
    regressions = [head for head in heads if isinstance(head, Regression)]
    classifications = [head for head in heads if isinstance(head, Classification)]
    skipped = classifications[:1] if regressions else []
    return [head for head in heads if head not in skipped]


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


def _worst_each_way(head: Head, table: pd.DataFrame, count: int) -> dict[int, str]:
    if isinstance(head, Classification):
        rows = _worst_first(head, table).head(count)
        return {place: f"most certain mistake: {_error_words(head, row)}" for place, row in rows.iterrows()}
    errors = table[head.error_column].dropna().sort_values()
    of = _of(head)
    over = {place: f"worst over-estimate{of}" for place in errors.index[::-1][:count] if errors[place] > 0}
    return over | {place: f"worst under-estimate{of}" for place in errors.index[:count] if errors[place] < 0}


def _add_typical(reasons: dict[int, str], table: pd.DataFrame, heads: Sequence[Head]) -> None:
    """Add for each class the face whose error is nearest to the median of those that are recognised as that class."""
    regression = next((head for head in heads if isinstance(head, Regression)), None)
    classes = next((head for head in heads if isinstance(head, Classification)), None)
    measure = regression.error_column if regression else classes.confidence_column if classes else ""
    groups: dict[str, pd.DataFrame] = {}
    if classes:
        # Of two classes the second first: it is the one that the map speaks for.
        names = classes.classes[::-1] if classes.is_binary else classes.classes
        right = table[table[classes.right_column] == 1]
        groups = {f"typical face labelled {name}": right[as_names(right[classes.column]) == name] for name in names}
    elif regression:
        groups = {"typical face": table}
    for reason, rows in groups.items():
        values = rows[measure].dropna().drop(index=list(reasons), errors="ignore")
        if len(values):
            reasons[(values - values.median()).abs().idxmin()] = reason


def _error_words(head: Head, row: pd.Series) -> str:
    if isinstance(head, Regression):
        error = row[head.error_column]
        size = f"{abs(error):.1f} {head.unit}".rstrip()
        return f"{'over' if error > 0 else 'under'}-estimated by {size}{_of(head)}"
    sure = row[head.confidence_column]
    confidence = f", {100 * sure:.0f} % sure" if pd.notna(sure) else ""
    if row[head.right_column] == 1:
        return f"{head.title} {row[head.column]} recognised{confidence}"
    return f"{head.title} labelled {row[head.column]}, taken for {row[head.predicted]}{confidence}"


def _of(head: Regression) -> str:
    return "" if head.has_bands else f" in {head.title}"
