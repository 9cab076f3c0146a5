"""Owns what may be said about groups: the findings, strongest first, and what could not be told from chance.

`claims` decides what is more than chance; here each claim is measured, put in a sentence, and left out where a stronger
one already says it. The report's summary and `evaluate` call `find`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

import numpy as np
import pandas as pd

from agegender.audit import grouping, silence
from agegender.audit import old_sentences as sentences
from agegender.audit.claims import Claim, Trial, try_all
from agegender.audit.measured import Sample, measure
from agegender.audit.results import Estimate, Finding
from agegender.audit.rows import METRICS
from agegender.audit.selection import worth_saying
from agegender.audit.standardised import standardise
from agegender.audit.tables import completed
from agegender.errors import TableError

__all__ = ["Finding", "find"]

# A gap of five percentage points in gender accuracy is ranked like one of a year in age.
YEARS_PER_SHARE = 20.0
KINDS = {"mae": "mae_gap", "signed_error": "signed_error", "gender_accuracy": "gender_accuracy_gap"}
_RESAMPLE_COUNT = 2000


def find(
    predictions: pd.DataFrame,
    *,
    columns: Sequence[str] | None = None,
    train: pd.DataFrame | None = None,
    permutation_count: int = 2000,
    seed: int = 7,
) -> list[Finding]:
    """Return what can be claimed about groups, strongest first, then what cannot.

    Parameters
    ----------
    predictions : DataFrame
        A predictions table, usually the rows of the test split: rows the model was trained on flatter it.
    columns : sequence of str, optional
        By default `grouping.group_columns`: every label column, `age_group` among them, and other short text columns.
    train : DataFrame, optional
        The rows that the model was trained on: their share of each group is said beside a finding.
    permutation_count : int
        Random deals of the rows to the groups.
    seed : int

    Returns
    -------
    list of Finding
        Gaps by `strength`, then one "none" per metric and column without a gap, then "unknown". Over a whole audit
        without any true difference the list holds a gap in at most 5 of 100 cases.

    Raises
    ------
    TableError
        A named column is absent, or neither ages nor genders were predicted.
    """
    table = grouping.with_age_group(completed(predictions))
    chosen, untold = _columns(table, columns)
    trials = try_all(table, chosen, deal_count=permutation_count, seed=seed)
    gaps = [
        finding for claim, trial in worth_saying(trials) if (finding := _measured(claim, trial, table, train, seed))
    ]
    said = {(finding.metric, finding.columns) for finding in gaps}
    silent = [silence.no_gap(trial) for trial in trials if len(trial.groups.columns) == 1 and _is_silent(trial, said)]
    gaps = sorted(_without_mirrors(gaps), key=lambda finding: -finding.strength)
    return [
        *gaps,
        *sorted(silent, key=lambda finding: finding.kind == "unknown"),
        *untold,
        *silence.without_rows(table),
    ]


def _measured(claim: Claim, trial: Trial, table: pd.DataFrame, train: pd.DataFrame | None, seed: int) -> Finding | None:
    """Return the finding, or None when its own interval holds zero: then the numbers do not bear the sentence."""
    sample = Sample(METRICS[claim.metric], trial.values, claim.groups, _RESAMPLE_COUNT, seed)
    own, gaps, _ = measure(sample, None)
    mean, gap = own[claim.place], gaps[claim.place]
    columns, values, n = claim.groups.columns, claim.values, claim.n
    who = sentences.group_words(columns, values)
    if not _is_off_zero(gap):
        return None
    equal_ages, unit = _at_equal_ages(sample, claim, table), METRICS[claim.metric].unit
    size, kind = gap, KINDS[claim.metric]
    if claim.metric == "mae":
        words = sentences.absolute_error_sentence(who, n, mean, gap)
    elif claim.metric == "gender_accuracy":
        words = sentences.accuracy_sentence(who, n, mean, gap)
    elif _is_off_zero(mean) and mean.value * gap.value > 0:
        size, words = mean, sentences.signed_error_sentence(who, n, mean)
    else:
        kind, words = "signed_gap", sentences.signed_gap_sentence(who, n, gap)
    return Finding(
        kind=kind,
        metric=claim.metric,
        columns=columns,
        values=values,
        n=n,
        size=size.value,
        low=size.low,
        high=size.high,
        unit=unit,
        p_value=claim.p_value,
        strength=_strength(size, equal_ages, unit),
        sentence=words
        + sentences.equal_ages_words(claim.metric, gap, equal_ages)
        + _representation(claim, table, train),
    )


def _columns(table: pd.DataFrame, columns: Sequence[str] | None) -> tuple[tuple[str, ...], list[Finding]]:
    """Return the columns to judge, and what cannot be said of the others."""
    if columns is None:
        wanted = [name for name in grouping.LABEL_COLUMNS if name in table and grouping.value_count(table, name) > 1]
        wanted += [name for name in grouping.group_columns(table) if name not in wanted]
    else:
        wanted = list(columns)
        missing = [name for name in wanted if name not in table]
        if missing:
            raise TableError(
                f"cannot look for findings by {', '.join(missing)}: the table has {', '.join(map(str, table.columns))}."
            )
    many = [name for name in wanted if grouping.value_count(table, name) > grouping.MOST_VALUES]
    return tuple(name for name in wanted if name not in many), [silence.too_many(table, name) for name in many]


def _without_mirrors(gaps: Sequence[Finding]) -> list[Finding]:
    # Beside a group that is judged too young, all others look too old for their rest.
    biased = {finding.columns for finding in gaps if finding.kind == "signed_error"}
    return [finding for finding in gaps if finding.kind != "signed_gap" or finding.columns not in biased]


def _is_off_zero(estimate: Estimate) -> bool:
    return estimate.low > 0.0 or estimate.high < 0.0


def _strength(size: Estimate, equal_ages: Estimate | None, unit: str) -> float:
    # What is the group's own is what is left at equal ages; a gap that ages explain stands behind the ages themselves.
    own = size if equal_ages is None or isnan(equal_ages.value) else equal_ages
    is_own = _is_off_zero(own) and own.value * size.value > 0
    nearest = min(abs(own.low), abs(own.high)) if is_own else 0.0
    return nearest * (YEARS_PER_SHARE if unit == "share" else 1.0)


def _at_equal_ages(sample: Sample, claim: Claim, table: pd.DataFrame) -> Estimate | None:
    if "age_group" in claim.groups.columns or "age_group" not in table:
        return None
    bands = grouping.make(table, ("age_group",)).codes[claim.is_counted]
    adjusted = standardise(sample.values, sample.groups.codes, sample.groups.size, bands)
    return adjusted.gaps.of(claim.place)


def _representation(claim: Claim, table: pd.DataFrame, train: pd.DataFrame | None) -> str:
    columns = claim.groups.columns
    if train is None or train.empty:
        return ""
    trained = grouping.with_age_group(train)
    if any(name not in trained for name in columns):
        return ""
    shares = [_share(rows, columns, claim.values) for rows in (trained, table)]
    return sentences.training_words(*shares)


def _share(rows: pd.DataFrame, columns: Sequence[str], values: Sequence[str]) -> float:
    inside = np.ones(len(rows), dtype=bool)
    for name, value in zip(columns, values, strict=True):
        inside &= (rows[name].notna() & (rows[name].astype(object).astype(str) == value)).to_numpy()
    return float(inside.mean())


def _is_silent(trial: Trial, said: set[tuple[str, tuple[str, ...]]]) -> bool:
    return (trial.metric, trial.groups.columns) not in said
