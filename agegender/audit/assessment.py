"""What is known about a model from its predictions: the judged rows, every group comparison, the findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.audit import grouping
from agegender.audit.age_checks import AgeCheck, CheckResult, check_ages, checks_of
from agegender.audit.chalearn import chalearn_beside_chance
from agegender.audit.challenge_ages import ChosenAge, chosen_age, wanted_rate_of
from agegender.audit.chance import FAMILY_SHARES, Ledger
from agegender.audit.dependence import clusters_of
from agegender.audit.estimates import Estimate, mean_of, with_ends
from agegender.audit.findings import Finding, find, too_many_values, untold
from agegender.audit.grouping import Grouping
from agegender.audit.groups import Group, GroupResult, compare_groups
from agegender.audit.held_equal import HeldEqual
from agegender.audit.predictions_table import complete_predictions, unjudgeable, with_errors
from agegender.audit.sentences import equal_words
from agegender.errors import TableError, UsageError
from agegender.heads import AGE, Head, Regression, RowMetric
from agegender.heads.age_bands import FINE_EDGES, checked_edges, with_age_band
from agegender.progress import say
from agegender.settings import AGE_CHECK_RATE, AGE_CHECKS, SPLIT_CHOICES, SPLITS

_VERY_MANY_ROWS = 100_000  # above it something is said on the way, and what was sampled is noted
_MANY_ROWS = 20_000  # above it intervals are narrow, and resampling takes long
ALL_ROWS = "all rows"
BY_DEFAULT = "auto"
Columns = tuple[str, ...]


@dataclass(frozen=True)
class Comparisons:
    """All comparisons of one assessment: columns -> full name of a metric -> result."""

    by_columns: Mapping[Columns, Mapping[str, GroupResult]]

    def get(self, columns: Columns, metric: str) -> GroupResult | None:
        """Return one result, or None where it was not made."""
        return self.by_columns.get(columns, {}).get(metric)

    @property
    def single(self) -> list[Columns]:
        """Groupings by one column."""
        return [columns for columns in self.by_columns if len(columns) == 1]

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each metric and group, and one for all rows of a grouping; see `Audit.to_frame`."""
        return pd.DataFrame(
            [
                {
                    "metric": result.metric,
                    "unit": result.unit,
                    "grouping": " × ".join(columns),
                    "group": group.name,
                    "n": group.n,
                    **with_ends("value", group.estimate),
                    **with_ends("gap", group.gap_to_rest),
                    **with_ends("gap_at_equal", group.adjusted_gap),
                    "p_corrected": group.p_corrected,
                    "is_ranked": group.is_ranked,
                }
                for columns, results in self.by_columns.items()
                for result in results.values()
                for group in (result.overall, *result.groups)
            ]
        )


