"""Owns the scores of predicted ages: labelled and predicted years in, numbers out.

A row whose label or prediction is missing does not count; how many those were is said. Evaluation, training and the
reports call it. Scores by group are the business of `groups`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agegender.errors import TableError

Floats = NDArray[np.float64]
UNKNOWN = float("nan")


def known_pairs(true_years: ArrayLike, predicted_years: ArrayLike) -> tuple[Floats, Floats]:
    """Return the labelled and the predicted years of the rows that have both.

    Raises
    ------
    TableError
        The two are not equally long.
    """
    true, predicted = _years(true_years), _years(predicted_years)
    if true.shape != predicted.shape:
        raise TableError(f"{true.size} labelled ages but {predicted.size} predicted ones: give one of each per row.")
    known = np.isfinite(true) & np.isfinite(predicted)
    return true[known], predicted[known]


def age_metrics(true_years: ArrayLike, predicted_years: ArrayLike) -> dict[str, float]:
    """Return the usual scores of predicted ages.

    Parameters
    ----------
    true_years, predicted_years : array, shape (rows,), years
        NaN where unknown.

    Returns
    -------
    dict
        `n` and `skipped` (rows), `mae`, `signed_error` (predicted minus labelled), `rmse`, `median_absolute_error`
        (years), `r2`, `mape` (share, over labels above 0), `within_5` and `within_8` (shares, bounds included). A score
        that these rows cannot tell is NaN: all without rows, `r2` when every label is the same.

    Examples
    --------
    >>> scores = age_metrics([20, 30, 40], [22, 30, 31])
    >>> round(scores["mae"], 3), round(scores["signed_error"], 3), scores["within_8"] == 2 / 3
    (3.667, -2.333, True)
    """
    true, predicted = known_pairs(true_years, predicted_years)
    error = predicted - true
    absolute = np.abs(error)
    older = true > 0
    spread = float(np.sum((true - _mean(true)) ** 2)) if true.size else 0.0
    return {
        "n": int(true.size),
        "skipped": int(np.size(true_years) - true.size),
        "mae": _mean(absolute),
        "signed_error": _mean(error),
        "rmse": float(np.sqrt(_mean(error**2))),
        "r2": 1.0 - float(np.sum(error**2)) / spread if spread > 0 else UNKNOWN,
        "mape": _mean(absolute[older] / true[older]),
        "median_absolute_error": float(np.median(absolute)) if true.size else UNKNOWN,
        "within_5": _mean(absolute <= 5.0),
        "within_8": _mean(absolute <= 8.0),
    }


def cumulative_scores(true_years: ArrayLike, predicted_years: ArrayLike, *, largest_years: int = 15) -> Floats:
    """Return the share of rows with an absolute error of at most 0, 1, … `largest_years` years (CS@0..15).

    Returns
    -------
    array, shape (largest_years + 1,), float64
        Shares 0..1, never falling; NaN without rows.

    Examples
    --------
    >>> cumulative_scores([20, 30], [21.0, 33.0], largest_years=3).tolist()
    [0.0, 0.5, 0.5, 1.0]
    """
    true, predicted = known_pairs(true_years, predicted_years)
    absolute = np.sort(np.abs(predicted - true))
    if not absolute.size:
        return np.full(largest_years + 1, UNKNOWN)
    return np.searchsorted(absolute, np.arange(largest_years + 1), side="right") / absolute.size


def _years(values: ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64).reshape(-1)


def _mean(values: NDArray) -> float:
    return float(np.mean(values)) if values.size else UNKNOWN
