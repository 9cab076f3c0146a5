"""Gaps between a group and its rest when age, or whatever else, is held equal: one regression for all who tell of them.

A row's value is explained by whether it belongs to the group and by natural splines of what is held equal; the group's
coefficient is the gap. Only rows whose ages the group shares with its rest are looked at. Errors are HC3, of clusters
the same with sums over each; a rate is given one right and one wrong answer more on each side, so that a group without
an error has an interval. Everything depends on a row by its age and its value alone, so that sums over each age are
enough, and a million rows are regressed as quickly as a thousand.

References
----------
MacKinnon and White, Journal of Econometrics 1985. Bell and McCaffrey, Survey Methodology 2002 (clusters). Agresti and
Caffo, The American Statistician 2000.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agegender.audit.estimates import LEVEL, Estimates
from agegender.audit.held_equal import Support

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
_FEWEST_ROWS = 2  # on either side
_FEWEST_COMPARED = 1.0  # rows' worth of the group that ages do not tell
_MOST_LEVERAGE = 0.9


@dataclass(frozen=True)
class AdjustedGaps:
    """Every group's gap at equal ages, as arrays of shape (groups,); NaN where the two have no ages in common.

    Attributes
    ----------
    values, errors : array
        The gap and its standard error.
    degrees : array
        Degrees of freedom of that error.
    shares : array
        Share of all rows whose ages the group and its rest both have, 0..1.
    """

    values: Floats
    errors: Floats
    degrees: Floats
    shares: Floats

    @classmethod
    def unknown(cls, group_count: int) -> AdjustedGaps:
        """Return gaps of which nothing is known."""
        return cls(*np.full((4, group_count), np.nan))

    def intervals(self, miss_rate: float | Floats = 1.0 - LEVEL) -> Estimates:
        """Return the gaps with intervals that miss the truth at this rate, one for all or one for each group."""
        from scipy.special import stdtrit

        reach = np.asarray(-stdtrit(self.degrees, np.asarray(miss_rate) / 2.0)) * self.errors
        return Estimates(self.values, self.values - reach, self.values + reach)


def adjusted_gaps(
    values: Floats,
    codes: Codes,
    group_count: int,
    support: Support,
    *,
    clusters: Codes | None = None,
    is_rate: bool = False,
) -> AdjustedGaps:
    """Return the gap of every group to all other rows whose group is known, at equal ages.

    Parameters
    ----------
    values : array, shape (rows,)
        Without NaN.
    codes : array, shape (rows,), int
        Group of each row, -1 where unknown.
    support : Support
        What is held equal of these rows.
    clusters : array, shape (rows,), int, optional
        Which rows hang together.
    is_rate : bool
        Values are 0 and 1.
    """
    known = (codes >= 0) & (support.points >= 0)
    values, codes, points = values[known], codes[known], support.points[known]
    clusters = None if clusters is None else np.unique(clusters[known], return_inverse=True)[1].reshape(-1)
    shape = (group_count, len(support.basis))
    cells = codes * shape[1] + points
    sums: Floats = np.stack(
        [
            np.bincount(cells, weights=part, minlength=shape[0] * shape[1]).reshape(shape)
            for part in (np.ones_like(values), values, values**2)
        ]
    )
    found = np.full((4, group_count), np.nan)
    for group in range(group_count):
        own, rest = sums[:, group], sums.sum(axis=1) - sums[:, group]
        fit = _Fit.of(own, rest, support)
        if fit is not None:
            rows = None if clusters is None else _Rows(values, codes == group, points, clusters)
            found[:, group] = fit.gap, *fit.error_and_degrees(rows, is_rate), fit.n / values.size
    return AdjustedGaps(*found)


@dataclass(frozen=True)
class _Rows:
    """Single rows, which are looked at only where they hang together."""

    values: Floats
    is_inside: NDArray[np.bool_]
    points: Codes
    clusters: Codes


@dataclass(frozen=True)
class _Fit:
    """The regression of one group, in arrays over (inside or outside, point of the support).

    Attributes
    ----------
    counts, sums, squares : array, shape (2, points)
        0 outside the ages that both have.
    left : array, shape (2, points)
        What what is held equal leaves of the indicator of the group.
    fitted, leverages : array, shape (2, points)
    gap : float
    """

    counts: Floats
    sums: Floats
    squares: Floats
    left: Floats
    fitted: Floats
    leverages: Floats
    gap: float

    @classmethod
    def of(cls, own: Floats, rest: Floats, support: Support) -> _Fit | None:
        """Return the fit to sums of ones, values and squares by point; None where nothing can be compared."""
        both = np.stack([own, rest], axis=1) * support.shared(own[0] > 0, rest[0] > 0)
        counts, sums, squares = both
        if (counts.sum(axis=1) < _FEWEST_ROWS).any():
            return None
        n = counts.sum(axis=0)
        weights = np.sqrt(n)
        left_vectors, sizes, _ = np.linalg.svd(support.basis * weights[:, None], full_matrices=False)
        vectors = left_vectors[:, sizes > 1e-9 * sizes[0]]

        def curve(numbers: Floats) -> Floats:
            return np.asarray(_ratio(vectors @ (vectors.T @ (weights * numbers)), weights))

        share = _ratio(counts[0], n)
        told = curve(share)
        left = np.stack([1.0 - told, -told])
        compared = float((counts * left**2).sum())
        if compared < _FEWEST_COMPARED:
            return None
        gap = float((sums * left).sum() / compared)
        level = curve(_ratio(sums.sum(axis=0), n) - gap * share)
        leverages = _ratio((vectors**2).sum(axis=1), n) + left**2 / compared
        return cls(counts, sums, squares, left, np.stack([level + gap, level]), leverages, gap)

    @property
    def n(self) -> float:
        """How many rows are compared."""
        return float(self.counts.sum())

    def error_and_degrees(self, rows: _Rows | None, is_rate: bool) -> tuple[float, float]:
        """Return the robust standard error of the gap and its degrees of freedom."""
        compared = float((self.counts * self.left**2).sum())
        kept = 1.0 - np.minimum(self.leverages, _MOST_LEVERAGE)
        scores, weights = self._of_rows(kept) if rows is None else self._of_clusters(rows)
        if is_rate:
            further = self.counts / self.counts.sum(axis=1, keepdims=True)
            scores += float((self.left**2 * further * ((1.0 - self.fitted) ** 2 + self.fitted**2) / kept**2).sum())
        # As many as rows or clusters would be alike in weight: of a small group, about its size.
        degrees = max(compared**2 / weights - 1.0, 1.0)
        return float(np.sqrt(max(scores, 0.0)) / compared), degrees

    def _of_rows(self, kept: Floats) -> tuple[float, float]:
        """Return the sums of squared scores, and of squared weights, over rows."""
        residuals = self.squares - 2.0 * self.fitted * self.sums + self.fitted**2 * self.counts
        scores = self.left**2 * np.maximum(residuals, 0.0) / kept**2
        return float(scores.sum()), float((self.counts * self.left**4).sum())

    def _of_clusters(self, rows: _Rows) -> tuple[float, float]:
        """Return the same over clusters."""
        side = np.where(rows.is_inside, 0, 1)
        is_compared = self.counts.sum(axis=0)[rows.points] > 0
        side, points, clusters = side[is_compared], rows.points[is_compared], rows.clusters[is_compared]
        left = self.left[side, points]
        scores = np.bincount(clusters, weights=left * (rows.values[is_compared] - self.fitted[side, points]))
        leverages = np.bincount(clusters, weights=self.leverages[side, points])
        kept = 1.0 - np.minimum(leverages, _MOST_LEVERAGE)
        weights = np.bincount(clusters, weights=left**2)
        return float(((scores / kept) ** 2).sum()), float((weights**2).sum())


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.asarray(np.where(below > 0, above / np.where(below > 0, below, 1.0), 0.0))
