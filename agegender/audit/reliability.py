"""How often a probability came true: equal bins of it, each with the share of rows and its interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from agegender.audit.cluster_sums import sum_clusters
from agegender.audit.estimates import wilson
from agegender.heads.calibration import probability_bins


def reliability_bins(
    is_it: ArrayLike, probability: ArrayLike, *, clusters: NDArray[np.int64] | None = None, bin_count: int = 10
) -> pd.DataFrame:
    """Return, for equal bins of the probability of a class, how often it was the class.

    Parameters
    ----------
    is_it : array, shape (rows,), 1 / 0 / NaN
        Whether the label is the class.
    probability : array, shape (rows,)
        0..1, NaN where unknown.
    clusters : array, shape (rows,), int, optional
        Rows that hang together; see `dependence`.

    Returns
    -------
    DataFrame
        One row per bin: `probability_low`, `probability_high` (edges), `n`, `mean_probability`, `share` with its Wilson
        interval `share_low`, `share_high`; NaN in an empty bin.
    """
    truth, chance = (np.asarray(values, dtype=np.float64).ravel() for values in (is_it, probability))
    known = np.isfinite(truth) & np.isfinite(chance)
    truth, chance = truth[known], chance[known]
    bins = probability_bins(chance, bin_count)
    counts = np.bincount(bins, minlength=bin_count)
    hits = np.bincount(bins, weights=truth, minlength=bin_count)
    filled = np.where(counts > 0, counts, np.nan)
    worth = counts.astype(np.float64)
    if clusters is not None and np.bincount(clusters[known], minlength=1).max() > 1:
        worth = sum_clusters(truth, bins, bin_count, clusters[known]).effective_rates()[0]
    low, high = wilson(hits / filled * worth, worth) if clusters is not None else wilson(hits, counts)
    return pd.DataFrame(
        {
            "probability_low": np.arange(bin_count) / bin_count,
            "probability_high": (np.arange(bin_count) + 1) / bin_count,
            "n": counts,
            "mean_probability": np.bincount(bins, weights=chance, minlength=bin_count) / filled,
            "share": hits / filled,
            "share_low": low,
            "share_high": high,
        }
    )
