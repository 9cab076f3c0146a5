"""Deals of large tables without dealing: the normal limit of the sums of groups, and draws for groups with few rows.

Dealing a million rows a thousand times takes minutes, and tells nothing that their means and variances do not: the sum
of a group over random deals is a sum of many rows, and how two groups' sums vary together follows from how many rows
they share in each class of rows that may be swapped. Groups of few clusters are drawn from the rows, since sums of few
are as skewed as the values.

References
----------
Hájek, Publications of the Mathematical Institute of the Hungarian Academy of Sciences 1960 (sums of samples from a
finite population are normal in the limit).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
_FEW = 300  # parts of clusters, below which a group is drawn
_SMALLEST = 1e-9


@dataclass(frozen=True, eq=False)
class Population:
    """The clusters that are dealt, and the parts that they have in the groups of some columns.

    Attributes
    ----------
    values : array, shape (clusters,)
        Mean of each cluster's rows.
    within : array, shape (clusters,)
        Variance of a row inside the cluster, 0 where it stands alone.
    sizes : array, shape (clusters,)
        Rows of each.
    classes : array, shape (clusters,), int
        Which may take each other's place, in ascending order.
    parts : array, shape (parts,), int
        The cluster of each part, in ascending order.
    part_sizes : array, shape (parts,)
        Rows of each part.
    member : array, shape (parts, groups)
        Which part is in which group.
    """

    values: Floats
    within: Floats
    sizes: Floats
    classes: Codes
    parts: Codes
    part_sizes: Floats
    member: NDArray[np.float32]

    def draw(self, deal_count: int, generator: np.random.Generator) -> tuple[Floats, Floats, Floats]:
        """Return sums, sums of squares of parts, and sums of parts times their rows, each (deals, groups)."""
        starts = np.flatnonzero(np.diff(self.classes, prepend=-1))
        n = np.diff(starts, append=len(self.classes)).astype(np.float64)
        mean, mean_square, mean_cube = (np.add.reduceat(self.values**power, starts) / n for power in (1, 2, 3))
        between = np.maximum(mean_square - mean**2, 0.0) * n / np.maximum(n - 1.0, 1.0)
        within = np.add.reduceat(self.within, starts) / n
        own = self.classes[self.parts]  # the class of each part
        rows, sizes = self._rows_in_classes(starts), self.sizes[self.parts]
        spread = self._covariance(between, within, n, rows)
        middle = mean @ rows
        sums = middle + _normal(spread, deal_count, generator)
        inside = within[own] * self.part_sizes * (1.0 - self.part_sizes / sizes)
        squares = (self.part_sizes**2 * mean_square[own] + inside) @ self.member
        weighted = (self.part_sizes**2 * mean[own]) @ self.member
        ratio = (self.part_sizes**2 @ self.member) / np.maximum(self.part_sizes @ self.member, 1.0)
        # Where values are skewed, a deal with a high sum has high squares as well.
        skew = np.sum(n * (mean_cube - mean * mean_square)) / max(float(np.sum(n * (mean_square - mean**2))), _SMALLEST)
        moved = sums - middle
        return sums, np.maximum(squares + skew * ratio * moved, 0.0), weighted + ratio * moved

    def draw_few(self, group: int, deal_count: int, generator: np.random.Generator) -> Sequence[Floats] | None:
        """Return the same of one group of few whole clusters, drawn from the clusters of their classes."""
        parts = np.flatnonzero(self.member[:, group])
        clusters = self.parts[parts]
        if not 0 < len(parts) < _FEW or (self.part_sizes[parts] != self.sizes[clusters]).any():
            return None
        starts = np.flatnonzero(np.diff(self.classes, prepend=-1))
        n = np.diff(starts, append=len(self.classes))
        own, counts = self.classes[clusters], np.bincount(self.classes[clusters], minlength=len(n))
        picked = starts[own] + (generator.random((deal_count, len(parts))) * n[own]).astype(np.int64)
        # Drawn with replacement, they would vary more than dealt ones where a class is nearly used up.
        share = np.sqrt(np.maximum(1.0 - (counts - 1) / np.maximum(n - 1, 1), 0.0))[own]
        mean = (np.add.reduceat(self.values, starts) / n)[own]
        sizes = self.sizes[clusters]
        drawn = self.values[picked]
        sums = drawn * sizes
        return (mean + share * (drawn - mean)) @ sizes, np.square(sums).sum(axis=1), sums @ sizes

    def _rows_in_classes(self, starts: Codes) -> Floats:
        """Return how many rows of each class are in each group, (classes, groups)."""
        first = np.searchsorted(self.parts, starts)
        rows = (
            self.member if (self.part_sizes == 1.0).all() else self.member * self.part_sizes[:, None].astype(np.float32)
        )
        return np.add.reduceat(rows, first, axis=0, dtype=np.float64)

    def _covariance(self, between: Floats, within: Floats, n: Floats, rows: Floats) -> Floats:
        own = self.classes[self.parts]
        clusters = self._rows_of_clusters()
        by_cluster = np.sqrt(np.maximum(between - within / self._class_sizes(n), 0.0))
        spread = _squared(clusters * by_cluster[self.classes][:, None].astype(np.float32))
        if within.any():
            lost = np.sqrt(np.maximum(within / self._class_sizes(n) - between, 0.0))
            spread -= _squared(clusters * lost[self.classes][:, None].astype(np.float32))
            spread += _squared(self.member * np.sqrt(self.part_sizes * within[own])[:, None].astype(np.float32))
        return spread - (rows * (between / n)[:, None]).T @ rows

    def _class_sizes(self, n: Floats) -> Floats:
        return self.sizes[np.cumsum(n).astype(np.int64) - 1]

    def _rows_of_clusters(self) -> NDArray[np.float32]:
        if len(self.parts) == len(self.values) and (self.part_sizes == 1.0).all():
            return self.member
        first = np.flatnonzero(np.diff(self.parts, prepend=-1))
        return np.add.reduceat(self.member * self.part_sizes[:, None].astype(np.float32), first, axis=0)


def _squared(rows: NDArray[np.float32]) -> Floats:
    return np.asarray(rows.T @ rows, dtype=np.float64)


def _normal(spread: Floats, deal_count: int, generator: np.random.Generator) -> Floats:
    levels, directions = np.linalg.eigh((spread + spread.T) / 2.0)
    root = directions * np.sqrt(np.maximum(levels, 0.0))
    return generator.standard_normal((deal_count, len(spread))) @ root.T
