"""What chance alone does: rows dealt to the groups at random, and one ledger of which gaps are more than that.

Where no group differs, rows are exchangeable and the observed deal is one among its permutations: the p-value holds
whatever the shape of the errors. The statistics are studentised, so that it also nearly holds for a group that is
right when another one differs. Every group of every column is compared with its rest in the metrics of
`FAMILY_SHARES`, and so are intersections. The chance of any false claim in the whole audit is held at 5 %: that share
is dealt out to families (a head's metric × single columns or intersections), and within a family the largest statistic
is compared with the largest of every random deal, which loses little for groups that overlap.
See docs/decisions/0030-how-false-alarms-are-controlled.md.

References
----------
Westfall and Young: Resampling-based multiple testing, 1993. Chung and Romano, Annals of Statistics 2013.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agegender.audit.grouping import SMALLEST_RANKED_GROUP, Grouping
from agegender.heads import RowMetric

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
FALSE_ALARM_RATE = 0.05
# The share of the 5 % of each metric, over single columns and over intersections, divided among the heads that have it:
# errors of numbers are the hardest to tell from chance and get the most.
FAMILY_SHARES = {"mean_absolute_error": (0.7, 0.06), "mean_signed_error": (0.1, 0.03), "accuracy": (0.08, 0.03)}
# Of these no gap is claimed, but the largest stands beside what chance makes; only over single columns.
_UNTESTED = ("interval_coverage",)
# A group that is better off than its rest must be this much farther out: the claims are about who is worse off.
_BETTER_OFF_WEIGHT = 0.8
# A group's own spread counts as much as this many rows of the common one. Of absolute errors more is borrowed: with the
# spread of 100 skewed values the test would rather see the outliers than the gap (power 0.88 against 0.94, simulated).
_SHRINKING_ROWS = {"signed": 10.0, "positive": 200.0}
_MOST_DEALT_VALUES = 100_000_000
_FEWEST_DEALS = 999
_CHUNK_VALUES = 2_000_000


@dataclass(frozen=True)
class GroupChances:
    """One metric over one grouping, beside what random deals make of it. Arrays have the shape (groups,).

    Attributes
    ----------
    p_corrected : array
        Of each group's gap to its rest, corrected for the whole audit: a gap may be claimed below 0.05. NaN in groups
        that are too small, and where the metric has no family.
    directions : array of 1.0 and -1.0
        Whether the group lies above its rest or below.
    largest_gap, largest_gap_null_95, largest_gap_p_value : float
        Highest minus lowest ranked group, the 95th percentile of that under chance, and the share of deals with at
        least as much; NaN with fewer than two ranked groups.
    lowest, highest : int
        Numbers of those two groups, -1 without.
    mean_gap_null_95 : float
        The 95th percentile of the mean distance over all pairs of groups under chance.
    """

    p_corrected: Floats
    directions: Floats
    largest_gap: float
    largest_gap_null_95: float
    largest_gap_p_value: float
    lowest: int
    highest: int
    mean_gap_null_95: float


@dataclass(frozen=True)
class DealtSums:
    """Sums over the observed deal (first row) and random ones, of the groups of one column.

    Attributes
    ----------
    counts : array, shape (groups,)
    known_count : float
        Rows whose group is known.
    sums, squares : array, shape (deals, groups)
        Of the values and of their squares in each group.
    known_sums, known_squares : array, shape (deals, 1)
        The same over all rows whose group is known.
    """

    counts: Floats
    known_count: float
    sums: Floats
    squares: Floats
    known_sums: Floats
    known_squares: Floats

    def means(self) -> Floats:
        """Return the mean of every group in every deal."""
        return self.sums / np.maximum(self.counts, 1.0)


class Ledger:
    """All gaps of an audit, dealt together once.

    Parameters
    ----------
    values : mapping of metric to array, shape (rows,)
        NaN where a row does not count. What is not tested is not dealt.
    single, crossed : sequence of Grouping
        Of all rows.
    deal_count : int
        Random deals; fewer for tables of more than 50,000 rows.
    """

    def __init__(
        self,
        values: Mapping[RowMetric, Floats],
        single: Sequence[Grouping],
        crossed: Sequence[Grouping],
        *,
        deal_count: int = 2000,
        seed: int = 7,
    ) -> None:
        values = {metric: one for metric, one in values.items() if metric.key in (*FAMILY_SHARES, *_UNTESTED)}
        self.values, self.single, self.crossed = values, tuple(single), tuple(crossed)
        self._chances: dict[tuple[str, tuple[str, ...]], GroupChances] = {}
        shares = _shares(list(values), has_crossed=bool(crossed))
        families = ((False, slice(len(single))), (True, slice(len(single), None)))
        for metrics in _with_same_rows(values) if single or crossed else ():
            known = np.isfinite(values[metrics[0]])
            counted = [one.of_rows(known) for one in (*single, *crossed)]
            dealt = _deal_groupings({metric: values[metric][known] for metric in metrics}, counted, len(single),
                                    deal_count=deal_count, seed=seed)  # fmt: skip
            for metric, sums in zip(metrics, dealt, strict=True):
                for is_crossed, family in families:
                    groupings = counted[: len(sums)][family]
                    judged = _judge(metric, groupings, sums[family], shares.get((metric.name, is_crossed)))
                    self._chances |= {
                        (metric.name, one.columns): made for one, made in zip(groupings, judged, strict=True)
                    }

    def get(self, metric: str, columns: tuple[str, ...]) -> GroupChances | None:
        """Return the chances of one metric over one grouping, or None where it was not dealt."""
        return self._chances.get((metric, columns))


def deal(
    values: Sequence[tuple[Floats, int]],
    partitions: Sequence[Codes],
    group_counts: Sequence[int],
    *,
    deal_count: int,
    seed: int,
) -> list[list[DealtSums]]:
    """Return, for each array of values and each column, the sums of groups over the observed and random deals.

    Parameters
    ----------
    values : sequence of (array of shape (rows,), int)
        Without NaN, and over how many of the columns, from the first, it is summed. All are dealt alike, because
        shuffling costs more than summing.
    partitions : sequence of arrays, shape (rows,)
        For each column the group of each row, 0.., or -1 where it is unknown.
    group_counts : sequence of int
        Groups in each column.
    deal_count : int
        Random deals, beside the observed one.
    """
    edges = np.cumsum([0, *(count + 1 for count in group_counts)])
    member = _membership(partitions, edges)
    rows = [one.astype(np.float32) for one, _ in values]
    widths = [int(edges[count]) for _, count in values]
    sums = [np.empty((deal_count + 1, width)) for width in widths]
    # Zeros and ones are their own squares.
    is_own_square = [bool(((one == 0.0) | (one == 1.0)).all()) for one in rows]
    squares = [one if is_same else np.empty_like(one) for one, is_same in zip(sums, is_own_square, strict=True)]
    for deals, order in _orders(len(member), deal_count, seed):
        for number, (one, width) in enumerate(zip(rows, widths, strict=True)):
            block = one[order]
            sums[number][deals] = block @ member[:, :width]
            if not is_own_square[number]:
                squares[number][deals] = np.square(block, out=block) @ member[:, :width]
    counts = member.sum(axis=0, dtype=np.float64)
    return [_by_column(counts, one, square, edges[: count + 1])
            for (_, count), one, square in zip(values, sums, squares, strict=True)]  # fmt: skip


def _by_column(counts: Floats, sums: Floats, squares: Floats, edges: Codes) -> list[DealtSums]:
    """Cut sums over all columns side by side into those of each; a column's last one is over all its groups."""
    parts = [(slice(start, stop - 1), slice(stop - 1, stop)) for start, stop in itertools.pairwise(edges)]
    return [
        DealtSums(
            counts[own], float(counts[known][0]), sums[:, own], squares[:, own], sums[:, known], squares[:, known]
        )
        for own, known in parts
    ]


