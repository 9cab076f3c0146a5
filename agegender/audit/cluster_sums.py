"""Means of groups whose rows come in clusters: robust standard errors, and how many separate rows the rows are worth.

A cell is what one cluster has in one group. Everything follows from the sum and the count of each cell: a cluster's
part in the error of a mean is its sum of deviations, and a cluster that stands in a group and in its rest has a part
in both, which lowers the error of their gap.

References
----------
Liang and Zeger, Biometrika 1986. Korn and Graubard, Survey Methodology 1998 (rates with an effective number of rows).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
_OWN_CLUSTERS = 30.0  # a group's own likeness of rows counts for half where it has this many clusters


@dataclass(frozen=True, eq=False)
class ClusterSums:
    """Cells in the order of their groups.

    Attributes
    ----------
    groups, clusters : array, shape (cells,), int
    rows, sums : array, shape (cells,), float
        Rows of the cell, and the sum of their values.
    group_count : int
    """

    groups: Codes
    clusters: Codes
    rows: Floats
    sums: Floats
    group_count: int

    @cached_property
    def counts(self) -> Floats:
        """Rows of each group."""
        return self._by_group(self.rows)

    @cached_property
    def means(self) -> Floats:
        """Mean of each group, NaN where it is empty."""
        return self._by_group(self.sums) / _positive(self.counts)

    @cached_property
    def units(self) -> Floats:
        """Clusters of each group, as many as equally large ones would be that weigh as much (Kish)."""
        return self.counts**2 / np.maximum(self._by_group(self.rows**2), 1.0)

    @cached_property
    def deviations(self) -> Floats:
        """Sum of each cell's values minus the mean of its group."""
        return self.sums - self.means[self.groups] * self.rows

    @cached_property
    def errors(self) -> Floats:
        """Cluster-robust standard error of each group's mean; NaN with fewer than two clusters."""
        return np.sqrt(self._by_group(self.deviations**2) * self._few) / self.counts

    def gap_errors(self) -> Floats:
        """Return the standard error of each group's mean minus that of all others, clusters on both sides counted."""
        rest_counts, rest_means = _positive(self.counts.sum() - self.counts), self.rest_means
        own = self.deviations / self.counts[self.groups] * np.sqrt(self._few)[self.groups]
        # A cluster's part in the rest is that in everything, less that in the group.
        rest = self._total_sums - rest_means[self.groups] * self._total_rows
        rest -= self.sums - rest_means[self.groups] * self.rows
        rest *= np.sqrt(self._rest_few)[self.groups] / rest_counts[self.groups]
        both = self._by_group((own - rest) ** 2)
        whole = (np.sum(self._all_sums**2) - 2.0 * rest_means * np.sum(self._all_sums * self._all_rows)
                 + rest_means**2 * np.sum(self._all_rows**2))  # fmt: skip
        seen = self._by_group((self._total_sums - rest_means[self.groups] * self._total_rows) ** 2)
        return np.sqrt(both + np.maximum(whole - seen, 0.0) * self._rest_few / rest_counts**2)

    def effective_rates(self) -> tuple[Floats, Floats, Floats]:
        """Return, for values 0 and 1, how many separate rows each group and its rest are worth, and their correlation.

        The likeness of rows within clusters is that of the group, drawn to the common one.
        """
        spread = self.means * (1.0 - self.means)
        excess = self._by_group(self.deviations**2) * np.nan_to_num(self._few) - self.counts * np.nan_to_num(spread)
        pairs = (self._by_group(self.rows**2) - self.counts) * np.nan_to_num(spread)
        common = float(np.clip(excess.sum() / pairs.sum(), 0.0, 1.0)) if pairs.sum() > 0 else 1.0
        own = np.divide(excess, pairs, out=np.full(len(pairs), common), where=pairs > 0)
        weight = self.units / (self.units + _OWN_CLUSTERS)
        likeness = np.clip(weight * own + (1.0 - weight) * common, 0.0, 1.0)
        squares, rest_squares = self._by_group(self.rows**2), self._rest_squares
        counts, rest_counts = _positive(self.counts), _positive(self.counts.sum() - self.counts)
        effect, rest_effect = (
            (1.0 + (squares / counts - 1.0) * likeness),
            1.0 + (rest_squares / rest_counts - 1.0) * common,
        )
        shared = self._by_group(self.rows * (self._total_rows - self.rows))
        correlation = common * shared / np.sqrt(counts * rest_counts * effect * rest_effect)
        return (
            counts / effect * _student_share(self.units),
            rest_counts / rest_effect * _student_share(rest_counts**2 / _positive(rest_squares)),
            np.clip(np.nan_to_num(correlation), 0.0, 0.99),
        )

    @cached_property
    def _few(self) -> Floats:
        return _correction(self._by_group(np.ones_like(self.rows)))

    @cached_property
    def _rest_few(self) -> Floats:
        alone = self._by_group((self._total_rows == self.rows).astype(np.float64))
        return _correction(float((self._all_rows > 0).sum()) - alone)

    @cached_property
    def _all_rows(self) -> Floats:
        return np.bincount(self.clusters, weights=self.rows).astype(np.float64)

    @cached_property
    def _all_sums(self) -> Floats:
        return np.bincount(self.clusters, weights=self.sums).astype(np.float64)

    @cached_property
    def _total_rows(self) -> Floats:
        return self._all_rows[self.clusters]

    @cached_property
    def _total_sums(self) -> Floats:
        return self._all_sums[self.clusters]

    @cached_property
    def rest_means(self) -> Floats:
        """Mean of all other groups' rows."""
        total = self._by_group(self.sums)
        return (total.sum() - total) / _positive(self.counts.sum() - self.counts)

    @cached_property
    def _rest_squares(self) -> Floats:
        changed = (self._total_rows - self.rows) ** 2 - self._total_rows**2
        return np.sum(self._all_rows**2) + self._by_group(changed)

    def _by_group(self, cells: Floats) -> Floats:
        return np.bincount(self.groups, weights=cells, minlength=self.group_count).astype(np.float64)


def sum_clusters(values: Floats, codes: Codes, group_count: int, clusters: Codes) -> ClusterSums:
    """Return the sums of rows without NaN, each in a known group."""
    cluster_count = int(clusters.max(initial=-1)) + 1
    cells, numbers = np.unique(codes * cluster_count + clusters, return_inverse=True)
    rows = np.bincount(numbers, minlength=len(cells)).astype(np.float64)
    sums = np.bincount(numbers, weights=values, minlength=len(cells)).astype(np.float64)
    return ClusterSums(cells // max(cluster_count, 1), cells % max(cluster_count, 1), rows, sums, group_count)


def _positive(counts: Floats) -> Floats:
    return np.where(counts > 0, counts, np.nan)


def _correction(clusters: Floats) -> Floats:
    return np.where(clusters > 1, clusters / np.maximum(clusters - 1.0, 1.0), np.nan)


def _student_share(units: Floats) -> Floats:
    """Return by how much few clusters widen an interval, as a share of rows: (normal / Student quantile)²."""
    from scipy.special import ndtri, stdtrit

    quantile = stdtrit(np.where(units >= 2.0, np.maximum(units - 1.0, 1.0), np.nan), 0.975)
    return np.asarray((ndtri(0.975) / quantile) ** 2)
