"""Owns what a report is about: the judged rows, the other splits beside them, and where their photos are.

Any predictions table becomes an `Audit`; every page is a view of one. What the table doesn't know (ages, intervals,
photos, splits) is recorded as unknown, so that pages leave it out and say so.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agegender.audit.bias import age_group
from agegender.audit.predictions_table import with_errors
from agegender.data.faces_table import GENDERS, OLDEST_AGE_YEARS, SPLITS, FacesTable
from agegender.errors import TableError

TEXTS = ("path", "source", "gender", "ethnicity", "expression", "mask", "split", "predicted_gender")
NUMBERS = ("age_years", "predicted_age_years", "age_low_years", "age_high_years", "female_probability")
RANGES = {"age_years": (0.0, OLDEST_AGE_YEARS), "female_probability": (0.0, 1.0)}
_GENDER_WORDS = {"male": "male", "m": "male", "man": "male", "female": "female", "f": "female", "woman": "female"}


@dataclass(frozen=True)
class Audit:
    """A model's predictions, ready to be reported on.

    Attributes
    ----------
    rows : DataFrame
        All rows with errors, absent columns filled with missing values.
    faces : FacesTable or None
        Where photos are found; None when only predictions are known.
    notices : tuple of str
        What is unusual about the table, as sentences for the top of each page.
    """

    rows: pd.DataFrame
    title: str
    faces: FacesTable | None = None
    card: Mapping[str, Any] | None = None
    hide_faces: bool = False
    notices: tuple[str, ...] = ()
    is_drawn: bool = field(default=False)

    @cached_property
    def splits(self) -> dict[str, pd.DataFrame]:
        """Rows of each split that has any, in the order train, valid, test."""
        parts = {name: self.rows[self.rows["split"] == name] for name in SPLITS}
        return {name: part for name, part in parts.items() if len(part)}

    @cached_property
    def judged_split(self) -> str:
        """The split that is judged: test, else valid; "all rows" where there are no splits."""
        return next((name for name in ("test", "valid") if name in self.splits), "all rows")

    @cached_property
    def judged(self) -> pd.DataFrame:
        """The rows that every figure without another name is about."""
        return self.splits.get(self.judged_split, self.rows).reset_index(drop=True)

    @cached_property
    def training(self) -> pd.DataFrame | None:
        """Rows that the model was trained on, where the table holds them."""
        return self.splits.get("train")

    def has(self, *columns: str) -> bool:
        """Return whether some judged row knows all of `columns`."""
        return bool(self.judged[list(columns)].notna().all(axis=1).any())

    @property
    def has_age(self) -> bool:
        """Whether ages can be judged."""
        return self.has("age_years", "predicted_age_years")

    @property
    def has_gender(self) -> bool:
        """Whether gender predictions can be judged."""
        return self.has("gender", "predicted_gender")

    @property
    def has_intervals(self) -> bool:
        """Whether age intervals can be judged."""
        return self.has("age_years", "age_low_years", "age_high_years")

    def photo_path(self, path: Any) -> Path | None:
        """Return where a row's photo should lie, or None when nobody said or the path leaves the folder of photos."""
        if self.faces is None or not isinstance(path, str) or "\0" in path:
            return None
        place = Path(os.path.normpath(self.faces.photo_path(path)))
        # A table from elsewhere must not make us put any picture of this machine into a page.
        return place if place.is_relative_to(os.path.normpath(self.faces.root)) else None


def make_audit(
    predictions: pd.DataFrame,
    *,
    title: str,
    faces: FacesTable | None = None,
    card: Mapping[str, Any] | None = None,
    hide_faces: bool = False,
) -> Audit:
    """Return an audit of a predictions table, its columns filled in, its oddities counted and said.

    Raises
    ------
    TableError
        It has no rows, or neither predicted ages nor predicted genders beside their labels.
    """
    rows, notices = _filled(predictions)
    _check_judgeable(rows, predictions)
    is_drawn = (faces is not None and faces.is_drawn()) or bool((rows["source"] == "drawn_faces").all())
    rows["age_group"] = age_group(rows["age_years"])
    return Audit(with_errors(rows), title, faces, card, hide_faces, tuple(notices), is_drawn)


def _filled(predictions: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    rows, notices = predictions.reset_index(drop=True).copy(), []
    for name in TEXTS:
        values = rows[name].astype(object) if name in rows else pd.Series(None, index=rows.index, dtype=object)
        rows[name] = values.where(values.notna(), None).map(lambda value: None if value is None else str(value))
    for name in NUMBERS:
        given = rows[name] if name in rows else pd.Series(np.nan, index=rows.index)
        numbers = pd.to_numeric(given, errors="coerce").astype("float64").replace([np.inf, -np.inf], np.nan)
        numbers = numbers.where(numbers.between(*RANGES.get(name, (-np.inf, np.inf))))
        lost = int((given.notna() & numbers.isna()).sum())
        if lost:
            notices.append(f"{lost:,} values of {name} are no numbers or out of range, and count as unknown.")
        rows[name] = numbers
    for name in ("gender", "predicted_gender"):
        known = rows[name].map(
            lambda value: _GENDER_WORDS.get(value.strip().lower()) if isinstance(value, str) else None
        )
        lost = int((rows[name].notna() & known.isna()).sum())
        if lost:
            notices.append(f"{lost:,} values of {name} are neither {' nor '.join(GENDERS)} and count as unknown.")
        rows[name] = known.astype(object)
    _fill_predicted_gender(rows)
    _note_missing(rows, notices)
    return rows, notices


def _fill_predicted_gender(rows: pd.DataFrame) -> None:
    known = rows["female_probability"].notna() & rows["predicted_gender"].isna()
    guessed = pd.Series(np.where(rows["female_probability"] >= 0.5, "female", "male"), index=rows.index, dtype=object)
    rows["predicted_gender"] = rows["predicted_gender"].where(~known, guessed)


def _note_missing(rows: pd.DataFrame, notices: list[str]) -> None:
    for label, prediction in (("age_years", "predicted_age_years"), ("gender", "predicted_gender")):
        unpredicted = int((rows[label].notna() & rows[prediction].isna()).sum())
        if unpredicted and rows[prediction].notna().any():
            notices.append(f"{unpredicted:,} rows have no {prediction}: they don't count, which may flatter.")
        unlabelled = int(rows[label].isna().sum())
        if unlabelled and rows[label].notna().any():
            notices.append(f"{unlabelled:,} of {len(rows):,} rows have no {label}; they can't be judged.")


def _check_judgeable(rows: pd.DataFrame, given: pd.DataFrame) -> None:
    if not len(rows):
        raise TableError("the predictions table has no rows, so there is nothing to report on.")
    ages = rows[["age_years", "predicted_age_years"]].notna().all(axis=1).any()
    genders = rows[["gender", "predicted_gender"]].notna().all(axis=1).any()
    if not ages and not genders:
        raise TableError(
            "the predictions table has neither age_years and predicted_age_years nor gender and predicted_gender; "
            f"its columns are {', '.join(map(str, given.columns[:20]))}. Map them: --columns predicted_age_years=NAME."
        )
