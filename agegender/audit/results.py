"""Owns the result of every group comparison (overall, by group, gaps, intervals, p-values) and the finding.

It holds numbers and turns them into a table or a dictionary; how they come about is the business of `groups` and
`findings`, how they look that of the pages. NaN always means "cannot be known from these rows", never zero.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

SMALLEST_RANKED_GROUP = 30  # below this an interval is so wide that a rank would be noise


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval, in the metric's unit; NaN where the rows are too few.

    Attributes
    ----------
    value, low, high : float
    """

    value: float
    low: float = float("nan")
    high: float = float("nan")


UNKNOWN = Estimate(float("nan"))


@dataclass(frozen=True)
class Group:
    """One group of rows and what is known about the metric in it.

    Attributes
    ----------
    values : tuple of str
        The group's value in each of the result's columns, in their order; plain text, not escaped for HTML.
    n : int
        Rows that count for the metric (label and prediction known).
    estimate : Estimate
        The metric in this group.
    gap_to_rest : Estimate
        This group minus all other rows whose group is known.
    gap_to_reference : Estimate
        This group minus the reference group; unknown when there is none, and for the reference itself.
    standardised : Estimate
        The metric that the group would have, were its age bands mixed as in all rows (direct standardisation).
    standardised_gap : Estimate
        Gap to the rest at the same mix of age bands: what is left of the gap when age is held equal.
    standardised_share : float
        Share of all rows that lies in age bands which the group and the rest both have, 0..1.
    p_value : float
        Two-sided permutation p-value of the gap to the rest, for this group alone; NaN when the group is not ranked.
    p_corrected : float
        The same after Holm's correction for the number of ranked groups.
    is_ranked : bool
        Whether n is at least 30. Smaller groups are shown in grey and never called best or worst.
    """

    values: tuple[str, ...]
    n: int
    estimate: Estimate
    gap_to_rest: Estimate = UNKNOWN
    gap_to_reference: Estimate = UNKNOWN
    standardised: Estimate = UNKNOWN
    standardised_gap: Estimate = UNKNOWN
    standardised_share: float = float("nan")
    p_value: float = float("nan")
    p_corrected: float = float("nan")
    is_ranked: bool = False

    @property
    def name(self) -> str:
        """Return the values joined, such as `Black × female`."""
        return " × ".join(self.values)


@dataclass(frozen=True)
class LargestGap:
    """The distance between the highest and the lowest ranked group, beside what chance alone would make.

    Attributes
    ----------
    value : float
        Highest minus lowest estimate among ranked groups, in the metric's unit.
    lowest, highest : str
        Names of the two groups.
    null_95 : float
        95th percentile of the same distance when rows are dealt to the groups at random.
    p_value : float
        Share of random deals with at least this distance.
    """

    value: float
    lowest: str
    highest: str
    null_95: float
    p_value: float


@dataclass(frozen=True)
class GroupResult:
    """One metric over the groups of one or more columns.

    Attributes
    ----------
    metric : str
        Name in `rows.METRICS`.
    title, unit : str
        For people: "mean absolute error", "years"; the unit of a rate is "share", 0..1.
    better : str
        "lower", "higher" or "zero" (signed errors).
    columns : tuple of str
    overall : Group
        All rows that count, with values ().
    groups : tuple of Group
        In the natural order of the values (age bands by age, others by name); empty when it cannot be told.
    worst : Group or None
        The ranked group with the worst estimate; None with fewer than two ranked groups.
    largest_gap : LargestGap or None
        None with fewer than two ranked groups.
    reference : tuple of str or None
    notes : tuple of str
        What was left out and why, as sentences.
    """

    metric: str
    title: str
    unit: str
    better: str
    columns: tuple[str, ...]
    overall: Group
    groups: tuple[Group, ...]
    worst: Group | None = None
    largest_gap: LargestGap | None = None
    reference: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """Return one row per group: its values, `group`, n, and every estimate as `x`, `x_low`, `x_high`."""
        return pd.DataFrame([_flat(group, self.columns) for group in self.groups])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain dictionaries and lists."""
        return asdict(self)


@dataclass(frozen=True)
class Finding:
    """One sentence that the rows support, with the numbers behind it.

    Attributes
    ----------
    kind : str
        "mae_gap", "signed_error" (its mean is off zero), "signed_gap" (it is off the rest only) or
        "gender_accuracy_gap"; "none" for a column in which no gap was found; "unknown"
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
        What they are ordered by: the end of the interval nearest to zero, in years (a rate's five points count as
        one), at equal ages where those can be compared; 0 where different ages can explain the gap.
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


def _flat(group: Group, columns: tuple[str, ...]) -> dict[str, Any]:
    row: dict[str, Any] = {**dict(zip(columns, group.values, strict=True)), "group": group.name, "n": group.n}
    for name in ("estimate", "gap_to_rest", "gap_to_reference", "standardised", "standardised_gap"):
        value: Estimate = getattr(group, name)
        row |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
    for name in ("standardised_share", "p_value", "p_corrected", "is_ranked"):
        row[name] = getattr(group, name)
    return row
