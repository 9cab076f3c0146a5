"""Version 0.1's age intervals, kept as the yardstick of width: split-conformal along the predicted age, no groups.

Straight lines through the residuals and their size over the prediction are taken out, what is left is divided by local
mean distances below and above the local mean (over neighbours in rank), and folds score rows that they have not seen.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_KNOT_COUNT = 25
_FOLD_COUNT = 20
_SMALLEST_SPREAD = 0.25  # of the spread over all rows: a handful of lucky rows is no certainty


def marginal_intervals(calibration: pd.DataFrame, test: pd.DataFrame, level: float) -> tuple[Floats, Floats]:
    """Return the ends for the test rows."""
    predicted = calibration["predicted_age_years"].to_numpy()
    residual, tail = calibration["age_years"].to_numpy() - predicted, (1.0 - level) / 2.0
    knots = np.unique(np.quantile(predicted, np.linspace(0.005, 0.995, _KNOT_COUNT)))
    middle, scale = _trend(predicted, residual, predicted)
    shape = (residual - middle) / scale
    below, above = _standardised_residuals(predicted, shape, knots)
    centre, low_spread, high_spread = _local_spread(predicted, shape, knots)
    middle, scale = _trend(predicted, residual, knots)
    low = middle + scale * (centre - _conformal_quantile(below, tail) * low_spread)
    high = middle + scale * (centre + _conformal_quantile(above, tail) * high_spread)
    at = test["predicted_age_years"].to_numpy()
    return tuple(np.maximum(at + np.interp(at, knots, one), 0.0) for one in (low, high))  # type: ignore[return-value]


def _trend(predicted: Floats, residual: Floats, at: Floats) -> tuple[Floats, Floats]:
    """Return straight lines through the residuals and through their size at some predictions.

    Neighbours of the oldest faces are all younger; with the trend taken out first they may stand for them.
    """
    middle = _line(predicted, residual, predicted)
    size = np.abs(residual - middle)
    floor = max(1e-6, _SMALLEST_SPREAD * float(size.mean()))
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
