"""The comparison of groups: any metric of rows, any combination of columns, one `GroupResult`.

It holds numbers and turns them into a dictionary; how they look is the business of the pages. NaN always
means "cannot be known from these rows", never zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agegender.audit.adjusted_gaps import AdjustedGaps, adjusted_gaps
from agegender.audit.chance import FALSE_ALARM_RATE, GroupChances
from agegender.audit.estimates import LEVEL, UNKNOWN, Estimate, Estimates, mean_of, measure_groups, normal_quantile
from agegender.audit.grouping import SMALLEST_RANKED_GROUP, Grouping
from agegender.audit.held_equal import Support
from agegender.heads import RowMetric

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Group:
    """One group of rows and what is known about the metric in it.

    Attributes
    ----------
    values : tuple of str
        The group's value in each of the result's columns, in their order; plain text, not escaped for HTML.
    n : int
        Rows that count for the metric (label and prediction known).
    estimate : Estimate
        The metric in this group.
    gap_to_rest : Estimate
        This group minus all other rows whose group is known. Its interval, like that of the next, is corrected for all
        comparisons of the audit: those of an audit all hold the truth in 95 of 100.
    adjusted_gap : Estimate
        The gap to the rest at equal ages, or whatever is held equal: what is left of it. Unknown for bands of age.
    gap_alone : Estimate
        The one of the two that is tested, with a 95 % interval for it alone.
    adjusted_share : float
        Share of all rows whose ages the group and the rest both have, 0..1.
    p_corrected : float
        Of the gap that is tested, corrected for every comparison of the audit; NaN when the group is not ranked, and
        for metrics that are not tested. Below 0.05 the interval of the gap lies on one side of zero, else about it.
    is_ranked : bool
        Whether n is at least 30. Smaller groups are shown in grey and never called best or worst.
    """

    values: tuple[str, ...]
    n: int
    estimate: Estimate
    gap_to_rest: Estimate = UNKNOWN
    adjusted_gap: Estimate = UNKNOWN
    gap_alone: Estimate = UNKNOWN
    adjusted_share: float = float("nan")
    p_corrected: float = float("nan")
    is_ranked: bool = False

    @property
    def name(self) -> str:
        """Return the values joined, such as `Black × female`."""
        return " × ".join(self.values)


@dataclass(frozen=True)
class LargestGap:
    """The distance between the highest and the lowest ranked group, beside what chance alone would make.

    Attributes
    ----------
    value : float
        Highest minus lowest estimate among ranked groups, in the metric's unit.
    lowest, highest : str
        Names of the two groups.
    null_95 : float
        95th percentile of the same distance when rows are dealt to the groups at random.
    p_value : float
        Share of random deals with at least this distance.
    """

    value: float
    lowest: str
    highest: str
    null_95: float
    p_value: float


@dataclass(frozen=True)
class GroupResult:
    """One metric over the groups of one or more columns.

    Attributes
    ----------
    metric : str
        Full name, `age.mean_absolute_error`.
    title, unit : str
        For people: "mean absolute error", "years"; the unit of a rate is "share", 0..1.
    better : str
        "lower", "higher" or "zero" (signed errors).
    columns : tuple of str
    overall : Group
        All rows that count, with values ().
    groups : tuple of Group
        In the natural order of the values (age bands by age, others by name); empty when it cannot be told.
    worst : Group or None
        The ranked group with the worst estimate; None with fewer than two ranked groups.
    largest_gap : LargestGap or None
        None with fewer than two ranked groups, or where no random deal was made.
    notes : tuple of str
        What was left out and why, as sentences.
    """

    metric: str
    title: str
    unit: str
    better: str
    columns: tuple[str, ...]
    overall: Group
    groups: tuple[Group, ...]
    worst: Group | None = None
    largest_gap: LargestGap | None = None
    notes: tuple[str, ...] = ()

    @property
    def ranked(self) -> list[Group]:
        """Return the groups that are large enough to be compared."""
        return [group for group in self.groups if group.is_ranked]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain dictionaries and lists."""
        return asdict(self)


