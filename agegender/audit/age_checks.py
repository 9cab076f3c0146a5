"""Checks of ages, as a shop or a chat room makes them: who is let in wrongly, and who is turned away, by group.

`18:25` lets in who is judged 25 or older, and asks all others for an ID; the law's limit is 18. `13-16` lets in who is
judged 13 to 16, for a room of that age. Errors are counted among people *near* a limit: a rate over all minors would be
flattered by babies, whom nobody takes for adults. Any head of numbers in years can be checked so.

References
----------
Hanaoka, Ngan, Yang, Quinn, Hom, Grother: Face Analysis Technology Evaluation: Age Estimation and Verification, NIST
IR 8525, 2024 (Challenge-25, the chat room of 13 to 16). Its ages come from birth dates.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.audit import grouping
from agegender.audit.chance import FALSE_ALARM_RATE
from agegender.audit.estimates import with_ends
from agegender.audit.grouping import SMALLEST_RANKED_GROUP, Grouping
from agegender.audit.groups import Group, GroupResult, compare_groups
from agegender.audit.held_equal import HeldEqual
from agegender.errors import UsageError
from agegender.heads import Head, Regression, RowMetric
from agegender.heads.row_metrics import numbers

Floats = NDArray[np.float64]
Columns = tuple[str, ...]
YEARS = "years"
NEAR_YEARS = 4  # on either side of a limit: 14 to 17 for 18
_PAST_YEARS = 10  # of adults beyond the challenge age: 25 to 34 for 25
_OLDEST = 120
_FORM = re.compile(r"(\d{1,3})([:-])(\d{1,3})")


@dataclass(frozen=True)
class Measure:
    """One way to go wrong: people of these labelled ages, who are let in or aren't.

    Attributes
    ----------
    key : str
    title : str
        What happens to them: "let through".
    first, last : int
        Labelled ages in whole years, both included; 17.9 is 17.
    counts_let_in : bool
        Whether being let in is what is counted; else being turned away is.
    """

    key: str
    title: str
    first: int
    last: int
    counts_let_in: bool

    @property
    def ages(self) -> str:
        """Return the ages as people write them: "14 to 17"."""
        return f"{self.first} to {self.last}" if self.first < self.last else f"{self.first}"


@dataclass(frozen=True)
class AgeCheck:
    """What is asked of an age: at least `first`, let in from `last` on (a challenge age), or from `first` to `last`.

    >>> AgeCheck.of("18:25").name, AgeCheck.of("13-16").is_range
    ('18:25', True)
    """

    first: int
    last: int
    is_range: bool = False

    @classmethod
    def of(cls, text: str) -> AgeCheck:
        """Return the check that a text names."""
        form = "LEGAL:CHALLENGE such as 18:25, or FIRST-LAST such as 13-16, in whole years"
        found = _FORM.fullmatch(text.strip())
        if not found:
            raise UsageError(f"the age check {text!r} is no {form}.")
        made = cls(int(found[1]), int(found[3]), found[2] == "-")
        if made.last < made.first:
            what = "range begins after it ends" if made.is_range else "challenge age lies below the legal age"
            raise UsageError(f"the age check {text!r}: the {what}; give {form}.")
        if not made.first >= 1 or made.last > _OLDEST:
            raise UsageError(f"the age check {text!r}: ages go from 1 to {_OLDEST}; give {form}.")
        return made

    @property
    def name(self) -> str:
        """Return the check as it is written in an option."""
        return f"{self.first}{'-' if self.is_range else ':'}{self.last}"

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Ways to go wrong, the one that the check is there to prevent first."""
        below = max(self.first - NEAR_YEARS, 0)
        if self.is_range:
            past, inside = self.last + NEAR_YEARS, f"judged {self.first} to {self.last}"
            return (
                Measure("older_let_in", inside, self.last + 1, past, counts_let_in=True),
                Measure("younger_let_in", inside, below, self.first - 1, counts_let_in=True),
                Measure("kept_out", "judged younger or older", self.first, self.last, counts_let_in=False),
            )
        past = max(self.last, self.first + NEAR_YEARS)
        return (
            Measure("let_through", "let through", below, self.first - 1, counts_let_in=True),
            Measure("asked_near", "asked for an ID", self.first, past - 1, counts_let_in=False),
            Measure("asked_past", "asked for an ID", past, past + _PAST_YEARS - 1, counts_let_in=False),
        )

    def at(self, challenge: int) -> AgeCheck:
        """Return the check with another challenge age."""
        return replace(self, last=challenge)

    def lets_in(self, years: Floats) -> NDArray[np.bool_]:
        """Return whether somebody who is judged so old is let in; of a range, all of its last year is inside."""
        return (years >= self.first) & (years < self.last + 1) if self.is_range else years >= self.last


