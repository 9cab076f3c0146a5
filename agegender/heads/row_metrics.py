"""Metrics that are means of one value per row: because each is a mean, one interval and one test serve them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from agegender.errors import TableError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RowMetric:
    """A metric that is the mean of one value per row; a row that lacks a label or a prediction is NaN.

    Attributes
    ----------
    head, key : str
        "age", "mean_absolute_error"; together they are the name.
    short : str
        "mae": enough where one head alone has it.
    title : str
        For people, "mean absolute error"; with the head's name where a table is about several heads.
    unit : str
        The head's unit, such as "years", or "share".
    better : str
        "lower", "higher" or "zero".
    needs : tuple of str
        Columns of the predictions table.
    of_rows : callable
        Predictions table -> float64 array (rows,).
    """

    head: str
    key: str
    short: str
    title: str
    unit: str
    better: str
    needs: tuple[str, ...]
    of_rows: Callable[[pd.DataFrame], Floats]

    @property
    def name(self) -> str:
        """Return the full name, `age.mean_absolute_error`."""
        return f"{self.head}.{self.key}"

    @property
    def is_rate(self) -> bool:
        """Return whether every value is 0 or 1."""
        return self.unit == "share"

    def values(self, predictions: pd.DataFrame) -> Floats:
        """Return the value of each row, shape (rows,), NaN where it has none."""
        missing = [name for name in self.needs if name not in predictions]
        if missing:
            raise TableError(
                f"the metric {self.name!r} needs the column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
                f"the predictions table has {', '.join(map(str, predictions.columns)) or 'none'}."
            )
        values = np.asarray(self.of_rows(predictions), dtype=np.float64)
        return np.where(np.isfinite(values), values, np.nan)

    def is_known(self, predictions: pd.DataFrame) -> bool:
        """Return whether the table has the columns and at least one row that counts."""
        has_columns = all(name in predictions for name in self.needs)
        return has_columns and bool(np.isfinite(self.values(predictions)).any())


def numbers(table: pd.DataFrame, column: str) -> Floats:
    """Return a column as floats, NaN where it holds none."""
    return pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)


def known_pairs(true_values: ArrayLike, predicted_values: ArrayLike) -> tuple[Floats, Floats]:
    """Return the labels and the predictions of the rows that have both."""
    true, predicted = (np.asarray(values, dtype=np.float64).reshape(-1) for values in (true_values, predicted_values))
    if true.shape != predicted.shape:
        raise TableError(f"{true.size} labels but {predicted.size} predictions: give one of each per row.")
    known = np.isfinite(true) & np.isfinite(predicted)
    return true[known], predicted[known]


def beyond_and_within(rows: pd.DataFrame, label: str, ends: tuple[str, str]) -> tuple[Floats, Floats, Floats, Floats]:
    """Return whether each label lies within the ends, how far these are apart, whether it lies below, and above.

    1.0 or 0.0; NaN where the label or an end is missing.
    """
    if not {label, *ends} <= set(rows):
        unknown = np.full(len(rows), np.nan)
        return unknown, unknown, unknown, unknown
    true, low, high = (numbers(rows, name) for name in (label, *ends))
    known = np.isfinite(low) & np.isfinite(high) & np.isfinite(true)
    parts = ((low <= true) & (true <= high), high - low, true < low, true > high)
    within, width, below, above = (np.where(known, part, np.nan) for part in parts)
    return within, width, below, above


def coverage_scores(rows: pd.DataFrame, label: str, ends: tuple[str, str]) -> dict[str, Any]:
    """Return how often labels lie within the ends, below and above them, and the mean width; NaN where none can."""
    parts = beyond_and_within(rows, label, ends)
    known = np.isfinite(parts[0])
    means = [float(part[known].mean()) if known.any() else float("nan") for part in parts]
    return {"n": int(known.sum()), **dict(zip(("coverage", "mean_width", "below", "above"), means, strict=True))}


def figure(scores: Mapping[str, Any], name: str, form: str) -> str:
    """Return a score in a format, "unknown" where it is missing.

    >>> figure({"mae": 5.178}, "mae", ".2f"), figure({}, "mae", ".2f")
    ('5.18', 'unknown')
    """
    value = scores.get(name)
    return "unknown" if value is None or isnan(value) else format(value, form)
