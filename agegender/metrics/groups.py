"""Owns the comparison of groups: any row metric, any combination of columns, one `GroupResult`.

Pages and commands call it; it knows neither pages nor models. Which gaps may be *claimed* is decided in `findings`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.errors import UsageError
from agegender.metrics import grouping, intervals, permutation
from agegender.metrics.grouping import Grouping, group_columns, with_age_group
from agegender.metrics.results import SMALLEST_RANKED_GROUP, UNKNOWN, Estimate, Group, GroupResult, LargestGap
from agegender.metrics.rows import METRICS, RowMetric, row_values
from agegender.metrics.standardised import standardise

__all__ = [
    "SMALLEST_RANKED_GROUP",
    "UNKNOWN",
    "Estimate",
    "Group",
    "GroupResult",
    "LargestGap",
    "compare_groups",
    "group_columns",
    "with_age_group",
]

Floats = NDArray[np.float64]
_MOST_DEALT_VALUES = 40_000_000
_FEWEST_DEALS = 499


def compare_groups(
    predictions: pd.DataFrame,
    metric: str,
    columns: str | Sequence[str],
    *,
    reference: Sequence[str] | str | None = None,
    resample_count: int = 2000,
    seed: int = 7,
) -> GroupResult:
    """Return `metric` overall and for every group of `columns`, with intervals, gaps and p-values.

    Parameters
    ----------
    predictions : DataFrame
        A predictions table, usually the rows of one split. `age_group` is derived when it is asked for.
    metric : str
        Name in `rows.METRICS`.
    columns : str or sequence of str
        One column, or several for their intersections.
    reference : str or sequence of str, optional
        The group that the others are also compared with: one value per column.
    resample_count : int
        Bootstrap resamples, and random deals where the table is not too large for them.
    seed : int

    Returns
    -------
    GroupResult
        Rows without a value of the metric, or without a group, are left out and counted in `notes`.

    Raises
    ------
    TableError
        A column is absent.
    UsageError
        There is no such metric or reference.
    """
    table = with_age_group(predictions)
    values = row_values(table, metric)
    groups = grouping.make(table, (columns,) if isinstance(columns, str) else tuple(columns))
    known = np.isfinite(values)
    sample = _Sample(METRICS[metric], values[known], groups.of_rows(known), resample_count, seed)
    wanted = _reference(groups, reference)
    p_values, largest = _chance(sample)
    made = _make_groups(sample, wanted, _bands(table, groups.columns)[known], p_values)
    return GroupResult(
        metric=metric,
        title=sample.metric.title,
        unit=sample.metric.unit,
        better=sample.metric.better,
        columns=groups.columns,
        overall=_overall(sample),
        groups=made,
        worst=_worst(made, sample.metric.better),
        largest_gap=largest,
        reference=None if wanted is None else groups.values[wanted],
        notes=(*_left_out(known, sample.groups), *groups.notes),
    )


@dataclass(frozen=True)
class _Sample:
    """The rows that count for a metric, their groups, and how often to resample them."""

    metric: RowMetric
    values: Floats
    groups: Grouping
    resample_count: int
    seed: int

    @property
    def counts(self) -> NDArray[np.int64]:
        """Return the rows of each group, the left-over ones last."""
        return np.bincount(self.groups.codes[self.groups.codes >= 0], minlength=self.groups.size)

    @property
    def is_ranked(self) -> NDArray[np.bool_]:
        """Return which groups are large enough, with a rest that is, too."""
        named = np.arange(self.groups.size) < len(self.groups.values)
        return named & (self.counts >= SMALLEST_RANKED_GROUP)


def _make_groups(
    sample: _Sample, reference: int | None, bands: NDArray[np.int64], p_values: Floats
) -> tuple[Group, ...]:
    own, gaps, to_reference = _measure(sample, reference)
    adjusted = standardise(sample.values, sample.groups.codes, sample.groups.size, bands, is_rate=sample.metric.is_rate)
    corrected = holm(p_values)
    return tuple(
        Group(
            values=values,
            n=int(sample.counts[place]),
            estimate=own[place],
            gap_to_rest=gaps[place],
            gap_to_reference=to_reference[place],
            standardised=_estimate(place, adjusted.means, adjusted.low, adjusted.high),
            standardised_gap=_estimate(place, adjusted.gaps, adjusted.gap_low, adjusted.gap_high),
            standardised_share=float(adjusted.shares[place]),
            p_value=float(p_values[place]),
            p_corrected=float(corrected[place]),
            is_ranked=bool(sample.is_ranked[place]),
        )
        for place, values in enumerate(sample.groups.values)
    )


def _measure(sample: _Sample, reference: int | None) -> tuple[list[Estimate], list[Estimate], list[Estimate]]:
    """Return every group's estimate, gap to the rest and gap to the reference."""
    known = sample.groups.codes >= 0
    values, codes, size = sample.values[known], sample.groups.codes[known], sample.groups.size
    if sample.metric.is_rate:
        return _measure_rates(
            np.bincount(codes, weights=values, minlength=size).astype(np.float64), sample.counts, reference
        )
    grouped = intervals.resample_groups(values, codes, size, resample_count=sample.resample_count, seed=sample.seed)
    own = (grouped.means, *intervals.mean_intervals(grouped))
    gaps = intervals.gap_intervals(grouped)
    to_reference = None if reference is None else intervals.reference_intervals(grouped, reference)
    return _estimates(size, own), _estimates(size, gaps), _estimates(size, to_reference)