def studentised_gaps(sums: DealtSums, kind: str) -> Floats:
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
    n, others = np.maximum(sums.counts, 1.0), np.maximum(sums.known_count - sums.counts, 1.0)
    mean, rest = sums.sums / n, (sums.known_sums - sums.sums) / others
    common = sums.known_sums / max(sums.known_count, 1.0)
    spread = np.maximum(sums.known_squares / max(sums.known_count, 1.0) - common**2, 0.0)
    if kind == "rate":
        return _ratio(mean - rest, np.sqrt(spread * (1.0 / n + 1.0 / others)))
    own = _shrunk(sums.squares / n - mean**2, n, spread, _SHRINKING_ROWS[kind])
    other = _shrunk((sums.known_squares - sums.squares) / others - rest**2, others, spread, _SHRINKING_ROWS[kind])
    if kind == "signed":
        return _ratio(mean - rest, np.sqrt(own / n + other / others))
    relative = np.sqrt(_ratio(own, mean**2) / n + _ratio(other, rest**2) / others)
    # The larger over the smaller: symmetric, and as sensitive to twice as to half the error.
    larger = _ratio(np.maximum(mean, rest), np.minimum(mean, rest)) - 1.0
    return _ratio(np.sign(mean - rest) * larger, relative)


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


def _orders(row_count: int, deal_count: int, seed: int) -> Iterator[tuple[slice, Codes]]:
    """Yield the rows' orders in a few deals at a time, the first one as it is: the one place that says who is dealt."""
    generator = np.random.Generator(np.random.SFC64(seed))
    step = max(1, _CHUNK_VALUES // max(row_count, 1))
    for start in range(0, deal_count + 1, step):
        stop = min(start + step, deal_count + 1)
        order = np.tile(np.arange(row_count), (stop - start, 1))
        dealt = order[1:] if start == 0 else order
        generator.permuted(dealt, axis=1, out=dealt)
        yield slice(start, stop), order


def _deal_groupings(
    values: Mapping[RowMetric, Floats], groupings: Sequence[Grouping], single_count: int, *, deal_count: int, seed: int
) -> list[list[DealtSums]]:
    row_count = len(groupings[0].codes)
    count = min(deal_count, max(_MOST_DEALT_VALUES // max(row_count, 1), _FEWEST_DEALS))
    reach = [len(groupings) if metric.key in FAMILY_SHARES else single_count for metric in values]
    codes, sizes = [one.codes for one in groupings], [one.size for one in groupings]
    return deal(list(zip(values.values(), reach, strict=True)), codes, sizes, deal_count=count, seed=seed)


def _judge(
    metric: RowMetric, groupings: Sequence[Grouping], dealt: Sequence[DealtSums], share: float | None
) -> list[GroupChances]:
    """Return the chances of one family: a metric over groupings, tested together where they have a share."""
    kind = "rate" if metric.is_rate else "signed" if metric.better == "zero" else "positive"
    t = [studentised_gaps(one, kind) for one in dealt]
    p_values = [np.full(one.size, np.nan) for one in groupings]
    tested = [_is_tested(groups, sums) for groups, sums in zip(groupings, dealt, strict=True)]
    if share is not None and any(one.any() for one in tested):
        sizes = [_weighted(one, metric.better)[:, chosen] for one, chosen in zip(t, tested, strict=True)]
        together = np.minimum(family_p_values(np.concatenate(sizes, axis=1)) / share, 1.0)
        parts = np.split(together, np.cumsum([chosen.sum() for chosen in tested])[:-1])
        for one, chosen, part in zip(p_values, tested, parts, strict=True):
            one[chosen] = part
    return [_chances(*parts) for parts in zip(groupings, dealt, t, p_values, strict=True)]


def _chances(groups: Grouping, sums: DealtSums, t: Floats, p_corrected: Floats) -> GroupChances:
    ranked, means = _is_ranked(groups, sums), sums.means()
    largest, lowest, highest = (float("nan"),) * 3, -1, -1
    if ranked.sum() > 1:
        spans = np.ptp(means[:, ranked], axis=1)
        is_as_far = spans >= spans[0] * (1 - 1e-6)
        largest = float(spans[0]), float(np.quantile(spans[1:], 0.95)), float(np.mean(is_as_far))
        numbers = np.flatnonzero(ranked)
        lowest, highest = int(numbers[means[0, ranked].argmin()]), int(numbers[means[0, ranked].argmax()])
    directions = np.where(t[0] >= 0, 1.0, -1.0)
    return GroupChances(
        p_corrected, directions, *largest, lowest, highest, _mean_gap_null_95(means[1:, sums.counts > 0])
    )


def _mean_gap_null_95(means: Floats) -> float:
    if means.shape[1] < 2 or not len(means):
        return float("nan")
    # Of sorted means the sum over pairs is a weighted sum: the largest of k is k - 1 times the larger one.
    count = means.shape[1]
    weights = 2.0 * np.arange(count) - (count - 1)
    return float(np.quantile(np.sort(means, axis=1) @ weights / (count * (count - 1) / 2), 0.95))


def _is_ranked(groups: Grouping, sums: DealtSums) -> NDArray[np.bool_]:
    return (np.arange(groups.size) < len(groups.values)) & (sums.counts >= SMALLEST_RANKED_GROUP)


def _is_tested(groups: Grouping, sums: DealtSums) -> NDArray[np.bool_]:
    return _is_ranked(groups, sums) & (sums.known_count - sums.counts >= SMALLEST_RANKED_GROUP)


def _weighted(t: Floats, better: str) -> Floats:
    if better == "zero":
        return np.abs(t)
    worse = t if better == "lower" else -t
    return np.where(worse >= 0.0, worse, -_BETTER_OFF_WEIGHT * worse)


def _shares(metrics: Sequence[RowMetric], *, has_crossed: bool) -> dict[tuple[str, bool], float]:
    """Return the share of each family, (metric, whether crossed), summing to 1 over those that there are."""
    keys = [metric.key for metric in metrics]
    shares = {
        (metric.name, is_crossed): FAMILY_SHARES[metric.key][is_crossed] / keys.count(metric.key)
        for metric in metrics
        for is_crossed in (False, True)
        if metric.key in FAMILY_SHARES and has_crossed >= is_crossed
    }
    total = sum(shares.values())
    return {family: share / total for family, share in shares.items()}


def _with_same_rows(values: Mapping[RowMetric, Floats]) -> list[list[RowMetric]]:
    """Return the metrics in lists that count the same rows, so that one shuffle serves each list."""
    alike: dict[bytes, list[RowMetric]] = {}
    for metric, numbers in values.items():
        alike.setdefault(np.isfinite(numbers).tobytes(), []).append(metric)
    return list(alike.values())


def _membership(partitions: Sequence[Codes], edges: Codes) -> NDArray[np.float32]:
    """Return for each column who is in which of its groups, and then who is in any."""
    member = np.zeros((len(partitions[0]) if partitions else 0, int(edges[-1])), dtype=np.float32)
    for codes, start, stop in zip(partitions, edges[:-1], edges[1:], strict=True):
        member[:, start : stop - 1] = codes[:, None] == np.arange(stop - 1 - start)
        member[:, stop - 1] = codes >= 0
    return member


def _shrunk(variance: Floats, n: Floats, common: Floats, rows: float) -> Floats:
    return (n * np.maximum(variance, 0.0) + rows * common) / (n + rows)


def _ratio(above: Floats, below: Floats) -> Floats:
    # float32 sums leave a speck where nothing varies at all.
    usable = below > 1e-6
    return np.where(usable, above / np.where(usable, below, 1.0), 0.0)
