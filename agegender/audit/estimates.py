"""Numbers with a 95 % interval: means by a studentised bootstrap, rates by Wilson, their differences by Newcombe.

Absolute errors are skewed, and an interval from bootstrap percentiles misses on the short side when a group is small.
Each resample is therefore measured in its own standard errors (bootstrap-t), on a logarithmic scale where no value is
negative. Resampling is stratified: every group keeps its size, so none goes missing.

References
----------
Efron and Tibshirani: An introduction to the bootstrap, 1993, chapter 12. Hall: The bootstrap and Edgeworth expansion,
1992. Wilson, JASA 1927. Newcombe: Interval estimation for the difference between independent proportions, Statistics in
Medicine 1998, method 10.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agegender.audit.cluster_sums import ClusterSums, sum_clusters

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
LEVEL = 0.95
_SMALLEST_BOOTSTRAP = 8  # with fewer rows a resample often holds one value only, and Student's t is the better guess
_LARGEST_BOOTSTRAP = 3000  # with more rows the mean of a resample is normal to far less than the noise of resampling
_MOST_CLUSTERS = 1500  # the same for clusters, whose drawing takes longer
_FARTHEST = 2.5  # Student quantiles
_CHUNK_VALUES = 2_000_000


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval, in the unit of the metric; NaN where the rows are too few."""

    value: float
    low: float = float("nan")
    high: float = float("nan")

    @property
    def is_off_zero(self) -> bool:
        """Whether the interval holds no zero."""
        return self.low > 0.0 or self.high < 0.0

    def widened(self, factor: float) -> Estimate:
        """Return the estimate with ends that many times as far away."""
        return Estimate(
            self.value, self.value - factor * (self.value - self.low), self.value + factor * (self.high - self.value)
        )

    def scaled(self, factor: float) -> Estimate:
        """Return the estimate in another unit, such as shares as percentage points."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor)


UNKNOWN = Estimate(float("nan"))


def with_ends(name: str, value: Estimate) -> dict[str, float]:
    """Return an estimate as three cells of a table.

    >>> with_ends("gap", Estimate(1.0, 0.5, 1.5))
    {'gap': 1.0, 'gap_low': 0.5, 'gap_high': 1.5}
    """
    return {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}


@dataclass(frozen=True)
class Estimates:
    """One estimate for each group, as arrays of shape (groups,)."""

    values: Floats
    low: Floats
    high: Floats

    def of(self, group: int) -> Estimate:
        """Return the estimate of one group."""
        return Estimate(float(self.values[group]), float(self.low[group]), float(self.high[group]))


@dataclass(frozen=True)
class GroupedMeans:
    """Means of groups, and of bootstrap resamples of them.

    Attributes
    ----------
    counts : array, shape (groups,), int
    means, errors : array, shape (groups,)
        Means of the rows, and their standard errors. NaN in an empty group.
    resampled_means, resampled_errors : array, shape (resamples, groups)
    is_positive : bool
        No value is negative, so that intervals of means are made on a logarithmic scale.
    units : array, shape (groups,)
        What was drawn: rows, or clusters of them.
    gap_errors : array, shape (groups,), optional
        Standard error of each gap to the rest, where clusters may stand on both sides.
    """

    counts: Codes
    means: Floats
    errors: Floats
    resampled_means: Floats
    resampled_errors: Floats
    is_positive: bool
    units: Floats | Codes
    gap_errors: Floats | None = None


def mean_of(
    values: Floats, *, is_rate: bool, clusters: Codes | None = None, resample_count: int = 2000, seed: int = 7
) -> Estimate:
    """Return the mean of the values that are no NaN, with its interval."""
    is_known = np.isfinite(values)
    if not is_known.any():
        return UNKNOWN
    own = None if clusters is None else clusters[is_known]
    codes = np.zeros(int(is_known.sum()), dtype=np.int64)
    return measure_groups(
        values[is_known], codes, 1, is_rate=is_rate, clusters=own, resample_count=resample_count, seed=seed
    )[0].of(0)


def measure_groups(
    values: Floats,
    codes: Codes,
    group_count: int,
    *,
    is_rate: bool,
    clusters: Codes | None = None,
    resample_count: int,
    seed: int,
) -> tuple[Estimates, Estimates]:
    """Return every group's mean and its gap to all other rows whose group is known (code 0 or above).

    Rows of one cluster are drawn together, and count as their likeness makes them; without clusters each row is alone.
    """
    known = codes >= 0
    values, codes = values[known], codes[known]
    sums = None if clusters is None else _sums_of(values, codes, group_count, clusters[known])
    if sums is not None and is_rate:
        own, rest, correlation = sums.effective_rates()
        rate, rest_rate = sums.means, sums.rest_means
        ends = wilson(rate * own, own)
        gap_ends = newcombe(rate * own, own, rest_rate * rest, rest, correlation=correlation)
        return Estimates(rate, *ends), Estimates(rate - rest_rate, *gap_ends)
    if is_rate:
        counts = np.bincount(codes, minlength=group_count)
        hits = np.bincount(codes, weights=values, minlength=group_count).astype(np.float64)
        rest_hits, rest_counts = hits.sum() - hits, counts.sum() - counts
        rate = _rate(hits, counts)
        gap = rate - _rate(rest_hits, rest_counts)
        own_ends, gap_ends = wilson(hits, counts), newcombe(hits, counts, rest_hits, rest_counts)
        return Estimates(rate, *own_ends), Estimates(gap, *gap_ends)
    grouped = (
        resample_groups(values, codes, group_count, resample_count=resample_count, seed=seed)
        if sums is None
        else resample_clusters(sums, resample_count=resample_count, seed=seed, is_positive=bool((values >= 0.0).all()))
    )
    return Estimates(grouped.means, *mean_intervals(grouped)), Estimates(*gap_intervals(grouped))


def _sums_of(values: Floats, codes: Codes, group_count: int, clusters: Codes) -> ClusterSums | None:
    """Return the sums of clusters, or None where each row is one: then the quicker ways give the same."""
    if clusters.size == 0 or np.bincount(clusters).max() < 2:
        return None
    return sum_clusters(values, codes, group_count, clusters)


def wilson(successes: ArrayLike, counts: ArrayLike, *, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Return the ends of Wilson's score interval of each rate, NaN where the count is 0.

    >>> low, high = wilson([93], [100])
    >>> round(float(low[0]), 3), round(float(high[0]), 3)
    (0.863, 0.966)
    """
    hits, n = np.atleast_1d(np.asarray(successes, np.float64)), np.atleast_1d(np.asarray(counts, np.float64))
    n = np.where(n > 0, n, np.nan)
    z = normal_quantile(level)
    rate = hits / n
    middle = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    return np.clip(middle - reach, 0.0, 1.0), np.clip(middle + reach, 0.0, 1.0)


