"""Owns what may be claimed about groups: the findings, strongest first, and what could not be told from chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Finding:
    """One sentence that the rows support, with the numbers behind it.

    Attributes
    ----------
    kind : str
        "mae_gap", "signed_error" or "gender_accuracy_gap"; "none" for a column in which no gap was found; "unknown"
        when a column could not be judged (too few groups of 30 rows, too many values).
    metric : str
        Name in `rows.METRICS`, for a link to its table.
    columns, values : tuple of str
        The group; `values` is () when the sentence speaks of the whole column. Plain text, not escaped for HTML.
    n : int
        Rows in the group (in the column, for "none").
    size, low, high : float
        The gap to the rest (signed errors: the group's mean signed error) and its 95 % interval, in `unit`.
    unit : str
        "years" or "share" (0.03 is three percentage points).
    p_value : float
        Corrected for every comparison that was made in the audit: below 0.05 for each claimed gap.
    strength : float
        What they are ordered by: the end of the interval nearest to zero, in years (`YEARS_PER_SHARE` turns rates).
    sentence : str
        Plain language, with n and interval.
    """

    kind: str
    metric: str
    columns: tuple[str, ...]
    values: tuple[str, ...]
    n: int
    size: float
    low: float
    high: float
    unit: str
    p_value: float
    strength: float
    sentence: str

    @property
    def is_gap(self) -> bool:
        """Return whether something is claimed (not "none" or "unknown")."""
        return self.kind not in {"none", "unknown"}

    @property
    def name(self) -> str:
        """Return the group's values joined, such as `Black × female`."""
        return " × ".join(self.values)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a plain dictionary."""
        return asdict(self)


def find(
    predictions: pd.DataFrame,
    *,
    columns: Sequence[str] | None = None,
    permutation_count: int = 2000,
    seed: int = 7,
) -> list[Finding]:
    """Return what can be claimed about the groups of `columns`, strongest first, then what cannot."""
    raise NotImplementedError