@dataclass(frozen=True, eq=False)
class Assessment:
    """A model's predictions, judged; whatever is derived is computed when first asked for, and once.

    Attributes
    ----------
    rows : DataFrame
        All rows, completed, with the errors of each head.
    heads : tuple of Head
        Those by which some judged row has a label and a prediction.
    unjudged : tuple of Head
        Those that the table speaks of and no judged row can tell about.
    title : str
    notices : tuple of str
        What is unusual about the table, as sentences for the top of each page.
    is_drawn : bool
        Whether the faces are drawn, and no photos.
    split : str or None
        Which split is judged; by default test, else valid, else all rows.
    adjust_for : tuple of str
        Label columns that are held equal when groups are compared.
    resample_count, deal_count, seed : int
        Bootstrap resamples (at most 500 above 20,000 rows) and random deals.
    checks : tuple of AgeCheck
        Which checks of ages are looked at.
    wanted_rate : float
        At most such a share of people just under a legal age is to be let through.
    """

    rows: pd.DataFrame
    heads: tuple[Head, ...]
    unjudged: tuple[Head, ...] = ()
    title: str = ""
    notices: tuple[str, ...] = ()
    is_drawn: bool = False
    split: str | None = None
    adjust_for: tuple[str, ...] = ()
    resample_count: int = 2000
    deal_count: int = 2000
    seed: int = 7
    checks: tuple[AgeCheck, ...] = ()
    wanted_rate: float = AGE_CHECK_RATE

    @cached_property
    def splits(self) -> dict[str, pd.DataFrame]:
        """Rows of each split that has any, in the order train, valid, test."""
        parts = {name: self.rows[self.rows["split"] == name] for name in SPLITS}
        return {name: part for name, part in parts.items() if len(part)}

    @cached_property
    def judged_split(self) -> str:
        """The split that is judged; "all rows" where there are no splits."""
        if self.split is not None:
            return self.split if self.split in self.splits else ALL_ROWS
        return next((name for name in ("test", "valid") if name in self.splits), ALL_ROWS)

    @cached_property
    def judged(self) -> pd.DataFrame:
        """The rows that every figure without another name is about."""
        return self.splits.get(self.judged_split, self.rows).reset_index(drop=True)

    @cached_property
    def clusters(self) -> NDArray[np.int64] | None:
        """Which judged rows hang together (a person, twins, a photo named twice); None where all stand alone."""
        return clusters_of(self.judged)

    @cached_property
    def split_clusters(self) -> dict[str, NDArray[np.int64] | None]:
        """The same of each split's rows."""
        is_judged = self.judged_split
        return {name: self.clusters if name == is_judged else clusters_of(part) for name, part in self.splits.items()}

    @cached_property
    def training(self) -> pd.DataFrame | None:
        """Rows that the model was trained on, where the table holds them."""
        return self.splits.get("train")

    @cached_property
    def metrics(self) -> dict[str, RowMetric]:
        """The metrics of the heads by which some judged row can be told, by full name."""
        every = [metric for head in self.heads for metric in head.metrics]
        return {metric.name: metric for metric in every if metric.is_known(self.judged)}

    @cached_property
    def groupings(self) -> dict[Columns, Grouping]:
        """The group of every judged row, by each column and each intersection that is looked at."""
        single = grouping.group_columns(self.judged)
        wanted = [*((name,) for name in single), *grouping.crossings(single)]
        return {columns: grouping.make(self.judged, columns) for columns in wanted}

    @cached_property
    def held(self) -> HeldEqual:
        """What is held equal between the judged rows of any two groups."""
        return HeldEqual.of_table(self.judged, self.adjust_for)

    @cached_property
    def ledger(self) -> Ledger:
        """What chance does to every gap."""
        if len(self.judged) > _VERY_MANY_ROWS:
            say(f"looking for gaps between groups of {len(self.judged):,} rows")
        values = {metric: self._values(metric.name) for metric in self.metrics.values()}
        parts = [
            [one for columns, one in self.groupings.items() if (len(columns) > 1) is crossed]
            for crossed in (False, True)
        ]
        return Ledger(
            values, *parts, held=self.held, clusters=self.clusters, deal_count=self.deal_count, seed=self.seed
        )

    @cached_property
    def comparisons(self) -> Comparisons:
        """Every comparison that the judged rows allow."""
        if len(self.judged) > _VERY_MANY_ROWS:
            say(f"measuring {len(self.metrics)} metrics over {len(self.groupings)} groupings")
        return Comparisons(
            {
                columns: {
                    name: self.compare(name, columns)
                    for name, metric in self.metrics.items()
                    if self._is_wanted(metric, columns)
                }
                for columns in self.groupings
            }
        )

    @cached_property
    def findings(self) -> list[Finding]:
        """What can be claimed about groups, strongest first, then what cannot."""
        heads = {head.name: head for head in self.heads}
        training = None if self.judged_split == "train" else self.training
        found = find(self.ledger, heads, self.compare, self.judged, training)
        many = grouping.crowded_columns(self.judged)
        rows = [int(self.judged[name].notna().sum()) for name in many]
        reason = "no row has both the label and the prediction"
        return [
            *found,
            *(
                untold(self.heads[0], (name,), n, too_many_values(self.judged, name))
                for name, n in zip(many, rows, strict=True)
            ),
            *(untold(head, (), 0, reason) for head in self.unjudged),
        ]

    @cached_property
    def chalearn(self) -> pd.DataFrame:
        """The ChaLearn scores beside chance; no rows without a head that has age bands."""
        banded = [head for head in self.heads if isinstance(head, Regression) and head.has_bands]
        if not banded:
            return pd.DataFrame()
        return chalearn_beside_chance(self.judged, banded[0], self.ledger)

    @cached_property
    def age_checks(self) -> list[CheckResult]:
        """What each check of ages would do to the judged people; nothing without a number in years."""
        return check_ages(self.judged, self.heads, self.checks, clusters=self.clusters)

    @cached_property
    def chosen_ages(self) -> list[ChosenAge | None]:
        """The challenge age that keeps the wanted rate, for each of `age_checks`."""
        return [chosen_age(result, self.wanted_rate) for result in self.age_checks]

    def has(self, *columns: str) -> bool:
        """Return whether some judged row knows all of `columns`."""
        if any(name not in self.judged for name in columns):
            return False
        return bool(self.judged[list(columns)].notna().all(axis=1).any())

    def metric(self, name: str) -> RowMetric:
        """Return a metric by its full name, or by a short one that only one head has."""
        if name in self.metrics:
            return self.metrics[name]
        found = [metric for metric in self.metrics.values() if metric.short == name]
        if len(found) == 1:
            return found[0]
        names = [metric.name for metric in found]
        if not names:
            shorts = {metric.short: metric.name for metric in self.metrics.values()}
            names = list(
                dict.fromkeys(shorts.get(near, near) for near in get_close_matches(name, [*shorts, *self.metrics]))
            )
        hint = f"did you mean {' or '.join(names)}?" if names else f"there are {', '.join(self.metrics)}."
        raise UsageError(f"no one metric is called {name!r}; {hint}")

    def compare(self, metric: str, columns: Sequence[str]) -> GroupResult:
        """Return one metric over the groups of any columns; p-values only where the ledger has them."""
        wanted, names = self.metric(metric), tuple(columns)
        key = (wanted.name, names)
        if key not in self._results:
            groups = self.groupings.get(names) or grouping.make(self.judged, names)
            self._results[key] = compare_groups(
                wanted,
                self._values(wanted.name),
                groups,
                self.held.support,
                clusters=self.clusters,
                miss_rate=self.ledger.miss_rate,
                chances=self.ledger.get(*key) if names in self.groupings else None,
                resample_count=self._few_resamples,
                seed=self.seed,
            )
        return self._results[key]

    def overall(self, metric: str) -> Estimate:
        """Return a metric of all judged rows: the one interval of it that pages show."""
        wanted = self.metric(metric)
        if wanted.name not in self._overall:
            self._overall[wanted.name] = mean_of(
                self._values(wanted.name),
                is_rate=wanted.is_rate,
                clusters=self.clusters,
                resample_count=self._few_resamples,
                seed=self.seed,
            )
        return self._overall[wanted.name]

    def tested_gap(self, metric: str, columns: Columns, group: Group) -> Estimate:
        """Return that gap of a group to its rest by which the audit judges: at equal ages where these were held."""
        chances = self.ledger.get(metric, columns)
        is_held = chances is not None and chances.is_held and np.isfinite(group.adjusted_gap.value)
        return group.adjusted_gap if is_held else group.gap_to_rest

    def by(self, metric: str, *columns: str) -> pd.DataFrame:
        """Return a metric by group, or overall without columns: `value`, `low`, `high`, `n` and `persons`.

        Persons are told apart by `subject_id`, and twins and photos named twice count once; see `dependence`.
        """
        wanted = self.metric(metric)
        if not columns:
            everyone = Grouping((), ((),), np.zeros(len(self.judged), dtype=np.int64))
            groups: tuple[Group, ...] = (
                compare_groups(wanted, self._values(wanted.name), everyone, clusters=self.clusters).overall,
            )
        else:
            everyone = grouping.make(self.judged, columns)
            groups = self.compare(metric, columns).groups
        counted = np.isfinite(self._values(wanted.name))
        persons = [self._person_count(counted & (everyone.codes == number)) for number in range(len(groups))]
        return pd.DataFrame(
            [
                {
                    **dict(zip(columns, group.values, strict=True)),
                    "value": group.estimate.value,
                    "low": group.estimate.low,
                    "high": group.estimate.high,
                    "n": group.n,
                    "persons": count,
                }
                for group, count in zip(groups, persons, strict=True)
            ],
            columns=[*columns, "value", "low", "high", "n", "persons"],
        )

    @property
    def _few_resamples(self) -> int:
        return self.resample_count if len(self.judged) <= _MANY_ROWS else min(self.resample_count, 500)

    @cached_property
    def _overall(self) -> dict[str, Estimate]:
        return {}

    @cached_property
    def _results(self) -> dict[tuple[str, Columns], GroupResult]:
        return {}

    @cached_property
    def _all_values(self) -> dict[str, NDArray[np.float64]]:
        return {name: metric.values(self.judged) for name, metric in self.metrics.items()}

    def _values(self, name: str) -> NDArray[np.float64]:
        return self._all_values[name]

    def _is_wanted(self, metric: RowMetric, columns: Columns) -> bool:
        """Whether a report shows a metric over a grouping: what is not tested only over single columns, within too."""
        if metric.key in FAMILY_SHARES or metric.key.startswith("within_"):
            return True
        labels = {head.name: head.column for head in self.heads}
        return len(columns) == 1 and labels[metric.head] not in columns

    def _person_count(self, chosen: NDArray[np.bool_]) -> int:
        return int(chosen.sum()) if self.clusters is None else len(np.unique(self.clusters[chosen]))


