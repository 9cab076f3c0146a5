"""Owns the deals of chance: rows dealt to the groups at random, and how far apart that alone sets them.

Where no group differs, rows are exchangeable and the observed deal is one among its permutations: the p-value holds
whatever the shape of the errors. The statistics are studentised, so that it also nearly holds for a group that is
right when another one differs.

References
----------
Westfall and Young: Resampling-based multiple testing, 1993. Chung and Romano, Annals of Statistics 2013.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
_CHUNK_VALUES = 2_000_000
# A group's own spread counts as much as this many rows of the common one. Of absolute errors more is borrowed: with the
# spread of 100 skewed values the test would rather see the outliers than the gap (power 0.88 against 0.94, simulated).
_SHRINKING_ROWS = {"signed": 10.0, "positive": 200.0}


@dataclass(frozen=True)
class Deals:
    """Sums of every group over the observed deal (first row) and random ones, shapes (deals, groups).

    Attributes
    ----------
    counts, known_counts : array, shape (groups,)
        Rows of the group, and rows whose group in that column is known.
    sums, squares : array, shape (deals, groups)
        Of the values and of their squares in the group.
    known_sums, known_squares : array, shape (deals, groups)
        The same over all rows whose group in that column is known.
    """

    counts: Floats
    known_counts: Floats
    sums: Floats
    squares: Floats
    known_sums: Floats
    known_squares: Floats

    def part(self, groups: slice) -> Deals:
        """Return the same deals for some of the groups."""
        return Deals(*(getattr(self, field.name)[..., groups] for field in fields(self)))

    def means(self) -> Floats:
        """Return the mean of every group in every deal."""
        return self.sums / np.maximum(self.counts, 1.0)


def deal(
    values: Sequence[Floats], partitions: Sequence[Codes], group_counts: Sequence[int], *, deal_count: int, seed: int
) -> list[Deals]:
    """Return, for each array of values, the sums of groups over the observed deal and `deal_count` random ones.

    Parameters
    ----------
    values : sequence of arrays, shape (rows,)
        Without NaN. All are dealt alike, because shuffling costs more than summing.
    partitions : sequence of arrays, shape (rows,)
        For each column the group of each row, 0.., or -1 where it is unknown.
    group_counts : sequence of int
        Groups in each partition; those of all partitions stand side by side in the result.
    """
    member, column = _membership(partitions, group_counts)
    generator = np.random.Generator(np.random.SFC64(seed))
    rows = [one.astype(np.float32) for one in values]
    sums, squares = ([np.empty((deal_count + 1, member.shape[1])) for _ in rows] for _ in range(2))
    step = max(1, _CHUNK_VALUES // max(len(member), 1))
    for start in range(0, deal_count + 1, step):
        stop = min(start + step, deal_count + 1)
        places = np.tile(np.arange(len(member)), (stop - start, 1))
        first = 1 if start == 0 else 0
        generator.permuted(places[first:], axis=1, out=places[first:])
        for number, one in enumerate(rows):
            block = one[places]
            sums[number][start:stop] = block @ member
            squares[number][start:stop] = np.square(block, out=block) @ member
    counts = member.sum(axis=0, dtype=np.float64)
    own, known = slice(0, len(column)), len(column) + column
    return [
        Deals(counts[own], counts[known], total[:, own], square[:, own], total[:, known], square[:, known])
        for total, square in zip(sums, squares, strict=True)
    ]


def statistics(deals: Deals, kind: str) -> Floats:
    """Return the studentised gap to the rest of every group in every deal, shape (deals, groups); above 0 is higher.

    Parameters
    ----------
    kind : str
        "rate" for values 0 and 1 (the score test), "positive" for values without a sign, such as absolute errors (a
        ratio of means, each with its own relative spread: where errors grow, their spread grows with them),
        "signed" for all others (Welch's t).

    Returns
    -------
    array
        0 where a group or its rest is empty, or where nothing varies.
    """
    n, others = np.maximum(deals.counts, 1.0), np.maximum(deals.known_counts - deals.counts, 1.0)
    mean, rest = deals.sums / n, (deals.known_sums - deals.sums) / others
    common = deals.known_sums / np.maximum(deals.known_counts, 1.0)
    spread = np.maximum(deals.known_squares / np.maximum(deals.known_counts, 1.0) - common**2, 0.0)
    if kind == "rate":
        return _ratio(mean - rest, np.sqrt(spread * (1.0 / n + 1.0 / others)))
    own = _shrunk(deals.squares / n - mean**2, n, spread, _SHRINKING_ROWS[kind])
    other = _shrunk((deals.known_squares - deals.squares) / others - rest**2, others, spread, _SHRINKING_ROWS[kind])
    if kind == "signed":
        return _ratio(mean - rest, np.sqrt(own / n + other / others))
    relative = np.sqrt(_ratio(own, mean**2) / n + _ratio(other, rest**2) / others)
    # The larger over the smaller: symmetric, and as sensitive to twice as to half the error.
    larger = _ratio(np.maximum(mean, rest), np.minimum(mean, rest)) - 1.0
    return _ratio(np.sign(mean - rest) * larger, relative)


def holm(p_values: Floats) -> Floats:
    """Return Holm's corrected p-values; NaN is no comparison.

    >>> holm(np.array([0.01, 0.04, float("nan")])).tolist()
    [0.02, 0.04, nan]
    """
    corrected = np.full(p_values.shape, np.nan)
    places = np.flatnonzero(np.isfinite(p_values))
    order = places[np.argsort(p_values[places], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return corrected


def kind_of(values: Floats, *, is_rate: bool) -> str:
    """Return which of the statistics suits the values: "rate", "positive" or "signed"."""
    if is_rate:
        return "rate"
    return "positive" if values.size and values.min() >= 0.0 else "signed"


def family_p_values(t: Floats) -> Floats:
    """Return p-values that hold for all groups together: how often chance alone sets any of them as far apart.

    Step-down: the farthest group is compared with the farthest of all in each deal, the next with the farthest of the
    others, and so on.

    Parameters
    ----------
    t : array, shape (deals, groups)
        Sizes of the statistics, the observed deal first.
    """
    order = np.argsort(-t[0], kind="stable")
    farthest = np.maximum.accumulate(t[:, order[::-1]], axis=1)[:, ::-1]
    p_values = np.empty(t.shape[1])
    p_values[order] = np.maximum.accumulate(np.mean(farthest >= farthest[0] * (1.0 - 1e-6), axis=0))
    return p_values


def _membership(partitions: Sequence[Codes], group_counts: Sequence[int]) -> tuple[NDArray[np.float32], Codes]:
    """Return who is in which group, then who is known in which column, and the column of each group."""
    parts = [codes[:, None] == np.arange(count)[None, :] for codes, count in zip(partitions, group_counts, strict=True)]
    known = [(codes >= 0)[:, None] for codes in partitions]
    column = np.repeat(np.arange(len(partitions)), group_counts)
    return np.concatenate([*parts, *known], axis=1).astype(np.float32), column


def _shrunk(variance: Floats, n: Floats, common: Floats, rows: float) -> Floats:
    return (n * np.maximum(variance, 0.0) + rows * common) / (n + rows)


def _ratio(above: Floats, below: Floats) -> Floats:
    # float32 sums leave a speck where nothing varies at all.
    usable = below > 1e-6
    return np.where(usable, above / np.where(usable, below, 1.0), 0.0)
