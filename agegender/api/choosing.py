"""Which faces of a table are worth explaining: the worst, the best, some at random, of one group or of everyone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from agegender.api.evaluating import evaluate_faces
from agegender.audit.predictions_table import with_errors
from agegender.data.faces_table import FacesTable
from agegender.errors import TableError, UsageError
from agegender.model.predictor import Model

LABEL_COLUMNS = ("age_years", "gender", "ethnicity", "expression", "mask", "split")


@dataclass(frozen=True)
class Wanted:
    """One photo to explain: its file, the name that the result gets, what is known of it, and why it was chosen."""

    photo: Path
    name: str
    labels: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    is_from_table: bool = False


@dataclass(frozen=True)
class Choice:
    """How many faces of a table to explain, and of which group (`{"ethnicity": "Black"}`; empty: everyone)."""

    worst: int = 0
    best: int = 0
    random: int = 0
    group: dict[str, str] = field(default_factory=dict)
    seed: int = 0


def choose_faces(model: Model, faces: FacesTable, choice: Choice, *, split: str = "test") -> list[Wanted]:
    """Return the faces with the largest and the smallest age errors, and some at random, none of them twice.

    Raises
    ------
    TableError
        The table has no such column, or nobody is in the group.
    """
    kept = faces.kept()
    if split != "all":
        kept = kept[kept["split"] == split]
    kept = _of_group(kept, choice.group)
    if kept.empty:
        raise TableError(f"no face of the split {split!r} is in the group {choice.group}. Use --split all.")
    if not (choice.worst or choice.best):
        chosen = _at_random(kept, choice).assign(reason="chosen at random")
    else:
        chosen = _by_error(evaluate_faces(model, replace(faces, table=kept)), choice)
    return wanted_rows(faces, chosen)


def wanted_rows(faces: FacesTable, rows: pd.DataFrame) -> list[Wanted]:
    """Return rows of a table, with a column `reason`, as photos to explain."""
    return [
        Wanted(faces.photo_path(row["path"]), row["path"], _labels(row), row["reason"], is_from_table=True)
        for _, row in rows.iterrows()
    ]


def _of_group(table: pd.DataFrame, group: dict[str, str]) -> pd.DataFrame:
    for column, value in group.items():
        if column not in table:
            raise TableError(f"the faces table has no column {column!r}; it has {', '.join(table.columns)}.")
        present = sorted(table[column].dropna().astype(str).unique())
        if value not in present:
            raise UsageError(f"nobody has {column}={value!r}; there are {', '.join(present[:20]) or 'none'}.")
        table = table[table[column].astype(str) == value]
    return table


def _by_error(predictions: pd.DataFrame, choice: Choice) -> pd.DataFrame:
    table = with_errors(predictions).dropna(subset=["absolute_age_error_years"])
    by_error = table.sort_values("absolute_age_error_years", kind="stable")
    worst = by_error.iloc[::-1].head(choice.worst)
    best = by_error.drop(worst.index).head(choice.best)
    rest = by_error.drop(worst.index).drop(best.index)
    some = _at_random(rest, choice)
    return pd.concat(
        [
            worst.assign(reason=worst["age_error_years"].map(_error_words("worst"))),
            best.assign(reason=best["age_error_years"].map(_error_words("best"))),
            some.assign(reason="chosen at random"),
        ]
    )


def _at_random(table: pd.DataFrame, choice: Choice) -> pd.DataFrame:
    return table.sort_values("path").sample(min(choice.random, len(table)), random_state=choice.seed)


def _error_words(which: str) -> Callable[[float], str]:
    def words(error_years: float) -> str:
        return f"{which}: {'over' if error_years > 0 else 'under'}-estimated by {abs(error_years):.1f} years"

    return words


def _labels(row: pd.Series) -> dict[str, Any]:
    return {name: row[name] for name in LABEL_COLUMNS if name in row and pd.notna(row[name])}
