"""Intervals of a regression: for a prediction, the range in which nine of ten labels lie.

Split-conformal on the validation rows, each tail on its own, wider where the model is worse. What is fitted is a small
table that fits into the model card. The coverage holds on average over rows like the validation rows, not for every
group: coverage by group is measured in the report.

References
----------
Papadopoulos et al., ECML 2002 (normalised split-conformal); Barber, Candès, Ramdas, Tibshirani: Predictive inference
with the jackknife+, Annals of Statistics 2021 (why the scores come from folds that did not see their row).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agegender.errors import CardError
from agegender.heads.row_metrics import known_pairs

Floats = NDArray[np.float64]
_KNOT_COUNT = 25
_FOLD_COUNT = 20
_SMALLEST_SPREAD = 0.25  # of the spread over all rows: a handful of lucky rows is no certainty
_SMALLEST_SHARE = 0.0025  # of the spread of the predictions, where all residuals are nearly nothing


@dataclass(frozen=True)
class ConformalIntervals:
    """How far below and above a prediction the interval reaches, at knots with straight lines between them.

    Attributes
    ----------
    level : float
        Share of labels inside, 0.9.
    calibration_count : int
        Validation rows behind it; 0 when there were too few: every interval is then unknown (NaN).
    knots : tuple of float
        Predictions, rising.
    low_offsets, high_offsets : tuple of float
        Added to the prediction; below the first and above the last knot they stay the same.
    """

    level: float
    calibration_count: int
    knots: tuple[float, ...]
    low_offsets: tuple[float, ...]
    high_offsets: tuple[float, ...]

    def interval(self, predicted_values: ArrayLike, *, lowest: float = 0.0) -> tuple[Floats, Floats]:
        """Return the lower and upper ends in the unit, not below `lowest`, NaN where the prediction is.

        Parameters
        ----------
        predicted_values : array, shape (rows,)
        """
        predicted = np.asarray(predicted_values, dtype=np.float64)
        if not self.knots:
            return np.full(predicted.shape, np.nan), np.full(predicted.shape, np.nan)
        low = predicted + np.interp(predicted, self.knots, self.low_offsets)
        high = predicted + np.interp(predicted, self.knots, self.high_offsets)
        return np.maximum(low, lowest), np.maximum(high, lowest)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary for the model card."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ConformalIntervals:
        """Return what `to_dict` wrote."""
        try:
            # Version 0.1 wrote the unit into these names.
            names = (
                ("knots", "knots_years"),
                ("low_offsets", "low_offset_years"),
                ("high_offsets", "high_offset_years"),
            )
            offsets = [tuple(map(float, document[new if new in document else old])) for new, old in names]
            intervals = cls(float(document["level"]), int(document["calibration_count"]), *offsets)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise CardError(
                f"the intervals in the model card cannot be read: {error}. Train the model again."
            ) from error
        if len({len(part) for part in offsets}) != 1:
            raise CardError("the intervals in the model card differ in length. Train the model again.")
        is_finite = bool(np.isfinite([intervals.level, *chain(*offsets)]).all())
        if not is_finite or list(intervals.knots) != sorted(intervals.knots):
            raise CardError("the intervals in the model card are no rising row of numbers. Train the model again.")
        return intervals


def fit_intervals(true_values: ArrayLike, predicted_values: ArrayLike, *, level: float = 0.9) -> ConformalIntervals:
    """Fit the intervals on validation rows, which the model has not been trained on.

    Parameters
    ----------
    true_values, predicted_values : array, shape (rows,), in one unit
        NaN is skipped.
    level : float
        Share of labels that the intervals should hold.

    Returns
    -------
    ConformalIntervals
        With fewer rows than the level needs (19 for 90 %: of 18 none lies beyond the 5 % at each end) one whose
        intervals are all NaN.
    """
    true, predicted = known_pairs(true_values, predicted_values)
    tail = (1.0 - level) / 2.0
    if tail * (true.size + 1) < 1.0 - 1e-9:
        return ConformalIntervals(level, 0, (), (), ())
    residual = true - predicted
    knots = np.unique(np.quantile(predicted, np.linspace(0.005, 0.995, _KNOT_COUNT)))
    middle, scale = _trend(predicted, residual, predicted)
    shape = (residual - middle) / scale
    below, above = _standardised_residuals(predicted, shape, knots)
    centre, low_spread, high_spread = _local_spread(predicted, shape, knots)
    middle, scale = _trend(predicted, residual, knots)
    low = middle + scale * (centre - _conformal_quantile(below, tail) * low_spread)
    high = middle + scale * (centre + _conformal_quantile(above, tail) * high_spread)
    low, high = np.minimum(low, high), np.maximum(low, high)
    return ConformalIntervals(level, int(true.size), *(tuple(map(float, part)) for part in (knots, low, high)))


def _trend(predicted: Floats, residual: Floats, at: Floats) -> tuple[Floats, Floats]:
    """Return straight lines through the residuals and through their size at some predictions.

    Neighbours of the oldest faces are all younger; with the trend taken out first they may stand for them.
    """
    middle = _line(predicted, residual, predicted)
    size = np.abs(residual - middle)
    floor = max(1e-6, _SMALLEST_SHARE * float(predicted.std()), _SMALLEST_SPREAD * float(size.mean()))
    return _line(predicted, residual, at), np.maximum(_line(predicted, size, at), floor)


def _line(predicted: Floats, values: Floats, at: Floats) -> Floats:
    centred = predicted - predicted.mean()
    spread = float(centred @ centred)
    slope = float(centred @ values) / spread if spread > 1e-9 else 0.0
    return values.mean() + slope * (at - predicted.mean())


def _standardised_residuals(predicted: Floats, residual: Floats, knots: Floats) -> tuple[Floats, Floats]:
    # Each row is measured with a spread that was estimated without it, or the intervals would flatter themselves.
    count = predicted.size
    fold = np.random.default_rng(0).permutation(count) % _FOLD_COUNT
    below, above = np.zeros(count), np.zeros(count)
    for number in np.unique(fold):
        held = fold == number
        parts = _local_spread(predicted[~held], residual[~held], knots)
        centre, low_spread, high_spread = (np.interp(predicted[held], knots, part) for part in parts)
        below[held] = (centre - residual[held]) / low_spread
        above[held] = (residual[held] - centre) / high_spread
    return below, above


def _local_spread(predicted: Floats, residual: Floats, knots: Floats) -> tuple[Floats, Floats, Floats]:
    """Return at each knot the local mean of the residuals and their mean distance below and above it."""
    weights = _neighbour_weights(predicted, knots)
    centre = weights @ residual
    distance = residual[None, :] - centre[:, None]
    spread = np.sum(weights * np.abs(distance), axis=1)
    low = _side_mean(-distance, weights, spread)
    high = _side_mean(distance, weights, spread)
    floor = max(1e-6, _SMALLEST_SPREAD * float(np.mean(np.abs(residual - residual.mean()))))
    return centre, np.maximum(low, floor), np.maximum(high, floor)


def _side_mean(distance: Floats, weights: Floats, otherwise: Floats) -> Floats:
    on_side = np.where(distance > 0.0, weights, 0.0)
    total = np.sum(on_side, axis=1)
    mean = np.sum(on_side * distance, axis=1) / np.where(total > 0.0, total, 1.0)
    return np.where(total > 0.0, mean, otherwise)


def _neighbour_weights(predicted: Floats, knots: Floats) -> Floats:
    """Return tricube weights over the nearest rows in rank, shape (knots, rows), each row summing to 1.

    Rank and not distance: the neighbourhood is as many faces among the few old ones as among the many young ones.
    """
    ordered = np.sort(predicted)
    reach = max(50.0, predicted.size**0.75)
    distance = np.abs(_rank(ordered, knots)[:, None] - _rank(ordered, predicted)[None, :]) / reach
    weights = np.where(distance < 1.0, (1.0 - np.minimum(distance, 1.0) ** 3) ** 3, 0.0)
    total = weights.sum(axis=1, keepdims=True)
    return np.where(total > 0.0, weights / np.where(total > 0.0, total, 1.0), 1.0 / predicted.size)


def _rank(ordered: Floats, values: Floats) -> Floats:
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2.0


def _conformal_quantile(scores: Floats, tail: float) -> float:
    # Between two ranks in a straight line: rounding up, as for a guarantee, covers a point too much at 150 rows.
    rank = min((1.0 - tail) * (scores.size + 1), float(scores.size))
    return float(np.interp(rank, np.arange(1, scores.size + 1), np.sort(scores)))
