"""The head of the bias page: the answer in a few lines, yardsticks, and one picture of all groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from agegender.audit import grouping
from agegender.audit.estimates import Estimate
from agegender.audit.findings import Finding
from agegender.audit.groups import Group
from agegender.audit.sentences import group_words
from agegender.audit.words import capitalised, count, in_unit, interval, interval_ends, listing, number, too
from agegender.heads import Head, Regression
from agegender.pages import charts
from agegender.pages.page_writing import ReportContent

MOST_ROWS = 24  # of a picture; the others are in the tables


class _Place(NamedTuple):
    """One group in the picture: its grouping, what is known of it, and its gap as it was tested."""

    columns: tuple[str, ...]
    group: Group
    gap: Estimate
    is_finding: bool

    @property
    def is_claimed(self) -> bool:
        """Whether the audit says so, or would if a wider group that it is part of did not say it already."""
        return self.is_finding or (self.gap.is_off_zero and np.isfinite(self.group.p_corrected))


def verdict(content: ReportContent) -> list[Finding | str]:
    """Return the answer to "who is it wrong about": of each head the clearest finding, then the clearest beside age.

    A text stands for a finding where there is none.
    """
    gaps = [one for one in content.assessment.findings if one.is_gap]
    found: list[Finding | str] = []
    for head in content.heads[:3]:
        own = [one for one in gaps if one.metric.partition(".")[0] == head.name and _is_worse(one)]
        main = [one for one in own if one.metric == head.metrics[0].name]
        found += (main or own)[:1] or [f"{capitalised(head.title)}: {_NOTHING}"]
    bands = {columns[0] for columns in content.comparisons.single if _is_band(content, columns)}
    beside = [one for one in gaps if _is_worse(one) and not bands & set(one.columns)]
    if bands and not beside:
        found.append(f"Beside {'age' if bands & _AGES else 'what is held equal'}: {_NOTHING}")
    elif beside and beside[0] not in found:
        found.append(beside[0])
    return found


_NOTHING = "no group is misjudged so much more than the rest that chance can be left out with these photos."
_AGES = set(grouping.AGE_COLUMNS)


def yardsticks(content: ReportContent) -> list[dict[str, str]]:
    """Return each head's main figure beside what a guess would get that looks at no photo."""
    return [figure for head in content.heads if (figure := _yardstick(content, head))]


def overview(content: ReportContent) -> list[Markup]:
    """Return one picture per metric: the gaps of all groups on one axis, the worst first, claimed ones filled."""
    return [drawing for head in content.heads[:3] for drawing in _overviews(content, head)]


def row_name(columns: Sequence[str], group: Group) -> str:
    """Return how a group is called where groups of several columns stand in one list."""
    words = group_words(columns, group.values).removeprefix("Faces labelled ")
    return f"{words[:1].lower()}{words[1:]}" if words.startswith("Ages") else words


def _is_worse(finding: Finding) -> bool:
    # Errors are worse above the rest, shares of right answers below; directions and coverage are worse on either side.
    key = finding.metric.partition(".")[2]
    return finding.size > 0 if key == "mean_absolute_error" else finding.size < 0 if _is_share(key) else True


def _is_share(key: str) -> bool:
    return key == "accuracy" or key.startswith("recall")


def _is_band(content: ReportContent, columns: tuple[str, ...]) -> bool:
    return columns[0] in _AGES or content.assessment.held.tells(content.assessment.groupings[columns].codes)


class Yardstick(NamedTuple):
    """A head's main figure, and what always the same guess gets, which looks at no photo."""

    told: Estimate
    guess: str
    guessed: float
    whose: str  # photos the guess is taken from: "the training", "these"


def yardstick_of(content: ReportContent, head: Head) -> Yardstick | None:
    """Return a head's yardstick: the median of a number's labels, the most frequent class; None without labels."""
    judged, training = content.assessment.judged, content.assessment.training
    known = judged.dropna(subset=[head.column, head.predicted])
    labels = (judged if training is None else training)[head.column].dropna()
    if not len(known) or not len(labels):
        return None
    whose = "these" if training is None or content.assessment.judged_split == "train" else "the training"
    told = content.assessment.overall(head.metrics[0].name)
    if isinstance(head, Regression):
        middle = float(labels.median())
        unit = f" {head.unit}" if head.unit else ""
        missed = float((known[head.column] - middle).abs().mean())
        return Yardstick(told, f"{number(middle, content.digits(head, 0))}{unit}", missed, whose)
    usual = labels.astype(object).mode().iloc[0]
    right = float((known[head.column].astype(object) == usual).mean())
    return Yardstick(told, f"“{usual}”", right, whose)


