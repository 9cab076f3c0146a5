"""Owns the linear stand-in for the model near one photo: lime's own fit, and the intervals that lime lacks.

It gets designs and answers, no photos and no model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from lime.lime_base import LimeBase
from numpy.typing import NDArray
from scipy.stats import t as student_t
from sklearn.linear_model import LinearRegression, Ridge

Numbers = NDArray[np.float64]
STOCK_KERNEL_WIDTH = 0.25


@dataclass(frozen=True)
class Surrogate:
    """A linear model of one output: `intercept + design @ weights`.

    Attributes
    ----------
    intercept : float
    weights, low, high : array, shape (regions,)
        In the output's unit; the 95 % interval is NaN where residuals leave no degree of freedom.
    in_sample_r2 : float
        Flatters: the rows were fitted to.
    lime : tuple
        What `LimeBase.explain_instance_with_data` returned: intercept, sorted weights, score, local prediction.
    """

    intercept: float
    weights: Numbers
    low: Numbers
    high: Numbers
    in_sample_r2: float
    lime: tuple[Any, ...]

    def predict(self, design: NDArray[np.uint8]) -> Numbers:
        """Return the stand-in's output for the rows of a design, shape (rows,)."""
        return self.intercept + design @ self.weights


def fit_pairs(design: NDArray[np.uint8], scores: Numbers, value: float) -> Surrogate:
    """Fit one output by least squares to antithetic pairs.

    Parameters
    ----------
    design : array, shape (2 * pairs, regions)
        Rows 2i and 2i + 1 are opposites.
    scores : array, shape (2 * pairs,)
        The model's answers; a pair with an answer that is not finite is left out; without any, all is NaN.
    value : float
        The model's answer for the photo as it is. It is told to lime, and not fitted to: it is no random draw.

    Notes
    -----
    For whole pairs, least squares with an intercept equals least squares of the differences f(z) - f(1 - z) on 2z - 1
    without one. The residuals of the differences therefore give the standard errors: homoscedastic, with as many
    degrees of freedom as there are pairs more than regions. Because the design's columns are drawn at random, the
    effects of three regions together that a block confounds with one weight count in these residuals too.
    """
    whole = np.isfinite(scores.reshape(-1, 2)).all(axis=1)
    rows = np.repeat(whole, 2)
    design, scores = design[rows], scores[rows]
    if not len(scores):
        return _unknown(design.shape[1])
    # With fewer pairs than regions, least squares has no single answer; a little ridge takes the smallest.
    regressor = LinearRegression() if whole.sum() > design.shape[1] else Ridge(alpha=1.0)
    lime = _lime_fit(design, scores, np.ones(len(scores)), regressor, value)
    weights = _in_order(lime[1], design.shape[1])
    signs = 2.0 * design[0::2] - 1
    differences = scores[0::2] - scores[1::2]
    half_width = _half_width(signs, differences - signs @ weights, np.ones(len(signs)))
    return Surrogate(float(lime[0]), weights, weights - half_width, weights + half_width, float(lime[2]), lime)


def fit_rows(design: NDArray[np.uint8], scores: Numbers, *, row_weights: Numbers, ridge: float = 1.0) -> Surrogate:
    """Fit one output as stock LIME does: ridge regression of single rows, the first of them the photo as it is.

    The intervals come from the weighted residuals, and know nothing of the shrinkage.
    """
    finite = np.isfinite(scores)
    if finite.sum() < 2:
        return _unknown(design.shape[1])
    design, scores, row_weights = design[finite], scores[finite], row_weights[finite]
    lime = _lime_fit(design[1:], scores[1:], row_weights[1:], Ridge(alpha=ridge), scores[0], float(row_weights[0]))
    weights = _in_order(lime[1], design.shape[1])
    centred = design - np.average(design, axis=0, weights=row_weights)
    residuals = scores - float(lime[0]) - design @ weights
    half_width = _half_width(centred, residuals, row_weights, spent=1)
    return Surrogate(float(lime[0]), weights, weights - half_width, weights + half_width, float(lime[2]), lime)


def stock_kernel(design: NDArray[np.uint8]) -> Numbers:
    """Return stock LIME's weight of each row: an exponential of its cosine distance to the photo, shape (rows,)."""
    from sklearn.metrics import pairwise_distances

    distances = pairwise_distances(design, np.ones((1, design.shape[1])), metric="cosine").ravel()
    return np.sqrt(np.exp(-(distances**2) / STOCK_KERNEL_WIDTH**2))


def r_squared(truth: Numbers, predicted: Numbers) -> float:
    """Return the share of the variance of `truth` that is predicted; NaN when there is none to predict.

    >>> r_squared(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0]))
    1.0
    """
    known = np.isfinite(truth) & np.isfinite(predicted)
    truth, predicted = truth[known], predicted[known]
    if len(truth) < 2 or np.ptp(truth) == 0:
        return float("nan")
    return float(1 - np.sum((truth - predicted) ** 2) / np.sum((truth - truth.mean()) ** 2))


def _lime_fit(
    design: NDArray[np.uint8],
    scores: Numbers,
    row_weights: Numbers,
    regressor: Any,
    value: float,
    value_weight: float = 0.0,
) -> tuple[Any, ...]:
    """Feed lime's surrogate: it wants the photo as it is in the first row, here with a weight of its own."""
    data = np.vstack([np.ones((1, design.shape[1]), dtype=design.dtype), design])
    labels = np.concatenate([[value if np.isfinite(value) else 0.0], scores]).reshape(-1, 1)
    base = LimeBase(kernel_fn=lambda _: np.concatenate([[value_weight], row_weights]), random_state=0)
    found = base.explain_instance_with_data(
        data, labels, None, 0, design.shape[1], feature_selection="none", model_regressor=regressor
    )
    return tuple(found)


def _unknown(region_count: int) -> Surrogate:
    """Return what is known when the model gave no numbers: nothing."""
    nothing = np.full(region_count, np.nan)
    lime = (np.nan, [(region, np.nan) for region in range(region_count)], np.nan, np.array([np.nan]))
    return Surrogate(float("nan"), nothing, nothing, nothing, float("nan"), lime)


def _in_order(weighted_regions: list[tuple[int, float]], region_count: int) -> Numbers:
    weights = np.zeros(region_count)
    for region, weight in weighted_regions:
        weights[region] = weight
    return weights


def _half_width(regressors: NDArray[np.floating], residuals: Numbers, row_weights: Numbers, spent: int = 0) -> Numbers:
    """Return half the 95 % interval of each coefficient; NaN without a degree of freedom."""
    rows, columns = regressors.shape
    freedom = rows - columns - spent
    if freedom < 1:
        return np.full(columns, np.nan)
    variance = np.sum(row_weights * residuals**2) / freedom * rows / row_weights.sum()
    moments = np.linalg.pinv(regressors.T @ (regressors * row_weights[:, None]) * rows / row_weights.sum())
    return np.asarray(student_t.ppf(0.975, freedom) * np.sqrt(np.maximum(variance * np.diag(moments), 0)))