def newcombe(
    successes: ArrayLike,
    counts: ArrayLike,
    other_successes: ArrayLike,
    other_counts: ArrayLike,
    *,
    correlation: Floats | float = 0.0,
) -> tuple[Floats, Floats]:
    """Return Newcombe's interval of the difference of two rates, first minus other; NaN without rows."""
    hits, n = (np.atleast_1d(np.asarray(value, np.float64)) for value in (successes, counts))
    other_hits, other_n = (np.atleast_1d(np.asarray(value, np.float64)) for value in (other_successes, other_counts))
    low, high = wilson(hits, n)
    other_low, other_high = wilson(other_hits, other_n)
    rate, other = _rate(hits, n), _rate(other_hits, other_n)
    below = _reach(rate - low, other_high - other, correlation)
    above = _reach(high - rate, other - other_low, correlation)
    return rate - other - below, rate - other + above


def _reach(own: Floats, other: Floats, correlation: Floats | float) -> Floats:
    return np.sqrt(own**2 + other**2 - 2.0 * correlation * own * other)


def normal_quantile(level: float) -> float:
    """Return how many standard errors a normal interval of this level reaches to each side; 1.96 for 0.95."""
    from scipy.special import ndtri

    return float(ndtri(0.5 + level / 2.0))


def resample_groups(
    values: ArrayLike, codes: ArrayLike, group_count: int, *, resample_count: int = 2000, seed: int = 7
) -> GroupedMeans:
    """Return the means of groups and those of `resample_count` stratified bootstrap resamples.

    Parameters
    ----------
    values : array, shape (rows,), float
        Without NaN.
    codes : array, shape (rows,), int
        Group of each row, 0..group_count - 1.
    """
    numbers, groups = np.asarray(values, dtype=np.float64), np.asarray(codes)
    generator = np.random.Generator(np.random.SFC64(seed))
    counts = np.bincount(groups, minlength=group_count)
    means, variances = np.full(group_count, np.nan), np.full(group_count, np.nan)
    shape = (resample_count, group_count)
    resampled_means, resampled_variances = np.full(shape, np.nan), np.full(shape, np.nan)
    parts = np.split(numbers[np.argsort(groups, kind="stable")], np.cumsum(counts)[:-1])
    for group, part in enumerate(parts):
        if part.size:
            means[group], variances[group] = part.mean(), part.var()
            shifts, resampled_variances[:, group] = _resample(part - means[group], resample_count, generator)
            resampled_means[:, group] = means[group] + shifts
    is_positive = bool(numbers.size) and bool(numbers.min() >= 0.0)
    errors, resampled_errors = _standard_error(variances, counts), _standard_error(resampled_variances, counts)
    return GroupedMeans(counts, means, errors, resampled_means, resampled_errors, is_positive, counts)


