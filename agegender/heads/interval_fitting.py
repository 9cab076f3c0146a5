"""Fitting intervals: for a prediction, the range in which nine of ten labels lie, in every group as far as rows tell.

Two steps on rows that neither trained nor chose the model. *Shape*: where labels lie around predictions and how far
they scatter, by weighted regressions on the prediction, the spread of the predicted distribution and group indicators,
below and above on their own. *Scores*: residuals in units of that scatter, each measured with a shape that was fitted
without its fold; their conformal quantile is the reach of the interval, and a group, or a stretch of predictions, has a
quantile of its own. Of what a group adds (shift, scale, quantile) as much is believed as is more than chance makes
between groups of such sizes.

What holds: over rows exchangeable with these, each end is passed by 5 % of the labels (conformal quantile,
finite-sample rank; with scores from folds the worst case that theory allows is twice that). In groups it holds as far
as a shift, a scale and a quantile of each tell; how well is measured on the test rows and printed. Rows of one cluster
(a person, near twins) weigh 1 / size each and fall into one fold, so that a cluster counts as one row and the promise
is about photos of further people.

References
----------
Papadopoulos et al., ECML 2002 (normalised split-conformal); Barber, Candès, Ramdas, Tibshirani: Predictive inference
with the jackknife+, Annals of Statistics 2021 (scores from folds); Gibbs, Cherian, Candès: Conformal prediction with
conditional guarantees, arXiv 2305.12616, 2023 (groups as a finite class of shifts); Lee, Barber, Willett:
Distribution-free inference with hierarchical data, arXiv 2306.06342, 2023 (weights 1 / size); Efron, Morris: Stein's
estimation rule and its competitors, JASA 1973 (how much of a group's own effect to believe).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from agegender.errors import TableError
from agegender.heads.conformal import ConformalIntervals, GroupEffect, spread_deviation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
MOST_KNOTS = 7
ROWS_PER_KNOT = 40
LEAST_GROUP = 20  # rows; a smaller group is treated like everybody
MOST_VALUES = 50  # of one column; more are no groups
FOLDS = 10
_ROUNDS, _STEPS = 3, 8
_PRIOR_ROWS = 1.0  # rows of no effect, with which a group's own shift and scale are averaged
_LARGEST_RESIDUAL = 6.0  # of the mean one: what a single row may say about the scale
_LEAST_DOUBT = 1e-12  # of a variance, where all residuals are alike
_SMALLEST_SHARE = 0.0025  # of the spread of the predictions, where all residuals are nearly nothing


def fit_intervals(
    true_values: ArrayLike,
    predicted_values: ArrayLike,
    *,
    spread: ArrayLike | None = None,
    groups: Mapping[str, ArrayLike] | None = None,
    clusters: ArrayLike | None = None,
    level: float = 0.9,
    by_prediction: bool = True,
) -> ConformalIntervals:
    """Fit the intervals on rows that the model has neither been trained nor chosen on.

    Parameters
    ----------
    true_values, predicted_values : array, shape (rows,), in one unit
        Rows without one of them are skipped.
    spread : array, shape (rows,), optional
        Standard deviation of the predicted distribution, in the unit.
    groups : mapping of str to array of str, shape (rows,), optional
        What else will be known for a row; missing values are nobody's group.
    clusters : array of int, shape (rows,), optional
        Equal for rows that hang together; by default each stands alone.
    level : float
        Share of labels that the intervals should hold.
    by_prediction : bool
        Whether the interval depends on the prediction, other than lying around it.

    Returns
    -------
    ConformalIntervals
        With fewer clusters than the level needs (19 for 90 %: of 18 none lies beyond the 5 % at each end) one whose
        intervals are all NaN.
    """
    rows = _rows(true_values, predicted_values, spread, groups, clusters)
    tail = (1.0 - level) / 2.0
    count = float(rows.weights.sum())
    if tail * (count + 1) < 1.0 - 1e-9:
        return ConformalIntervals(level, 0)
    knots = _knots(rows, by_prediction=by_prediction)
    codes = {name: codes for name, codes in rows.codes.items() if codes.max(initial=-1) > 0}
    rows = replace(rows, codes=codes)
    low, high = _scores_from_folds(rows, knots)
    shape = _fit_shape(rows, knots)
    nearest = np.abs(rows.predicted[:, None] - knots[None, :]).argmin(axis=1)
    families = [nearest, *codes.values()]
    ends = [_quantiles(scores, families, rows, tail) for scores in (low, high)]
    (low_base, low_parts), (high_base, high_parts) = ends
    groups_found = {
        name: {
            value: GroupEffect(
                float(shape.shifts[name][place]), float(shape.log_scales[name][place]),
                float(low_parts[number][place]), float(high_parts[number][place]),
            )
            for place, value in enumerate(rows.values[name])
        }
        for number, name in enumerate(codes, start=1)
    }  # fmt: skip
    at_knots: dict[str, Any] = {
        "centre": shape.centre,
        "low_log_scale": shape.log_scale[0],
        "high_log_scale": shape.log_scale[1],
        "low_score": low_base + low_parts[0],
        "high_score": high_base + high_parts[0],
        "log_spread": shape.log_spread,
    }
    return ConformalIntervals(
        level=level,
        calibration_count=round(count),
        knots=tuple(map(float, knots)),
        spread_power=shape.spread_power,
        spread_range=shape.spread_range,
        groups=groups_found,
        **{name: tuple(map(float, part)) for name, part in at_knots.items()},
    )


@dataclass(frozen=True)
class _Rows:
    """Calibration rows: `codes` has a number per row and column, -1 for nobody's; `values` what the numbers mean."""

    predicted: Floats
    residual: Floats
    log_spread: Floats | None
    codes: Mapping[str, Ints]
    values: Mapping[str, list[str]]
    clusters: Ints
    weights: Floats

    def part(self, which: NDArray[np.bool_]) -> _Rows:
        spread = None if self.log_spread is None else self.log_spread[which]
        codes = {name: numbers[which] for name, numbers in self.codes.items()}
        return _Rows(
            self.predicted[which], self.residual[which], spread, codes, self.values, self.clusters[which],
            self.weights[which],
        )  # fmt: skip


