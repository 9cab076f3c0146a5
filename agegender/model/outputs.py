"""Owns the meaning of raw outputs: columns of the predictions table, and scores for explanations."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from agegender.audit.conformal import AgeIntervals
from agegender.model.face_network import decode_years
from agegender.settings import Head


def head_scores(head: Head, raw: Tensor) -> Tensor:
    """Return one head's scores, float32 (N, k): years, or log-odds (one column for two classes, else one per class)."""
    if head.kind == "years":
        return decode_years(raw)[:, None]
    if len(head.classes) == 2:
        return raw[:, 1:2] - raw[:, 0:1]
    log_probabilities = raw.log_softmax(dim=1)
    return log_probabilities - torch.log1p(-log_probabilities.exp().clamp(max=1 - 1e-6))


def head_columns(head: Head, raw: Tensor, calibration: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of the predictions table that one head fills, each of length N.

    Parameters
    ----------
    head : Head
    raw : Tensor, (N,) or (N, classes)
        The head's raw output, on the CPU.
    calibration : dict
        From the card: `{"age": …, "gender": {"temperature": …}}`, empty when the model was not calibrated.
    """
    if head.kind == "years":
        return _age_columns(head, decode_years(raw).numpy().astype(np.float64), calibration)
    temperature = float(calibration.get(head.name, {}).get("temperature", 1.0))
    probabilities = (raw / temperature).softmax(dim=1).numpy().astype(np.float64)
    predicted = np.array(head.classes, dtype=object)[probabilities.argmax(axis=1)]
    if head.name == "gender":
        return {"predicted_gender": predicted, "female_probability": probabilities[:, head.classes.index("female")]}
    return {f"predicted_{head.name}": predicted, f"{head.name}_probability": probabilities.max(axis=1)}


def _age_columns(head: Head, years: np.ndarray, calibration: dict[str, Any]) -> dict[str, Any]:
    # No one is younger than 0: the line may undershoot for babies.
    years = np.maximum(years, 0.0)
    low, high = np.full(len(years), np.nan), np.full(len(years), np.nan)
    if calibration.get(head.name):
        low, high = AgeIntervals.from_dict(calibration[head.name]).interval(years)
    return {"predicted_age_years": years, "age_low_years": low, "age_high_years": high}
