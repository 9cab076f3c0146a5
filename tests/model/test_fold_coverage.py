"""Intervals that are fitted to out-of-fold errors hold for single networks, and are wide enough for all together."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from agegender.heads import AGE

FOLDS = 5


def drawn(generator: np.random.Generator, count: int, own_share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ages, predictions of each network, and the spread that each reports; so much of the error is its own."""
    ages = generator.gamma(3, 12, count).clip(0, 110)
    size = 2 + ages / 12
    together = ages + generator.normal(0, 1, count) * size * np.sqrt(1 - own_share)
    own = generator.normal(0, 1, (FOLDS, count)) * size * np.sqrt(own_share)
    return ages, together + own, size * np.sqrt(1 - own_share) * generator.lognormal(0, 0.2, count)


def coverage(calibration: dict, ages: np.ndarray, predicted: np.ndarray, spread: np.ndarray) -> float:
    rows = pd.DataFrame({"predicted_age_years": predicted, "age_spread_years": spread})
    low, high = AGE.intervals(rows, calibration).values()
    return float(((low <= ages) & (ages <= high)).mean())


@pytest.mark.parametrize(("own_share", "most"), [(0.05, 0.92), (0.2, 0.95), (0.5, 0.99)])
def test_nine_of_ten_for_each_and_at_least_so_many_for_all(own_share: float, most: float) -> None:
    alone, together = [], []
    for seed in range(6):
        generator = np.random.default_rng(seed)
        ages, networks, spread = drawn(generator, 1500, own_share)
        out_of_fold = np.choose(generator.integers(0, FOLDS, 1500), networks)
        rows = {"age_years": ages, "predicted_age_years": out_of_fold, "age_spread_years": spread}
        calibration = AGE.calibrate(pd.DataFrame(rows))
        ages, networks, spread = drawn(generator, 4000, own_share)
        alone.append(coverage(calibration, ages, networks[0], spread))
        total = np.sqrt(spread**2 + networks.var(axis=0))  # of the mean of their distributions
        together.append(coverage(calibration, ages, networks.mean(axis=0), total))
    assert np.mean(alone) == pytest.approx(0.9, abs=0.01)
    assert 0.895 < np.mean(together) < most
