"""Errors along a label: means in windows that overlap, each with a 95 % interval of its own.

A point is the mean over the photos labelled within so much of it, and nothing smoother: its interval is that of a mean,
and no curve is asked to hold where photos are few. Bands are pointwise: of 20 independent points one misses the truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agegender.audit.estimates import Estimates
from agegender.audit.grouping import SMALLEST_RANKED_GROUP

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
_HALF_WIDTHS = (2, 3, 4, 5, 7, 10)  # steps of the grid
_SHOWN = 0.8  # of the rows should lie where a window of them holds enough


@dataclass(frozen=True)
class ErrorCurve:
    """Mean errors along a label; arrays have the shape (points,), NaN where a window holds fewer than 30 rows.

    Attributes
    ----------
    points : array
        Middles of the windows.
    half_width : float
        How far a window reaches to each side, in the unit of the label, its ends included.
    counts : array of int
        Rows in each window.
    signed, absolute : Estimates
        Mean error and mean absolute error, with pointwise 95 % intervals.
    """

    points: Floats
    half_width: float
    counts: Codes
    signed: Estimates
    absolute: Estimates

    @property
    def is_known(self) -> NDArray[np.bool_]:
        """Return where a mean is told."""
        return np.isfinite(self.signed.values)


def error_curve(labels: Floats, errors: Floats, *, step: float, clusters: Codes | None = None) -> ErrorCurve | None:
    """Return the errors along the labels, one point every `step`; None where no window holds 30 rows.

    Parameters
    ----------
    labels, errors : array, shape (rows,)
        Rows without either don't count.
    clusters : array, shape (rows,), int, optional
        Which rows hang together; they count as their likeness makes them.
    """
    known = np.isfinite(labels) & np.isfinite(errors)
    order = np.argsort(labels[known], kind="stable")
    labels, errors = labels[known][order], errors[known][order]
    if labels.size < SMALLEST_RANKED_GROUP:
        return None
    own = None if clusters is None else np.unique(clusters[known][order], return_inverse=True)[1].reshape(-1)
    points = step * np.arange(np.floor(labels[0] / step), np.floor(labels[-1] / step) + 1)
    half_width = _half_width(labels, step)
    starts, stops = _windows(labels, points, half_width)
    counts = stops - starts
    signed, absolute = np.full((3, points.size), np.nan), np.full((3, points.size), np.nan)
    for place in np.flatnonzero(counts >= SMALLEST_RANKED_GROUP):
        inside = slice(starts[place], stops[place])
        codes = None if own is None else own[inside]
        signed[:, place] = _mean_and_ends(errors[inside], codes, is_positive=False)
        absolute[:, place] = _mean_and_ends(np.abs(errors[inside]), codes, is_positive=True)
    if not np.isfinite(signed).any():
        return None
    return ErrorCurve(points, half_width, counts, Estimates(*signed), Estimates(*absolute))


def _windows(labels: Floats, points: Floats, half_width: float) -> tuple[Codes, Codes]:
    slack = 1e-9 * max(half_width, 1.0)
    return (
        np.searchsorted(labels, points - half_width - slack, side="left"),
        np.searchsorted(labels, points + half_width + slack, side="right"),
    )


def _half_width(labels: Floats, step: float) -> float:
    """Return the narrowest window with which most rows lie where there are enough of them."""
    for steps in _HALF_WIDTHS:
        starts, stops = _windows(labels, labels, steps * step)
        if np.mean(stops - starts >= SMALLEST_RANKED_GROUP) >= _SHOWN:
            return steps * step
    return _HALF_WIDTHS[-1] * step


def _mean_and_ends(values: Floats, clusters: Codes | None, *, is_positive: bool) -> tuple[float, float, float]:
    """Return a mean and Student's interval, on a logarithmic scale of values that cannot be negative."""
    from scipy.special import stdtrit

    mean = float(values.mean())
    off = values - mean
    if clusters is not None:
        off = np.bincount(clusters - clusters.min(), weights=off)[np.unique(clusters - clusters.min())]
    count = off.size
    if count < 2:
        return mean, float("nan"), float("nan")
    error = float(np.sqrt((off**2).sum() * count / (count - 1.0))) / values.size
    reach = float(stdtrit(count - 1.0, 0.975)) * error
    if is_positive and mean > 0:
        factor = float(np.exp(reach / mean))
        return mean, mean / factor, mean * factor
    return mean, mean - reach, mean + reach