def resample_clusters(sums: ClusterSums, *, resample_count: int, seed: int, is_positive: bool) -> GroupedMeans:
    """Return the means of groups and those of bootstrap resamples of the clusters of each."""
    generator = np.random.Generator(np.random.SFC64(seed))
    shape = (resample_count, sums.group_count)
    means, errors = np.full(shape, np.nan), np.full(shape, np.nan)
    edges = np.searchsorted(sums.groups, np.arange(sums.group_count + 1))
    for group, (start, stop) in enumerate(itertools.pairwise(edges)):
        if stop - start > 1:
            shifts, errors[:, group] = _resample_sums(
                sums.deviations[start:stop], sums.rows[start:stop], resample_count, generator
            )
            means[:, group] = sums.means[group] + shifts
    return GroupedMeans(
        sums.counts.astype(np.int64), sums.means, sums.errors, means, errors, is_positive, sums.units, sums.gap_errors()
    )


def mean_intervals(grouped: GroupedMeans) -> tuple[Floats, Floats]:
    """Return the ends of the bootstrap-t interval of each group's mean, shape (groups,) each.

    Groups of 2 to 7 rows get Student's interval, one of a single row none (NaN).
    """
    error, resampled_error = grouped.errors, grouped.resampled_errors
    if not grouped.is_positive:
        return _difference(grouped, _Side(np.zeros(1), np.zeros(1), np.zeros((1, 1)), np.zeros((1, 1))))
    mean, resampled_mean = _above_zero(grouped.means), _above_zero(grouped.resampled_means)
    relative = error / mean
    t = _in_errors(np.log(resampled_mean) - np.log(mean), resampled_error / resampled_mean, relative)
    lower, upper = _ends(t, grouped.units, LEVEL)
    low, high = mean * np.exp(-upper * relative), mean * np.exp(-lower * relative)
    low, high = _mended_where_small(grouped.units, grouped.means, error, (low, high))
    return np.where(grouped.units < _SMALLEST_BOOTSTRAP, np.maximum(low, 0.0), low), high


def gap_intervals(grouped: GroupedMeans) -> tuple[Floats, Floats, Floats]:
    """Return each group's mean minus the mean of all other rows, and the ends of its bootstrap-t interval."""
    means, errors = _rest(grouped.counts, grouped.means, grouped.errors)
    rest = _Side(means, errors, *_rest(grouped.counts, grouped.resampled_means, grouped.resampled_errors))
    return (grouped.means - means, *_difference(grouped, rest, grouped.gap_errors))


@dataclass(frozen=True)
class _Side:
    """What a group's mean is compared with: shapes (groups,) or (1,), resampled (resamples, groups) or (…, 1)."""

    means: Floats
    errors: Floats
    resampled_means: Floats
    resampled_errors: Floats


def _difference(grouped: GroupedMeans, side: _Side, errors: Floats | None = None) -> tuple[Floats, Floats]:
    error = np.hypot(grouped.errors, side.errors)
    resampled = np.hypot(grouped.resampled_errors, side.resampled_errors)
    gap = grouped.means - side.means
    t = _in_errors(grouped.resampled_means - side.resampled_means - gap, resampled, error)
    # Both sides alike: with errors of either sign this covers better than two tails of their own.
    error = error if errors is None else errors
    reach = _ends(np.abs(t), grouped.units, 2.0 * LEVEL - 1.0)[1] * error
    return _mended_where_small(grouped.units, gap, error, (gap - reach, gap + reach))


def _rest(counts: Codes, means: Floats, errors: Floats) -> tuple[Floats, Floats]:
    """Return mean and standard error of all rows outside each group; the last axis is the group."""
    n = counts.astype(np.float64)
    others = np.where(n.sum() > n, n.sum() - n, np.nan)
    total = np.where(n > 0, n * means, 0.0)
    squared = np.where(n > 0, (n * errors) ** 2, 0.0)
    mean = (total.sum(axis=-1, keepdims=True) - total) / others
    # Rounding can leave a sum of squares a hair below zero.
    return mean, np.sqrt(np.maximum(squared.sum(axis=-1, keepdims=True) - squared, 0.0)) / others


