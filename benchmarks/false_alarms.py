"""Simulated audits: how often a gap is claimed where none was planted, and found where one was.

    python benchmarks/false_alarms.py [--quick] [--trials 200] [--json]

Half of the audits hold no gap: errors are dealt to the faces without a look at any label, in tables of several shapes
(14 groups of 50; very unequal ethnicities of different ages; few rows and many columns) and with errors of several
shapes (normal, Laplace, Student's t with 3 degrees of freedom). The other half have 2 years more of mean absolute error
planted in one group of 100 faces. `ratio` sets our time per audit against testing the groups of two columns one by one
with SciPy's permutation test, for the absolute error alone; beside it stands what uncorrected t-tests would have
claimed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from agegender.audit.assessment import assess
from agegender.audit.findings import Finding

MAE_YEARS = 5.2
PLANTED_YEARS = 2.0
ETHNICITIES = ("White", "Black", "Asian", "Indian", "Others")
Noise = Callable[[np.random.Generator, int], np.ndarray]

# Errors of either sign with a mean absolute error of 1.
NOISES: dict[str, Noise] = {
    "normal": lambda generator, n: generator.normal(size=n) * np.sqrt(np.pi / 2),
    "laplace": lambda generator, n: generator.laplace(size=n),
    "student_t3": lambda generator, n: generator.standard_t(3, size=n) / 1.1027,
}


def labels(generator: np.random.Generator, shape: str) -> pd.DataFrame:
    """Return the labels of one audit's faces."""
    n = {"14_groups_of_50": 700, "unequal": 3000, "many_columns": 1000}[shape]
    table = pd.DataFrame({"age_years": np.clip(generator.gamma(3.0, 11.0, n), 0, 100)})
    table["gender"] = generator.choice(["male", "female"], n)
    if shape == "14_groups_of_50":
        table["ethnicity"] = np.repeat([f"group {number:02d}" for number in range(14)], 50)
        return table
    shares = [0.55, 0.2, 0.12, 0.09, 0.04] if shape == "unequal" else [0.3, 0.3, 0.2, 0.1, 0.1]
    table["ethnicity"] = generator.choice(ETHNICITIES, n, p=shares)
    if shape == "unequal":
        table["age_years"] += 12.0 * (table["ethnicity"] == "White")
    else:
        for name, count in (("expression", 7), ("mask", 2), ("source", 3)):
            table[name] = generator.choice([f"{name} {number}" for number in range(count)], n)
    return table


def audit(generator: np.random.Generator, shape: str, noise: str) -> pd.DataFrame:
    """Return a predictions table without any true gap."""
    table = labels(generator, shape)
    n = len(table)
    table["predicted_age_years"] = table["age_years"] + MAE_YEARS * NOISES[noise](generator, n)
    wrong = np.where(table["gender"] == "male", "female", "male")
    table["predicted_gender"] = np.where(generator.random(n) < 0.93, table["gender"], wrong)
    return table


def plant(generator: np.random.Generator, table: pd.DataFrame, *, column: str, way: str) -> pd.DataFrame:
    """Return the table with 2 years more of mean absolute error in a new group of 100 faces, named "planted"."""
    planted = table.copy()
    rows = generator.choice(len(table), 100, replace=False)
    planted.loc[rows, column] = "planted"
    error = (table["predicted_age_years"] - table["age_years"]).to_numpy()[rows]
    if way == "scaled":
        worse = error * (MAE_YEARS + PLANTED_YEARS) / MAE_YEARS
    elif way == "pushed":
        worse = error + PLANTED_YEARS * np.sign(error)
    else:
        shift = float(_shift_years(error))
        worse = error - shift
    planted.loc[rows, "predicted_age_years"] = table["age_years"].to_numpy()[rows] + worse
    return planted


def _shift_years(error: np.ndarray) -> float:
    """Return by how much to lower the predictions so that the mean absolute error grows by 2 years."""
    low, high = 0.0, 60.0
    for _ in range(60):
        middle = (low + high) / 2
        is_short = np.abs(error - middle).mean() < np.abs(error).mean() + PLANTED_YEARS
        low, high = (middle, high) if is_short else (low, middle)
    return high


def find(table: pd.DataFrame, seed: int = 7) -> list[Finding]:
    return replace(assess(table), seed=seed).findings


