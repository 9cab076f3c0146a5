"""Owns the comparison of how often a group was seen in training with how wrong the model is about it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from agegender.audit import grouping
from agegender.audit.results import GroupResult


def representation(train: pd.DataFrame, result: GroupResult) -> pd.DataFrame:
    """Return each group's place in the training rows beside its metric.

    Parameters
    ----------
    train : DataFrame
        The rows that the model was trained on, with the result's columns or `age_years` for `age_group`.
    result : GroupResult
        Usually of the test split.

    Returns
    -------
    DataFrame
        `group`, `train_n`, `train_share` (of the training rows with a known group), `n`, `estimate`, `estimate_low`,
        `estimate_high`, `is_ranked`; the least represented group first.

    Raises
    ------
    TableError
        The training rows lack a column of the result.
    """
    groups = grouping.make(grouping.with_age_group(train), result.columns)
    known = groups.codes[groups.codes >= 0]
    counts = dict(zip(groups.values, np.bincount(known, minlength=groups.size).tolist(), strict=False))
    frame = result.to_frame()
    if frame.empty:
        return pd.DataFrame(columns=["group", "train_n", "train_share", "n", "estimate"])
    seen = np.array([counts.get(group.values, 0) for group in result.groups])
    frame["train_n"], frame["train_share"] = seen, seen / max(known.size, 1)
    chosen = ["group", "train_n", "train_share", "n", "estimate", "estimate_low", "estimate_high", "is_ranked"]
    return frame[chosen].sort_values("train_n", kind="stable", ignore_index=True)
