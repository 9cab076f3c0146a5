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
from agegender.audit.chance import FALSE_ALARM_RATE, FEWEST_CLUSTERS, GroupChances, Ledger
from agegender.audit.estimates import Estimate
from agegender.audit.grouping import SMALLEST_RANKED_GROUP, Grouping
from agegender.audit.groups import Group, GroupResult
from agegender.heads import Classification, Head, RowMetric

Compare = Callable[[str, tuple[str, ...]], GroupResult]
# Of these metrics a column without a gap is said to have none; of all others that are tested only gaps are said.
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
        "mae_gap", "signed_error" (its mean is off zero), "signed_gap" (it is off the rest only), "accuracy_gap",
        "recall_gap" or "interval_gap" (coverage);
        "none" for a column in which no gap was found; "unknown" when a column could not be judged (too few groups of 30
        rows, too many values).
    metric : str
        Full name, `age.mean_absolute_error`.
    columns, values : tuple of str
        The group; `values` is () when the sentence speaks of the whole column. Plain text, not escaped for HTML.
    n : int
        Rows in the group (in the column, for "none").
    size, low, high : float
        The gap to the rest, at equal ages where these are held equal, and its 95 % interval, corrected for all
        comparisons of the audit; for "signed_error" the group's mean signed error and its plain interval. In `unit`.
    unit : str
        The head's unit, or "share" (0.03 is three percentage points).
    p_value : float
        Corrected for every comparison that was made in the audit: below 0.05 for each claimed gap.
    strength : float
        What they are ordered by: the end of the interval nearest to zero, in years of age (a rate's five points count
        as one, and so does a twentieth of the standard deviation of another number's labels); 0 where how much of the
        gap is the group's own is uncertain.
    sentence : str
        Plain language, with n and interval.
    training_share, judged_share : float or None
        The group's share of the training rows and of those that are judged, 0..1; None where nothing is claimed, and
        where the training rows are unknown.
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
    training_share: float | None = None
    judged_share: float | None = None

    @property
    def claim(self) -> str:
        """Return the sentence without the shares of the photos."""
        return self.sentence.removesuffix(sentences.training_words(self.training_share, self.judged_share))

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
    """A head's metric over one grouping, both of the rows that count, with its chances.

    `values` are without what is held equal, where it is, and `equal` says in words what that is.
    """

    head: Head
    metric: RowMetric
    groups: Grouping
    values: NDArray[np.float64]
    clusters: NDArray[np.int64] | None
    equal: str
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
        """Whether the group does worse than its rest; what is best at zero or at 90 % is worse on either side."""
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
        if one.metric.key in KINDS
        and len(one.groups.columns) == 1
        and (one.metric.name, one.groups.columns) not in said
    ]
    gaps = sorted(_without_mirrors(gaps), key=lambda finding: -finding.strength)
    return [*gaps, *sorted(silent, key=lambda finding: finding.kind == "unknown")]


def untold(head: Head, columns: Sequence[str], rows: int, reason: str) -> Finding:
    """Return the finding that a head cannot be judged by some columns."""
    metric = head.metrics[0]
    sentence = sentences.untold_sentence(head, metric, columns, reason)
    return _nothing("unknown", metric, tuple(columns), rows, sentence)


def _comparisons(ledger: Ledger, heads: Mapping[str, Head]) -> list[_Comparison]:
    return [
        _Comparison(
            heads[metric.head],
            metric,
            groups.of_rows(np.isfinite(values)),
            # Bands of age differ by their ages: there nothing is taken out.
            ledger.levelled[metric.name] if chances.is_held or not ledger.held else values[np.isfinite(values)],
            ledger.clusters_of(metric),
            sentences.equal_words(ledger.held.columns if chances.is_held else ()),
            chances,
        )
        for metric, values in ledger.values.items()
        for groups in (*ledger.single, *ledger.crossed)
        if (chances := ledger.get(metric.name, groups.columns))
    ]


