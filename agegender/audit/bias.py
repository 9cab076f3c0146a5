"""Owns the ChaLearn bias score and the age bands that groups are made of.

References
----------
Clapés, Anbarjafari, Bilici, Temirova, Avots, Escalera: From apparent to real age, CVPR Workshops 2018; the score and
its four age groups are those of the "bias in age perception" course built on it.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from agegender.errors import TableError

AGE_GROUPS = ("<20", "20–39", "40–59", "≥60")
_AGE_EDGES = (20.0, 40.0, 60.0)
_LAST_DECADE = 9


def age_group(age_years: ArrayLike) -> NDArray[np.object_]:
    """Return the band of each age, None where it is unknown.

    >>> age_group([19.9, 20, 60, float("nan")]).tolist()
    ['<20', '20–39', '≥60', None]
    """
    years = np.asarray(age_years, dtype=np.float64).ravel()
    names = np.array([*AGE_GROUPS, None], dtype=object)
    return names[np.where(np.isfinite(years), np.digitize(years, _AGE_EDGES), len(AGE_GROUPS))]


def age_decade(age_years: ArrayLike) -> NDArray[np.object_]:
    """Return the decade of each age, "0–9" to "80–89" and "90+", None where it is unknown.

    >>> age_decade([5, 40, 101]).tolist()
    ['0–9', '40–49', '90+']
    """
    years = np.asarray(age_years, dtype=np.float64).ravel()
    names = np.array([*(f"{ten}0–{ten}9" if ten else "0–9" for ten in range(_LAST_DECADE)), "90+", None], dtype=object)
    known = np.isfinite(years)
    tens = np.clip(np.floor(np.where(known, years, 0.0) / 10.0), 0, _LAST_DECADE).astype(int)
    return names[np.where(known, tens, len(names) - 1)]


def chalearn_bias(absolute_errors: ArrayLike, groups: ArrayLike) -> float:
    """Return the mean over all pairs of groups of the difference between their mean absolute errors.

    Parameters
    ----------
    absolute_errors : array, shape (rows,), years
        NaN is skipped; signs are dropped.
    groups : array of str, shape (rows,)
        Missing is skipped.

    Returns
    -------
    float
        Years, 0 at best; NaN with fewer than two groups.

    Examples
    --------
    >>> chalearn_bias([1.0, 3.0, 8.0], ["a", "b", "c"])  # (2 + 7 + 5) / 3
    4.666666666666667
    """
    errors = np.abs(np.asarray(absolute_errors, dtype=np.float64).ravel())
    labels = pd.Series(groups, dtype=object)
    if len(labels) != errors.size:
        raise TableError(f"{errors.size} errors but {len(labels)} group labels: give one of each per row.")
    means = pd.Series(errors).groupby(labels.to_numpy()).mean().dropna()
    gaps = [abs(first - second) for first, second in combinations(means.tolist(), 2)]
    return float(np.mean(gaps)) if gaps else float("nan")


def chalearn_scores(predictions: pd.DataFrame) -> dict[str, float]:
    """Return the four scores of the course, in years: `gender`, `age`, `ethnicity`, `expression`; NaN where unknown."""
    errors = (predictions["predicted_age_years"] - predictions["age_years"]).abs().to_numpy(dtype=np.float64)
    groups = {name: predictions[name] for name in ("gender", "ethnicity", "expression") if name in predictions}
    groups["age"] = pd.Series(age_group(predictions["age_years"]), index=predictions.index, dtype=object)
    return {
        name: chalearn_bias(errors, groups[name].astype(object)) if name in groups else float("nan")
        for name in ("gender", "age", "ethnicity", "expression")
    }
