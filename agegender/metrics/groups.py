"""Owns the comparison of groups: any row metric, any combination of columns, one `GroupResult`.

Pages and commands call it; it knows neither pages nor models. Which gaps may be *claimed* is decided in `findings`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.errors import UsageError
from agegender.metrics import grouping, permutation
from agegender.metrics.grouping import Grouping, group_columns, with_age_group
from agegender.metrics.measured import Sample, estimate_at, measure
from agegender.metrics.permutation import holm
from agegender.metrics.results import SMALLEST_RANKED_GROUP, UNKNOWN, Estimate, Group, GroupResult, LargestGap
from agegender.metrics.rows import METRICS, row_values
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
    sample = Sample(METRICS[metric], values[known], groups.of_rows(known), resample_count, seed)
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


def _make_groups(
    sample: Sample, reference: int | None, bands: NDArray[np.int64], p_values: Floats
) -> tuple[Group, ...]:
    own, gaps, to_reference = measure(sample, reference)
    adjusted = standardise(sample.values, sample.groups.codes, sample.groups.size, bands, is_rate=sample.metric.is_rate)
    corrected = holm(p_values)
    return tuple(
        Group(
            values=values,
            n=int(sample.counts[place]),
            estimate=own[place],
            gap_to_rest=gaps[place],
            gap_to_reference=to_reference[place],
            standardised=estimate_at(place, adjusted.means, adjusted.low, adjusted.high),
            standardised_gap=estimate_at(place, adjusted.gaps, adjusted.gap_low, adjusted.gap_high),
            standardised_share=float(adjusted.shares[place]),
            p_value=float(p_values[place]),
            p_corrected=float(corrected[place]),
            is_ranked=bool(sample.is_ranked[place]),
        )
        for place, values in enumerate(sample.groups.values)
    )


def _chance(sample: Sample) -> tuple[Floats, LargestGap | None]:
    """Return the p-value of every ranked group's gap, and the largest gap beside its null."""
    p_values, ranked = np.full(sample.groups.size, np.nan), sample.is_ranked
    known = sample.groups.codes >= 0
    if ranked.sum() < 2 and not (ranked.any() and sample.groups.size > 1):
        return p_values, None
    values, codes = sample.values[known], sample.groups.codes[known]
    deals = permutation.deal([values], [codes], [sample.groups.size], deal_count=_deal_count(sample), seed=sample.seed)[
        0
    ]
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


def _overall(sample: Sample) -> Group:
    everyone = Grouping((), ((),), np.zeros(sample.values.size, dtype=np.int64))
    one = replace(sample, groups=everyone)
    if not sample.values.size:
        return Group((), 0, UNKNOWN)
    return Group((), int(sample.values.size), measure(one, None)[0][0], is_ranked=bool(one.is_ranked[0]))


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


def _deal_count(sample: Sample) -> int:
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
