"""The linear stand-in for the model near one photo: lime's own fit, the intervals that lime lacks, and comparisons.

It gets designs and answers, no photos and no model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from lime.lime_base import LimeBase
from numpy.typing import NDArray
from scipy.stats import spearmanr
from scipy.stats import t as student_t
from sklearn.linear_model import LinearRegression, Ridge

Numbers = NDArray[np.float64]
NAN = float("nan")
TOP_COUNT = 6
LEAST_RELATIVE_WEIGHT = 1 / 20
PALEY_SIZE = 32
SMALLEST_BLOCK_PAIRS = 64
# How much the mean variance of all regions counts beside a region's own, in degrees of freedom.
SHARED_FREEDOM = 10


@dataclass(frozen=True)
class Surrogate:
    """A linear model of one target: `intercept + design @ weights`.

    Attributes
    ----------
    intercept : float
    weights, low, high : array, shape (regions,)
        In the target's unit; the 95 % interval is NaN where there are too few samples for one.
    in_sample_r2 : float
        Flatters: the rows were fitted to.
    """

    intercept: float
    weights: Numbers
    low: Numbers
    high: Numbers
    in_sample_r2: float

    def predict(self, design: NDArray[np.uint8]) -> Numbers:
        """Return the stand-in's answers for the rows of a design, shape (rows,)."""
        return self.intercept + design @ self.weights

    def strongest_count(self) -> int:
        """Return how many regions count as the strongest, to be compared between samples.

        Six, or a third of the regions where there are few, lest overlap be trivial; fewer where fewer have an interval
        that leaves out zero and at least a twentieth of the strongest's weight, for what lies below is noise by chance.
        """
        weights = np.abs(self.weights)
        most = max(1, min(TOP_COUNT, len(weights) // 3))
        with np.errstate(invalid="ignore"):
            is_clear = (self.low > 0) | (self.high < 0)
        clear_count = int((is_clear & (weights >= LEAST_RELATIVE_WEIGHT * weights.max())).sum())
        return min(most, clear_count) or most


def fit_targets(design: NDArray[np.uint8], scores: Numbers) -> list[Surrogate]:
    """Fit every column of the scores, shape (2 * pairs, targets); see `fit_pairs`."""
    return [fit_pairs(design, column) for column in scores.T]


def fit_pairs(design: NDArray[np.uint8], scores: Numbers) -> Surrogate:
    """Fit one target by least squares to antithetic pairs.

    Parameters
    ----------
    design : array, shape (2 * pairs, regions)
        Rows 2i and 2i + 1 are opposites.
    scores : array, shape (2 * pairs,)
        The model's answers; a pair with an answer that is not finite is left out; without any, all is NaN.

    Notes
    -----
    For whole pairs, least squares with an intercept equals least squares of the differences f(z) - f(1 - z) on 2z - 1
    without one. Within a block the effects of three regions together look like weights, and only a comparison of blocks
    can tell: the intervals are a jackknife over blocks. Where there is but one block, the residuals have to do.
    """
    whole = np.isfinite(scores.reshape(-1, 2)).all(axis=1)
    rows = np.repeat(whole, 2)
    design, scores = design[rows], scores[rows]
    if not len(scores):
        nothing = np.full(design.shape[1], NAN)
        return Surrogate(NAN, nothing, nothing, nothing, NAN)
    # With fewer pairs than regions, least squares has no single answer; a little ridge takes the smallest.
    regressor = LinearRegression() if whole.sum() > design.shape[1] else Ridge(alpha=1.0)
    intercept, weights, in_sample_r2 = _lime_fit(design, scores, regressor)
    signs = 2.0 * design[0::2] - 1
    differences = scores[0::2] - scores[1::2]
    blocks = _blocks(whole.size, design.shape[1])[whole]
    half_width = _jackknife_half_width(signs, differences, weights, blocks)
    if half_width is None:
        half_width = _residual_half_width(signs, differences - signs @ weights)
    return Surrogate(intercept, weights, weights - half_width, weights + half_width, in_sample_r2)


def r_squared(truth: Numbers, predicted: Numbers) -> float:
    """Return the share of the variance of `truth` that is predicted; NaN when there is none to predict.

    >>> r_squared(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0]))
    1.0
    """
    known = np.isfinite(truth) & np.isfinite(predicted)
    truth, predicted = truth[known], predicted[known]
    if len(truth) < 2 or np.ptp(truth) == 0:
        return NAN
    return float(1 - np.sum((truth - predicted) ** 2) / np.sum((truth - truth.mean()) ** 2))


def top_overlap(first: Numbers, second: Numbers, count: int = TOP_COUNT) -> float:
    """Return the Jaccard index of the `count` strongest regions of two maps: shared / all, in [0, 1].

    >>> top_overlap(np.array([3.0, -2, 0, 0]), np.array([-9.0, 0, 1, 0]), count=2)
    0.3333333333333333
    """
    one, other = (set(np.argsort(-abs(weights), kind="stable")[:count].tolist()) for weights in (first, second))
    return len(one & other) / len(one | other)


def likeness(first: Numbers, second: Numbers) -> float:
    """Return how alike two maps are, in [-1, 1]: the cosine between their weights; NaN when either is all zero.

    Weights count by their size, so that regions of nearly one weight may change places without a loss, and a map of
    equal weights is like itself; maps of noise have a likeness of 0 on average. From 1/2 on, the halves have as much in
    common as they have noise, and their mean more.

    >>> likeness(np.array([1.0, 1.0, 1.0]), np.array([1.1, 0.9, 1.0])) > 0.99
    True
    """
    sizes = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second / sizes) if sizes > 0 else NAN


def rank_correlation(first: Numbers, second: Numbers) -> float:
    """Return Spearman's rank correlation in [-1, 1]; NaN when either is constant or has fewer than three values."""
    known = np.isfinite(first) & np.isfinite(second)
    first, second = first[known], second[known]
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return NAN
    return float(spearmanr(first, second).statistic)


def _lime_fit(
    design: NDArray[np.uint8], scores: Numbers, regressor: LinearRegression | Ridge
) -> tuple[float, Numbers, float]:
    """Return intercept, weights and in-sample R² of lime's surrogate.

    lime wants the photo as it is in the first row. It is no random draw, so that it gets no weight here.
    """
    data = np.vstack([np.ones((1, design.shape[1]), dtype=design.dtype), design])
    labels = np.concatenate([[0.0], scores]).reshape(-1, 1)
    base = LimeBase(kernel_fn=lambda _: np.concatenate([[0.0], np.ones(len(scores))]), random_state=0)
    intercept, region_weights, r2, _ = base.explain_instance_with_data(
        data, labels, None, 0, design.shape[1], feature_selection="none", model_regressor=regressor
    )
    weights = np.zeros(design.shape[1])
    for region, weight in region_weights:
        weights[region] = weight
    return float(intercept), weights, float(r2)


def pair_block_size(region_count: int) -> int:
    """Return how many pairs an orthogonal block has: the smallest power of two above the regions, at least 64.

    >>> [pair_block_size(count) for count in (1, 32, 64)]
    [64, 64, 128]
    """
    return max(SMALLEST_BLOCK_PAIRS, least_pairs(region_count))


def least_pairs(region_count: int) -> int:
    """Return the fewest pairs that are orthogonal for so many regions: a power of two, at least 32.

    >>> [least_pairs(count) for count in (1, 27, 32, 40)]
    [32, 32, 64, 64]
    """
    return int(max(PALEY_SIZE, 2 ** int(np.ceil(np.log2(region_count + 1)))))


def _blocks(pair_count: int, region_count: int) -> NDArray[np.intp]:
    """Return the number of each pair's block; what is left over at the end counts with the last whole one."""
    size = pair_block_size(region_count)
    return np.minimum(np.arange(pair_count) // size, max(0, pair_count // size - 1))


def _jackknife_half_width(
    signs: NDArray[np.floating], differences: Numbers, weights: Numbers, blocks: NDArray[np.intp]
) -> Numbers | None:
    """Return half the 95 % interval of each weight from fits that leave out one block each; None with a single block.

    A few blocks say little of each region's variance, and much of the mean over all regions: the two are averaged
    by their degrees of freedom, the mean's held to `SHARED_FREEDOM` lest regions of unlike variance be thought alike.

    References
    ----------
    Busing, Meijer, van der Leeden: Delete-m jackknife for unequal m, Statistics and Computing 1999.
    Smyth: Linear models and empirical Bayes methods, Statistical Applications in Genetics 2004 (moderated variances).
    """
    numbers, sizes = np.unique(blocks, return_counts=True)
    region_count, freedom = signs.shape[1], len(numbers) - 1
    if not freedom or len(blocks) - sizes.max() < region_count:
        return None
    shares = (len(blocks) / sizes)[:, None]
    without = np.stack([_least_squares(signs[blocks != one], differences[blocks != one]) for one in numbers])
    pseudo = shares * weights - (shares - 1) * without
    own = np.mean((pseudo - pseudo.mean(axis=0)) ** 2 / (shares - 1), axis=0)
    shared = min(SHARED_FREEDOM, region_count * freedom)
    variance = (shared * own.mean() + freedom * own) / (shared + freedom)
    return np.asarray(student_t.ppf(0.975, shared + freedom) * np.sqrt(variance))


def _least_squares(signs: NDArray[np.floating], differences: Numbers) -> Numbers:
    return np.asarray(np.linalg.lstsq(signs, differences, rcond=None)[0])


def _residual_half_width(signs: NDArray[np.floating], residuals: Numbers) -> Numbers:
    """Return half the 95 % interval of each weight, all of one variance; NaN without a degree of freedom."""
    rows, columns = signs.shape
    freedom = rows - columns
    if freedom < 1:
        return np.full(columns, NAN)
    variance = np.sum(residuals**2) / freedom
    moments = np.linalg.pinv(signs.T @ signs)
    return np.asarray(student_t.ppf(0.975, freedom) * np.sqrt(np.maximum(variance * np.diag(moments), 0)))
