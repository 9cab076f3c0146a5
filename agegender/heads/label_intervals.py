"""Intervals of labelled tables: they know a row's labels, so that nine of ten lie inside at every age, in every group.

For a new photo there is no such interval, since nobody knows its label. Around a prediction of a seventeen-year-old it
says: of people labelled 15 to 19 (and of this gender and ethnicity), nine in ten are predicted so that this interval
holds their age. Comparing them tells for whom the model's answers scatter or lean, at a glance and in the unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from agegender.errors import CardError
from agegender.heads.conformal import ConformalIntervals
from agegender.heads.interval_fitting import fit_intervals
from agegender.heads.row_metrics import numbers

Floats = NDArray[np.float64]
BAND = "labelled_band"  # the group column that is made of the label
LABELLED_GROUPS = ("gender", "ethnicity")  # beside the labels of the model's own classes
LEAST_BAND = 30  # rows; a smaller band is one with its neighbour
QUANTILE_BANDS = 10  # of labels without bands of their own


def fit_label_intervals(
    true_values: ArrayLike,
    predicted_values: ArrayLike,
    *,
    edges: Sequence[float] | None,
    groups: Mapping[str, ArrayLike],
    clusters: ArrayLike | None = None,
) -> dict[str, Any]:
    """Return intervals for bands of the label and groups of other labels, as a document for the card.

    Parameters
    ----------
    edges : sequence of float or None
        Where bands of the label begin; by default tenths of the labels.
    """
    true, predicted = (np.asarray(values, dtype=np.float64) for values in (true_values, predicted_values))
    known = true[np.isfinite(true) & np.isfinite(predicted)]
    if edges is None:
        edges = np.unique(np.quantile(known, np.linspace(0, 1, QUANTILE_BANDS + 1)[1:-1])).tolist()
    wide = _wide_enough(known, edges)
    fitted = fit_intervals(
        true, predicted, groups={BAND: _bands(true, wide), **groups}, clusters=clusters, by_prediction=False
    )
    return {**fitted.to_dict(), "edges": wide}


def label_interval(
    rows: pd.DataFrame, document: Mapping[str, Any], label: str, predicted: str, *, lowest: float
) -> tuple[Floats, Floats]:
    """Return the ends for rows with labels and predictions, NaN where one of them is missing."""
    fitted = ConformalIntervals.from_dict(document)
    try:
        edges = [float(edge) for edge in document["edges"]]
    except (KeyError, TypeError, ValueError, OverflowError):
        edges = [np.nan]
    if not np.isfinite(edges).all() or edges != sorted(edges):
        raise CardError("the bands of the labelled intervals in the model card are no rising row of numbers.")
    true = numbers(rows, label)
    groups = {name: rows[name].to_numpy(dtype=object) for name in fitted.groups if name in rows}
    low, high = fitted.interval(numbers(rows, predicted), groups={**groups, BAND: _bands(true, edges)}, lowest=lowest)
    return np.where(np.isfinite(true), low, np.nan), np.where(np.isfinite(true), high, np.nan)


def _bands(values: Floats, edges: Sequence[float]) -> NDArray[np.object_]:
    names = np.array([*(f"from {edge:g}" for edge in (-np.inf, *edges)), None], dtype=object)
    return names[np.where(np.isfinite(values), np.digitize(values, edges), len(edges) + 1)]


def _wide_enough(values: Floats, edges: Sequence[float]) -> list[float]:
    """Return those edges between which, from below, enough values lie."""
    kept: list[float] = []
    for edge in edges:
        since = kept[-1] if kept else -np.inf
        if np.sum((values >= since) & (values < edge)) >= LEAST_BAND and np.sum(values >= edge) >= LEAST_BAND:
            kept.append(float(edge))
    return kept
