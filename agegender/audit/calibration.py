"""Owns how far a probability can be taken at its word: temperature scaling, reliability bins, calibration error.

References
----------
Guo, Pleiss, Sun, Weinberger: On calibration of modern neural networks, ICML 2017.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from agegender.audit.rates import wilson

_COLDEST, _HOTTEST = 0.1, 20.0


def fit_temperature(log_odds: ArrayLike, is_female: ArrayLike) -> float:
    """Return the temperature by which log-odds are divided so that their probabilities hold.

    Parameters
    ----------
    log_odds : array, shape (rows,), float
        Log-odds of female on the validation split; NaN is skipped.
    is_female : array, shape (rows,), 1 / 0 / NaN
        Labels.

    Returns
    -------
    float
        0.1..20; above 1 the model was too sure of itself. 1.0 when the rows hold fewer than two classes.

    Notes
    -----
    Labels are drawn a little towards the middle as Platt did, so that a validation split without a single mistake does
    not make the model certain for ever.
    """
    from scipy.optimize import minimize_scalar

    odds, truth = np.asarray(log_odds, dtype=np.float64).ravel(), np.asarray(is_female, dtype=np.float64).ravel()
    known = np.isfinite(odds) & np.isfinite(truth)
    odds, is_positive = odds[known], truth[known] > 0.5
    positives, negatives = int(is_positive.sum()), int((~is_positive).sum())
    if not positives or not negatives:
        return 1.0
    target = np.where(is_positive, (positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0))

    def loss(log_temperature: float) -> float:
        scaled = odds / np.exp(log_temperature)
        return float(np.mean(np.logaddexp(0.0, scaled) - target * scaled))

    best = minimize_scalar(loss, bounds=(np.log(_COLDEST), np.log(_HOTTEST)), method="bounded")
    return float(np.exp(best.x))


def calibrated_probability(log_odds: ArrayLike, temperature: float) -> NDArray[np.float64]:
    """Return the probability of female that belongs to log-odds at a temperature.

    >>> calibrated_probability([0.0], 2.0).tolist()
    [0.5]
    """
    scaled = np.asarray(log_odds, dtype=np.float64) / temperature
    return np.exp(-np.logaddexp(0.0, -scaled))


def reliability_bins(is_female: ArrayLike, female_probability: ArrayLike, *, bin_count: int = 10) -> pd.DataFrame:
    """Return, for equal bins of the probability, how often it came true.

    Returns
    -------
    DataFrame
        One row per bin: `probability_low`, `probability_high` (edges), `n`, `mean_probability`, `female_share` with its
        Wilson interval `female_share_low`, `female_share_high`; NaN in an empty bin.
    """
    truth = np.asarray(is_female, dtype=np.float64).ravel()
    probability = np.asarray(female_probability, dtype=np.float64).ravel()
    known = np.isfinite(truth) & np.isfinite(probability)
    truth, probability = truth[known], probability[known]
    place = np.minimum((probability * bin_count).astype(int), bin_count - 1)
    counts = np.bincount(place, minlength=bin_count)
    hits = np.bincount(place, weights=truth, minlength=bin_count)
    filled = np.where(counts > 0, counts, np.nan)
    low, high = wilson(hits, counts)
    return pd.DataFrame(
        {
            "probability_low": np.arange(bin_count) / bin_count,
            "probability_high": (np.arange(bin_count) + 1) / bin_count,
            "n": counts,
            "mean_probability": np.bincount(place, weights=probability, minlength=bin_count) / filled,
            "female_share": hits / filled,
            "female_share_low": low,
            "female_share_high": high,
        }
    )


def expected_calibration_error(is_female: ArrayLike, female_probability: ArrayLike, *, bin_count: int = 10) -> float:
    """Return the mean distance between probability and share over the bins, weighted by their rows; 0..1.

    >>> expected_calibration_error([1, 1, 0, 0], [0.75, 0.75, 0.25, 0.25])
    0.25
    """
    bins = reliability_bins(is_female, female_probability, bin_count=bin_count)
    filled = bins[bins["n"] > 0]
    if filled.empty:
        return float("nan")
    distance = (filled["mean_probability"] - filled["female_share"]).abs()
    return float(np.average(distance, weights=filled["n"]))
