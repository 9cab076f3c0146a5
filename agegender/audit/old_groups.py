"""Owns the comparison of groups: any row metric, any combination of columns, one `GroupResult`.

Pages and commands call it; it knows neither pages nor models. Which gaps may be *claimed* is decided in `findings`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.audit import grouping, permutation
from agegender.audit.grouping import Grouping, group_columns, with_age_group
from agegender.audit.measured import Sample, measure
from agegender.audit.permutation import holm
from agegender.audit.results import SMALLEST_RANKED_GROUP, UNKNOWN, Estimate, Group, GroupResult, LargestGap
from agegender.audit.rows import METRICS, row_values, with_same_rows
from agegender.audit.standardised import standardise
from agegender.errors import UsageError

__all__ = [
    "SMALLEST_RANKED_GROUP",
    "UNKNOWN",
    "Estimate",
    "Group",
    "GroupResult",
    "LargestGap",
    "compare_groups",
    "compare_many",
    "group_columns",
    "with_age_group",
]

Floats = NDArray[np.float64]
_MOST_DEALT_VALUES = 20_000_000
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
    names = (columns,) if isinstance(columns, str) else tuple(columns)
    wanted = (reference,) if isinstance(reference, str) else reference
    table = with_age_group(predictions)
    return _compare(table, [metric], [names], (resample_count, seed), wanted)[metric, names]


def compare_many(
    predictions: pd.DataFrame,
    metrics: Sequence[str],
    groupings: Sequence[Sequence[str]],
    *,
    resample_count: int = 2000,
    seed: int = 7,
) -> dict[tuple[str, tuple[str, ...]], GroupResult]:
    """Return what `compare_groups` does for every metric and every combination of columns, in far less time.

    The rows are shuffled once for all of them. The keys are (metric, columns).
    """
    names = [(one,) if isinstance(one, str) else tuple(one) for one in groupings]
    return _compare(with_age_group(predictions), metrics, names, (resample_count, seed), None)


def _compare(
    table: pd.DataFrame,
    metrics: Sequence[str],
    groupings: Sequence[tuple[str, ...]],
    numbers: tuple[int, int],
    reference: Sequence[str] | None,
) -> dict[tuple[str, tuple[str, ...]], GroupResult]:
    values = {metric: row_values(table, metric) for metric in metrics}
    groups = [grouping.make(table, columns) for columns in groupings]
    results = {}
    for names in with_same_rows(values):
        known = np.isfinite(values[names[0]])
        counted = [one.of_rows(known) for one in groups]
        dealt = _deal([values[name][known] for name in names], counted, numbers)
        for name, deals in zip(names, dealt, strict=True):
            start = 0
            for one in counted:
                sample = Sample(METRICS[name], values[name][known], one, *numbers)
                part = deals.part(slice(start, start + one.size))
                start += one.size
                results[name, one.columns] = _result(sample, part, table, known, reference)
    return {(name, columns): results[name, columns] for name in metrics for columns in groupings}


def _deal(values: Sequence[Floats], groups: Sequence[Grouping], numbers: tuple[int, int]) -> list[permutation.Deals]:
    affordable = max(_MOST_DEALT_VALUES // max(values[0].size, 1), _FEWEST_DEALS)
    codes, sizes = [one.codes for one in groups], [one.size for one in groups]
    return permutation.deal(values, codes, sizes, deal_count=min(numbers[0], affordable), seed=numbers[1])


def _result(
    sample: Sample,
    deals: permutation.Deals,
    table: pd.DataFrame,
    known: NDArray[np.bool_],
    reference: Sequence[str] | None,
) -> GroupResult:
    groups, metric = sample.groups, sample.metric
    wanted = _reference(groups, reference)
    p_values, largest = _chance(sample, deals)
    made = _make_groups(sample, wanted, _bands(table, groups.columns)[known], p_values)
    return GroupResult(
        metric=metric.name,
        title=metric.title,
        unit=metric.unit,
        better=metric.better,
        columns=groups.columns,
        overall=_overall(sample),
        groups=made,
        worst=_worst(made, metric.better),
        largest_gap=largest,
        reference=None if wanted is None else groups.values[wanted],
        notes=(*_left_out(known, groups), *groups.notes),
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
            standardised=adjusted.means.of(place),
            standardised_gap=adjusted.gaps.of(place),
            standardised_share=float(adjusted.shares[place]),
            p_value=float(p_values[place]),
            p_corrected=float(corrected[place]),
            is_ranked=bool(sample.is_ranked[place]),
        )
        for place, values in enumerate(sample.groups.values)
    )


def _chance(sample: Sample, deals: permutation.Deals) -> tuple[Floats, LargestGap | None]:
    """Return the p-value of every ranked group's gap, and the largest gap beside its null."""
    p_values, ranked = np.full(sample.groups.size, np.nan), sample.is_ranked
    if ranked.sum() < 2 and not (ranked.any() and sample.groups.size > 1):
        return p_values, None
    t = np.abs(permutation.statistics(deals, permutation.kind_of(sample.values, is_rate=sample.metric.is_rate)))
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


def _reference(groups: Grouping, reference: Sequence[str] | None) -> int | None:
    if reference is None:
        return None
    wanted = tuple(reference)
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


def _left_out(known: NDArray[np.bool_], counted: Grouping) -> tuple[str, ...]:
    without_value, without_group = int((~known).sum()), int((counted.codes < 0).sum())
    notes = []
    if without_value:
        notes.append(f"{without_value} of {known.size} rows lack the label or the prediction and do not count.")
    if without_group:
        notes.append(f"{without_group} of {known.size} rows have no known {' × '.join(counted.columns)}.")
    return tuple(notes)
