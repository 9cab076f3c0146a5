"""The ChaLearn bias score: how far apart the errors of groups are, on the average over all pairs of groups.

References
----------
Clapés, Anbarjafari, Bilici, Temirova, Avots, Escalera: From apparent to real age, CVPR Workshops 2018; the score and
its four age groups are those of the "bias in age perception" course built on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from agegender.audit.chance import Ledger
from agegender.errors import TableError
from agegender.heads import Regression
from agegender.heads.age_bands import age_group

# What the course calls an attribute -> the column that holds its groups.
ATTRIBUTES: Mapping[str, str] = {
    "gender": "gender",
    "age": "age_group",
    "ethnicity": "ethnicity",
    "expression": "expression",
}


def chalearn_bias(absolute_errors: ArrayLike, groups: ArrayLike) -> float:
    """Return the mean over all pairs of groups of the difference between their mean absolute errors.

    Parameters
    ----------
    absolute_errors : array, shape (rows,)
        In the head's unit. NaN is skipped; signs are dropped.
    groups : array of str, shape (rows,)
        Missing is skipped.

    Returns
    -------
    float
        0 at best; NaN with fewer than two groups.

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


def chalearn_scores(rows: pd.DataFrame, head: Regression) -> dict[str, float]:
    """Return the score of each attribute of completed rows, in the head's unit; NaN where it is unknown."""
    errors = np.abs(head.errors(rows))
    banded = rows.assign(age_group=age_group(rows[head.column]))
    return {
        name: chalearn_bias(errors, banded[column].astype(object)) if column in banded else float("nan")
        for name, column in ATTRIBUTES.items()
    }


def chalearn_beside_chance(rows: pd.DataFrame, head: Regression, ledger: Ledger) -> pd.DataFrame:
    """Return the known scores: `attribute`, `groups`, `n`, `score`, and `chance`, its 95th percentile under chance."""
    known = rows[np.isfinite(head.errors(rows))]
    found = []
    for name, score in chalearn_scores(known, head).items():
        column = ATTRIBUTES[name]
        chances = ledger.get(head.metrics[0].name, (column,))
        if np.isfinite(score):
            found.append(
                {
                    "attribute": name,
                    "groups": int(known[column].nunique()),
                    "n": int(known[column].notna().sum()),
                    "score": score,
                    "chance": float("nan") if chances is None else chances.mean_gap_null_95,
                }
            )
    return pd.DataFrame(found, columns=["attribute", "groups", "n", "score", "chance"])