def assess(  # noqa: PLR0913 (what is judged, and how)
    predictions: pd.DataFrame,
    *,
    heads: Sequence[Head] | None = None,
    title: str = "",
    split: str | None = None,
    adjust_for: str | Sequence[str] | None = BY_DEFAULT,
    is_drawn: bool = False,
    age_bands: Sequence[float] = FINE_EDGES,
    age_checks: Sequence[str] = AGE_CHECKS,
    age_check_rate: float = AGE_CHECK_RATE,
) -> Assessment:
    """Return the assessment of a predictions table, its columns completed, its oddities counted and said.

    Parameters
    ----------
    predictions : DataFrame
        Anybody's; see `complete_predictions`.
    heads : sequence of Head, optional
        By default those of the table.
    split : str, optional
        "train", "valid", "test" or "all"; by default test where there is one, else valid, else all rows.
    adjust_for : str or sequence of str, optional
        Label columns that are held equal when groups are compared: "auto" takes the one that has age bands, where any
        row knows it; None or () holds nothing equal.
    is_drawn : bool
        Also told by a `source` of "drawn_faces" in every row.
    age_bands : sequence of float
        The years at which the finer bands of `age_band` begin, beside the four of `age_group`.
    age_checks, age_check_rate : sequence of str, float
        See `audit.age_checks` and `audit.challenge_ages`.
    """
    checks, wanted = checks_of(age_checks), wanted_rate_of(age_check_rate)
    if split is not None and split not in SPLIT_CHOICES:
        raise UsageError(f"there is no split {split!r}; there are {', '.join(SPLIT_CHOICES)}.")
    edges = checked_edges(age_bands)
    rows, known, notices = complete_predictions(predictions, heads)
    if any(rows[head.column].notna().any() for head in known if isinstance(head, Regression) and head.has_bands):
        rows = with_age_band(rows, edges)
    if not len(rows):
        raise TableError("the predictions table has no rows, so there is nothing to report on.")
    is_drawn = is_drawn or bool((rows["source"] == "drawn_faces").all())
    held = _held_columns(rows, known, adjust_for)
    made = Assessment(with_errors(rows, known), known, (), title, notices, is_drawn, split, held)
    made = replace(made, checks=checks, wanted_rate=wanted)
    if split in SPLITS and split not in made.splits:
        raise TableError(f"the predictions table has no row in the split {split!r}; judge another, or all rows.")
    made = replace(made, notices=(*notices, *_held_words(made), *_size_words(len(made.judged))))
    judged = tuple(head for head in known if head.metrics[0].is_known(made.judged))
    if not judged:
        raise TableError(unjudgeable(predictions, known))
    return replace(made, heads=judged, unjudged=tuple(head for head in known if head not in judged))