def _resample(centred: Floats, resample_count: int, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Return means and variances of resamples of one group, shape (resamples,) each."""
    if centred.size > _LARGEST_BOOTSTRAP:
        variance = float(np.mean(centred**2))
        means = _even_normals(resample_count, generator) * np.sqrt(variance / centred.size)
        return means, np.full(resample_count, variance)
    rows = centred.astype(np.float32)
    means, variances = np.empty(resample_count), np.empty(resample_count)
    step = max(1, _CHUNK_VALUES // rows.size)
    for start in range(0, resample_count, step):
        stop = min(start + step, resample_count)
        drawn = rows[generator.integers(0, rows.size, size=(stop - start, rows.size))]
        means[start:stop] = drawn.mean(axis=1, dtype=np.float64)
        variances[start:stop] = np.einsum("ij,ij->i", drawn, drawn) / rows.size - means[start:stop] ** 2
    return means, np.maximum(variances, 0.0)


def _resample_sums(
    deviations: Floats, rows: Floats, resample_count: int, generator: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return means and standard errors of resamples of one group's clusters, shape (resamples,) each."""
    units, total = rows.size, float(rows.sum())
    few = units / (units - 1.0)
    if units > _MOST_CLUSTERS:
        error = float(np.sqrt(np.sum(deviations**2) * few)) / total
        return _even_normals(resample_count, generator) * error, np.full(resample_count, error)
    parts = np.stack([deviations, rows, deviations**2, deviations * rows, rows**2], axis=1)
    drawn = np.empty((resample_count, 5))
    step = max(1, _CHUNK_VALUES // units)
    for start in range(0, resample_count, step):
        stop = min(start + step, resample_count)
        numbers = generator.integers(0, units, size=(stop - start, units))
        numbers += units * np.arange(stop - start)[:, None]  # a row of counts for each resample
        times = np.bincount(numbers.ravel(), minlength=units * (stop - start)).reshape(stop - start, units)
        drawn[start:stop] = times.astype(np.float64) @ parts
    shifts = drawn[:, 0] / drawn[:, 1]
    squares = drawn[:, 2] - 2.0 * shifts * drawn[:, 3] + shifts**2 * drawn[:, 4]
    return shifts, np.sqrt(np.maximum(squares, 0.0) * few) / drawn[:, 1]


def _even_normals(count: int, generator: np.random.Generator) -> Floats:
    """Return normal numbers that stand evenly, in a random order.

    The order is drawn by a child, so that what the generator gives to other groups is the same whether this one is
    large or not: a page that draws only some of them finds the same intervals.
    """
    from scipy.special import ndtri

    return np.asarray(generator.spawn(1)[0].permutation(ndtri((np.arange(count) + 0.5) / count)))


def _rate(hits: Floats, counts: Floats | Codes) -> Floats:
    return hits / np.where(counts > 0, counts, np.nan)


def _standard_error(variances: Floats, counts: Codes) -> Floats:
    return np.sqrt(variances / np.maximum(counts - 1, 1))


def _above_zero(means: Floats) -> Floats:
    return np.maximum(means, np.finfo(np.float64).tiny * 1e8)


def _in_errors(shift: Floats, resampled_error: Floats, error: Floats) -> Floats:
    # A resample of equal values has no error of its own; a small one keeps its t finite and large.
    floor = np.maximum(1e-3 * error, np.finfo(np.float64).tiny * 1e8)
    return shift / np.maximum(resampled_error, floor)


def _ends(t: Floats, counts: Floats | Codes, level: float) -> tuple[Floats, Floats]:
    tail = (1.0 - level) / 2.0
    lower, upper = np.quantile(t, [tail, 1.0 - tail], axis=0)
    # Ten rows with one far out make resamples whose own error is nearly nothing, and an interval without end.
    farthest = _FARTHEST * _student(counts, level)
    return np.maximum(lower, -farthest), np.minimum(upper, farthest)


def _mended_where_small(
    counts: Floats | Codes, middle: Floats, error: Floats, ends: tuple[Floats, Floats]
) -> tuple[Floats, Floats]:
    """Return Student's interval in place of the bootstrap's in small groups, and none in a group of one row."""
    reach = _student(counts, LEVEL) * error
    is_small, is_single = counts < _SMALLEST_BOOTSTRAP, counts < 2
    low, high = np.where(is_small, middle - reach, ends[0]), np.where(is_small, middle + reach, ends[1])
    return np.where(is_single, np.nan, low), np.where(is_single, np.nan, high)


def _student(counts: Floats | Codes, level: float) -> Floats:
    from scipy.special import stdtrit

    return np.asarray(stdtrit(np.maximum(counts - 1, 1), 0.5 + level / 2.0))