def worth_saying(comparisons: Sequence[_Comparison]) -> list[_Gap]:
    """Return the clear gaps that no other gap already tells."""
    kept: list[_Gap] = []
    crossed_count = sum(len(one.tested) for one in comparisons if len(one.groups.columns) > 1 or _is_fine(one))
    for one in sorted(comparisons, key=lambda one: len(one.groups.columns)):
        clear = [gap for number in one.tested if (gap := _Gap(one, int(number))).p_value < FALSE_ALARM_RATE]
        parents = [gap for gap in kept if gap.metric.name == one.metric.name]
        chosen = [gap for gap in clear if gap.is_worse_off] or clear
        kept += [gap for gap in chosen if not _is_echo(gap, parents, crossed_count)]
    return kept


def _is_fine(one: _Comparison) -> bool:
    """Return whether the groups are the finer age bands."""
    return one.groups.columns == grouping.AGE_COLUMNS[1:]


def _is_echo(gap: _Gap, parents: Sequence[_Gap], crossed_count: int) -> bool:
    # In every model some groups differ, and so do their intersections with anything: one is named beside its parent
    # only when it differs from the rest of the parent, at a level corrected for how many intersections there are.
    own, inside = dict(zip(gap.columns, gap.values, strict=True)), gap.is_inside
    for parent in parents:
        shared = dict(zip(parent.columns, parent.values, strict=True))
        is_parent = len(shared) < len(own) and shared.items() <= own.items()
        # A band inside a band is a part of it as well.
        is_parent |= _is_fine(gap.comparison) and bool((inside <= parent.is_inside).all())
        # What was dealt at equal ages is no echo of a band of them.
        is_parent &= parent.comparison.equal == gap.comparison.equal
        if is_parent and parent.direction == gap.direction:
            siblings = parent.is_inside & ~inside
            apart, degrees = _errors_apart(gap.comparison, inside, siblings)
            needed = float(stdtrit(degrees, 1.0 - FALSE_ALARM_RATE / max(crossed_count, 1)))
            if gap.direction * apart < needed:
                return True
    return False


