"""What chance does: rows dealt to the groups at random, and one ledger of which gaps are more than that.

Where groups differ in nothing but what is held equal (by default age), rows of the same age are exchangeable and the
observed deal is one among its permutations: the p-value holds whatever the shape of the errors. The statistics are
studentised, so that it also nearly holds for a group that is right when another one differs. Every group of every
column is compared with its rest in the metrics of `FAMILY_SHARES`, and so are intersections; bands of age, which cannot
be compared at equal ages, are dealt freely. The chance of any false claim in the whole audit is held at 5 %: that share
is dealt out to families (a head's metric × single columns, intersections or bands), and within a family the largest
statistic is compared with the largest of every random deal, which loses little for groups that overlap.
See docs/decisions/0030-how-false-alarms-are-controlled.md and 0100-age-held-equal.md.

References
----------
Westfall and Young: Resampling-based multiple testing, 1993. Chung and Romano, Annals of Statistics 2013.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from agegender.audit.dealing import Dealer, DealtSums, cluster_strata, deal
from agegender.audit.grouping import SMALLEST_RANKED_GROUP, Grouping
from agegender.audit.held_equal import HeldEqual
from agegender.heads import RowMetric

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
FALSE_ALARM_RATE = 0.05
# The share of the 5 % of each metric, over single columns, over intersections and over bands of what is held equal,
# divided among the heads that have it: chosen by simulation, so that each kind of planted gap is found about as often.
FAMILY_SHARES = {
    "mean_absolute_error": (0.08, 0.34, 0.02),
    "mean_signed_error": (0.07, 0.01, 0.02),
    "accuracy": (0.40, 0.01, 0.01),
    "recall": (0.01, 0.0, 0.0),
    "interval_coverage": (0.01, 0.0, 0.02),
}
_SINGLE, _CROSSED, _BANDS = range(3)
# A class of many has few rows and a share of nearly nothing: then its recall is shown and not tested.
_MOST_TESTED_RECALLS = 6
# A group that is better off than its rest must be this much farther out: the claims are about who is worse off.
_BETTER_OFF_WEIGHT = 0.8
# A group's own spread counts as much as this many rows of the common one. Of absolute errors more is borrowed: with the
# spread of 100 skewed values the test would rather see the outliers than the gap (power 0.88 against 0.94, simulated).
_SHRINKING_ROWS = {"signed": 10.0, "positive": 200.0}
FEWEST_CLUSTERS = 10  # with fewer persons in a group or its rest, nothing is known about either
_FEWEST_COUNTED = 5  # deals, the observed one among them
_FARTHEST_NORMAL = 8.0  # beyond, a normal tail is nothing at all
_MOST_DEALT_VALUES = 100_000_000
_FEWEST_DEALS = 999


@dataclass(frozen=True)
class GroupChances:
    """One metric over one grouping, beside what random deals make of it. Arrays have the shape (groups,).

    Attributes
    ----------
    p_corrected : array
        Of each group's gap to its rest (at equal ages, where these are held equal and can be), corrected for the whole
        audit: a gap may be claimed below 0.05. NaN in groups that are too small, and where the metric has no family.
    miss_rate : float
        At which intervals of single gaps miss the truth so rarely that all of the audit together hold it in 95 of 100
        audits.
    is_held : bool
        Whether rows were dealt among rows alike.
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
    miss_rate: float
    is_held: bool
    directions: Floats
    largest_gap: float
    largest_gap_null_95: float
    largest_gap_p_value: float
    lowest: int
    highest: int
    mean_gap_null_95: float