def _yardstick(content: ReportContent, head: Head) -> dict[str, str] | None:
    found = yardstick_of(content, head)
    if found is None:
        return None
    told, guess, guessed, whose = found
    if isinstance(head, Regression):
        digits = content.digits(head, 2)
        return {
            "name": in_unit(f"Mean absolute {head.title} error", head),
            "value": number(told.value, digits),
            "more": f"{interval_ends(told, digits)} Guessing {guess} for all, the median of {whose} photos: "
            f"{number(guessed, digits)}",
        }
    return {
        "name": f"{capitalised(head.title)} accuracy",
        "value": number(told.value, 1, is_percent=True),
        "more": f"{interval_ends(told, 1, is_percent=True)} Always saying {guess}, the most frequent label of "
        f"{whose} photos: {number(guessed, 1, is_percent=True)}",
    }


def verdict_words(content: ReportContent) -> str:
    """Return in two sentences how well the heads do, beside a guess that looks at no photo, and for whom clearly worse.

    Only gaps that the audit claims are called clear.
    """
    said = [words for head in content.heads[:3] if (words := _how_well(content, head))]
    if not said:
        return ""
    worse = [one for one in content.assessment.findings if one.is_gap and _is_worse(one)]
    groups = list(dict.fromkeys(group_words(one.columns, one.values) for one in worse if one.values))[:3]
    groups = [f"{words[:1].lower()}{words[1:]}" for words in groups]
    clear = (
        f"It is clearly worse, or leans clearly to one side, for {listing(groups)}."
        if groups
        else ("No group could be told apart from the rest by more than chance.")
    )
    return f"{capitalised('; '.join(said))}. {clear}"


def _how_well(content: ReportContent, head: Head) -> str:
    found = yardstick_of(content, head)
    if found is None:
        return ""
    if isinstance(head, Regression):
        digits = content.digits(head)
        told, unit = interval(found.told, digits), f" {head.unit}" if head.unit else ""
        return (
            f"its {head.title} is off by {told}{unit} on average, where guessing {found.guess} for all is off by "
            f"{number(found.guessed, digits)}"
        )
    told, guessed = interval(found.told, 1, is_percent=True), number(found.guessed, 1, is_percent=True)
    return f"its {head.title} label is the annotated one for {told}, where always saying {found.guess} gets {guessed}"


def _overviews(content: ReportContent, head: Head) -> Iterator[Markup]:
    """Yield the pictures of one head: its main metric, and the direction of its errors."""
    if isinstance(head, Regression):
        unit = f"{head.unit}; " if head.unit else ""
        more, less = too(head)
        kinds = [
            (0, f"{capitalised(head.title)}: larger errors?", f"gap in MAE to the rest, {unit}right: worse", 1.0),
            (
                1,
                f"{capitalised(head.title)}: too {more} or too {less}?",
                f"gap in mean error, {unit}right: too {more}",
                1.0,
            ),
        ]
    else:
        name = f"{capitalised(head.title)}: right less often?"
        kinds = [(0, name, "gap in accuracy to the rest, points; left: worse", 100.0)]
    for position, title, x_label, scale in kinds:
        metric = head.metrics[position].name
        places = sorted(_places(content, metric), key=lambda place: _order(place, is_rate=scale != 1.0))
        if len(places) > 1:
            yield _picture(places, title, x_label, scale)


def _places(content: ReportContent, metric: str) -> Iterator[_Place]:
    told = {(one.columns, one.values) for one in content.assessment.findings if one.is_gap and one.metric == metric}
    for columns in content.comparisons.single:
        result = content.comparisons.get(columns, metric)
        for group in result.groups if result and len(result.groups) > 1 else ():
            gap = content.assessment.tested_gap(metric, columns, group)
            yield _Place(columns, group, gap, (columns, group.values) in told)


def _order(place: _Place, *, is_rate: bool) -> tuple[bool, float]:
    value = place.gap.value if np.isfinite(place.gap.value) else 0.0
    return not place.group.is_ranked, value if is_rate else -value


def _picture(places: Sequence[_Place], title: str, x_label: str, scale: float) -> Markup:
    chosen = {id(place) for place in sorted(places, key=_matters)[:MOST_ROWS]}
    shown = [place for place in places if id(place) in chosen]
    names = [f"{row_name(place.columns, place.group)} ({count(place.group.n)})" for place in shown]
    gaps = [place.gap.scaled(scale) for place in shown]
    claimed = [name for name, place in zip(names, shown, strict=True) if place.is_claimed]
    told = [f"{name}: {interval(gap, 1, signed=True)}" for name, gap in zip(names, gaps, strict=True)]
    drawing = charts.forest_chart(
        names,
        gaps,
        title=title,
        x_label=x_label,
        null_value=0.0,
        is_faint=[not place.group.is_ranked for place in shown],
        is_filled=[place.is_claimed for place in shown],
        description=f"{title} Clearly different: {'; '.join(claimed) or 'none'}. All, with corrected 95 % intervals: "
        + "; ".join(told),
    )
    left_out = len(places) - len(shown)
    words = f"{left_out} groups that are small or near their rest are in the tables only." if left_out else ""
    return charts.captioned(drawing, words)


def _matters(place: _Place) -> tuple[bool, bool, float]:
    gap = abs(place.gap.value)
    return not place.is_claimed, not place.group.is_ranked, -(gap if np.isfinite(gap) else 0.0)