def false_alarms(trials: int, seed: int) -> dict[str, dict[str, float]]:
    """Return, for each kind of audit without a gap, the share in which one was claimed."""
    report = {}
    for shape in ("14_groups_of_50", "unequal", "many_columns"):
        for noise in NOISES:
            claimed = naive = 0
            for trial in range(trials):
                table = audit(np.random.default_rng([seed, trial]), shape, noise)
                claimed += any(finding.is_gap for finding in find(table, seed=trial))
                naive += _naive_claim(table)
            report[f"{shape}, {noise}"] = {"claimed": claimed / trials, "uncorrected_t_tests": naive / trials}
    return report


def _naive_claim(table: pd.DataFrame) -> bool:
    from scipy.stats import ttest_ind

    errors = (table["predicted_age_years"] - table["age_years"]).abs().to_numpy()
    members = [(table[name] == value).to_numpy() for name in ("gender", "ethnicity") for value in table[name].unique()]
    return any(ttest_ind(errors[inside], errors[~inside], equal_var=False).pvalue < 0.05 for inside in members)


def power(trials: int, seed: int) -> dict[str, dict[str, float]]:
    """Return, for each kind of planted gap, the share of audits in which it was found, and in which it came first."""
    report = {}
    for shape in ("unequal", "many_columns"):
        for noise in ("normal", "laplace"):
            for way in ("scaled", "pushed", "shifted"):
                found = first = 0
                for trial in range(trials):
                    generator = np.random.default_rng([seed, trial, 1])
                    table = plant(generator, audit(generator, shape, noise), column="ethnicity", way=way)
                    gaps = [finding for finding in find(table, seed=trial) if finding.is_gap]
                    found += any(gap.values == ("planted",) for gap in gaps)
                    first += bool(gaps) and "planted" in gaps[0].values
                report[f"{shape}, {noise}, {way}"] = {"found": found / trials, "first": first / trials}
    return report


def speed(seed: int) -> dict[str, float]:
    """Return seconds per audit of 3,000 rows: ours, all metrics and intersections, and SciPy group by group."""
    from scipy.stats import permutation_test

    table = audit(np.random.default_rng(seed), "unequal", "normal")
    start = time.perf_counter()
    find(table)
    ours = time.perf_counter() - start
    errors = (table["predicted_age_years"] - table["age_years"]).abs().to_numpy()
    start = time.perf_counter()
    for name in ("gender", "ethnicity"):
        for value in table[name].unique():
            inside = (table[name] == value).to_numpy()
            permutation_test(
                (errors[inside], errors[~inside]), _mean_gap, vectorized=True, n_resamples=2000, batch=200, rng=seed
            )
    return {"our_seconds": ours, "scipy_seconds": time.perf_counter() - start}


def _mean_gap(first: np.ndarray, second: np.ndarray, axis: int) -> np.ndarray:
    return np.mean(first, axis=axis) - np.mean(second, axis=axis)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200, help="audits of each kind (200)")
    parser.add_argument("--quick", action="store_true", help="3 audits of each kind, within a minute")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    trials = 3 if options.quick else options.trials
    null, planted = false_alarms(trials, options.seed), power(trials, options.seed)
    times = speed(options.seed)
    document = {
        "trials_of_each_kind": trials,
        "ratio": times["scipy_seconds"] / times["our_seconds"],
        **times,
        "false_alarm_rate": float(np.mean([row["claimed"] for row in null.values()])),
        "no_gap_planted": null,
        "two_years_planted_in_100_faces": planted,
    }
    print(json.dumps(document, indent=2) if options.json else _text(document))
    return 0


def _text(document: dict) -> str:
    lines = [f"{document['trials_of_each_kind']} audits of each kind", "No gap planted: share of audits with a claim"]
    for name, row in document["no_gap_planted"].items():
        lines.append(f"  {name:32} {row['claimed']:.3f}   uncorrected t-tests {row['uncorrected_t_tests']:.3f}")
    lines.append("2 years planted in a group of 100: share of audits in which it was found, and came first")
    for name, row in document["two_years_planted_in_100_faces"].items():
        lines.append(f"  {name:32} {row['found']:.3f}   {row['first']:.3f}")
    lines.append(f"one audit of 3,000 rows {document['our_seconds']:.2f} s, SciPy {document['scipy_seconds']:.2f} s")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
