"""What may be said about groups: the findings, strongest first, and what could not be told from chance.

The ledger of `chance` decides what is more than chance; here each such gap is put in a sentence, and left out where a
stronger one already says it. When one group does far worse, every other group of its column does a little better than
a rest that holds it, and its intersections do worse because it does: leaving out such echoes only takes claims away, so
it adds no false alarm. To say that nothing was found, and how large a gap chance alone makes here, is as much a result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from agegender.audit import grouping, sentences
from agegender.audit.chance import FALSE_ALARM_RATE, GroupChances, Ledger
from agegender.audit.estimates import Estimate
from agegender.audit.grouping import SMALLEST_RANKED_GROUP, Grouping
from agegender.audit.groups import GroupResult
from agegender.heads import Classification, Head, RowMetric

Compare = Callable[[str, tuple[str, ...]], GroupResult]
KINDS = {"mean_absolute_error": "mae_gap", "mean_signed_error": "signed_error", "accuracy": "accuracy_gap"}
# A gap of five percentage points is ranked like one of a year in age, and a year like a twentieth of the spread of the
# labels of any other number: in UTKFace that spread is 20 years.
POINTS_LIKE_A_YEAR = 0.05
YEARS_IN_A_SPREAD = 20.0


@dataclass(frozen=True)
class Finding:
    """One sentence that the rows support, with the numbers behind it.

    Attributes
    ----------
    kind : str
        "mae_gap", "signed_error" (its mean is off zero), "signed_gap" (it is off the rest only) or "accuracy_gap";
        "none" for a column in which no gap was found; "unknown" when a column could not be judged (too few groups of 30
        rows, too many values).
    metric : str
        Full name, `age.mean_absolute_error`.
    columns, values : tuple of str
        The group; `values` is () when the sentence speaks of the whole column. Plain text, not escaped for HTML.
    n : int
        Rows in the group (in the column, for "none").
    size, low, high : float
        The gap to the rest (signed errors: the group's mean signed error) and its 95 % interval, in `unit`.
    unit : str
        The head's unit, or "share" (0.03 is three percentage points).
    p_value : float
        Corrected for every comparison that was made in the audit: below 0.05 for each claimed gap.
    strength : float
        What they are ordered by: the end of the interval nearest to zero, in years of age (a rate's five points count
        as one, and so does a twentieth of the standard deviation of another number's labels), at equal ages where those
        can be compared; 0 where different ages can explain the gap.
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


@dataclass(frozen=True)
class _Comparison:
    """A head's metric over one grouping, both of the rows that count, with its chances."""

    head: Head
    metric: RowMetric
    groups: Grouping
    values: NDArray[np.float64]
    chances: GroupChances

    @property
    def tested(self) -> NDArray[np.int64]:
        return np.flatnonzero(np.isfinite(self.chances.p_corrected))


@dataclass(frozen=True)
class _Gap:
    """One group of a comparison."""

    comparison: _Comparison
    number: int

    @property
    def metric(self) -> RowMetric:
        return self.comparison.metric

    @property
    def columns(self) -> tuple[str, ...]:
        return self.comparison.groups.columns

    @property
    def values(self) -> tuple[str, ...]:
        return self.comparison.groups.values[self.number]

    @property
    def is_inside(self) -> NDArray[np.bool_]:
        return self.comparison.groups.codes == self.number

    @property
    def direction(self) -> float:
        return float(self.comparison.chances.directions[self.number])

    @property
    def p_value(self) -> float:
        return float(self.comparison.chances.p_corrected[self.number])

    @property
    def is_worse_off(self) -> bool:
        """Whether the group does worse than its rest; a signed error is worse on either side."""
        return self.direction == {"lower": 1.0, "higher": -1.0, "zero": self.direction}[self.metric.better]


def find(
    ledger: Ledger, heads: Mapping[str, Head], compare: Compare, rows: pd.DataFrame, training: pd.DataFrame | None
) -> list[Finding]:
    """Return what can be claimed about groups, strongest first, then one "none" per metric and column without a gap.

    Over a whole audit without any true difference the list holds a gap in at most 5 of 100 cases.

    Parameters
    ----------
    heads : mapping of name to Head
    compare : callable
        (name of a metric, columns) -> the comparison whose numbers a sentence tells.
    rows : DataFrame
        What the ledger is about: rows that the model was trained on would flatter it.
    training : DataFrame, optional
        The rows that the model was trained on: their share of each group is said beside a finding.
    """
    comparisons = _comparisons(ledger, heads)
    gaps = [finding for gap in worth_saying(comparisons) if (finding := _told(gap, compare, rows, training))]
    said = {(finding.metric, finding.columns) for finding in gaps}
    silent = [
        _no_gap(one)
        for one in comparisons
        if len(one.groups.columns) == 1 and (one.metric.name, one.groups.columns) not in said
    ]
    gaps = sorted(_without_mirrors(gaps), key=lambda finding: -finding.strength)
    return [*gaps, *sorted(silent, key=lambda finding: finding.kind == "unknown")]


def untold(head: Head, columns: Sequence[str], rows: int, reason: str) -> Finding:
    """Return the finding that a head cannot be judged by some columns."""
    metric = head.metrics[0]
    sentence = sentences.untold_sentence(head, metric, columns, reason)
    return _nothing("unknown", metric, tuple(columns), rows, sentence)


def _comparisons(ledger: Ledger, heads: Mapping[str, Head]) -> list[_Comparison]:
    tested = [(metric, values) for metric, values in ledger.values.items() if metric.key in KINDS]
    return [
        _Comparison(
            heads[metric.head], metric, groups.of_rows(np.isfinite(values)), values[np.isfinite(values)], chances
        )
        for metric, values in tested
        for groups in (*ledger.single, *ledger.crossed)
        if (chances := ledger.get(metric.name, groups.columns))
    ]


def worth_saying(comparisons: Sequence[_Comparison]) -> list[_Gap]:
    """Return the clear gaps that no other gap already tells."""
    kept: list[_Gap] = []
    crossed_count = sum(len(one.tested) for one in comparisons if len(one.groups.columns) > 1)
    for one in sorted(comparisons, key=lambda one: len(one.groups.columns)):
        clear = [gap for number in one.tested if (gap := _Gap(one, int(number))).p_value < FALSE_ALARM_RATE]
        parents = [gap for gap in kept if gap.metric.name == one.metric.name]
        chosen = [gap for gap in clear if gap.is_worse_off] or clear
        kept += [gap for gap in chosen if not _is_echo(gap, parents, crossed_count)]
    return kept


def _is_echo(gap: _Gap, parents: Sequence[_Gap], crossed_count: int) -> bool:
    # In every model age groups differ, and so do their intersections with anything: one is named beside its parent only
    # when it differs from the rest of the parent, at a level that is corrected for how many intersections there are.
    own, inside, values = dict(zip(gap.columns, gap.values, strict=True)), gap.is_inside, gap.comparison.values
    needed = float(stdtrit(max(int(inside.sum()) - 1, 1), 1.0 - FALSE_ALARM_RATE / max(crossed_count, 1)))
    for parent in parents:
        shared = dict(zip(parent.columns, parent.values, strict=True))
        is_parent = len(shared) < len(own) and shared.items() <= own.items()
        if is_parent and parent.direction == gap.direction:
            siblings = parent.is_inside & ~inside
            if gap.direction * _errors_apart(values[inside], values[siblings]) < needed:
                return True
    return False


def _errors_apart(values: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """Return the difference of two means in standard errors (Welch); 0 where there are no others."""
    if not others.size:
        return 0.0
    gap = values.mean() - others.mean()
    error = np.sqrt(values.var() / max(values.size - 1, 1) + others.var() / max(others.size - 1, 1))
    return float(gap / error) if error > 0 else float(np.sign(gap)) * np.inf if gap else 0.0


def _told(gap: _Gap, compare: Compare, rows: pd.DataFrame, training: pd.DataFrame | None) -> Finding | None:
    """Return the finding, or None when its own interval holds zero: then the numbers do not bear the sentence."""
    group = compare(gap.metric.name, gap.columns).groups[gap.number]
    if not group.gap_to_rest.is_off_zero:
        return None
    head, metric = gap.comparison.head, gap.metric
    who = sentences.group_words(gap.columns, gap.values)
    kind, size, words = KINDS[metric.key], group.gap_to_rest, ""
    if isinstance(head, Classification):
        words = sentences.accuracy_sentence(head, who, group.n, group.estimate, size)
    elif metric.better != "zero":
        words = sentences.absolute_error_sentence(head, who, group.n, group.estimate, size)
    elif group.estimate.is_off_zero and group.estimate.value * size.value > 0:
        size = group.estimate
        words = sentences.signed_error_sentence(head, who, group.n, size)
    else:
        kind, words = "signed_gap", sentences.signed_gap_sentence(head, who, group.n, size)
    return Finding(
        kind=kind,
        metric=metric.name,
        columns=gap.columns,
        values=gap.values,
        n=group.n,
        size=size.value,
        low=size.low,
        high=size.high,
        unit=metric.unit,
        p_value=gap.p_value,
        strength=_strength(size, group.standardised_gap) / _like_a_year(head, rows),
        sentence=words
        + sentences.equal_ages_words(metric, group.gap_to_rest, group.standardised_gap)
        + _training_words(gap, rows, training),
    )


def _without_mirrors(gaps: Sequence[Finding]) -> list[Finding]:
    # Beside a group that is judged too young, all others look too old for their rest.
    biased = {(finding.metric, finding.columns) for finding in gaps if finding.kind == "signed_error"}
    return [one for one in gaps if one.kind != "signed_gap" or (one.metric, one.columns) not in biased]


def _strength(size: Estimate, at_equal_ages: Estimate) -> float:
    # What is the group's own is what is left at equal ages; a gap that ages explain stands behind the ages themselves.
    own = size if isnan(at_equal_ages.value) else at_equal_ages
    is_own = own.is_off_zero and own.value * size.value > 0
    return min(abs(own.low), abs(own.high)) if is_own else 0.0


def _like_a_year(head: Head, rows: pd.DataFrame) -> float:
    """Return which gap of a head's main metric is ranked like one year of age."""
    if isinstance(head, Classification):
        return POINTS_LIKE_A_YEAR
    if head.has_bands:
        return 1.0
    return float(rows[head.column].std()) / YEARS_IN_A_SPREAD or 1.0


def _training_words(gap: _Gap, rows: pd.DataFrame, training: pd.DataFrame | None) -> str:
    if training is None or training.empty or any(name not in training for name in gap.columns):
        return ""
    return sentences.training_words(*(_share(part, gap.columns, gap.values) for part in (training, rows)))


def _share(rows: pd.DataFrame, columns: Sequence[str], values: Sequence[str]) -> float:
    inside = np.ones(len(rows), dtype=bool)
    for name, value in zip(columns, values, strict=True):
        inside &= (rows[name].notna() & (rows[name].astype(object).astype(str) == value)).to_numpy()
    return float(inside.mean())


def _no_gap(one: _Comparison) -> Finding:
    """Return the finding that a column has no clear gap, or that it cannot be judged."""
    columns, rows = one.groups.columns, int((one.groups.codes >= 0).sum())
    if len(one.tested) < 2:
        reason = f"it takes two groups of {SMALLEST_RANKED_GROUP} or more, and there are not"
        words = sentences.untold_sentence(one.head, one.metric, columns, reason)
        return _nothing("unknown", one.metric, columns, rows, words)
    largest = one.chances.largest_gap
    words = sentences.no_gap_sentence(
        one.head, one.metric, columns, (len(one.tested), rows), (largest, one.chances.largest_gap_null_95)
    )
    smallest = float(np.nanmin(one.chances.p_corrected))
    return _nothing("none", one.metric, columns, rows, words, size=largest, p_value=smallest)


def _nothing(
    kind: str, metric: RowMetric, columns: tuple[str, ...], n: int, sentence: str, **numbers: float
) -> Finding:
    unknown = float("nan")
    size, p_value = numbers.get("size", unknown), numbers.get("p_value", unknown)
    return Finding(kind, metric.name, columns, (), n, size, unknown, unknown, metric.unit, p_value, 0.0, sentence)


def too_many_values(table: pd.DataFrame, column: str) -> str:
    """Return why a column cannot be looked at."""
    count = grouping.value_count(table, column)
    return f"it has {count} different values, and at most {grouping.MOST_VALUES} can be compared"
