"""The rows of `truth.py`: what is promised, how one trial of it goes, and when the promise holds.

A trial gets a generator, the labels and its number, and returns figures: `ours`, those of the alternatives under their
names, and others that stand beside them. A row is judged by the means over its trials.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from scipy.stats import binom
from truth_rivals import rival_claims
from truth_tables import Labels, by_age_alone, of_persons, of_twins, plant, true_null

from agegender.audit.assessment import Assessment, assess
from agegender.audit.findings import Finding

Figures = dict[str, float]
Trial = Callable[[np.random.Generator, Labels, int], Figures]
Means = Mapping[str, float]
EVERY_FAIRLEARN = 20  # its bootstrap takes as long as several audits, and its answer is always the same
_AGE = ("age_group",)


@dataclass(frozen=True)
class Row:
    """One promise.

    Attributes
    ----------
    name : str
        For `--only`.
    part : str
        The heading that it stands under.
    title, promise : str
        What is measured, and what is promised of it.
    trials, quick_trials : int
    trial : callable
        (generator, labels, number) -> figures.
    holds : callable or None
        (means, trials) -> whether the promise is kept; None where none is made.
    """

    name: str
    part: str
    title: str
    promise: str
    trials: int
    quick_trials: int
    trial: Trial
    holds: Callable[[Means, int], bool] | None


def most_by_chance(trials: int, rate: float = 0.05) -> int:
    """Return the count that a true rate of 5 % exceeds in at most 5 of 100 cases.

    >>> most_by_chance(400), most_by_chance(200), most_by_chance(100)
    (27, 15, 9)
    """
    return int(binom.ppf(0.95, trials, rate))


def is_rare(means: Means, trials: int) -> bool:
    """Return whether `ours` happened no more often than 5 % allow."""
    return round(means["ours"] * trials) <= most_by_chance(trials)


def at_least(share: float) -> Callable[[Means, int], bool]:
    """Return the judge of a figure that may not be smaller."""
    return lambda means, _: means["ours"] >= share - 1e-9


def at_most(share: float) -> Callable[[Means, int], bool]:
    """Return the judge of a figure that may not be larger."""
    return lambda means, _: means["ours"] <= share + 1e-9


def gaps_of(table: pd.DataFrame, seed: int) -> list[Finding]:
    """Return what the audit claims of a table."""
    return [finding for finding in replace(assess(table), seed=seed).findings if finding.is_gap]


def null_trial(
    make: Callable[[np.random.Generator, Labels, int], pd.DataFrame],
    generator: np.random.Generator,
    labels: Labels,
    number: int,
    *,
    is_age_true: bool = False,
    is_told: bool = True,
) -> Figures:
    """Return whether anything is claimed where there is nothing; where age truly matters, beyond age bands."""
    table = make(generator, labels, number)
    told = table if is_told else table.drop(columns=["subject_id", "twin_cluster"], errors="ignore")
    found = {"ours": [(one.columns, one.values, one.metric) for one in gaps_of(told, number)]}
    if is_told:
        found |= rival_claims(table, generator, has_fairlearn=number % EVERY_FAIRLEARN == 0)
    return {
        name: float(any(not is_age_true or columns != _AGE for columns, _, _ in claims))
        for name, claims in found.items()
    }


def power_trial(what: str, generator: np.random.Generator, labels: Labels, number: int) -> Figures:
    """Return whether what was planted is named."""
    planted = plant(generator, labels, what)
    found = {"ours": [(one.columns, one.values, one.metric) for one in gaps_of(planted.table, number)]}
    found |= rival_claims(planted.table, generator, is_crossed=len(planted.group) > 1)
    figures = {name: float(any(planted.is_named(*claim) for claim in claims)) for name, claims in found.items()}
    ours = found["ours"]
    return figures | {"first": float(bool(ours) and planted.is_named(*ours[0]))}


def adjusted_trial(n: int, generator: np.random.Generator, labels: Labels, number: int) -> Figures:
    """Return the share of 95 % intervals of gaps at equal ages that miss the truth, which is 0."""
    table = by_age_alone(generator, labels, n, ("normal", "laplace")[number % 2])
    # A few deals: p-values are not looked at here.
    assessment = replace(assess(table), seed=number, deal_count=19, resample_count=20)
    misses = {
        metric: [miss for column in ("gender", "ethnicity") for miss in _misses(assessment, metric, column)]
        for metric in ("age.mean_absolute_error", "age.mean_signed_error", "gender.accuracy")
    }
    every = [miss for part in misses.values() for miss in part]
    return {"ours": float(np.mean(every)), **{name: float(np.mean(part)) for name, part in misses.items() if part}}


def _misses(assessment: Assessment, metric: str, column: str) -> list[bool]:
    gaps = [group.standardised_gap for group in assessment.compare(metric, (column,)).groups if group.is_ranked]
    # The two genders' gaps are one number with two signs.
    return [gap.is_off_zero for gap in (gaps[:1] if column == "gender" else gaps)]


def _any_size(generator: np.random.Generator, labels: Labels, number: int) -> pd.DataFrame:
    n = int(np.exp(generator.uniform(np.log(1_000), np.log(10_000))))
    return by_age_alone(generator, labels, n, ("normal", "laplace")[number % 2])


def _four_photos(generator: np.random.Generator, labels: Labels, _: int) -> pd.DataFrame:
    return of_persons(generator, labels, persons=300, photos=4, icc=0.5)


def _seven_photos(generator: np.random.Generator, labels: Labels, _: int) -> pd.DataFrame:
    return of_persons(generator, labels, persons=300, photos=7, icc=0.6, is_masked=True)


def _twins(generator: np.random.Generator, labels: Labels, _: int) -> pd.DataFrame:
    return of_twins(generator, labels)


FALSE = "Claims where there is nothing"
POWER = "Gaps that were planted"
ADJUSTED = "Intervals of gaps at equal ages"
RARE = "at most 5 %"
DEPENDENT = {
    "four_photos": ("4 photos a person, ICC 0.5", _four_photos),
    "seven_photos": ("7 photos a person, masks, ICC 0.6", _seven_photos),
    "twins": ("20 % of the photos stand twice", _twins),
}


def _audit_rows() -> Sequence[Row]:
    yield Row("true_null", FALSE, "errors look at no label", RARE, 400, 9, partial(null_trial, true_null), is_rare)
    yield Row(
        "conditional_null", FALSE, "errors depend on age alone; claims beyond age", RARE, 200, 6,
        partial(null_trial, _any_size, is_age_true=True), is_rare,
    )  # fmt: skip
    for name, (title, make) in DEPENDENT.items():
        yield Row(name, FALSE, title, RARE, 100, 4, partial(null_trial, make), is_rare)
    for name, (title, make) in DEPENDENT.items():
        untold = partial(null_trial, make, is_told=False)
        yield Row(f"{name}_untold", FALSE, f"{title}, and the table does not say so", "none", 100, 2, untold, None)
    for what, share, title in (
        ("shift", 0.70, "2 years too old, 100 of 1,200"),
        ("gender", 0.55, "10 points less accurate, 100 of 1,200"),
        ("scale", 0.88, "2 years more of absolute error, 100 of 1,200"),
        ("intersection", 0.70, "4 years more among 100 women over 60 of one ethnicity"),
    ):
        promise = f"found in at least {100 * share:.0f} %"
        yield Row(what, POWER, title, promise, 100, 4, partial(power_trial, what), at_least(share))
    for n in (1_000, 3_000, 10_000):
        yield Row(
            f"adjusted_{n}", ADJUSTED, f"{n:,} rows, errors depend on age alone", "misses at most 6.5 %", 400, 4,
            partial(adjusted_trial, n), at_most(0.065),
        )  # fmt: skip


ROWS = tuple(_audit_rows())