def _rows(
    true_values: ArrayLike,
    predicted_values: ArrayLike,
    spread: ArrayLike | None,
    groups: Mapping[str, ArrayLike] | None,
    clusters: ArrayLike | None,
) -> _Rows:
    true, predicted = (np.asarray(values, dtype=np.float64).reshape(-1) for values in (true_values, predicted_values))
    parts = [true, predicted, *(np.asarray(one).reshape(-1) for one in (spread, clusters) if one is not None)]
    parts += [np.asarray(one, dtype=object).reshape(-1) for one in (groups or {}).values()]
    if len({len(part) for part in parts}) != 1:
        raise TableError(f"columns of {', '.join(str(len(part)) for part in parts)} rows: give one of each per row.")
    known = np.isfinite(true) & np.isfinite(predicted)
    true, predicted = true[known], predicted[known]
    together = np.arange(len(true)) if clusters is None else pd.factorize(np.asarray(clusters).reshape(-1)[known])[0]
    weights = 1.0 / np.bincount(together)[together] if len(true) else np.zeros(0)
    codes, values = {}, {}
    for name, column in (groups or {}).items():
        cells = pd.Series(np.asarray(column, dtype=object).reshape(-1)[known], dtype=object)
        codes[name], values[name] = _coded(cells, weights)
    log_spread = None
    if spread is not None:
        given = np.asarray(spread, dtype=np.float64).reshape(-1)[known]
        usable = np.isfinite(given) & (given > 0)
        if usable.sum() >= max(LEAST_GROUP, 0.5 * len(given)):
            log_spread = np.where(usable, np.log(np.where(usable, given, 1.0)), np.nan)
    return _Rows(predicted, true - predicted, log_spread, codes, values, together.astype(np.int64), weights)


