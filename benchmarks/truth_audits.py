"""Trials of the audit: a table is made, audit and rivals are asked, and what they claim is held to the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
from truth_rivals import rival_claims
from truth_tables import Labels, by_age_alone, noise, of_persons, of_twins, plant, true_null, two_models

from agegender.audit.age_checks import difference
from agegender.audit.assessment import Assessment, assess
from agegender.audit.estimates import gap_intervals, mean_intervals, resample_groups
from agegender.audit.findings import Finding
from agegender.audit.groups import Group
from agegender.audit.models_compared import PairedComparison, compare_pair
from agegender.heads import GENDER, Head
from agegender.settings import AGE_CHECKS

Figures = dict[str, float]
Make = Callable[[np.random.Generator, Labels, int], pd.DataFrame]
EVERY_FAIRLEARN = 20  # its bootstrap takes as long as several audits, and its answer is always the same
FIVE_YEARS = tuple(float(age) for age in range(5, 95, 5))
_AGE = {"age_group", "age_band"}


def gaps_of(table: pd.DataFrame, seed: int) -> list[Finding]:
    """Return what the audit claims of a table."""
    return [finding for finding in replace(assess(table), seed=seed).findings if finding.is_gap]


def null_trial(name: str, generator: np.random.Generator, labels: Labels, number: int) -> Figures:
    """Return whether anything is claimed where there is nothing; where age truly matters, beyond age bands."""
    table = NULLS[name](generator, labels, number)
    found = {"ours": [(one.columns, one.values, one.metric) for one in gaps_of(table, number)]}
    is_age_true = name == "any_size"
    has_fairlearn = number % EVERY_FAIRLEARN == 0 and name in ("true_null", "any_size")
    found |= rival_claims(table, generator, has_fairlearn=has_fairlearn)
    return {
        rival: float(any(not is_age_true or not _AGE.issuperset(columns) for columns, _, _ in claims))
        for rival, claims in found.items()
    }


def bands_trial(generator: np.random.Generator, labels: Labels, number: int) -> Figures:
    """Return whether anything is claimed where there is nothing, of bands of five years besides."""
    table = true_null(generator, labels, number)
    assessment = replace(assess(table, age_bands=FIVE_YEARS), seed=number)
    return {"ours": float(any(finding.is_gap for finding in assessment.findings))}


def age_check_trial(generator: np.random.Generator, labels: Labels, number: int) -> Figures:
    """Return whether an age check is said to fail some group more or less often, where errors depend on age alone."""
    groups = _checked_groups(any_size(generator, labels, number), AGE_CHECKS[number % len(AGE_CHECKS)])
    ranked = [group for group in groups if group.is_ranked and np.isfinite(group.gap_to_rest.value)]
    plainly = any(group.gap_alone.is_off_zero for group in ranked)
    return {"ours": float(any(difference(group) for group in groups)), "uncorrected": float(plainly)}


def age_check_power_trial(years: float, generator: np.random.Generator, labels: Labels, _: int) -> Figures:
    """Return whether women are said to be let in more often, whose minors near the limit are judged older."""
    table = by_age_alone(generator, labels, 10_000)
    is_meant = (table["gender"] == GENDER.classes[0]) & table["age_years"].between(14, 17)
    table.loc[is_meant, "predicted_age_years"] += years
    groups = _checked_groups(table, AGE_CHECKS[0])
    return {
        "ours": float(any(group.values == (GENDER.classes[0],) and difference(group) == "more" for group in groups))
    }


def _checked_groups(table: pd.DataFrame, check: str) -> list[Group]:
    return [
        group
        for result in assess(table, age_checks=[check]).age_checks
        for checked in result.measures
        for one in checked.by_columns.values()
        for group in one.groups
    ]


def untold_trial(name: str, generator: np.random.Generator, labels: Labels, number: int) -> Figures:
    """Return whether anything is claimed where nobody says which rows belong together, and whether a notice warns."""
    table = NULLS[name](generator, labels, number).drop(columns=["subject_id", "twin_cluster"], errors="ignore")
    assessment = replace(assess(table), seed=number)
    return {
        "ours": float(any(finding.is_gap for finding in assessment.findings)),
        "warned": float(any("too narrow" in notice for notice in assessment.notices)),
    }


def power_trial(what: str, generator: np.random.Generator, labels: Labels, number: int) -> Figures:
    """Return whether what was planted is named."""
    planted = plant(generator, labels, what)
    found = {"ours": [(one.columns, one.values, one.metric) for one in gaps_of(planted.table, number)]}
    found |= rival_claims(planted.table, generator, is_crossed=len(planted.group) > 1)
    return {name: float(any(planted.is_named(*claim) for claim in claims)) for name, claims in found.items()}


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
    gaps = [group.gap_alone for group in assessment.compare(metric, (column,)).groups if group.is_ranked]
    # The two genders' gaps are one number with two signs.
    return [gap.is_off_zero for gap in (gaps[:1] if column == "gender" else gaps)]


def any_size(generator: np.random.Generator, labels: Labels, number: int) -> pd.DataFrame:
    n = int(np.exp(generator.uniform(np.log(1_000), np.log(10_000))))
    return by_age_alone(generator, labels, n, ("normal", "laplace")[number % 2])


def four_photos(generator: np.random.Generator, labels: Labels, _: int) -> pd.DataFrame:
    return of_persons(generator, labels, persons=300, photos=4, icc=0.5)


def seven_photos(generator: np.random.Generator, labels: Labels, _: int) -> pd.DataFrame:
    return of_persons(generator, labels, persons=300, photos=7, icc=0.6, is_masked=True)


def twins(generator: np.random.Generator, labels: Labels, _: int) -> pd.DataFrame:
    return of_twins(generator, labels)


NULLS: dict[str, Make] = {
    "true_null": true_null,
    "any_size": any_size,
    "four_photos": four_photos,
    "seven_photos": seven_photos,
    "twins": twins,
}


def compare_trial(generator: np.random.Generator, labels: Labels, number: int) -> Figures:
    """Return whether any group is said to gain or lose between two equally good models, by any of its scores."""
    pair = compare_pair(*two_models(generator, labels, 1500), seed=number)
    tables = [change.by_group for change in pair.changes.values()]
    return {
        "ours": float(any((table.filter(like="p_corrected") < 0.05).to_numpy().any() for table in tables)),
        "uncorrected": float(any(_differs_by_t_test(pair, head) for head in pair.heads)),
    }


def _differs_by_t_test(pair: PairedComparison, head: Head) -> bool:
    from scipy.stats import ttest_1samp

    change = pair.faces[f"{head.name}_change"].replace({"broken": -1.0, "": 0.0, "mended": 1.0}).astype(float)
    groups = pair.changes[head.name].by_group[["column", "group"]].itertuples(index=False)
    return any(ttest_1samp(change[pair.faces[name] == value].dropna(), 0.0).pvalue < 0.05 for name, value in groups)


# Absolute and signed errors with the mean that an interval should hold.
SHAPES: dict[str, tuple[Callable[[np.random.Generator, int], np.ndarray], float]] = {
    "half-normal": (lambda generator, n: 5.2 * np.abs(noise(generator, n)), 5.2),
    "exponential": (lambda generator, n: generator.exponential(5.2, n), 5.2),
    "normal": (lambda generator, n: 5.2 * noise(generator, n), 0.0),
    "laplace": (lambda generator, n: 5.2 * noise(generator, n, "laplace"), 0.0),
}


def level_trial(n: int, generator: np.random.Generator, _: Labels, number: int) -> Figures:
    """Return the shares of 95 % intervals of 100 groups' means, and of gaps to the rest, that miss the truth."""
    draw, truth = list(SHAPES.values())[number % len(SHAPES)]
    grouped = resample_groups(draw(generator, 100 * n), np.repeat(np.arange(100), n), 100, resample_count=1000)
    low, high = mean_intervals(grouped)
    _, gap_low, gap_high = gap_intervals(grouped)
    percentiles = np.quantile(grouped.resampled_means, [0.025, 0.975], axis=0)
    return {
        "ours": float(np.mean((low > truth) | (high < truth))),
        "gaps to the rest": float(np.mean((gap_low > 0) | (gap_high < 0))),
        "bootstrap percentiles": float(np.mean((percentiles[0] > truth) | (percentiles[1] < truth))),
    }
