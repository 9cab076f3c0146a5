"""Owns which gaps may be claimed: one test for a whole audit, so that few audits without a gap claim one.

Every group of every column is compared with its rest in three metrics, and so are intersections. The chance of any
false claim in the whole audit is held at 5 %: that share is dealt out to six families (metric × single columns or
intersections), and within a family the largest statistic is compared with the largest of every random deal (Westfall
and Young), which needs no assumption about the shape of the errors and loses little for groups that overlap.
See docs/decisions/0030-how-false-alarms-are-controlled.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.audit import grouping, permutation
from agegender.audit.grouping import Grouping
from agegender.audit.results import SMALLEST_RANKED_GROUP
from agegender.audit.rows import METRICS, is_known, row_values, with_same_rows

Floats = NDArray[np.float64]
FALSE_ALARM_RATE = 0.05
# The share of the 5 % of each family: age errors are the hardest to tell from chance and get the most.
SINGLE_SHARES = {"mae": 0.7, "signed_error": 0.1, "gender_accuracy": 0.08}
CROSSED_SHARES = {"mae": 0.06, "signed_error": 0.03, "gender_accuracy": 0.03}
CROSSED_COLUMNS = ("gender", "ethnicity", "age_group")
# A group that is better off than its rest must be this much farther out: the claims are about who is worse off.
_BETTER_OFF_WEIGHT = 0.8
_KINDS = {"mae": "positive", "signed_error": "signed"}
_MOST_DEALT_VALUES = 100_000_000
_FEWEST_DEALS = 999


@dataclass(frozen=True)
class Claim:
    """One group in one metric, and whether its gap to the rest is more than chance.

    Attributes
    ----------
    metric : str
    groups : Grouping
        Of all rows that count for the metric.
    place : int
        The group's place in `groups.values`.
    n : int
    direction : int
        1 when the group's mean is above its rest, -1 below.
    p_value : float
        Corrected for the whole audit: a gap may be claimed below 0.05.
    is_counted : array, shape (all rows,), bool
        Which rows of the table count for the metric.
    """

    metric: str
    groups: Grouping
    place: int
    n: int
    direction: int
    p_value: float
    is_counted: NDArray[np.bool_]

    @property
    def values(self) -> tuple[str, ...]:
        """Return the group's values, in the order of its columns."""
        return self.groups.values[self.place]

    @property
    def is_worse_off(self) -> bool:
        """Return whether the group does worse than its rest; a signed error is worse on either side."""
        return self.direction == {"lower": 1, "higher": -1, "zero": self.direction}[METRICS[self.metric].better]

    @property
    def is_clear(self) -> bool:
        """Return whether the gap may be claimed."""
        return self.p_value < FALSE_ALARM_RATE


@dataclass(frozen=True)
class Trial:
    """One metric over one set of columns: its claims, clear or not, and the largest gap that chance makes.

    Attributes
    ----------
    metric : str
    groups : Grouping
        Of the rows that count.
    values : array, shape (rows,)
    claims : tuple of Claim
        One for every ranked group; empty when there are not two groups to compare.
    largest_gap, null_95 : float
        Highest minus lowest ranked group, and the 95th percentile of that under chance; NaN without claims.
    """

    metric: str
    groups: Grouping
    values: Floats
    claims: tuple[Claim, ...]
    largest_gap: float
    null_95: float


def try_all(predictions: pd.DataFrame, columns: Sequence[str], *, deal_count: int, seed: int) -> list[Trial]:
    """Return a trial for every metric and column, and for every metric and intersection.

    Parameters
    ----------
    predictions : DataFrame
        With `age_group`, where it is among the columns.
    columns : sequence of str
    deal_count : int
        Random deals; fewer for tables of more than 50,000 rows.
    """
    values = {name: row_values(predictions, name) for name in SINGLE_SHARES if is_known(predictions, name)}
    families = _Families(
        tuple(grouping.make(predictions, (name,)) for name in columns),
        tuple(grouping.make(predictions, names) for names in _crossings(columns)),
    )
    if not families.all:
        return []
    shares = _shares(list(values), has_crossed=bool(families.crossed))
    trials: list[Trial] = []
    for names in with_same_rows(values):
        known = np.isfinite(values[names[0]])
        counted = families.of_rows(known)
        dealt = _deal([values[name][known] for name in names], counted.all, (deal_count, seed))
        for name, deals in zip(names, dealt, strict=True):
            p_values, t = _judge(deals, counted, name, shares)
            trials += _trials((name, known, values[name][known]), counted, deals, t, p_values)
    return sorted(trials, key=lambda trial: list(SINGLE_SHARES).index(trial.metric))