class Ledger:
    """All gaps of an audit, dealt together once.

    Parameters
    ----------
    values : mapping of metric to array, shape (rows,)
        NaN where a row does not count. What is not tested is not dealt.
    single, crossed : sequence of Grouping
        Of all rows.
    held : HeldEqual
        What rows must have alike to be dealt one another's place.
    clusters : array, shape (rows,), int, optional
        Which rows belong together and are dealt whole.
    deal_count : int
        Random deals; fewer for tables of more than 50,000 rows.
    """

    def __init__(
        self,
        values: Mapping[RowMetric, Floats],
        single: Sequence[Grouping],
        crossed: Sequence[Grouping],
        *,
        held: HeldEqual,
        clusters: Codes | None = None,
        deal_count: int = 2000,
        seed: int = 7,
    ) -> None:
        keys = family_keys(list(values))
        self.values = {metric: one for metric, one in values.items() if metric.name in keys}
        self.single, self.crossed = tuple(single), tuple(crossed)
        self.held, self._clusters, self._deal_count, self._seed = held, clusters, deal_count, seed
        self._chances: dict[tuple[str, tuple[str, ...]], GroupChances] = {}
        self._has_bands = any(held.tells(one.codes) for one in single)
        self.levelled: dict[str, Floats] = {}
        constant = {metric.name for metric, one in self.values.items() if np.nanmin(one) == np.nanmax(one)}
        others = [one for one in single if not held.tells(one.codes)]
        crossing = min(1.0, _comparable_count(crossed) / max(_comparable_count(others), 1))
        self._shares = _shares(keys, constant, {_SINGLE: 1.0, _CROSSED: crossing, _BANDS: float(self._has_bands)})
        for metrics in _with_same_rows(self.values) if single or crossed else ():
            self._deal(metrics)

    def get(self, metric: str, columns: tuple[str, ...]) -> GroupChances | None:
        """Return the chances of one metric over one grouping, or None where it was not dealt."""
        return self._chances.get((metric, columns))

    def clusters_of(self, metric: RowMetric) -> Codes | None:
        """Return which of the rows that count for a metric hang together."""
        return None if self._clusters is None else self._clusters[np.isfinite(self.values[metric])]

    @property
    def miss_rate(self) -> float:
        """How rarely the interval of a gap that was not tested may miss: as if it were one more of all that were."""
        tested = sum(int(np.isfinite(one.p_corrected).sum()) for one in self._chances.values())
        return FALSE_ALARM_RATE / max(tested, 1)

    def _deal(self, metrics: Sequence[RowMetric]) -> None:
        """Deal metrics that count the same rows: bands of what is held equal freely, all others among rows alike."""
        known = np.isfinite(self.values[metrics[0]])
        values = {metric: self.values[metric][known] for metric in metrics}
        held, row_count = self.held.of_rows(known), int(known.sum())
        clusters = None if self._clusters is None else self._clusters[known]
        single, crossed = ([one.of_rows(known) for one in part] for part in (self.single, self.crossed))
        bands = [one for one in single if held.tells(one.codes)]
        others = [one for one in single if not held.tells(one.codes)]
        strata = cluster_strata(held, row_count, clusters)
        levelled = {metric: held.levelled(one, _kind(metric), strata) for metric, one in values.items()}
        self.levelled |= {metric.name: one for metric, one in levelled.items()}
        self._judge(values, levelled, (others, crossed), (_SINGLE, _CROSSED), Dealer(row_count, strata, clusters))
        if bands:
            self._judge(values, values, (bands, []), (_BANDS, _CROSSED), Dealer(row_count, None, clusters))

    def _judge(
        self,
        values: Mapping[RowMetric, Floats],
        levelled: Mapping[RowMetric, Floats],
        groupings: tuple[Sequence[Grouping], Sequence[Grouping]],
        scopes: tuple[int, int],
        dealer: Dealer,
    ) -> None:
        together = [*groupings[0], *groupings[1]]
        wanted: list[tuple[Floats, int, bool]] = []
        for metric, one in values.items():
            reach = len(together) if self._shares.get((metric.name, _CROSSED)) else len(groupings[0])
            wanted += [(levelled[metric], reach, not metric.is_rate), (one, reach, False)]
        row_count = len(next(iter(values.values())))
        count = min(self._deal_count, max(_MOST_DEALT_VALUES // max(row_count, 1), _FEWEST_DEALS))
        codes, sizes = [one.codes for one in together], [one.size for one in together]
        dealt = deal(wanted, codes, sizes, dealer, deal_count=count, seed=self._seed)
        for metric, (sums, raw) in zip(values, zip(dealt[::2], dealt[1::2], strict=True), strict=True):
            families = (slice(len(groupings[0])), slice(len(groupings[0]), None))
            for family, scope in zip(families, scopes, strict=True):
                share = self._shares.get((metric.name, scope))
                is_held = bool(self.held) and scopes[0] != _BANDS
                judged = _judge(metric, together[family], sums[family], raw[family], share, is_held)
                for grouping, chances in zip(together[family], judged, strict=False):
                    self._chances[metric.name, grouping.columns] = chances


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
    if kind == "rate":
        # Of values 0 and 1 the spread in a deal is no more than their mean: what deals make is the better measure.
        return _balanced(mean - rest)
    common = sums.known_sums / max(sums.known_count, 1.0)
    every = _spread(sums.known_squares, sums.known_weighted, sums.known_squared_sizes, common, sums.known_count)
    parts, other_parts = sums.cluster_counts, sums.known_cluster_count - sums.cluster_counts
    borrowed = _SHRINKING_ROWS[kind]
    own = _spread(sums.squares, sums.weighted, sums.squared_sizes, mean, n)
    other = _spread(
        sums.known_squares - sums.squares, sums.known_weighted - sums.weighted,
        sums.known_squared_sizes - sums.squared_sizes, rest, others,
    )  # fmt: skip
    own, other = _shrunk(own, parts, every, borrowed), _shrunk(other, other_parts, every, borrowed)
    if kind == "signed":
        t = _ratio(mean - rest, np.sqrt(own / n + other / others))
    else:
        relative = np.sqrt(_ratio(own, mean**2) / n + _ratio(other, rest**2) / others)
        # The larger over the smaller: symmetric, and as sensitive to twice as to half the error.
        larger = _ratio(np.maximum(mean, rest), np.minimum(mean, rest)) - 1.0
        t = _ratio(np.sign(mean - rest) * larger, relative)
    return _balanced(t)


def family_p_values(t: Floats) -> Floats:
    """Return p-values that hold for all groups together: how often chance alone sets any of them as far apart.

    Step-down: the farthest group is compared with the farthest of all in each deal, the next with the farthest of the
    others, and so on. Where fewer than five deals are as far out, they are too few to count: there the tail is taken to
    fall like a normal one from the 99th percentile on, by at most ten times what the count says.

    Parameters
    ----------
    t : array, shape (deals, groups)
        Sizes of the statistics, the observed deal first.
    """
    order = np.argsort(-t[0], kind="stable")
    farthest = np.maximum.accumulate(t[:, order[::-1]], axis=1)[:, ::-1]
    p_values = np.empty(t.shape[1])
    counted = np.mean(farthest >= farthest[0] * (1.0 - 1e-4), axis=0)
    edge = np.quantile(farthest, 0.99, axis=0)
    tail = 0.01 * ndtr(-farthest[0]) / ndtr(-np.minimum(edge, _FARTHEST_NORMAL))
    is_rare = (counted * len(t) < _FEWEST_COUNTED) & (farthest[0] > edge)
    p_values[order] = np.maximum.accumulate(np.where(is_rare, np.clip(tail, counted / 10.0, counted), counted))
    return p_values


def family_keys(metrics: Sequence[RowMetric]) -> dict[str, str]:
    """Return, of each metric that is tested, by its full name, the key of its families' shares."""
    recalls = [metric for metric in metrics if metric.key.startswith("recall_")]
    heads = {
        head
        for head in {one.head for one in recalls}
        if sum(one.head == head for one in recalls) > _MOST_TESTED_RECALLS
    }
    keys = {metric.name: metric.key for metric in metrics if metric.key in FAMILY_SHARES}
    return keys | {metric.name: "recall" for metric in recalls if metric.head not in heads}


def _judge(
    metric: RowMetric,
    groupings: Sequence[Grouping],
    dealt: Sequence[DealtSums],
    raw: Sequence[DealtSums],
    share: float | None,
    is_held: bool,
) -> list[GroupChances]:
    """Return the chances of one family: a metric over groupings, tested together where they have a share."""
    groupings = groupings[: len(dealt)]
    t = [studentised_gaps(one, _kind(metric)) for one in dealt]
    p_values = [np.full(one.size, np.nan) for one in groupings]
    tested = [_is_tested(groups, sums) for groups, sums in zip(groupings, dealt, strict=True)]
    miss_rate = FALSE_ALARM_RATE / max(sum(one.sum() for one in tested), 1)
    if share and any(one.any() for one in tested):
        sizes = np.concatenate(
            [_weighted(one, metric.better)[:, chosen] for one, chosen in zip(t, tested, strict=True)], axis=1
        )
        together = np.minimum(family_p_values(sizes) / share, 1.0)
        miss_rate = _miss_rate(sizes[1:].max(axis=1), FALSE_ALARM_RATE * share)
        parts = np.split(together, np.cumsum([chosen.sum() for chosen in tested])[:-1])
        for one, chosen, part in zip(p_values, tested, parts, strict=True):
            one[chosen] = part
    return [_chances(*parts, miss_rate, is_held) for parts in zip(groupings, raw, t, p_values, strict=True)]


def _miss_rate(farthest: Floats, family_rate: float) -> float:
    """Return how rarely one interval must miss so that all of a family do as rarely as it may.

    The farthest of all groups tells how many independent ones they are like, by its 99th percentile: further out there
    are too few deals to count.
    """
    like = max(0.01 / (2.0 * ndtr(-float(np.quantile(farthest, 0.99)))), 1.0) if farthest.size else 1.0
    return float(min(family_rate / like, FALSE_ALARM_RATE))


def _kind(metric: RowMetric) -> str:
    return "rate" if metric.is_rate else "signed" if metric.better == "zero" else "positive"


def _chances(
    groups: Grouping, sums: DealtSums, t: Floats, p_corrected: Floats, miss_rate: float, is_held: bool
) -> GroupChances:
    ranked, means = _is_ranked(groups, sums), sums.means()
    largest, lowest, highest = (float("nan"),) * 3, -1, -1
    if ranked.sum() > 1:
        spans = np.ptp(means[:, ranked], axis=1)
        is_as_far = spans >= spans[0] * (1 - 1e-4)
        largest = float(spans[0]), float(np.quantile(spans[1:], 0.95)), float(np.mean(is_as_far))
        numbers = np.flatnonzero(ranked)
        lowest, highest = int(numbers[means[0, ranked].argmin()]), int(numbers[means[0, ranked].argmax()])
    directions = np.where(t[0] >= 0, 1.0, -1.0)
    return GroupChances(
        p_corrected,
        miss_rate,
        is_held,
        directions,
        *largest,
        lowest,
        highest,
        _mean_gap_null_95(means[1:, sums.counts > 0]),
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
    has_rest = sums.known_count - sums.counts >= SMALLEST_RANKED_GROUP
    clusters = np.minimum(sums.cluster_counts, sums.known_cluster_count - sums.cluster_counts)
    return _is_ranked(groups, sums) & has_rest & (clusters >= FEWEST_CLUSTERS)


def _weighted(t: Floats, better: str) -> Floats:
    if better == "zero":
        return np.abs(t)
    worse = t if better == "lower" else -t
    return np.where(worse >= 0.0, worse, -_BETTER_OFF_WEIGHT * worse)


def _shares(keys: Mapping[str, str], constant: set[str], scopes: Mapping[int, float]) -> dict[tuple[str, int], float]:
    """Return the share of each family, (metric, scope), summing to 1 over those in which a gap is possible.

    A metric that is the same in every row has no gap whoever is dealt where, so it takes nothing from the others; and
    intersections of small tables, hardly any of which is large enough, take no more than their part.
    """
    counts = [key for name, key in keys.items() if name not in constant]
    shares = {
        (name, scope): FAMILY_SHARES[key][scope] * weight / (1 if name in constant else counts.count(key))
        for name, key in keys.items()
        for scope, weight in scopes.items()
        if weight and FAMILY_SHARES[key][scope]
    }
    total = sum(share for (name, _), share in shares.items() if name not in constant)
    return {family: 1.0 if family[0] in constant else share / total for family, share in shares.items()}


def _comparable_count(groupings: Sequence[Grouping]) -> int:
    """Return how many groups, of all groupings together, are large enough to be compared with their rest."""
    count = 0
    for one in groupings:
        sizes = np.bincount(one.codes[one.codes >= 0], minlength=one.size)
        count += int(((sizes >= SMALLEST_RANKED_GROUP) & (sizes.sum() - sizes >= SMALLEST_RANKED_GROUP)).sum())
    return count


def _with_same_rows(values: Mapping[RowMetric, Floats]) -> list[list[RowMetric]]:
    """Return the metrics in lists that count the same rows, so that one shuffle serves each list."""
    alike: dict[bytes, list[RowMetric]] = {}
    for metric, numbers in values.items():
        alike.setdefault(np.isfinite(numbers).tobytes(), []).append(metric)
    return list(alike.values())


def _spread(
    squares: Floats, weighted: Floats, squared_sizes: Floats | float, mean: Floats, n: Floats | float
) -> Floats:
    """Return the variance of the sum of n rows about their mean, from that of clusters, per row."""
    return np.maximum(squares - 2.0 * mean * weighted + mean**2 * squared_sizes, 0.0) / np.maximum(n, 1.0)


def _balanced(t: Floats) -> Floats:
    """Return statistics whose tails reach as far in every group: a small or skewed one must not set the bar for all."""
    low, high = np.quantile(t, [0.025, 0.975], axis=0)
    return _ratio(t, np.where(t < 0.0, -low, high) / 1.96)


def _shrunk(variance: Floats, n: Floats, common: Floats, rows: float) -> Floats:
    return (n * np.maximum(variance, 0.0) + rows * common) / (n + rows)


def _ratio(above: Floats, below: Floats) -> Floats:
    # float32 sums leave a speck where nothing varies at all.
    usable = below > 1e-6
    return np.where(usable, above / np.where(usable, below, 1.0), 0.0)
