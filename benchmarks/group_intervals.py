"""Group means with 95 % intervals: our studentised bootstrap beside fairlearn's, in time and in coverage.

    python benchmarks/group_intervals.py [--quick] [--json]

Time: 2,000 resamples of 20,000 rows in 20 groups. fairlearn's MetricFrame calls the metric for every group of every
resample; it is given fewer resamples, and its time is scaled up. `ratio` is theirs over ours. A plain pandas loop
(resample, group, mean) stands beside it. Coverage: how often the interval holds the true mean of skewed absolute errors
(half-normal and exponential), and the share of percentile intervals from the same resamples that do.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd

from agegender.audit.estimates import gap_intervals, mean_intervals, resample_groups

ROWS, GROUPS, RESAMPLES = 20_000, 20, 2_000
SHAPES: dict[str, tuple[Callable[[np.random.Generator, int], np.ndarray], float]] = {
    "half_normal": (lambda generator, n: 6.5 * np.abs(generator.normal(size=n)), 6.5 * np.sqrt(2 / np.pi)),
    "exponential": (lambda generator, n: generator.exponential(5.2, n), 5.2),
    "signed_normal": (lambda generator, n: generator.normal(0.0, 6.5, n), 0.0),
    "signed_laplace": (lambda generator, n: generator.laplace(0.0, 5.2, n), 0.0),
}


def our_seconds(values: np.ndarray, codes: np.ndarray) -> float:
    start = time.perf_counter()
    grouped = resample_groups(values, codes, GROUPS, resample_count=RESAMPLES)
    mean_intervals(grouped)
    gap_intervals(grouped)
    return time.perf_counter() - start


def fairlearn_seconds(values: np.ndarray, codes: np.ndarray, resamples: int) -> float:
    from fairlearn.metrics import MetricFrame

    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = MetricFrame(
            metrics=lambda true, predicted: float(np.mean(np.abs(true - predicted))),
            y_true=np.zeros(len(values)),
            y_pred=values,
            sensitive_features=pd.Series(codes, name="group"),
            n_boot=resamples,
            ci_quantiles=[0.025, 0.975],
            random_state=0,
        )
        frame.by_group_ci  # noqa: B018 (fairlearn computes it when it is asked for)
    return (time.perf_counter() - start) * RESAMPLES / resamples


def pandas_seconds(values: np.ndarray, codes: np.ndarray, resamples: int) -> float:
    table = pd.DataFrame({"group": codes, "error": values})
    start = time.perf_counter()
    means = [table.sample(len(table), replace=True, random_state=k).groupby("group").mean() for k in range(resamples)]
    pd.concat(means).groupby(level=0).quantile([0.025, 0.975])
    return (time.perf_counter() - start) * RESAMPLES / resamples


def coverage(intervals: int, seed: int) -> dict[str, dict[str, float]]:
    """Return for each shape of error and group size the share of intervals that hold the truth."""
    report = {}
    generator = np.random.default_rng(seed)
    for shape, (draw, truth) in SHAPES.items():
        for n in (10, 30, 100):
            hits = {"ours": [], "ours_gap_to_rest": [], "percentile": []}
            for _ in range(max(1, intervals // 100)):
                codes = np.repeat(np.arange(100), n)
                grouped = resample_groups(draw(generator, 100 * n), codes, 100, resample_count=1000)
                ends = mean_intervals(grouped)
                hits["ours"].append((ends[0] <= truth) & (truth <= ends[1]))
                _, low, high = gap_intervals(grouped)
                hits["ours_gap_to_rest"].append((low <= 0) & (high >= 0))
                low, high = np.quantile(grouped.resampled_means, [0.025, 0.975], axis=0)
                hits["percentile"].append((low <= truth) & (truth <= high))
            report[f"{shape}, n = {n}"] = {name: float(np.mean(part)) for name, part in hits.items()}
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer resamples for the others, 400 intervals a case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    generator = np.random.default_rng(options.seed)
    values, codes = np.abs(generator.normal(0, 6.5, ROWS)), generator.integers(0, GROUPS, ROWS)
    resamples, intervals = (20, 400) if options.quick else (200, 4000)
    our_seconds(values, codes)
    ours = min(our_seconds(values, codes) for _ in range(3))
    theirs = fairlearn_seconds(values, codes, resamples)
    document = {
        "rows": ROWS,
        "groups": GROUPS,
        "resamples": RESAMPLES,
        "ratio": theirs / ours,
        "our_seconds": ours,
        "fairlearn_seconds": theirs,
        "pandas_loop_seconds": pandas_seconds(values, codes, resamples),
        "resamples_timed_of_the_others": resamples,
        "intervals_per_case": intervals,
        "coverage_of_95_percent_intervals": coverage(intervals, options.seed),
    }
    print(json.dumps(document, indent=2) if options.json else _text(document))
    return 0


def _text(document: dict) -> str:
    head = (
        f"ours {document['our_seconds']:.2f} s, fairlearn {document['fairlearn_seconds']:.1f} s "
        f"({document['ratio']:.0f} times), pandas loop {document['pandas_loop_seconds']:.1f} s"
    )
    rows = [
        f"  {name:24} ours {row['ours']:.3f}  gap {row['ours_gap_to_rest']:.3f}  percentile {row['percentile']:.3f}"
        for name, row in document["coverage_of_95_percent_intervals"].items()
    ]
    return "\n".join([head, f"coverage, {document['intervals_per_case']} intervals each", *rows])


if __name__ == "__main__":
    raise SystemExit(main())
