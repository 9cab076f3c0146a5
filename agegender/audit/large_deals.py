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

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
_FEW = 300  # parts of clusters, below which a group is drawn
_SMALLEST = 1e-9


@dataclass(frozen=True, eq=False)
class Places:
    """What can be dealt where: clusters in classes, and the parts that they have in the groups of some columns.

    Attributes
    ----------
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

    sizes: Floats
    classes: Codes
    parts: Codes
    part_sizes: Floats
    member: NDArray[np.float32]

    def draw(
        self, values: Floats, within: Floats, deal_count: int, generator: np.random.Generator
    ) -> tuple[Floats, Floats, Floats]:
        """Return sums, sums of squares of parts, and sums of parts times their rows, each (deals, groups).

        Parameters
        ----------
        values, within : array, shape (clusters,)
            Mean of each cluster's rows, and the variance of a row inside, 0 where it stands alone.
        """
        n, (rows, squared_rows, split_rows) = self._class_counts, self._class_sums
        mean, mean_square, mean_cube = (np.add.reduceat(values**power, self._starts) / n for power in (1, 2, 3))
        between = np.maximum(mean_square - mean**2, 0.0) * n / np.maximum(n - 1.0, 1.0)
        inside = np.add.reduceat(within, self._starts) / n
        clusters, overlaps = self._class_products
        spread = np.tensordot(between - inside / self.sizes[self._starts], clusters, axes=1)
        spread += np.tensordot(inside, overlaps, axes=1) - (rows * (between / n)[:, None]).T @ rows
        middle = mean @ rows
        moved = _normal(spread, deal_count, generator)
        ratio = squared_rows.sum(axis=0) / np.maximum(rows.sum(axis=0), 1.0)
        # Where values are skewed, a deal with a high sum has high squares as well.
        skew = np.sum(n * (mean_cube - mean * mean_square)) / max(float(np.sum(n * (mean_square - mean**2))), _SMALLEST)
        squares = mean_square @ squared_rows + inside @ split_rows
        return middle + moved, np.maximum(squares + skew * ratio * moved, 0.0), mean @ squared_rows + ratio * moved

    def draw_few(
        self, group: int, values: Floats, deal_count: int, generator: np.random.Generator
    ) -> tuple[Floats, Floats, Floats] | None:
        """Return the same of one group of few whole clusters, drawn from the clusters of their classes."""
        if not 0 < self._part_counts[group] < _FEW:
            return None
        parts = np.flatnonzero(self.member[:, group])
        clusters = self.parts[parts]
        if (self.part_sizes[parts] != self.sizes[clusters]).any():
            return None
        n, own = self._class_counts, self.classes[clusters]
        counts = np.bincount(own, minlength=len(n))
        picked = self._starts[own] + (generator.random((deal_count, len(parts))) * n[own]).astype(np.int64)
        # Drawn with replacement, they would vary more than dealt ones where a class is nearly used up.
        share = np.sqrt(np.maximum(1.0 - (counts - 1) / np.maximum(n - 1, 1), 0.0))[own]
        mean = (np.add.reduceat(values, self._starts) / n)[own]
        drawn, sizes = values[picked], self.sizes[clusters]
        sums = drawn * sizes
        return (mean + share * (drawn - mean)) @ sizes, np.square(sums).sum(axis=1), sums @ sizes

    @cached_property
    def _starts(self) -> Codes:
        return np.flatnonzero(np.diff(self.classes, prepend=-1))

    @cached_property
    def _class_counts(self) -> Floats:
        return np.diff(self._starts, append=len(self.classes)).astype(np.float64)

    @cached_property
    def _part_counts(self) -> Floats:
        return np.asarray(self.member.sum(axis=0, dtype=np.float64))

    @cached_property
    def _edges(self) -> list[tuple[int, int]]:
        """The parts of each class."""
        return list(itertools.pairwise([*np.searchsorted(self.parts, self._starts).tolist(), len(self.parts)]))

    @cached_property
    def _class_sums(self) -> Floats:
        """Rows of each class in each group, their sum over parts squared, and what is split: (3, classes, groups)."""
        sizes = self.part_sizes
        wanted = np.stack([sizes, sizes**2, sizes * (1.0 - sizes / self.sizes[self.parts])]).astype(np.float32)
        sums = [wanted[:, start:stop] @ self.member[start:stop] for start, stop in self._edges]
        return np.stack(sums, axis=1).astype(np.float64)

    @cached_property
    def _class_products(self) -> tuple[Floats, Floats]:
        """Sums over clusters, and over rows, of how many rows two groups have together: (classes, groups, groups)."""
        clusters, overlaps = [], []
        is_whole = len(self.parts) == len(self.sizes)
        for start, stop in self._edges:
            member, sizes = self.member[start:stop], self.part_sizes[start:stop].astype(np.float32)
            rows = member if (sizes == 1.0).all() else member * sizes[:, None]
            if not is_whole:
                rows = np.add.reduceat(rows, np.flatnonzero(np.diff(self.parts[start:stop], prepend=-1)), axis=0)
            clusters.append(rows.T @ rows)
            overlaps.append(clusters[-1] if rows is member else member.T @ (member * sizes[:, None]))
        return np.stack(clusters).astype(np.float64), np.stack(overlaps).astype(np.float64)


def _normal(spread: Floats, deal_count: int, generator: np.random.Generator) -> Floats:
    levels, directions = np.linalg.eigh((spread + spread.T) / 2.0)
    root = directions * np.sqrt(np.maximum(levels, 0.0))
    return generator.standard_normal((deal_count, len(spread))) @ root.T
