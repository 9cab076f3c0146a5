"""ChaLearn's bias scores of two models on the same faces, each beside chance, and what changes between them.

A score is the mean distance between the errors of groups, so it is a sum of group means, each taken as often as groups
stand below and above it: its spread, and that of a paired difference, follow from the rows. Where groups lie so close
together that their order is chance, a score is mostly noise and above the truth, in both models alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.audit import grouping
from agegender.audit.chalearn import ATTRIBUTES
from agegender.audit.chance import Ledger
from agegender.audit.estimates import LEVEL, Estimate
from agegender.audit.held_equal import HeldEqual
from agegender.heads import Regression

Floats = NDArray[np.float64]
_DEALS = 1000


@dataclass(frozen=True)
class BiasChange:
    """One bias score before and after, in the unit of the head.

    Attributes
    ----------
    attribute : str
        "gender", "age", "ethnicity" or "expression".
    groups, n : int
        Groups, and faces in them that both models have judged.
    first, second : Estimate
        The score of each model.
    chance_first, chance_second : float
        What a model reaches in 5 of 100 deals that deal its errors to the groups at random, among faces of one age;
        NaN where groups are bands of age.
    difference : Estimate
        Second minus first, below 0 the second is less biased.
    """

    attribute: str
    groups: int
    n: int
    first: Estimate
    second: Estimate
    chance_first: float
    chance_second: float
    difference: Estimate


def compare_bias_scores(
    faces: pd.DataFrame, head: Regression | None, clusters: NDArray[np.int64] | None, *, seed: int = 7
) -> tuple[BiasChange, ...]:
    """Return the known scores of a head on shared faces, see `models_compared`; none without a head of age bands."""
    if head is None:
        return ()
    both = [faces[f"{head.absolute_error_column}_{which}"].to_numpy(dtype=np.float64) for which in ("first", "second")]
    known = np.isfinite(both[0]) & np.isfinite(both[1])
    rows, own = faces[known].reset_index(drop=True), None if clusters is None else clusters[known]
    errors = [one[known] for one in both]
    groupings = {
        name: grouping.make(rows, (column,))
        for name, column in ATTRIBUTES.items()
        if column in rows and rows[column].nunique() > 1
    }
    if not groupings:
        return ()
    metric, held = head.metrics[0], HeldEqual.of_table(rows, (head.column,))
    ledgers = [
        Ledger({metric: one}, list(groupings.values()), [], held=held, clusters=own, deal_count=_DEALS, seed=seed)
        for one in errors
    ]
    found = []
    for name, groups in groupings.items():
        chances = [ledger.get(metric.name, groups.columns) for ledger in ledgers]
        levels = [float("nan") if one is None else one.mean_gap_null_95 for one in chances]
        first, second, change = _scores(errors, groups.codes, groups.size, own)
        count = int((groups.codes >= 0).sum())
        found.append(BiasChange(name, groups.size, count, first, second, levels[0], levels[1], change))
    return tuple(found)


def _scores(
    errors: list[Floats], codes: NDArray[np.int64], size: int, clusters: NDArray[np.int64] | None
) -> list[Estimate]:
    """Return the score of either model and the second minus the first."""
    inside = codes >= 0
    numbers = np.arange(len(codes)) if clusters is None else clusters
    parts = [_influences(one[inside], codes[inside], size) for one in errors]
    values = [parts[0][0], parts[1][0], parts[1][0] - parts[0][0]]
    influences = [parts[0][1], parts[1][1], parts[1][1] - parts[0][1]]
    found = [_estimate(value, one, numbers[inside]) for value, one in zip(values, influences, strict=True)]
    # No score is below zero.
    return [*(Estimate(one.value, max(one.low, 0.0), one.high) for one in found[:2]), found[2]]


def _influences(errors: Floats, codes: NDArray[np.int64], size: int) -> tuple[float, Floats]:
    """Return the score, and how much each row moves it."""
    counts = np.bincount(codes, minlength=size)
    means = np.bincount(codes, weights=errors, minlength=size) / counts
    places = np.empty(size)
    places[np.argsort(means, kind="stable")] = 2.0 * np.arange(size) - (size - 1)
    shares = places / (size * (size - 1) / 2)
    few = np.sqrt(counts / np.maximum(counts - 1.0, 1.0))
    return float(shares @ means), (shares * few / counts)[codes] * (errors - means[codes])


def _estimate(value: float, influences: Floats, clusters: NDArray[np.int64]) -> Estimate:
    from scipy.special import ndtri

    sums = np.bincount(np.unique(clusters, return_inverse=True)[1], weights=influences)
    reach = float(ndtri(0.5 + LEVEL / 2.0) * np.sqrt(np.sum(sums**2)))
    return Estimate(value, value - reach, value + reach)
