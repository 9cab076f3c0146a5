"""Random deals of rows to groups: among rows that are alike, persons whole; and the sums of groups in each deal.

Rows are dealt only within a stratum. Rows of one cluster (a person, twins) go together, to the place of a cluster of
the same size in the same stratum, and are shuffled among themselves as well, so that labels which change within a
person may be looked at too. Every deal is one product of a block of shuffled values with who is in which group; where
there are clusters, of the sums over each cluster's part of a group, because these are what is independent.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from agegender.audit.held_equal import HeldEqual
from agegender.audit.large_deals import Places

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
_CHUNK_VALUES = 2_000_000
_MOST_ROWS = 15_000  # with more of them sums are drawn from their normal limit


@dataclass(frozen=True)
class DealtSums:
    """Sums over the observed deal (first row) and random ones, of the groups of one column.

    Attributes
    ----------
    counts : array, shape (groups,)
    known_count : float
        Rows whose group is known.
    sums : array, shape (deals, groups)
        Of the values in each group.
    squares, weighted : array, shape (deals, groups)
        Of the squared sums of clusters, and of these sums times the cluster's rows; without clusters a row is one.
        Empty where they were not asked for.
    squared_sizes : array, shape (groups,)
        Sum over clusters of their squared rows.
    cluster_counts : array, shape (groups,)
        Clusters in each group.
    known_sums, known_squares, known_weighted : array, shape (deals, 1)
    known_squared_sizes, known_cluster_count : float
        The same over all rows whose group is known.
    """

    counts: Floats
    known_count: float
    sums: Floats
    squares: Floats
    weighted: Floats
    squared_sizes: Floats
    cluster_counts: Floats
    known_sums: Floats
    known_squares: Floats
    known_weighted: Floats
    known_squared_sizes: float
    known_cluster_count: float

    def means(self) -> Floats:
        """Return the mean of every group in every deal."""
        return self.sums / np.maximum(self.counts, 1.0)


@dataclass(frozen=True)
class _Cells:
    """The parts that clusters have in the groups of some columns, in the order of `rows`; without clusters, the rows.

    `member` says which part is in which group, and then which is in any, of shape (parts, groups).
    """

    rows: Codes | None
    starts: Codes | None
    sizes: NDArray[np.float32]
    member: NDArray[np.float32]
    columns: tuple[int, ...]

    def up_to(self, reach: int, group_counts: Sequence[int]) -> _Cells:
        columns = tuple(column for column in self.columns if column < reach)
        width = sum(group_counts[column] + 1 for column in columns)
        return replace(self, columns=columns, member=self.member[:, :width])

    def collapse(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.starts is None:
            return block
        return np.add.reduceat(block if self.rows is None else block[:, self.rows], self.starts, axis=1)


class Dealer:
    """Who may be dealt whose place.

    Parameters
    ----------
    row_count : int
    strata : array, shape (rows,), int, optional
        Which rows are alike; by default all are.
    clusters : array, shape (rows,), int, optional
        Which rows belong together; all rows of a cluster in one stratum. By default each stands alone.
    """

    def __init__(self, row_count: int, strata: Codes | None = None, clusters: Codes | None = None) -> None:
        strata = np.zeros(row_count, dtype=np.int64) if strata is None else strata
        self.has_clusters = clusters is not None
        clusters = np.arange(row_count) if clusters is None else np.unique(clusters, return_inverse=True)[1].reshape(-1)
        sizes = np.bincount(clusters, minlength=1)[clusters] if row_count else clusters
        # Rows of one class, a stratum and a size of cluster, stand together, and in it those of one cluster.
        self.order = np.lexsort((clusters, strata, sizes))
        self.clusters = clusters[self.order]
        classes = np.stack((sizes, strata))[:, self.order]
        edges = [0, *(np.flatnonzero((np.diff(classes) != 0).any(axis=0)) + 1).tolist(), row_count]
        self._classes = [(start, stop, int(classes[0, start])) for start, stop in itertools.pairwise(edges) if stop]

    def deals(self, deal_count: int, seed: int) -> Iterator[tuple[slice, Codes]]:
        """Yield rows of some deals at a time, as positions in `order`; the first deal is the observed one."""
        generator = np.random.Generator(np.random.SFC64(seed))
        row_count = len(self.order)
        step = max(1, _CHUNK_VALUES // max(row_count, 1))
        for start in range(0, deal_count + 1, step):
            stop = min(start + step, deal_count + 1)
            rows = np.empty((stop - start, row_count), dtype=np.int64)
            rows[:] = np.arange(row_count)
            dealt = rows[1:] if start == 0 else rows
            for first, last, size in self._classes:
                self._shuffle(dealt[:, first:last], size, generator)
            yield slice(start, stop), rows

    def places(self, cells: _Cells) -> Places:
        """Return what is dealt where, for tables with too many rows to deal."""
        starts, sizes = self._cluster_starts
        classes = np.searchsorted([start for start, *_ in self._classes], starts, side="right") - 1
        parts = np.arange(len(self.order)) if cells.starts is None else self._cluster_numbers(starts, cells)
        return Places(sizes.astype(np.float64), classes, parts, cells.sizes.astype(np.float64), cells.member)

    def cluster_values(self, values: NDArray[np.float32]) -> tuple[Floats, Floats]:
        """Return the mean of each cluster's rows, in `order`, and the variance of a row inside."""
        starts, sizes = self._cluster_starts
        numbers = values.astype(np.float64)
        if not self.has_clusters:
            return numbers, np.zeros(len(numbers))
        means = np.add.reduceat(numbers, starts) / sizes
        squares = np.add.reduceat((numbers - np.repeat(means, sizes)) ** 2, starts)
        return means, squares / np.maximum(sizes - 1, 1)

    @cached_property
    def _cluster_starts(self) -> tuple[Codes, Codes]:
        starts = np.flatnonzero(np.diff(self.clusters, prepend=-1))
        return starts, np.diff(starts, append=len(self.clusters))

    def _cluster_numbers(self, starts: Codes, cells: _Cells) -> Codes:
        """Return the number of the cluster, by its place in `order`, of each part."""
        assert cells.starts is not None
        first = cells.starts if cells.rows is None else cells.rows[cells.starts]
        return np.searchsorted(starts, first, side="right") - 1

    @staticmethod
    def _shuffle(rows: Codes, size: int, generator: np.random.Generator) -> None:
        if size == 1:
            generator.permuted(rows, axis=1, out=rows)
            return
        deal_count, first = len(rows), int(rows[0, 0]) if len(rows) else 0
        places = np.tile(np.arange(rows.shape[1] // size), (deal_count, 1))
        generator.permuted(places, axis=1, out=places)
        inside = np.empty((deal_count, places.shape[1], size), dtype=np.int64)
        inside[:] = np.arange(size)
        generator.permuted(inside, axis=2, out=inside)
        rows[:] = first + (places[:, :, None] * size + inside).reshape(deal_count, -1)


def cluster_strata(held: HeldEqual, row_count: int, clusters: Codes | None) -> Codes:
    """Return the stratum of every row, of clusters that of their median row, each size for itself."""
    if clusters is None:
        return held.strata(row_count)
    sizes = np.bincount(clusters)[clusters]
    strata = np.zeros(row_count, dtype=np.int64)
    for size in np.unique(sizes):
        inside = np.flatnonzero(sizes == size)
        together = inside[np.argsort(clusters[inside], kind="stable")].reshape(-1, size)
        strata[together] = held.of_clusters(together).strata(len(together))[:, None]
    return strata


def deal(
    values: Sequence[tuple[Floats, int, bool]],
    partitions: Sequence[Codes],
    group_counts: Sequence[int],
    dealer: Dealer,
    *,
    deal_count: int,
    seed: int,
) -> list[list[DealtSums]]:
    """Return, for each array of values and each column, the sums of groups over the observed and random deals.

    Parameters
    ----------
    values : sequence of (array of shape (rows,), int, bool)
        Without NaN; over how many of the columns, from the first, it is summed; whether squares are wanted. All are
        dealt alike, because shuffling costs more than summing.
    partitions : sequence of arrays, shape (rows,)
        For each column the group of each row, 0.., or -1 where it is unknown.
    group_counts : sequence of int
        Groups in each column.
    deal_count : int
        Random deals, beside the observed one.
    """
    cells = _cells([codes[dealer.order] for codes in partitions], group_counts, dealer)
    made = [
        _Sums(one[dealer.order], has_squares, [part.up_to(reach, group_counts) for part in cells], deal_count)
        for one, reach, has_squares in values
    ]
    if cells and len(dealer.order) > _MOST_ROWS:
        places: dict[tuple[int, ...], Places] = {}
        for sums in made:
            sums.fill(dealer, places, np.random.Generator(np.random.SFC64(seed)))
    else:
        for deals, rows in dealer.deals(deal_count, seed) if cells else ():
            for sums in made:
                sums.add(deals, rows)
    return [sums.by_column(group_counts) for sums in made]


class _Sums:
    """The sums of one array of values, filled block by block."""

    def __init__(self, values: Floats, has_squares: bool, cells: Sequence[_Cells], deal_count: int) -> None:
        self.values, self.has_squares = values.astype(np.float32), has_squares
        self.cells = [one for one in cells if one.columns]
        shapes = [(3 if has_squares else 1, deal_count + 1, one.member.shape[1]) for one in self.cells]
        self.made = [np.empty(shape, dtype=np.float32) for shape in shapes]

    def add(self, deals: slice, rows: Codes) -> None:
        block = self.values[rows]
        for cells, made in zip(self.cells, self.made, strict=True):
            parts = cells.collapse(block)
            made[0, deals] = parts @ cells.member
            if self.has_squares:
                made[1, deals] = np.square(parts) @ cells.member
                made[2, deals] = made[0, deals] if cells.starts is None else (parts * cells.sizes) @ cells.member

    def fill(self, dealer: Dealer, places: dict[tuple[int, ...], Places], generator: np.random.Generator) -> None:
        """Fill all deals of a large table, without dealing."""
        self.add(slice(0, 1), np.arange(len(dealer.order))[None, :])
        values, within = dealer.cluster_values(self.values)
        for cells, made in zip(self.cells, self.made, strict=True):
            if cells.columns not in places:
                places[cells.columns] = dealer.places(cells)
            own = places[cells.columns]
            made[:, 1:] = np.stack(own.draw(values, within, made.shape[1] - 1, generator)[: len(made)])
            for group in range(made.shape[2]):
                few = own.draw_few(group, values, made.shape[1] - 1, generator)
                if few is not None:
                    made[:, 1:, group] = np.stack(few[: len(made)])

    def by_column(self, group_counts: Sequence[int]) -> list[DealtSums]:
        found: dict[int, DealtSums] = {}
        for cells, made in zip(self.cells, self.made, strict=True):
            sizes = cells.sizes.astype(np.float64)
            counts, squared_sizes = sizes @ cells.member, sizes**2 @ cells.member
            parts = cells.member.sum(axis=0, dtype=np.float64)
            start = 0
            for column in cells.columns:
                own, known = slice(start, start + group_counts[column]), start + group_counts[column]
                sums = [part.astype(np.float64) for part in made[:, :, start : known + 1]]
                sums += [np.empty((0, 0))] * (3 - len(sums))
                start = known + 1
                found[column] = DealtSums(
                    counts=counts[own], known_count=float(counts[known]),
                    sums=sums[0][:, :-1], squares=sums[1][:, :-1], weighted=sums[2][:, :-1],
                    squared_sizes=squared_sizes[own], cluster_counts=parts[own],
                    known_sums=sums[0][:, -1:], known_squares=sums[1][:, -1:], known_weighted=sums[2][:, -1:],
                    known_squared_sizes=float(squared_sizes[known]), known_cluster_count=float(parts[known]),
                )  # fmt: skip
        return [found[column] for column in sorted(found)]


def _cells(partitions: Sequence[Codes], group_counts: Sequence[int], dealer: Dealer) -> list[_Cells]:
    """Return what is summed: rows, or clusters, and for each column that changes within clusters parts of its own."""
    if not partitions:
        return []
    if not dealer.has_clusters:
        alone = np.ones(len(partitions[0]), dtype=np.float32)
        return [_Cells(None, None, alone, _membership(partitions, group_counts), tuple(range(len(partitions))))]
    starts = np.flatnonzero(np.diff(dealer.clusters, prepend=-1))
    sizes: Codes = np.diff(starts, append=len(dealer.clusters))
    whole = [number for number, codes in enumerate(partitions) if (codes == np.repeat(codes[starts], sizes)).all()]
    cells = []
    for number, codes in enumerate(partitions):
        if number not in whole:
            rows = np.lexsort((codes, np.cumsum(np.diff(dealer.clusters, prepend=-1) != 0)))
            parts = np.stack([dealer.clusters[rows], codes[rows]])
            begin = np.flatnonzero(np.r_[True, (np.diff(parts) != 0).any(axis=0)])
            own = _membership([parts[1, begin]], [group_counts[number]])
            own_sizes = np.diff(begin, append=len(rows)).astype(np.float32)
            cells.append(_Cells(rows, begin, own_sizes, own, (number,)))
    if whole:
        member = _membership([partitions[one][starts] for one in whole], [group_counts[one] for one in whole])
        cells.append(_Cells(None, starts, sizes.astype(np.float32), member, tuple(whole)))
    return cells


def _membership(partitions: Sequence[Codes], group_counts: Sequence[int]) -> NDArray[np.float32]:
    """Return for each column who is in which of its groups, and then who is in any."""
    member = np.zeros((len(partitions[0]), sum(group_counts) + len(group_counts)), dtype=np.float32)
    start = 0
    for codes, count in zip(partitions, group_counts, strict=True):
        member[:, start : start + count] = codes[:, None] == np.arange(count)
        member[:, start + count] = codes >= 0
        start += count + 1
    return member
