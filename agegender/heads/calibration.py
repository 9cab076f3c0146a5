"""How far a probability can be taken at its word: temperature scaling and the calibration error.

References
----------
Guo, Pleiss, Sun, Weinberger: On calibration of modern neural networks, ICML 2017.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agegender.errors import CardError

_COLDEST, _HOTTEST = 0.1, 20.0


def fit_temperature(logits: ArrayLike, classes: ArrayLike) -> float:
    """Return the temperature by which logits are divided so that their probabilities hold.

    Parameters
    ----------
    logits : array, shape (rows, classes), float
        Of the validation split, up to a constant per row; rows with NaN are skipped.
    classes : array, shape (rows,), int
        Class numbers, -1 where unknown.

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
    from scipy.special import log_softmax

    scores, place = np.asarray(logits, dtype=np.float64), np.asarray(classes, dtype=np.int64)
    known = np.isfinite(scores).all(axis=1) & (place >= 0)
    scores, place = scores[known], place[known]
    class_count = scores.shape[1]
    counts = np.bincount(place, minlength=class_count)
    if (counts > 0).sum() < 2:
        return 1.0
    # Of a class with n rows 1 / (n + 2) goes to the others, in equal parts.
    doubt = 1.0 / (counts[place] + 2.0)
    target = np.repeat(doubt[:, None] / (class_count - 1), class_count, axis=1)
    target[np.arange(len(place)), place] = 1.0 - doubt

    def loss(log_temperature: float) -> float:
        return float(-np.mean(np.sum(target * log_softmax(scores / np.exp(log_temperature), axis=1), axis=1)))

    best = minimize_scalar(loss, bounds=(np.log(_COLDEST), np.log(_HOTTEST)), method="bounded")
    return float(np.exp(best.x))


def probability_bins(probability: NDArray[np.float64], bin_count: int) -> NDArray[np.int64]:
    """Return the bin of each probability, 0..bin_count - 1, of equal bins over 0..1."""
    return np.minimum((probability * bin_count).astype(np.int64), bin_count - 1)


def temperature_of(document: Mapping[str, Any]) -> float:
    """Return the temperature in a head's entry of a card's calibration, 1.0 where there is none."""
    given = document.get("temperature", 1.0)
    if isinstance(given, (int, float)) and 1e-6 < given < 1e6:
        return float(given)
    raise CardError(f"the temperature in the model card is {str(given)[:60]}; expected a number above 0.")


def expected_calibration_error(is_it: ArrayLike, probability: ArrayLike, *, bin_count: int = 10) -> float:
    """Return the mean distance between probability and share over the bins, weighted by their rows; 0..1.

    >>> expected_calibration_error([1, 1, 0, 0], [0.75, 0.75, 0.25, 0.25])
    0.25
    """
    truth, chance = (np.asarray(values, dtype=np.float64).ravel() for values in (is_it, probability))
    known = np.isfinite(truth) & np.isfinite(chance)
    truth, chance = truth[known], chance[known]
    if not truth.size:
        return float("nan")
    place = probability_bins(chance, bin_count)
    gaps = np.bincount(place, weights=chance, minlength=bin_count) - np.bincount(place, truth, minlength=bin_count)
    return float(np.abs(gaps).sum() / truth.size)