@dataclass(frozen=True)
class _Families:
    """The groupings whose groups are judged together."""

    single: tuple[Grouping, ...]
    crossed: tuple[Grouping, ...]

    @property
    def all(self) -> tuple[Grouping, ...]:
        return self.single + self.crossed

    @property
    def edges(self) -> NDArray[np.int64]:
        """Return where each grouping begins among all groups side by side, and where the last one ends."""
        return np.cumsum([0, *(one.size for one in self.all)])

    def of_rows(self, chosen: NDArray[np.bool_]) -> _Families:
        return _Families(*(tuple(one.of_rows(chosen) for one in family) for family in (self.single, self.crossed)))


def _judge(
    deals: permutation.Deals, families: _Families, metric: str, shares: dict[tuple[str, str], float]
) -> tuple[Floats, Floats]:
    """Return each group's p-value, NaN where it is not tested, and its observed statistic."""
    t = permutation.statistics(deals, "rate" if METRICS[metric].is_rate else _KINDS[metric])
    sizes, tested = _weighted(t, METRICS[metric].better), _is_tested(deals, families.all)
    is_single = np.arange(t.shape[1]) < families.edges[len(families.single)]
    p_values = np.full(t.shape[1], np.nan)
    for name, family in (("single", is_single), ("crossed", ~is_single)):
        chosen = np.flatnonzero(tested & family)
        if chosen.size:
            p_values[chosen] = np.minimum(permutation.family_p_values(sizes[:, chosen]) / shares[metric, name], 1.0)
    return p_values, t[0]


def _deal(values: Sequence[Floats], groupings: Sequence[Grouping], deals: tuple[int, int]) -> list[permutation.Deals]:
    count = min(deals[0], max(_MOST_DEALT_VALUES // max(values[0].size, 1), _FEWEST_DEALS))
    codes, sizes = [one.codes for one in groupings], [one.size for one in groupings]
    return permutation.deal(values, codes, sizes, deal_count=count, seed=deals[1])


def _trials(
    rows: tuple[str, NDArray[np.bool_], Floats], families: _Families, deals: permutation.Deals, t: Floats, p: Floats
) -> list[Trial]:
    edges = families.edges
    return [
        _trial(rows, one, deals.part(slice(start, stop)), t[start:stop], p[start:stop])
        for one, start, stop in zip(families.all, edges[:-1], edges[1:], strict=True)
    ]


def _trial(
    rows: tuple[str, NDArray[np.bool_], Floats], groups: Grouping, dealt: permutation.Deals, t: Floats, p_values: Floats
) -> Trial:
    metric, known, values = rows
    places = np.flatnonzero(np.isfinite(p_values))
    claims = tuple(
        Claim(metric, groups, int(at), int(dealt.counts[at]), 1 if t[at] >= 0 else -1, float(p_values[at]), known)
        for at in places
    )
    if len(places) < 2:
        return Trial(metric, groups, values, claims, float("nan"), float("nan"))
    spans = np.ptp(dealt.means()[:, places], axis=1)
    return Trial(metric, groups, values, claims, float(spans[0]), float(np.quantile(spans[1:], 0.95)))


def _is_tested(dealt: permutation.Deals, groupings: Sequence[Grouping]) -> NDArray[np.bool_]:
    named = np.concatenate([np.arange(one.size) < len(one.values) for one in groupings])
    rest = dealt.known_counts - dealt.counts
    return named & (dealt.counts >= SMALLEST_RANKED_GROUP) & (rest >= SMALLEST_RANKED_GROUP)


def _weighted(t: Floats, better: str) -> Floats:
    if better == "zero":
        return np.abs(t)
    worse = t if better == "lower" else -t
    return np.where(worse >= 0.0, worse, -_BETTER_OFF_WEIGHT * worse)


def _shares(metrics: Sequence[str], *, has_crossed: bool) -> dict[tuple[str, str], float]:
    """Return each family's share, summing to 1 over those that there are."""
    shares = {(name, "single"): SINGLE_SHARES[name] for name in metrics}
    if has_crossed:
        shares |= {(name, "crossed"): CROSSED_SHARES[name] for name in metrics}
    total = sum(shares.values())
    return {family: share / total for family, share in shares.items()}


def _crossings(columns: Sequence[str]) -> list[tuple[str, ...]]:
    usable = [name for name in CROSSED_COLUMNS if name in columns]
    return [names for size in (2, 3) for names in combinations(usable, size)]
