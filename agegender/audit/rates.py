"""Owns 95 % intervals of rates and of differences between rates, for many groups at a time.

References
----------
Wilson, JASA 1927. Newcombe: Interval estimation for the difference between independent proportions, Statistics in
Medicine 1998, method 10.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
LEVEL = 0.95


def wilson(successes: ArrayLike, counts: ArrayLike, *, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Return Wilson's score interval of each rate.

    Parameters
    ----------
    successes, counts : array, shape (groups,)

    Returns
    -------
    low, high : array, shape (groups,)
        Shares 0..1; NaN where the count is 0.

    Examples
    --------
    >>> low, high = wilson([93], [100])
    >>> round(float(low[0]), 3), round(float(high[0]), 3)
    (0.863, 0.966)
    """
    hits, n = np.atleast_1d(np.asarray(successes, np.float64)), np.atleast_1d(np.asarray(counts, np.float64))
    n = np.where(n > 0, n, np.nan)
    z = normal_quantile(level)
    rate = hits / n
    middle = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    return np.clip(middle - reach, 0.0, 1.0), np.clip(middle + reach, 0.0, 1.0)


def newcombe(
    successes: ArrayLike,
    counts: ArrayLike,
    other_successes: ArrayLike,
    other_counts: ArrayLike,
    *,
    level: float = LEVEL,
) -> tuple[Floats, Floats]:
    """Return Newcombe's interval of the difference of two independent rates, first minus other; NaN without rows."""
    hits, n = (np.atleast_1d(np.asarray(value, np.float64)) for value in (successes, counts))
    other_hits, other_n = (np.atleast_1d(np.asarray(value, np.float64)) for value in (other_successes, other_counts))
    low, high = wilson(hits, n, level=level)
    other_low, other_high = wilson(other_hits, other_n, level=level)
    rate, other = hits / np.where(n > 0, n, np.nan), other_hits / np.where(other_n > 0, other_n, np.nan)
    below = np.sqrt((rate - low) ** 2 + (other_high - other) ** 2)
    above = np.sqrt((high - rate) ** 2 + (other - other_low) ** 2)
    return rate - other - below, rate - other + above


def normal_quantile(level: float) -> float:
    """Return how many standard errors a normal interval of this level reaches to each side; 1.96 for 0.95."""
    from scipy.special import ndtri

    return float(ndtri(0.5 + level / 2.0))