def checks_of(texts: Sequence[str]) -> tuple[AgeCheck, ...]:
    """Return the checks that texts name, each once; none for "none"."""
    return tuple(dict.fromkeys(AgeCheck.of(text) for text in texts if text != "none"))


@dataclass(frozen=True)
class Checked:
    """How one measure comes out.

    Attributes
    ----------
    measure : Measure
    by_columns : mapping
        Columns -> result; a gap's interval is corrected for all comparisons of this head's check.
    everybody : Group
    """

    measure: Measure
    by_columns: dict[Columns, GroupResult]
    everybody: Group

    def group(self, columns: Columns, values: tuple[str, ...]) -> Group | None:
        """Return one group, or everybody for no columns."""
        if not columns:
            return self.everybody
        return next((one for one in self.by_columns[columns].groups if one.values == values), None)


def difference(group: Group) -> str:
    """Return "more" or "less" where a group differs from the others beyond chance, at equal ages as well, else ""."""
    gaps = [gap for gap in (group.gap_to_rest, group.adjusted_gap) if np.isfinite(gap.value)]
    if not group.is_ranked or not gaps:
        return ""
    if all(gap.low > 0 for gap in gaps):
        return "more"
    return "less" if all(gap.high < 0 for gap in gaps) else ""


@dataclass(frozen=True, eq=False)
class CheckRows:
    """The rows that an age check looks at, and how they are grouped.

    Attributes
    ----------
    head : Regression
    check : AgeCheck
    rows : DataFrame
        With label and prediction.
    groupings : mapping
        Columns -> groups of these rows.
    clusters : array or None
    """

    head: Regression
    check: AgeCheck
    rows: pd.DataFrame
    groupings: dict[Columns, Grouping]
    clusters: NDArray[np.int64] | None

    @cached_property
    def labels(self) -> Floats:
        """Labelled ages."""
        return numbers(self.rows, self.head.column)

    @cached_property
    def predicted(self) -> Floats:
        """Predicted ages."""
        return numbers(self.rows, self.head.predicted)

    def are_meant(self, measure: Measure) -> NDArray[np.bool_]:
        """Return which rows a measure counts."""
        return (self.labels >= measure.first) & (self.labels < measure.last + 1)

    def outcome(self, measure: Measure, check: AgeCheck | None = None) -> Floats:
        """Return 1.0 or 0.0 for each row that a measure counts, NaN for the others; by another challenge age if any."""
        is_in = (check or self.check).lets_in(self.predicted)
        wrong = is_in if measure.counts_let_in else ~is_in
        return np.where(self.are_meant(measure), wrong.astype(np.float64), np.nan)

    def result(self, measure: Measure, columns: Columns, miss_rate: float) -> GroupResult:
        """Return one measure over the groups of some columns."""
        meant = self.are_meant(measure)
        needs = (self.head.column, self.head.predicted)
        metric = RowMetric(
            self.head.name, measure.key, measure.key, measure.title, "share", "lower", needs,
            lambda table: replace(self, rows=table).outcome(measure),
        )  # fmt: skip
        rows = self.rows[meant]
        return compare_groups(
            metric,
            metric.values(rows),
            self.groupings[columns].of_rows(meant) if columns else _everybody(len(rows)),
            HeldEqual.of_table(rows, (self.head.column,)).support if columns and len(rows) else None,
            clusters=None if self.clusters is None else self.clusters[meant],
            miss_rate=miss_rate,
        )