def _coded(cells: pd.Series, weights: Floats) -> tuple[Ints, list[str]]:
    """Return a number per row and what the numbers mean; too small groups are nobody's."""
    texts = cells.where(cells.notna(), None)
    sizes = pd.Series(weights, index=texts.index).groupby(texts.astype(str).where(texts.notna())).sum()
    values = sorted(str(value) for value, size in sizes.items() if size >= LEAST_GROUP)[:MOST_VALUES]
    place = {value: number for number, value in enumerate(values)}
    numbers = [-1 if value is None else place.get(str(value), -1) for value in texts]
    return np.array(numbers, dtype=np.int64), values


def _knots(rows: _Rows, *, by_prediction: bool) -> Floats:
    """Return where the straight lines meet: fewer for fewer rows, one where the prediction says nothing."""
    count = int(np.clip(rows.weights.sum() // ROWS_PER_KNOT, 1, MOST_KNOTS)) if by_prediction else 1
    shares = np.linspace(0.01, 0.99, count) if count > 1 else [0.5]
    return np.unique(np.quantile(rows.predicted, shares))


def _hats(predicted: Floats, knots: Floats) -> Floats:
    """Return how much of each knot is in each row, shape (rows, knots), summing to 1."""
    return np.stack([np.interp(predicted, knots, unit) for unit in np.eye(len(knots))], axis=1)


@dataclass(frozen=True)
class _Shape:
    knots: Floats
    centre: Floats
    log_scale: tuple[Floats, Floats]
    log_spread: Floats
    spread_power: float
    spread_range: tuple[float, float]
    shifts: Mapping[str, Floats]
    log_scales: Mapping[str, Floats]

    def scores(self, rows: _Rows) -> tuple[Floats, Floats]:
        """Return the residuals below and above the centre, in units of the scatter there."""
        hats = _hats(rows.predicted, self.knots)
        centre, more = hats @ self.centre, np.zeros(len(hats))
        if rows.log_spread is not None:
            more = self.spread_power * spread_deviation(
                np.exp(rows.log_spread), hats @ self.log_spread, self.spread_range
            )
        for name, codes in rows.codes.items():
            centre = centre + np.where(codes >= 0, self.shifts[name][codes], 0.0)
            more = more + np.where(codes >= 0, self.log_scales[name][codes], 0.0)
        low, high = (np.exp(hats @ part + more) for part in self.log_scale)
        return (centre - rows.residual) / low, (rows.residual - centre) / high


def _fit_shape(rows: _Rows, knots: Floats) -> _Shape:
    """Return centre and scatter: least squares and a gamma regression of the distances, in turns."""
    hats, weights = _hats(rows.predicted, knots), rows.weights
    indicators, cuts = _indicators(rows)
    usual, away, limits = _spread_feature(rows, hats)
    # How lopsided the scatter is along the prediction: a parabola, since each side has only half of the rows.
    place = (knots - knots[0]) / max(float(np.ptp(knots)), 1e-12) - 0.5
    bend = np.stack([place**power for power in range(min(3, len(knots)))], axis=1)
    size = float(np.average(np.abs(rows.residual - np.average(rows.residual, weights=weights)), weights=weights))
    floor = max(1e-6, _SMALLEST_SHARE * float(rows.predicted.std()), 0.05 * size)
    log_scale, design = np.full(len(hats), np.log(max(size, floor))), np.hstack([hats, indicators])
    prior = np.r_[np.full(hats.shape[1], 1e-6), np.full(indicators.shape[1], _PRIOR_ROWS)]
    for _ in range(_ROUNDS):
        precision = weights * np.exp(-2.0 * (log_scale - log_scale.min()))
        location = _solve(design, rows.residual, precision * (weights.sum() / precision.sum()), prior)
        distance = rows.residual - design @ location
        side = np.where(distance < 0, -1.0, 1.0)[:, None] * (hats @ bend)
        features = np.hstack([hats, away[:, None], side, indicators])
        sizes = np.maximum(np.abs(distance), floor)
        scale, log_scale = _gamma_regression(features, sizes, weights, indicators.shape[1])
    knot_count, bend_count = len(knots), bend.shape[1]
    middle, lopsided = scale[:knot_count], bend @ scale[knot_count + 1 : knot_count + 1 + bend_count]
    dispersion = np.average((sizes / np.exp(log_scale) - 1.0) ** 2, weights=weights)
    log_scales = _group_effects(rows, scale[knot_count + 1 + bend_count :], cuts, np.full(len(sizes), dispersion))
    return _Shape(
        knots, location[:knot_count], (middle - lopsided, middle + lopsided), usual,
        float(np.clip(scale[knot_count], 0.0, 2.0)), limits,
        _group_effects(rows, location[knot_count:], cuts, distance**2), log_scales,
    )  # fmt: skip


def _indicators(rows: _Rows) -> tuple[Floats, list[int]]:
    """Return the group indicators, shape (rows, values of all columns), and where one column's end."""
    sizes = [len(rows.values[name]) for name in rows.codes]
    blocks = [np.zeros((len(rows.residual), 0))]
    for (_, codes), size in zip(rows.codes.items(), sizes, strict=True):
        blocks.append((codes[:, None] == np.arange(size)[None, :]).astype(np.float64))
    return np.hstack(blocks), list(np.cumsum(sizes)[:-1])


def _group_effects(rows: _Rows, found: Floats, cuts: list[int], variances: Floats) -> dict[str, Floats]:
    """Return for each column what its groups add, as far as it is more than rows of such variances make by chance."""
    effects = {}
    for (name, codes), own in zip(rows.codes.items(), np.split(found, cuts), strict=False):
        inside = codes >= 0
        sizes = np.bincount(codes[inside], weights=rows.weights[inside], minlength=len(own))
        sums = np.bincount(codes[inside], weights=(rows.weights * variances)[inside], minlength=len(own))
        effects[name] = _believed(own, np.where(sizes > 0, sums / np.maximum(sizes, 1e-9) ** 2, np.inf))
    return effects


def _spread_feature(rows: _Rows, hats: Floats) -> tuple[Floats, Floats, tuple[float, float]]:
    """Return the usual logarithm of the spread at the knots, each row's distance from it, and how far that may go."""
    if rows.log_spread is None:
        return np.zeros(hats.shape[1]), np.zeros(len(hats)), (0.0, 0.0)
    known = np.isfinite(rows.log_spread)
    values = np.where(known, rows.log_spread, 0.0)
    usual = _solve(hats, values, rows.weights * known, np.full(hats.shape[1], 1e-6))
    away = np.where(known, values - hats @ usual, 0.0)
    low, high = (float(value) for value in np.quantile(away[known], [0.005, 0.995]))
    return usual, np.clip(away, low, high), (low, high)


def _solve(features: Floats, values: Floats, weights: Floats, prior: Floats) -> Floats:
    """Return the coefficients of weighted least squares, each with `prior` rows that say 0."""
    square = features.T @ (features * weights[:, None]) + np.diag(prior)
    return np.asarray(np.linalg.solve(square, features.T @ (values * weights)), dtype=np.float64)


def _gamma_regression(features: Floats, sizes: Floats, weights: Floats, group_count: int) -> tuple[Floats, Floats]:
    """Return coefficients and logarithms of the mean sizes (log link, by iterated least squares)."""
    prior = np.r_[np.full(features.shape[1] - group_count, 1e-3), np.full(group_count, _PRIOR_ROWS)]
    log_mean = np.full(len(sizes), np.log(np.average(sizes, weights=weights)))
    coefficients = np.zeros(features.shape[1])
    for _ in range(_STEPS):
        news = np.clip(sizes / np.exp(log_mean), 0.0, _LARGEST_RESIDUAL) - 1.0
        coefficients = _solve(features, log_mean + news, weights, prior)
        log_mean = features @ coefficients
    return coefficients, log_mean


def _scores_from_folds(rows: _Rows, knots: Floats) -> tuple[Floats, Floats]:
    # Each row is measured with a shape that was fitted without it, or the intervals would flatter themselves.
    cluster_count = int(rows.clusters.max()) + 1
    fold = (np.random.default_rng(0).permutation(cluster_count) % FOLDS)[rows.clusters]
    low, high = np.zeros(len(fold)), np.zeros(len(fold))
    for number in np.unique(fold):
        held = fold == number
        low[held], high[held] = _fit_shape(rows.part(~held), knots).scores(rows.part(held))
    return low, high


def _quantiles(scores: Floats, families: list[Ints], rows: _Rows, tail: float) -> tuple[float, list[Floats]]:
    """Return the common quantile of the scores, and for each family of groups what its members add to it.

    A member's own quantile differs from the common one by chance as well: of the difference it gets the share that the
    members of its family differ by more than chance makes them (Efron and Morris).
    """
    density = _density(scores, rows.weights, tail)
    added = [np.zeros(int(codes.max(initial=0)) + 1) for codes in families]
    given = [np.zeros(len(scores)) for _ in families]
    common = conformal_quantile(scores, rows.weights, tail)
    for _ in range(_ROUNDS):
        for number, codes in enumerate(families):
            rest = scores - sum(part for other, part in enumerate(given) if other != number)
            own, doubt = np.zeros(len(added[number])), np.full(len(added[number]), np.inf)
            for member in range(len(own)):
                inside = codes == member
                size = float(rows.weights[inside].sum())
                if size >= LEAST_GROUP:
                    own[member] = conformal_quantile(rest[inside], rows.weights[inside], tail) - common
                    doubt[member] = tail * (1.0 - tail) / (size * density**2)
            added[number] = _believed(own, doubt)
            given[number] = np.where(codes >= 0, added[number][codes], 0.0)
    return conformal_quantile(scores - np.sum(given, axis=0), rows.weights, tail), added


def _believed(differences: Floats, doubt: Floats) -> Floats:
    known, doubt = np.isfinite(doubt), np.maximum(doubt, _LEAST_DOUBT)
    if known.sum() < 2:
        return np.zeros(len(differences))
    found, variance, between = differences[known], doubt[known], 0.0
    for _ in range(20):
        weights = 1.0 / (between + variance) ** 2
        between = max(0.0, float(np.sum(weights * (found**2 - variance)) / np.sum(weights)))
    return np.where(known, differences * between / (between + np.where(known, doubt, 1.0)), 0.0)


def _density(scores: Floats, weights: Floats, tail: float) -> float:
    """Return how many of the scores lie around their quantile, per unit."""
    reach = min(max(0.02, 1.0 / np.sqrt(weights.sum())), 0.8 * tail)
    low, high = (conformal_quantile(scores, weights, tail + step) for step in (reach, -reach))
    return float(2.0 * reach / max(high - low, 1e-9))


def conformal_quantile(scores: Floats, weights: Floats, tail: float) -> float:
    """Return the score that a further cluster's row passes with the probability `tail`.

    One cluster more counts as larger than all: among n rows of weight 1 it is the value of rank (1 - tail)(n + 1).
    """
    order = np.argsort(scores)
    # Between two ranks in a straight line: rounding up, as for a guarantee, covers a point too much at 150 rows.
    rank = np.cumsum(weights[order])
    return float(np.interp((1.0 - tail) * (rank[-1] + 1.0), rank, scores[order]))
