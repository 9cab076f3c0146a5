"""The regression head: a number with a unit, its prediction columns, metrics, scores, intervals and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from agegender.errors import TableError
from agegender.heads.age_bands import FINE_EDGES
from agegender.heads.conformal import ConformalIntervals
from agegender.heads.interval_fitting import fit_intervals
from agegender.heads.label_intervals import fit_label_intervals, label_interval
from agegender.heads.row_metrics import RowMetric, beyond_and_within, coverage_scores, figure, known_pairs, numbers
from agegender.heads.target import Target
from agegender.loss_choices import REGRESSION_LOSSES, LossSettings

Floats = NDArray[np.float64]
UNKNOWN = float("nan")


@dataclass(frozen=True)
class Regression:
    """A number to predict, as data.

    Attributes
    ----------
    name : str
        Also the name of its loss, `loss/<name>`.
    column : str
        The column of the faces table with its labels, `age_years`.
    unit : str
        "years"; empty where the column names none.
    low, high : float
        Bounds of what a label can be, in the unit. No prediction and no interval goes below `low`.
    grid : (int, int) or None
        The whole units over which distributions spread; None where losses of distributions cannot be had.
    tolerances : tuple of float
        Within how much of the label a prediction counts as near, in the unit.
    has_bands : bool
        Whether labels fall into the age bands, by which rows are grouped and the ChaLearn scores are made.
    words : (str, str)
        What more and less of it is called: "older", "younger".
    loss : str
        One of `REGRESSION_LOSSES`.
    weight : float
        Its share in the combined loss.
    loss_settings : tuple of (str, float)
        The loss's settings that are not the usual ones.
    point : {"mean", "median"}
        Which point of a predicted distribution is the answer. The median has the smaller absolute error, the mean the
        smaller squared one; training goes by the mean.
    """

    name: str
    column: str
    unit: str = ""
    low: float = -np.inf
    high: float = np.inf
    grid: tuple[int, int] | None = None
    tolerances: tuple[float, ...] = ()
    has_bands: bool = False
    words: tuple[str, str] = ("higher", "lower")
    loss: str = "smooth-l1"
    weight: float = 4.0
    loss_settings: LossSettings = ()
    point: str = "mean"
    kind: ClassVar[str] = "regression"

    @property
    def output_count(self) -> int:
        """How many numbers the network gives: one, or with losses of distributions one per unit of the grid."""
        loss = REGRESSION_LOSSES.get(self.loss)
        return self.grid[1] - self.grid[0] + 1 if loss is not None and loss.has_grid and self.grid else 1

    @property
    def answer_shape(self) -> tuple[int, ...]:
        """What `columns` takes of a photo: the number, or the mean and the spread of its distribution."""
        return (2,) if self.output_count > 1 else ()

    @property
    def title(self) -> str:
        """What people call it: the name without underscores."""
        return self.name.replace("_", " ")

    @property
    def predicted(self) -> str:
        """Column of the prediction, `predicted_age_years`."""
        return f"predicted_{self.column}"

    @property
    def interval_columns(self) -> tuple[str, str]:
        """Columns of the 90 % interval, `age_low_years` and `age_high_years`."""
        return self._with_unit(f"{self.name}_low"), self._with_unit(f"{self.name}_high")

    @property
    def label_interval_columns(self) -> tuple[str, str]:
        """Columns of labelled tables, `age_label_low_years` and `age_label_high_years`: they know the row's labels."""
        return self._with_unit(f"{self.name}_label_low"), self._with_unit(f"{self.name}_label_high")

    @property
    def spread_column(self) -> str:
        """Column of the standard deviation of the predicted distribution, `age_spread_years`; NaN without one."""
        return self._with_unit(f"{self.name}_spread")

    @property
    def error_column(self) -> str:
        """Derived column: predicted minus labelled, above 0 is an over-estimate."""
        return self._with_unit(f"{self.name}_error")

    @property
    def absolute_error_column(self) -> str:
        """Derived column: the size of the error."""
        return f"absolute_{self.error_column}"

    @property
    def prediction_columns(self) -> tuple[str, ...]:
        """What the head fills in the predictions table, the prediction first."""
        return (self.predicted, *self.interval_columns, self.spread_column)

    @property
    def number_columns(self) -> tuple[str, ...]:
        """Columns that hold numbers, the label first."""
        return (self.column, *self.prediction_columns)

    @property
    def derived_columns(self) -> tuple[str, ...]:
        """What `with_errors` adds."""
        return (self.error_column, self.absolute_error_column)

    @property
    def targets(self) -> tuple[Target, ...]:
        """What explanations explain: one number in the unit."""
        more, less = self.words
        is_spoken = more != "higher"
        low, high = (
            (f"makes {less}", f"makes {more}") if is_spoken else (f"lowers {self.title}", f"raises {self.title}")
        )
        return (Target(self.name, self.title, self.unit, low, high),)

    @property
    def metrics(self) -> tuple[RowMetric, ...]:
        """Metrics per row; the first is the head's main one."""
        both, ends, unit = (self.column, self.predicted), self.interval_columns, self.unit
        covered, wide = (f"{what} of the 90 % {self.title} interval" for what in ("coverage", "width"))
        return (
            self._metric("mean_absolute_error", "mae", "mean absolute error", unit, "lower", both, self._absolute),
            self._metric("mean_signed_error", "signed_error", "mean signed error", unit, "zero", both, self.errors),
            *(self._near_metric(size) for size in self.tolerances),
            self._metric("interval_coverage", "interval_coverage", covered, "share", "zero",
                         (self.column, *ends), self._is_covered),
            self._metric("interval_width", "interval_width", wide, unit, "lower", ends, self._interval_width),
        )  # fmt: skip

    def errors(self, table: pd.DataFrame) -> Floats:
        """Return predicted minus labelled for each row, in the unit."""
        return numbers(table, self.predicted) - numbers(table, self.column)

    def with_errors(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the table with the derived columns."""
        errors = self.errors(table)
        return table.assign(**{self.error_column: errors, self.absolute_error_column: np.abs(errors)})

    def labels(self, column: pd.Series) -> Floats:
        """Return training targets, float64 (rows,), NaN where unknown.

        Raises
        ------
        TableError
            A label is no number or lies outside the head's bounds.
        """
        values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        wrong = (column.notna().to_numpy() & ~np.isfinite(values)) | (values < self.low) | (values > self.high)
        if wrong.any():
            raise TableError(
                f"{int(wrong.sum())} labels of the head {self.name!r} are no numbers between {self.low:g} and "
                f"{self.high:g}; first {column[wrong].iloc[0]!r} in the column {self.column}. "
                f"Leave an unknown label empty."
            )
        return values

    def columns(
        self,
        answers: ArrayLike,
        calibration: Mapping[str, Any] | None = None,  # noqa: ARG002 (every kind of head is called alike)
    ) -> dict[str, Floats]:
        """Return the prediction columns of answers, shape `(rows, *answer_shape)`, in the unit.

        Intervals are unknown here: they rest on the other heads' predictions too, see `intervals`.
        """
        given = np.asarray(answers, dtype=np.float64)
        values, spread = given.T if given.ndim == 2 else (given, np.full(len(given), UNKNOWN))
        unknown = np.full(len(values), UNKNOWN)
        columns = (np.maximum(values, self.low), unknown, unknown.copy(), spread)
        return dict(zip(self.prediction_columns, columns, strict=True))

    def intervals(self, rows: pd.DataFrame, calibration: Mapping[str, Any] | None) -> dict[str, Floats]:
        """Return the columns of the interval for rows with predictions, all heads' included.

        Parameters
        ----------
        calibration : mapping or None
            The head's entry of the card's calibration, as `calibrate` makes it.
        """
        ends = np.full(len(rows), UNKNOWN), np.full(len(rows), UNKNOWN)
        if calibration:
            fitted = ConformalIntervals.from_dict(calibration)
            spread = numbers(rows, self.spread_column) if self.spread_column in rows else None
            groups = {name: rows[name].to_numpy(dtype=object) for name in fitted.groups if name in rows}
            ends = fitted.interval(numbers(rows, self.predicted), spread=spread, groups=groups, lowest=self.low)
        return dict(zip(self.interval_columns, ends, strict=True))

    def check_column(self, limit: float) -> str:
        """Column of the check against a limit, `age_check_25`."""
        return f"{self.name}_check_{limit:g}"

    def checked(self, rows: pd.DataFrame, limit: float) -> NDArray[np.object_]:
        """Return for each row "under", "not under" or "unsure", with 95 %; None where it has no interval.

        Each end of the 90 % interval is a bound of its own: 5 % of the labels lie beyond it.
        """
        low, high = (numbers(rows, name) for name in self.interval_columns)
        said = np.array([None, "under", "not under", "unsure"], dtype=object)
        known = np.isfinite(low) & np.isfinite(high)
        return said[np.where(~known, 0, np.where(high < limit, 1, np.where(low >= limit, 2, 3)))]

    def check_sentence(self, said: Any, limit: float) -> str:
        """Return what a check has found, as `predict` prints it."""
        name = "" if self.has_bands else f"{self.title} "
        amount = f"{limit:g} {self.unit}".rstrip()
        if said not in ("under", "not under"):
            return f"whether {name}under {amount} can't be told with 95 %"
        return f"{name}{said} {amount} with 95 %"

    def label_intervals(self, rows: pd.DataFrame, calibration: Mapping[str, Any] | None) -> dict[str, Floats]:
        """Return the columns of the interval that knows a row's labels; {} where none were fitted or none is known."""
        fitted = (calibration or {}).get("labelled")
        if not fitted or self.column not in rows or not np.isfinite(numbers(rows, self.column)).any():
            return {}
        ends = label_interval(rows, fitted, self.column, self.predicted, lowest=self.low)
        return dict(zip(self.label_interval_columns, ends, strict=True))

    def calibrate(
        self,
        rows: pd.DataFrame,
        *,
        known: Sequence[str] = (),
        labelled: Sequence[str] = (),
        clusters: ArrayLike | None = None,
    ) -> dict[str, Any]:
        """Return what rows that neither trained nor chose the model teach, for the card; {} where they are too few.

        Parameters
        ----------
        known : sequence of str
            Columns of classes that a new photo has as well: the other heads' predictions.
        labelled : sequence of str
            Columns of classes that labelled tables alone have.
        clusters : array of int, shape (rows,), optional
            Equal for rows that hang together.
        """
        true, predicted = numbers(rows, self.column), numbers(rows, self.predicted)
        spread = numbers(rows, self.spread_column) if self.spread_column in rows else None
        groups = {name: rows[name].to_numpy(dtype=object) for name in known if name in rows}
        fitted = fit_intervals(true, predicted, spread=spread, groups=groups, clusters=clusters)
        if not fitted.calibration_count:
            return {}
        groups = {name: rows[name].to_numpy(dtype=object) for name in labelled if name in rows}
        edges = FINE_EDGES if self.has_bands else None
        with_labels = fit_label_intervals(true, predicted, edges=edges, groups=groups, clusters=clusters)
        return {**fitted.to_dict(), "labelled": with_labels}

    def scores(self, rows: pd.DataFrame) -> dict[str, Any]:
        """Return the overall scores of a predictions table's rows, JSON-able; see `regression_scores`."""
        scores = regression_scores(rows[self.column], rows[self.predicted], tolerances=self.tolerances)
        scores["interval"] = coverage_scores(rows, self.column, self.interval_columns)
        if set(self.label_interval_columns) <= set(rows):
            scores["label_interval"] = coverage_scores(rows, self.column, self.label_interval_columns)
        return scores

    def label_words(self, value: Any) -> str:
        """Return a label or a prediction as a photo's caption has it; "" where it is missing."""
        if value is None or not np.isfinite(float(value)):
            return ""
        text = f"{float(value):.0f}".replace("-", "−")
        return text if self.has_bands else f"{text} {self.unit}".rstrip() if self.unit else f"{float(value):.3g}"

    def sentence(self, row: Mapping[str, Any]) -> str:
        """Return a prediction as `predict` prints it."""
        if pd.isna(row[self.predicted]):
            return f"{self.title} unknown"
        low, high = (row.get(name, UNKNOWN) for name in self.interval_columns)
        name = "" if self.has_bands else f"{self.title} "
        said = f"{name}{row[self.predicted]:.0f} {self.unit}".rstrip()
        if pd.notna(low):
            said += f" (90 % interval {low:.0f} to {high:.0f})"
        return said

    def summary(self, scores: Mapping[str, Any]) -> str:
        """Return the main scores in a few words, as `evaluate` prints them."""
        said = f"{self.title} MAE {figure(scores, 'mae', '.2f')} {self.unit}".rstrip()
        for size in self.tolerances[-1:]:
            said += f", within {size:g} {self.unit} {figure(scores, f'within_{size:g}', '.1%')}"
        return said

    def _with_unit(self, name: str) -> str:
        return f"{name}_{self.unit}" if self.unit else name

    def _metric(self, *parts: Any) -> RowMetric:
        return RowMetric(self.name, *parts)

    def _near_metric(self, size: float) -> RowMetric:
        def is_near(table: pd.DataFrame) -> Floats:
            errors = np.abs(self.errors(table))
            return np.where(np.isnan(errors), np.nan, errors <= size)

        key, title = f"within_{size:g}", f"within ±{size:g} {self.unit}".rstrip()
        return self._metric(key, key, title, "share", "higher", (self.column, self.predicted), is_near)

    def _absolute(self, table: pd.DataFrame) -> Floats:
        return np.abs(self.errors(table))

    def _interval_width(self, table: pd.DataFrame) -> Floats:
        low, high = (numbers(table, name) for name in self.interval_columns)
        return high - low

    def _is_covered(self, table: pd.DataFrame) -> Floats:
        return beyond_and_within(table, self.column, self.interval_columns)[0]


AGE = Regression(
    "age", "age_years", "years", low=0.0, high=122.0,  # the longest documented life, Jeanne Calment's, was 122 years
    grid=(0, 120), tolerances=(5.0, 8.0), has_bands=True, words=("older", "younger"), loss="soft-labels", weight=1.0,
)  # fmt: skip


def regression_scores(
    true_values: ArrayLike, predicted_values: ArrayLike, *, tolerances: tuple[float, ...] = AGE.tolerances
) -> dict[str, Any]:
    """Return the usual scores of predicted numbers.

    Parameters
    ----------
    true_values, predicted_values : array, shape (rows,), in the unit of the head
        NaN where unknown.
    tolerances : tuple of float
        Errors of up to so much count as near: `within_5` for 5.

    Returns
    -------
    dict
        `n` and `skipped` (rows), `mae`, `signed_error` (predicted minus labelled), `rmse`, `median_absolute_error`
        (unit), `r2`, `mape` (share, over labels above 0), `within_<tolerance>` (shares, bounds included), and
        `cumulative_scores`. A score that these rows cannot tell is NaN: all without rows, `r2` when every label is the
        same.

    Examples
    --------
    >>> scores = regression_scores([20, 30, 40], [22, 30, 31])
    >>> round(scores["mae"], 3), round(scores["signed_error"], 3), scores["within_8"] == 2 / 3
    (3.667, -2.333, True)
    """
    true, predicted = known_pairs(true_values, predicted_values)
    error = predicted - true
    absolute = np.abs(error)
    older = true > 0
    spread = float(np.sum((true - _mean(true)) ** 2)) if true.size else 0.0
    return {
        "n": int(true.size),
        "skipped": int(np.size(true_values) - true.size),
        "mae": _mean(absolute),
        "signed_error": _mean(error),
        "rmse": float(np.sqrt(_mean(error**2))),
        "r2": 1.0 - float(np.sum(error**2)) / spread if spread > 0 else UNKNOWN,
        "mape": _mean(absolute[older] / true[older]),
        "median_absolute_error": float(np.median(absolute)) if true.size else UNKNOWN,
        **{f"within_{size:g}": _mean(absolute <= size) for size in tolerances},
        "cumulative_scores": cumulative_scores(true, predicted).tolist(),
    }


def cumulative_scores(true_values: ArrayLike, predicted_values: ArrayLike, *, largest: int = 15) -> Floats:
    """Return the share of rows with an absolute error of at most 0, 1, … `largest` years (CS@0..15).

    Returns
    -------
    array, shape (largest + 1,), float64
        Shares 0..1, never falling; NaN without rows.

    Examples
    --------
    >>> cumulative_scores([20, 30], [21.0, 33.0], largest=3).tolist()
    [0.0, 0.5, 0.5, 1.0]
    """
    true, predicted = known_pairs(true_values, predicted_values)
    absolute = np.sort(np.abs(predicted - true))
    if not absolute.size:
        return np.full(largest + 1, UNKNOWN)
    return np.searchsorted(absolute, np.arange(largest + 1), side="right") / absolute.size


def _mean(values: NDArray) -> float:
    return float(np.mean(values)) if values.size else UNKNOWN