def _size_words(row_count: int) -> list[str]:
    if row_count <= _VERY_MANY_ROWS:
        return []
    return [
        f"With {row_count:,} rows not everything is done row by row: what chance makes of a gap is drawn from the "
        "normal limit of group sums (of groups under 300 rows from the rows), intervals rest on 500 resamples, and "
        "clouds of points show a sample."
    ]


def _held_columns(rows: pd.DataFrame, heads: Sequence[Head], wanted: str | Sequence[str] | None) -> tuple[str, ...]:
    if wanted == BY_DEFAULT:
        banded = [head.column for head in (*heads, AGE) if isinstance(head, Regression) and head.has_bands]
        return tuple(name for name in banded[:1] if name in rows and rows[name].notna().any())
    columns = (wanted,) if isinstance(wanted, str) else tuple(wanted or ())
    missing = [name for name in columns if name not in rows]
    if missing:
        raise TableError(
            f"cannot hold {', '.join(missing)} equal: the table has {', '.join(map(str, rows.columns))}. Name a label "
            f"column, or hold nothing equal."
        )
    predicted = [name for name in columns if any(name in head.prediction_columns for head in heads)]
    if predicted:
        raise TableError(
            f"cannot hold {', '.join(predicted)} equal: it is what the model says, and rows with equal answers differ "
            f"in their labels alone. Name a label column, or hold nothing equal."
        )
    return columns


def _held_words(made: Assessment) -> list[str]:
    """Say what is held equal where that is not every row's age."""
    if not made.held:
        told = [name for name in grouping.group_columns(made.judged) if name not in grouping.AGE_COLUMNS]
        return ["Nothing is held equal: a gap between groups may be one between their ages."] if told else []
    counts = {name: int(made.judged[name].isna().sum()) for name in made.held.columns}
    return [
        f"{count:,} of {len(made.judged):,} rows lack {name}, which is held equal: they are compared with one another, "
        f"and count in no size of a gap{equal_words([name])}."
        for name, count in counts.items()
        if count
    ]
