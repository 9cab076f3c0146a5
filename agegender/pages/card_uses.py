"""Where a model could be used, drafted by a rule from measured intervals: a start for people, and no permission.

A group stands under "could" where its whole 95 % interval lies at or above what is wanted, under "not" where it lies
below, and is not settled otherwise, nor with fewer than 30 photos. Each interval stands for itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agegender.audit import grouping
from agegender.audit.groups import Group
from agegender.audit.sentences import group_words
from agegender.audit.words import capitalised, interval, number, photos
from agegender.heads import Head, Regression, RowMetric
from agegender.pages.card_text import WANTED, HumanText
from agegender.pages.page_writing import ReportContent
from agegender.pages.tables import Column, Row, Table

COULD, NOT, UNSETTLED = "could", "not", "not settled"
_MOST_SENTENCES = 6  # of each kind; the table has all
_MOST_GAPS = 3  # the bias page has all


@dataclass(frozen=True)
class Use:
    """One drafted use: which head, for which group, how it was measured, and what the rule says."""

    head: Head
    metric: RowMetric
    columns: tuple[str, ...]
    group: Group
    verdict: str

    @property
    def who(self) -> str:
        """The group as a sentence begins with it."""
        return group_words(self.columns, self.group.values) if self.columns else "Everybody"

    @property
    def what(self) -> str:
        """What was measured, in words."""
        if isinstance(self.head, Regression):
            return f"{self.head.title} {self.metric.title}"
        return f"{self.head.title} label as annotated"

    @property
    def sentence(self) -> str:
        """Who, what, the share with its interval, and of how many photos."""
        share = interval(self.group.estimate, 0, is_percent=True)
        return f"{self.who}: {self.what} for {share} of {photos(self.group.n)}."


def drafted_uses(content: ReportContent, human: HumanText) -> list[Use]:
    """Return the draft: everybody and then each group of each column, for every head that has a share to go by."""
    found = []
    for head in content.heads:
        metric, wanted = _measured(head, human)
        if metric is None:
            continue
        results = [(columns, content.comparisons.get(columns, metric.name)) for columns in content.comparisons.single]
        overall = next((result.overall for _, result in results if result is not None), None)
        if overall is not None:
            found.append(Use(head, metric, (), overall, _verdict(overall, wanted)))
        found += [
            Use(head, metric, columns, group, _verdict(group, wanted))
            for columns, result in results
            for group in (result.groups if result is not None else ())
        ]
    return found


def use_lists(content: ReportContent, uses: Sequence[Use]) -> list[tuple[str, list[str]]]:
    """Return heading and sentences of what could be done, of what should not, and of what is not settled."""
    lists = []
    for head in dict.fromkeys(use.head for use in uses):
        own = [use for use in uses if use.head == head]
        could, not_, unsettled = ([use for use in own if use.verdict == kind] for kind in (COULD, NOT, UNSETTLED))
        could.sort(key=lambda use: -use.group.estimate.low)
        not_.sort(key=lambda use: use.group.estimate.high)
        enough, least = _purposes(head, content.human)
        lists.append((f"Could be used {enough}", _shortened(could, "For nobody, by this rule.")))
        lists.append((f"Not to be used {least}", _shortened(not_, "Said of no group, by this rule.")))
        if unsettled:
            lists.append((f"Not settled by these photos: {head.title}", _shortened(unsettled, "")))
    gaps = [finding.sentence for finding in content.assessment.findings if finding.kind.startswith("signed")]
    if gaps:
        heading = "Not to be used to compare averages of groups, which err in different directions"
        lists.append((heading, gaps[:_MOST_GAPS]))
    return lists


def use_table(uses: Sequence[Use]) -> Table | None:
    """Return the whole draft as a table."""
    columns = (
        Column("group", "Group"),
        Column("grouping", "Grouping"),
        Column("what", "Measured"),
        Column("n", "Photos", 0),
        Column("share", "Share", 1, is_percent=True),
        Column("verdict", "Draft"),
    )
    rows = [
        Row(
            {
                "group": use.group.name or "everybody", "grouping": grouping.title(use.columns) or "all",
                "what": use.what, "n": use.group.n, "share": use.group.estimate, "verdict": use.verdict,
            },
            not use.group.is_ranked,
        )
        for use in uses
    ]  # fmt: skip
    note = "Brackets: 95 % interval of each share by itself."
    return Table("uses", "Every drafted use", columns, rows, note, len(rows) > 12) if rows else None


def rule_words(content: ReportContent, human: HumanText) -> Iterator[str]:
    """Yield how the draft was made, and what it is worth."""
    by = human.answers("Conditional uses")
    yield "A draft" + (
        "." if by else ", written by a rule from the figures on these photos. Nobody has checked it yet."
    )
    share, accuracy = (number(human.number(one), 0, is_percent=True) for one in WANTED)
    kinds = [f"{share} for numbers"] * bool(content.regressions) + [f"{accuracy} for labels"] * any(_labels(content))
    yield (
        f"A group could be served where its whole 95 % interval is at or above {' and '.join(kinds)} (wanted_share and "
        "wanted_accuracy in card.toml), not where all of it is below; otherwise, and with fewer than 30 photos, it is "
        "not settled. Each interval stands for itself: of 20 groups one may be misplaced."
    )
    assessment = content.assessment
    if assessment.is_drawn:
        yield "The faces are drawn: this shows what a draft looks like, and allows nothing."
    elif assessment.judged_split != "test":
        yield "It may have learnt from the photos that it was measured on, so it may promise too much."
    for head in content.regressions:
        if _near(head) is None:
            title = capitalised(head.title)
            yield f"{title}: how large an error does no harm is not known, so no use is drafted."


def _measured(head: Head, human: HumanText) -> tuple[RowMetric | None, float]:
    if isinstance(head, Regression):
        return _near(head), human.number(WANTED[0])
    if head.is_sensitive:
        return None, 1.0  # refused whatever its figures are
    return next(one for one in head.metrics if one.key == "accuracy"), human.number(WANTED[1])


def _near(head: Regression) -> RowMetric | None:
    if not head.tolerances:
        return None
    return next(one for one in head.metrics if one.key == f"within_{head.tolerances[-1]:g}")


def _labels(content: ReportContent) -> Iterator[bool]:
    return (not head.is_sensitive for head in content.classifications)


def _verdict(group: Group, wanted: float) -> str:
    if not group.is_ranked:
        return UNSETTLED
    return COULD if group.estimate.low >= wanted else NOT if group.estimate.high < wanted else UNSETTLED


def _purposes(head: Head, human: HumanText) -> tuple[str, str]:
    """Return what would be enough for whom it could be used, and what would be asked of it elsewhere."""
    if isinstance(head, Regression):
        share = number(human.number(WANTED[0]), 0, is_percent=True)
        near = f"{head.title}s within ±{head.tolerances[-1]:g} {head.unit}".rstrip()
        return f"where {share} of {near} are enough", f"where {share} of {near} are needed"
    return (f"to count {head.title} labels over many photos, never to sort people",) * 2


def _shortened(uses: Sequence[Use], nothing: str) -> list[str]:
    said = [use.sentence for use in uses[:_MOST_SENTENCES]]
    return [*said, *_more(len(uses))] if said else [nothing]


def _more(found: int) -> list[str]:
    left = found - _MOST_SENTENCES
    return [f"{left} more in the table."] if left > 0 else []
