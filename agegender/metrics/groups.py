"""Owns the comparison of groups: any row metric, any combination of columns, one `GroupResult`.

Pages and commands call it; it knows neither pages nor models. Which gaps may be *claimed* is decided in `findings`.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from agegender.metrics.results import SMALLEST_RANKED_GROUP, UNKNOWN, Estimate, Group, GroupResult, LargestGap

__all__ = [
    "SMALLEST_RANKED_GROUP",
    "UNKNOWN",
    "Estimate",
    "Group",
    "GroupResult",
    "LargestGap",
    "compare_groups",
    "group_columns",
]

MOST_GROUPS = 30  # a column with more values is no grouping but an identity
GROUP_COLUMNS = ("gender", "ethnicity", "age_group", "expression", "mask", "source")


def group_columns(predictions: pd.DataFrame) -> tuple[str, ...]:
    """Return the columns by which the rows can be grouped: at least two values, at most `MOST_GROUPS`.

    `age_group` (bands <20, 20–39, 40–59, ≥60) is derived from `age_years` and always counts when ages are known.
    """
    raise NotImplementedError


def compare_groups(
    predictions: pd.DataFrame,
    metric: str,
    columns: str | Sequence[str],
    *,
    reference: Sequence[str] | str | None = None,
    resample_count: int = 2000,
    seed: int = 7,
) -> GroupResult:
    """Return `metric` overall and for every group of `columns`, with intervals, gaps and p-values."""
    raise NotImplementedError
