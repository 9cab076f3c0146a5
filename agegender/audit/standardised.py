"""Direct standardisation: what a group's metric would be, were it mixed in age like everybody.

A gap between ethnicities is often a gap between ages, because the groups were photographed at different ages. Both the
raw and the standardised gap are shown; neither is the true one.

References
----------
Breslow and Day: Statistical methods in cancer research II, 1987, chapter 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agegender.audit.estimates import LEVEL, Estimates, normal_quantile

Floats = NDArray[np.float64]
_OWN_SPREAD_ROWS = 5  # with fewer rows a cell borrows the spread of its age band


@dataclass(frozen=True)
class Standardised:
    """Every group's mean and gap to the rest at equal ages, and the share of all rows that this compares."""

    means: Estimates
    gaps: Estimates
    shares: Floats


def standardise(
    values: Floats, codes: NDArray[np.int64], group_count: int, bands: NDArray[np.int64], *, is_rate: bool = False
) -> Standardised:
    """Return every group's mean at the mix of age bands of all rows, in those bands that it shares with its rest.

    Parameters
    ----------
    values : array, shape (rows,)
        Without NaN.
    codes : array, shape (rows,), int
        Group of each row, -1 where unknown.
    bands : array, shape (rows,), int
        Age band of each row, -1 where unknown.
    is_rate : bool
        Ends are kept within 0..1.
    """
    known = (codes >= 0) & (bands >= 0)
    if not known.any():
        unknown = np.full(group_count, np.nan)
        nothing = Estimates(unknown, unknown, unknown)
        return Standardised(nothing, nothing, unknown)
    band_count = int(bands[known].max()) + 1
    n, total, squares = _cells(values[known], codes[known], bands[known], (group_count, band_count))
    others = n.sum(axis=0) - n
    weights = np.where((n > 0) & (others > 0), n.sum(axis=0), 0.0)
    shares = weights.sum(axis=1) / n.sum()
    weights = _divide(weights, weights.sum(axis=1, keepdims=True))
    variance = _rate_variance if is_rate else _variance
    their_total, their_squares = total.sum(axis=0) - total, squares.sum(axis=0) - squares
    own, own_error = _weighted(n, total, variance(n, total, squares), weights)
    rest, rest_error = _weighted(others, their_total, variance(others, their_total, their_squares), weights)
    reach = normal_quantile(LEVEL) * own_error
    gap_reach = normal_quantile(LEVEL) * np.hypot(own_error, rest_error)
    bounds = (0.0, 1.0) if is_rate else (-np.inf, np.inf)
    ends = np.clip(own - reach, *bounds), np.clip(own + reach, *bounds)
    gaps = Estimates(own - rest, own - rest - gap_reach, own - rest + gap_reach)
    return Standardised(Estimates(own, *ends), gaps, shares)


def _cells(
    values: Floats, codes: NDArray[np.int64], bands: NDArray[np.int64], shape: tuple[int, int]
) -> tuple[Floats, Floats, Floats]:
    cell = codes * shape[1] + bands
    counted = (np.bincount(cell, weights=part, minlength=shape[0] * shape[1]) for part in (None, values, values**2))
    n, total, squares = (np.asarray(part, dtype=np.float64).reshape(shape) for part in counted)
    return n, total, squares


def _variance(n: Floats, total: Floats, squares: Floats) -> Floats:
    """Return the variance of the values in each cell; small cells borrow that of their band."""
    means = _divide(total, n)
    band_variance = _divide(np.sum(squares - n * means**2, axis=0), np.maximum(n.sum(axis=0) - len(n), 1.0))
    own_variance = _divide(squares - n * means**2, n - 1.0)
    return np.maximum(np.where(n >= _OWN_SPREAD_ROWS, own_variance, band_variance), 0.0)


def _rate_variance(n: Floats, total: Floats, _: Floats) -> Floats:
    """Return the variance of a rate's values in each cell, one right and one wrong added (Agresti and Caffo 2000).

    Without them a cell in which all are right would have no variance, and its gap an interval without width.
    """
    share = (total + 1.0) / (n + 2.0)
    return share * (1.0 - share)


def _weighted(n: Floats, total: Floats, variance: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the weighted mean over bands and its standard error; NaN where a group has no band to compare."""
    means = _divide(total, n)
    has_bands = weights.sum(axis=1) > 0
    mean = np.where(has_bands, np.sum(weights * means, axis=1), np.nan)
    return mean, np.where(has_bands, np.sqrt(np.sum(weights**2 * _divide(variance, n), axis=1)), np.nan)


def _divide(above: Floats, below: Floats) -> Floats:
    usable = np.broadcast_to(below > 0, np.broadcast_shapes(above.shape, below.shape))
    return np.where(usable, above / np.where(below > 0, below, 1.0), 0.0)