def _errors_apart(comparison: _Comparison, inside: NDArray[np.bool_], others: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the difference of two means in standard errors, and their degrees; 0 where there are no others."""
    if not others.any():
        return 0.0, 1.0
    (mean, error, count), (other_mean, other_error, _) = (
        _mean_and_error(comparison.values[rows], None if comparison.clusters is None else comparison.clusters[rows])
        for rows in (inside, others)
    )
    gap, together = mean - other_mean, float(np.hypot(error, other_error))
    apart = gap / together if together > 0 else float(np.sign(gap)) * np.inf if gap else 0.0
    return apart, max(count - 1.0, 1.0)


def _mean_and_error(values: NDArray[np.float64], clusters: NDArray[np.int64] | None) -> tuple[float, float, float]:
    """Return a mean, its standard error, and how many rows or clusters it is of."""
    off = values - values.mean()
    if clusters is not None:
        off = np.bincount(np.unique(clusters, return_inverse=True)[1].reshape(-1), weights=off)
    count = float(off.size)
    error = np.sqrt((off**2).sum() * count / max(count - 1.0, 1.0)) / values.size
    return float(values.mean()), float(error), count


def _told(gap: _Gap, compare: Compare, rows: pd.DataFrame, training: pd.DataFrame | None) -> Finding | None:
    """Return the finding, or None when the gap goes the other way: the test weighs rows of all ages anew."""
    group = compare(gap.metric.name, gap.columns).groups[gap.number]
    if group.gap_alone.value * gap.direction <= 0:
        return None
    head, metric, equal = gap.comparison.head, gap.metric, gap.comparison.equal
    is_held = bool(equal) and not isnan(group.adjusted_gap.value)
    apart, equal = (group.adjusted_gap, equal) if is_held else (group.gap_to_rest, "")
    kind, size, words = _words(gap, group, apart, equal)
    own = sentences.own_words(metric, group.gap_to_rest, is_own=apart.is_off_zero, equal=equal) if is_held else ""
    shares = _shares(gap, rows, training)
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
        strength=_strength(apart if is_held else size) / _like_a_year(head, rows),
        sentence=words + own + sentences.flattering_words(apart) + sentences.training_words(*shares),
        training_share=shares[0],
        judged_share=shares[1],
    )


def _words(gap: _Gap, group: Group, apart: Estimate, equal: str) -> tuple[str, Estimate, str]:
    """Return the kind of a finding, its size, and what is said of it."""
    head, metric, who = gap.comparison.head, gap.metric, sentences.group_words(gap.columns, gap.values)
    kind = KINDS.get(metric.key, f"{metric.key.partition('_')[0]}_gap")
    if isinstance(head, Classification) and metric.key == "accuracy":
        return kind, apart, sentences.accuracy_sentence(head, who, group.n, group.estimate, apart, equal)
    if isinstance(head, Classification) or metric.is_rate:
        return kind, apart, sentences.share_sentence(metric, who, group.n, group.estimate, apart, equal)
    if metric.better != "zero":
        return kind, apart, sentences.absolute_error_sentence(head, who, group.n, group.estimate, apart, equal)
    if group.estimate.is_off_zero and group.estimate.value * apart.value > 0:
        rest = sentences.signed_rest_words(head, apart, equal) if equal else ""
        return kind, group.estimate, sentences.signed_error_sentence(head, who, group.n, group.estimate) + rest
    return "signed_gap", apart, sentences.signed_gap_sentence(head, who, group.n, apart, equal)


def _without_mirrors(gaps: Sequence[Finding]) -> list[Finding]:
    # Beside a group that is judged too young, all others look too old for their rest.
    biased = {(finding.metric, finding.columns) for finding in gaps if finding.kind == "signed_error"}
    return [one for one in gaps if one.kind != "signed_gap" or (one.metric, one.columns) not in biased]


def _strength(gap: Estimate) -> float:
    return min(abs(gap.low), abs(gap.high)) if gap.is_off_zero else 0.0


def _like_a_year(head: Head, rows: pd.DataFrame) -> float:
    """Return which gap of a head's main metric is ranked like one year of age."""
    if isinstance(head, Classification):
        return POINTS_LIKE_A_YEAR
    if head.has_bands:
        return 1.0
    return float(rows[head.column].std()) / YEARS_IN_A_SPREAD or 1.0


def _shares(gap: _Gap, rows: pd.DataFrame, training: pd.DataFrame | None) -> tuple[float | None, float | None]:
    if training is None or training.empty or any(name not in training for name in gap.columns):
        return None, None
    return _share(training, gap.columns, gap.values), _share(rows, gap.columns, gap.values)


def _share(rows: pd.DataFrame, columns: Sequence[str], values: Sequence[str]) -> float:
    inside = np.ones(len(rows), dtype=bool)
    for name, value in zip(columns, values, strict=True):
        inside &= (rows[name].notna() & (rows[name].astype(object).astype(str) == value)).to_numpy()
    return float(inside.mean())


def _no_gap(one: _Comparison) -> Finding:
    """Return the finding that a column has no clear gap, or that it cannot be judged."""
    columns, rows = one.groups.columns, int((one.groups.codes >= 0).sum())
    if len(one.tested) < 2:
        needed = f"{SMALLEST_RANKED_GROUP} or more"
        if one.clusters is not None:
            needed = f"{SMALLEST_RANKED_GROUP} photos of {FEWEST_CLUSTERS} persons or more"
        reason = f"it takes two groups of {needed}, and there are not"
        words = sentences.untold_sentence(one.head, one.metric, columns, reason)
        return _nothing("unknown", one.metric, columns, rows, words)
    largest = one.chances.largest_gap
    words = sentences.no_gap_sentence(
        one.head,
        one.metric,
        columns,
        (len(one.tested), rows),
        (largest, one.chances.largest_gap_null_95),
        one.equal,
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
