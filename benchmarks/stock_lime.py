"""Stock LIME in parts, so that one draw of many samples can be fitted at growing lengths: its rows, and its fit."""

from __future__ import annotations

import numpy as np
from lime.lime_base import LimeBase
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances

from agegender.explanation.surrogate import Surrogate

KERNEL_WIDTH = 0.25


def stock_design(region_count: int, row_count: int, random_state: np.random.RandomState) -> NDArray[np.uint8]:
    """Return the very rows that `lime.lime_image` draws from this state: the first is the photo as it is."""
    data = random_state.randint(0, 2, row_count * region_count).reshape((row_count, region_count))
    data[0, :] = 1
    return data.astype(np.uint8)


def fit_stock(design: NDArray[np.uint8], scores: NDArray[np.float64]) -> Surrogate:
    """Fit one target as `lime.lime_image` does: its kernel of cosine distances, its ridge; intervals it has none."""
    distances = pairwise_distances(design, np.ones((1, design.shape[1])), metric="cosine").ravel()
    base = LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / KERNEL_WIDTH**2)), random_state=0)
    intercept, found, r2, _ = base.explain_instance_with_data(
        design, scores[:, None], distances, 0, design.shape[1], feature_selection="none"
    )
    weights = np.array([weight for _, weight in sorted(found)])
    unknown = np.full(len(weights), np.nan)
    return Surrogate(float(intercept), weights, unknown, unknown, float(r2))