@dataclass(frozen=True)
class CheckResult:
    """What an age check would do to the judged people.

    Attributes
    ----------
    source : CheckRows
    measures : tuple of Checked
    comparisons : int
        For how many the gaps between groups are corrected.
    """

    source: CheckRows
    measures: tuple[Checked, ...]
    comparisons: int

    @property
    def head(self) -> Regression:
        """Whose predictions are checked."""
        return self.source.head

    @property
    def check(self) -> AgeCheck:
        """What is asked."""
        return self.source.check

    @property
    def sentences(self) -> list[str]:
        """Return how everybody fares, one sentence for each measure."""
        return [_sentence(self.check, one) for one in self.measures]

    def table(self) -> pd.DataFrame:
        """Return a row for each measure and group; see `Audit.age_checks`."""
        records = []
        for one in self.measures:
            everybody = [((), one.everybody)]
            groups = [(columns, group) for columns, found in one.by_columns.items() for group in found.groups]
            for columns, group in (*everybody, *groups):
                gap, equal = group.gap_to_rest, group.adjusted_gap
                records.append(
                    {
                        "head": self.head.name,
                        "check": self.check.name,
                        "measure": one.measure.key,
                        "first_age": one.measure.first,
                        "last_age": one.measure.last,
                        "grouping": " × ".join(columns),
                        "group": group.name,
                        "n": group.n,
                        **with_ends("rate", group.estimate),
                        **with_ends("gap", gap),
                        **with_ends("gap_same_age", equal),
                        "differs": difference(group) or ("cannot be told" if columns else ""),
                    }
                )
        return pd.DataFrame(records)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain dictionaries and lists."""
        return {
            "head": self.head.name,
            "check": self.check.name,
            "rows": len(self.source.rows),
            "comparisons": self.comparisons,
            "measures": [
                {
                    **asdict(one.measure),
                    "n": one.everybody.n,
                    "everybody": asdict(one.everybody.estimate),
                    "groups": {
                        " × ".join(columns): {
                            group.name: {"n": group.n, **asdict(group.estimate), "differs": difference(group)}
                            for group in found.groups
                        }
                        for columns, found in one.by_columns.items()
                    },
                }
                for one in self.measures
            ],
        }


def check_ages(
    rows: pd.DataFrame,
    heads: Sequence[Head],
    checks: Sequence[AgeCheck],
    *,
    clusters: NDArray[np.int64] | None = None,
) -> list[CheckResult]:
    """Return how each head of years fares in each check; nothing where no row has label and prediction.

    Parameters
    ----------
    rows : DataFrame
        Completed, see `complete_predictions`.
    clusters : array, shape (rows,), int, optional
        Which rows hang together: a person counts as what their photos make them.
    """
    found = []
    for head in heads:
        if not (isinstance(head, Regression) and head.unit == YEARS):
            continue
        known = np.isfinite(numbers(rows, head.column)) & np.isfinite(numbers(rows, head.predicted))
        if known.any():
            groupings = {columns: groups.of_rows(known) for columns, groups in _groupings(rows, head).items()}
            own = None if clusters is None else clusters[known]
            found += [_checked(CheckRows(head, check, rows[known], groupings, own)) for check in checks]
    return found


def _checked(source: CheckRows) -> CheckResult:
    measures = source.check.measures
    counts = [groups.of_rows(source.are_meant(one)).counts for one in measures for groups in source.groupings.values()]
    comparisons = int(sum((count >= SMALLEST_RANKED_GROUP).sum() for count in counts))
    miss_rate = FALSE_ALARM_RATE / max(comparisons, 1)
    made = []
    for one in measures:
        by_columns = {columns: source.result(one, columns, miss_rate) for columns in source.groupings}
        made.append(Checked(one, by_columns, source.result(one, (), miss_rate).overall))
    return CheckResult(source, tuple(made), comparisons)


def _groupings(rows: pd.DataFrame, head: Regression) -> dict[Columns, Grouping]:
    """Return the groups that ages are checked in; bands of the age itself are none."""
    held = HeldEqual.of_table(rows, (head.column,))
    single = [name for name in grouping.group_columns(rows) if not held.tells(grouping.make(rows, (name,)).codes)]
    wanted = [*((name,) for name in single), *(one for one in grouping.crossings(single) if len(one) == 2)]
    return {columns: grouping.make(rows, columns) for columns in wanted}


def _everybody(row_count: int) -> Grouping:
    return Grouping((), ((),), np.zeros(row_count, dtype=np.int64))


def _sentence(check: AgeCheck, found: Checked) -> str:
    measure, n, rate = found.measure, found.everybody.n, found.everybody.estimate
    photos = f"photo{'s' * (n != 1)} labelled {measure.ages}"
    if not n:
        return f"No photo is labelled {measure.ages}, so how many are {measure.title} cannot be told."
    what = measure.title
    if not check.is_range:
        what = f"judged {check.last} or older and {what}" if measure.counts_let_in else f"judged younger and {what}"
    ends = f"{100 * rate.low:.1f} to {100 * rate.high:.1f}"
    return (
        f"Of {n:,} {photos}, {round(n * rate.value):,} {'is' if round(n * rate.value) == 1 else 'are'} {what}: "
        f"{100 * rate.value:.1f} % (95 % interval {ends} %)."
    )