def _measure_rates(
    hits: Floats, counts: NDArray[np.int64], reference: int | None
) -> tuple[list[Estimate], list[Estimate], list[Estimate]]:
    size = len(counts)
    own = (_rate(hits, counts), *intervals.wilson(hits, counts))
    rest_hits, rest_counts = hits.sum() - hits, counts.sum() - counts
    gap = _rate(hits, counts) - _rate(rest_hits, rest_counts)
    gaps = (gap, *intervals.newcombe(hits, counts, rest_hits, rest_counts))
    if reference is None:
        return _estimates(size, own), _estimates(size, gaps), _estimates(size, None)
    one_hits, one_count = hits[[reference]], counts[[reference]]
    difference = (own[0] - own[0][reference], *intervals.newcombe(hits, counts, one_hits, one_count))
    for part in difference:
        part[reference] = np.nan
    return _estimates(size, own), _estimates(size, gaps), _estimates(size, difference)


def _chance(sample: _Sample) -> tuple[Floats, LargestGap | None]:
    """Return the p-value of every ranked group's gap, and the largest gap beside its null."""
    p_values, ranked = np.full(sample.groups.size, np.nan), sample.is_ranked
    known = sample.groups.codes >= 0
    if ranked.sum() < 2 and not (ranked.any() and sample.groups.size > 1):
        return p_values, None
    values, codes = sample.values[known], sample.groups.codes[known]
    deals = permutation.deal(values, [codes], [sample.groups.size], deal_count=_deal_count(sample), seed=sample.seed)
    t = np.abs(permutation.statistics(deals, permutation.kind_of(values, is_rate=sample.metric.is_rate)))
    p_values[ranked] = np.mean(t >= t[0] * (1 - 1e-6) - 1e-9, axis=0)[ranked]
    if ranked.sum() < 2:
        return p_values, None
    means = deals.means()[:, ranked]
    spans = means.max(axis=1) - means.min(axis=1)
    names = [" × ".join(sample.groups.values[place]) for place in np.flatnonzero(ranked)]
    return p_values, LargestGap(
        value=float(spans[0]),
        lowest=names[int(means[0].argmin())],
        highest=names[int(means[0].argmax())],
        null_95=float(np.quantile(spans[1:], 0.95)),
        p_value=float(np.mean(spans >= spans[0] * (1 - 1e-6))),
    )


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


def _overall(sample: _Sample) -> Group:
    everyone = Grouping((), ((),), np.zeros(sample.values.size, dtype=np.int64))
    one = replace(sample, groups=everyone)
    if not sample.values.size:
        return Group((), 0, UNKNOWN)
    return Group((), int(sample.values.size), _measure(one, None)[0][0], is_ranked=bool(one.is_ranked[0]))


def _worst(groups: Sequence[Group], better: str) -> Group | None:
    ranked = [group for group in groups if group.is_ranked]
    if len(ranked) < 2:
        return None
    badness = {"lower": lambda value: value, "higher": lambda value: -value, "zero": abs}[better]
    return max(ranked, key=lambda group: badness(group.estimate.value))


def _reference(groups: Grouping, reference: Sequence[str] | str | None) -> int | None:
    if reference is None:
        return None
    wanted = (reference,) if isinstance(reference, str) else tuple(reference)
    if wanted not in groups.values:
        raise UsageError(
            f"there is no reference group {' × '.join(wanted)} in {' × '.join(groups.columns)}; "
            f"there are {', '.join(' × '.join(values) for values in groups.values) or 'none'}."
        )
    return groups.values.index(wanted)


def _bands(table: pd.DataFrame, columns: Sequence[str]) -> NDArray[np.int64]:
    # Groups of one age band cannot be mixed like everybody.
    if "age_group" in columns or "age_group" not in table:
        return np.full(len(table), -1, dtype=np.int64)
    return grouping.make(table, ("age_group",)).codes


def _deal_count(sample: _Sample) -> int:
    affordable = _MOST_DEALT_VALUES // max(sample.values.size, 1)
    return min(sample.resample_count, max(affordable, _FEWEST_DEALS))


def _left_out(known: NDArray[np.bool_], counted: Grouping) -> tuple[str, ...]:
    without_value, without_group = int((~known).sum()), int((counted.codes < 0).sum())
    notes = []
    if without_value:
        notes.append(f"{without_value} of {known.size} rows lack the label or the prediction and do not count.")
    if without_group:
        notes.append(f"{without_group} of {known.size} rows have no known {' × '.join(counted.columns)}.")
    return tuple(notes)


def _rate(hits: Floats, counts: NDArray[np.int64]) -> Floats:
    return hits / np.where(counts > 0, counts, np.nan)


def _estimates(size: int, parts: Sequence[Floats] | None) -> list[Estimate]:
    return [UNKNOWN if parts is None else _estimate(place, *parts) for place in range(size)]


def _estimate(place: int, value: Floats, low: Floats, high: Floats) -> Estimate:
    return Estimate(float(value[place]), float(low[place]), float(high[place]))