def compare_groups(  # noqa: PLR0913 (what is measured, and how)
    metric: RowMetric,
    values: Floats,
    groups: Grouping,
    support: Support | None = None,
    *,
    clusters: NDArray[np.int64] | None = None,
    chances: GroupChances | None = None,
    miss_rate: float = 1.0 - LEVEL,
    resample_count: int = 2000,
    seed: int = 7,
) -> GroupResult:
    """Return a metric overall and for every group, with intervals and gaps.

    Parameters
    ----------
    values : array, shape (rows,)
        NaN where a row does not count; such rows are counted in `notes`.
    groups : Grouping
        Of the same rows.
    support : Support, optional
        What is held equal of each row; without it nothing is told at equal ages.
    clusters : array, shape (rows,), int, optional
        Which rows hang together.
    chances : GroupChances, optional
        What the ledger says of this metric and grouping; without it p-values are unknown.
    miss_rate : float
        Of intervals of gaps, where there are no `chances` to say it.
    """
    known = np.isfinite(values)
    counted, own_values = groups.of_rows(known), values[known]
    own_clusters = None if clusters is None else clusters[known]
    how: dict[str, Any] = {"is_rate": metric.is_rate, "clusters": own_clusters}
    drawn: dict[str, Any] = {"resample_count": resample_count, "seed": seed}
    measured = measure_groups(own_values, counted.codes, counted.size, **how, **drawn)
    adjusted = AdjustedGaps.unknown(counted.size)
    if support is not None and own_values.size:
        adjusted = adjusted_gaps(own_values, counted.codes, counted.size, support.of_rows(known), **how)
    made = _make_groups(counted, measured, adjusted, chances, miss_rate)
    mean = mean_of(own_values, **how, **drawn)
    return GroupResult(
        metric=metric.name,
        title=metric.title,
        unit=metric.unit,
        better=metric.better,
        columns=groups.columns,
        overall=Group((), own_values.size, mean, is_ranked=own_values.size >= SMALLEST_RANKED_GROUP),
        groups=made,
        worst=_worst(made, metric.better),
        largest_gap=_largest_gap(made, chances),
        notes=(*_left_out(known, counted), *groups.notes),
    )


def _make_groups(
    groups: Grouping,
    measured: tuple[Estimates, Estimates],
    adjusted: AdjustedGaps,
    chances: GroupChances | None,
    miss_rate: float,
) -> tuple[Group, ...]:
    counts, unknown = groups.counts, np.full(groups.size, np.nan)
    own, gaps = measured
    p_corrected, directions = (unknown, unknown) if chances is None else (chances.p_corrected, chances.directions)
    rate = miss_rate if chances is None else chances.miss_rate
    corrected, alone = adjusted.intervals(rate), adjusted.intervals()
    is_held = np.isfinite(adjusted.values) & (chances is None or chances.is_held)
    factor = normal_quantile(1.0 - rate) / normal_quantile(LEVEL)
    found = []
    for number, names in enumerate(groups.values):
        p_value, direction = float(p_corrected[number]), float(directions[number])
        raw, equal = gaps.of(number).widened(factor), corrected.of(number)
        if is_held[number]:
            equal = _agreeing(equal, p_value, direction)
        else:
            raw = _agreeing(raw, p_value, direction)
        made = Group(
            values=names,
            n=int(counts[number]),
            estimate=own.of(number),
            gap_to_rest=raw,
            adjusted_gap=equal,
            gap_alone=(alone if is_held[number] else gaps).of(number),
            adjusted_share=float(adjusted.shares[number]),
            p_corrected=p_value,
            is_ranked=bool(counts[number] >= SMALLEST_RANKED_GROUP),
        )
        found.append(made)
    return tuple(found)


def _agreeing(gap: Estimate, p_value: float, direction: float) -> Estimate:
    """Return the gap with an interval that says of zero what the test does.

    The test looks at sizes relative to their age, the regression at plain ones: where they differ, the end next to zero
    is put there. Of a gap that is not claimed this can only widen the interval.
    """
    is_claimed = p_value < FALSE_ALARM_RATE and gap.value * direction > 0
    if np.isnan(p_value) or is_claimed == gap.is_off_zero:
        return gap
    return replace(gap, low=0.0) if gap.value > 0 else replace(gap, high=0.0)


def _largest_gap(groups: Sequence[Group], chances: GroupChances | None) -> LargestGap | None:
    if chances is None or chances.highest < 0:
        return None
    lowest, highest = groups[chances.lowest], groups[chances.highest]
    gap = highest.estimate.value - lowest.estimate.value
    return LargestGap(gap, lowest.name, highest.name, chances.largest_gap_null_95, chances.largest_gap_p_value)


def _worst(groups: Sequence[Group], better: str) -> Group | None:
    ranked = [group for group in groups if group.is_ranked]
    if len(ranked) < 2:
        return None
    badness = {"lower": lambda value: value, "higher": lambda value: -value, "zero": abs}[better]
    return max(ranked, key=lambda group: badness(group.estimate.value))


def _left_out(known: NDArray[np.bool_], counted: Grouping) -> tuple[str, ...]:
    without_value, without_group = int((~known).sum()), int((counted.codes < 0).sum())
    notes = []
    if without_value:
        notes.append(f"{without_value} of {known.size} rows lack the label or the prediction and do not count.")
    if without_group:
        notes.append(f"{without_group} of {known.size} rows have no known {' × '.join(counted.columns)}.")
    return tuple(notes)
