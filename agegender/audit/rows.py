"""Owns the metrics that are means of one value per row: their names, titles, units, and that value.

Because each is a mean, one bootstrap and one permutation test serve them all. A row that has no value (a label or a
prediction is missing) is NaN and does not count. Scores that are no means (ROC-AUC, R²) live in `age` and `gender`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.errors import TableError, UsageError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RowMetric:
    """A metric that is the mean of one value per row.

    Attributes
    ----------
    name, title : str
        "mae", "mean absolute error".
    unit : str
        "years" or "share".
    better : str
        "lower", "higher" or "zero".
    needs : tuple of str
        Columns of the predictions table.
    values : callable
        Predictions table -> float64 array (rows,), NaN where a row does not count.
    """

    name: str
    title: str
    unit: str
    better: str
    needs: tuple[str, ...]
    values: Callable[[pd.DataFrame], Floats]

    @property
    def is_rate(self) -> bool:
        """Return whether every value is 0 or 1."""
        return self.unit == "share"


def row_values(predictions: pd.DataFrame, metric: str) -> Floats:
    """Return the value of `metric` for each row, NaN where it has none.

    Raises
    ------
    UsageError
        There is no such metric.
    TableError
        A column that it needs is absent.
    """
    if metric not in METRICS:
        raise UsageError(f"there is no group metric {metric!r}; there are {', '.join(METRICS)}.")
    missing = [name for name in METRICS[metric].needs if name not in predictions]
    if missing:
        raise TableError(
            f"the metric {metric!r} needs the column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            f"the predictions table has {', '.join(map(str, predictions.columns)) or 'none'}."
        )
    values = np.asarray(METRICS[metric].values(predictions), dtype=np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def is_known(predictions: pd.DataFrame, metric: str) -> bool:
    """Return whether the table has the columns of `metric` and at least one row that counts for it."""
    has_columns = all(name in predictions for name in METRICS[metric].needs)
    return has_columns and bool(np.isfinite(row_values(predictions, metric)).any())


def with_same_rows(values: dict[str, Floats]) -> list[list[str]]:
    """Return the metrics in lists that count the same rows, so that one shuffle serves each list."""
    alike: dict[bytes, list[str]] = {}
    for name, numbers in values.items():
        alike.setdefault(np.isfinite(numbers).tobytes(), []).append(name)
    return list(alike.values())


def _numbers(predictions: pd.DataFrame, column: str) -> Floats:
    return pd.to_numeric(predictions[column], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)


def _errors(predictions: pd.DataFrame) -> Floats:
    return _numbers(predictions, "predicted_age_years") - _numbers(predictions, "age_years")


def _within(years: float) -> Callable[[pd.DataFrame], Floats]:
    def values(predictions: pd.DataFrame) -> Floats:
        errors = np.abs(_errors(predictions))
        return np.where(np.isnan(errors), np.nan, errors <= years)

    return values


def _is_right(predictions: pd.DataFrame) -> Floats:
    known = (predictions["gender"].notna() & predictions["predicted_gender"].notna()).to_numpy(dtype=bool)
    same = (predictions["gender"].astype(object) == predictions["predicted_gender"].astype(object)).to_numpy(dtype=bool)
    return np.where(known, same.astype(np.float64), np.nan)


def _recall(gender: str) -> Callable[[pd.DataFrame], Floats]:
    def values(predictions: pd.DataFrame) -> Floats:
        labelled = (predictions["gender"].astype(object) == gender).to_numpy(dtype=bool)
        return np.where(labelled, _is_right(predictions), np.nan)

    return values


def _is_covered(predictions: pd.DataFrame) -> Floats:
    low, high = _numbers(predictions, "age_low_years"), _numbers(predictions, "age_high_years")
    age = _numbers(predictions, "age_years")
    known = np.isfinite(low) & np.isfinite(high) & np.isfinite(age)
    return np.where(known, (low <= age) & (age <= high), np.nan)


def _interval_width(predictions: pd.DataFrame) -> Floats:
    return _numbers(predictions, "age_high_years") - _numbers(predictions, "age_low_years")


_AGES = ("age_years", "predicted_age_years")
_GENDERS = ("gender", "predicted_gender")
_INTERVALS = ("age_years", "age_low_years", "age_high_years")
METRICS: dict[str, RowMetric] = {
    metric.name: metric
    for metric in (
        RowMetric("mae", "mean absolute error", "years", "lower", _AGES, lambda table: np.abs(_errors(table))),
        RowMetric("signed_error", "mean signed error", "years", "zero", _AGES, _errors),
        RowMetric("within_5", "within ±5 years", "share", "higher", _AGES, _within(5.0)),
        RowMetric("within_8", "within ±8 years", "share", "higher", _AGES, _within(8.0)),
        RowMetric("gender_accuracy", "gender accuracy", "share", "higher", _GENDERS, _is_right),
        RowMetric("recall_male", "recall of male labels", "share", "higher", _GENDERS, _recall("male")),
        RowMetric("recall_female", "recall of female labels", "share", "higher", _GENDERS, _recall("female")),
        RowMetric("interval_coverage", "coverage of the 90 % age interval", "share", "zero", _INTERVALS, _is_covered),
        RowMetric(
            "interval_width", "width of the 90 % age interval", "years", "lower", _INTERVALS[1:], _interval_width
        ),
    )
}
