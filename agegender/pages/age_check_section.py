"""The section of the bias page on checks of ages: who is let in or turned away wrongly, at which challenge age."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from markupsafe import Markup

from agegender.audit import grouping
from agegender.audit.age_checks import Checked, CheckResult, difference
from agegender.audit.assessment import ALL_ROWS
from agegender.audit.challenge_ages import ChosenAge, Curve, challenge_curves
from agegender.audit.groups import Group
from agegender.audit.words import FEW, about, capitalised, count, interval, listing, number, own_id, photos
from agegender.pages import galleries
from agegender.pages.charts import INK, SERIES, chart, svg
from agegender.pages.page_writing import ReportContent
from agegender.pages.tables import Column, Row, Table
from agegender.settings import SMALL_GROUP

_MOST_FACES = 12
_WORDS = {"more": "more often", "less": "less often", "": "cannot be told"}


def age_check_section(content: ReportContent, shelf: galleries.PhotoShelf) -> dict[str, Any] | None:
    """Return what the template names; None where no number in years was judged."""
    assessment = content.assessment
    if not assessment.age_checks:
        return None
    pairs = zip(assessment.age_checks, assessment.chosen_ages, strict=True)
    return {
        "rows": _rows_words(content),
        "checks": [_check(content, result, chosen, shelf) for result, chosen in pairs],
    }


def _check(
    content: ReportContent, result: CheckResult, chosen: ChosenAge | None, shelf: galleries.PhotoShelf
) -> dict[str, Any]:
    check = result.check
    where = about(result.head, content.regressions, ", ")
    asked = (
        f"“{check.name}”: a room for people of {check.first} to {check.last}"
        if check.is_range
        else f"“{check.name}”: let through who is judged {check.last} or older, where the law says {check.first}"
    )
    shown = [one for one in result.measures if _is_shown(content, one.everybody)]
    curves = [one for one in challenge_curves(result) if all(_shows(content, n) for n in one.counts)]
    return {
        "title": f"{asked}{where}",
        "sentences": [
            words if one in shown else f"Under {FEW} photos are labelled {one.measure.ages}: no figures here."
            for one, words in zip(result.measures, result.sentences, strict=True)
        ],
        "differences": [words for one in shown if (words := _difference_words(one))],
        "comparisons": count(result.comparisons),
        "table": _table(content, result),
        "drawings": [_curve_chart(result, curve) for curve in curves],
        "curves": _curve_table(content, result, curves) if curves else None,
        "chosen": None if chosen is None else _chosen(content, result, chosen),
        "faces": _faces(content, result, shelf),
    }


def _faces(content: ReportContent, result: CheckResult, shelf: galleries.PhotoShelf) -> dict[str, Any] | None:
    """Return the faces of those whom the check is there to stop, the largest errors first."""
    measure = result.measures[0].measure
    wrong = result.source.outcome(measure) == 1.0
    if content.photos_root is None or shelf.shows_nobody or not wrong.any():
        return None
    shown = galleries.few_faces(result.source.rows[wrong], result.head, shelf, each=_MOST_FACES)
    more = f"the {len(shown)} largest errors of {photos(int(wrong.sum()))}" if wrong.sum() > len(shown) else ""
    return {"title": f"Labelled {measure.ages} and {measure.title}", "note": more, "photos": shown}


def _rows_words(content: ReportContent) -> str:
    """Say from which rows the figures are."""
    assessment = content.assessment
    judged, split = photos(len(assessment.judged)), assessment.judged_split
    folds = (content.card or {}).get("folds")
    if folds:
        return f"Figures are of {judged}, each judged by the one of {folds} networks that never saw it."
    trained = 0 if assessment.training is None else len(assessment.training)
    if split == ALL_ROWS:
        seen = "whether the model was trained on some, it doesn't say."
        if trained:
            seen = f"{count(trained)} of them are of the split “train”, so the figures flatter."
        return f"Figures are of all {judged} of the table; {seen}"
    seen = " The model was trained on these, so the figures flatter." if split == "train" else ""
    return f"Figures are of the {judged} of the split “{split}”.{seen}"


def _difference_words(found: Checked) -> str:
    """Return which groups differ from all others, or that none can be told to."""
    ranked = [group for result in found.by_columns.values() for group in result.groups if group.is_ranked]
    told = {side: [group for group in ranked if difference(group) == side] for side in ("more", "less")}
    who = f"labelled {found.measure.ages}"
    if not ranked:
        return f"{capitalised(who)}: no group holds 30 photos, so nothing can be said about differences."
    if not any(told.values()):
        groups = f"{len(ranked)} group{'s' * (len(ranked) != 1)}"
        return f"{capitalised(who)}: of {groups} of 30 photos or more none can be told from the others."
    parts = [
        f"{side} often than the others {listing(_rate_words(one) for one in groups)}"
        for side, groups in told.items()
        if groups
    ]
    return f"{capitalised(who)}, {found.measure.title} {'; '.join(parts)}. At equal ages as well."


def _rate_words(group: Group) -> str:
    return f"{group.name} ({number(group.estimate.value, 1, is_percent=True)} of {photos(group.n)})"


def _table(content: ReportContent, result: CheckResult) -> Table:
    columns = [Column("group", "Group")]
    for one in result.measures:
        measure = one.measure
        columns += [
            Column(f"{measure.key}_n", f"Labelled {measure.ages}", 0),
            Column(measure.key, capitalised(measure.title), 1, is_percent=True),
            Column(f"{measure.key}_differs", "Than others"),
        ]
    columns.append(Column("grouping", "Grouping"))
    rows = [_row(content, result, key, values) for key, values in _groups(result)]
    name = own_id(f"age-check-{result.check.name.replace(':', '-to-')}", result.head, content.regressions)
    return Table(name, f"Check {result.check.name} by group", columns, rows, can_filter=True)


def _groups(result: CheckResult) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    yield (), ()
    for columns in result.source.groupings:
        for values in result.source.groupings[columns].values:
            yield columns, values


def _row(content: ReportContent, result: CheckResult, columns: tuple[str, ...], values: tuple[str, ...]) -> Row:
    cells: dict[str, Any] = {"group": " × ".join(values) or "everybody", "grouping": grouping.title(columns) or "all"}
    for one in result.measures:
        group, key = one.group(columns, values), one.measure.key
        if group is None:
            continue
        if not _is_shown(content, group):
            cells[f"{key}_n"] = f"<{FEW}"
            continue
        cells[f"{key}_n"] = group.n
        cells[key] = group.estimate
        if columns:
            cells[f"{key}_differs"] = _WORDS[difference(group)] if group.is_ranked else "too few to tell"
    first = result.measures[0].group(columns, values)  # of what the check is there to prevent
    return Row(cells, is_small=first is not None and first.n < SMALL_GROUP)


def _is_shown(content: ReportContent, group: Group) -> bool:
    return not (content.hide_faces and 0 < group.n < FEW)


def _curve_chart(result: CheckResult, curve: Curve) -> Markup:
    """Draw both rates of a group over the challenge age, each with its band."""
    near, _, past = result.check.measures
    lines = (
        (near, curve.let_through, SERIES[1], "-", f"{near.ages}: let through"),
        (past, curve.asked, SERIES[0], (0, (5, 2)), f"{past.ages}: asked for an ID"),
    )
    name = " × ".join(curve.values) or "Everybody"
    with chart(2.7) as figure:
        axes = figure.add_subplot(
            title=f"{name} ({count(curve.counts[0])})", xlabel="challenge age, years", ylabel="% of them"
        )
        for _, rates, color, style, label in lines:
            axes.fill_between(
                curve.ages, [100 * one.low for one in rates], [100 * one.high for one in rates],
                color=color, alpha=0.18, linewidth=0,
            )  # fmt: skip
            axes.plot(curve.ages, [100 * one.value for one in rates], color=color, linestyle=style, label=label)
        axes.axvline(result.check.last, color=INK, linewidth=1, linestyle=(0, (1, 2)))
        axes.set(ylim=(0, 100), xlim=(curve.ages[0], curve.ages[-1]))
        figure.legend(loc="outside lower center", ncols=1)
        return svg(figure, _curve_words(name, curve, result))


def _curve_table(content: ReportContent, result: CheckResult, curves: Sequence[Curve]) -> Table:
    """Return what is drawn, for the downloads."""
    near, _, past = result.check.measures
    columns = (
        Column("group", "Group"),
        Column("challenge_age", "Challenge age", 0),
        Column("let_through_n", f"Labelled {near.ages}", 0),
        Column("let_through", "Let through", 1, is_percent=True),
        Column("asked_n", f"Labelled {past.ages}", 0),
        Column("asked", "Asked for an ID", 1, is_percent=True),
    )
    rows = [
        Row(dict(zip((column.key for column in columns), (name, age, near_n, through, past_n, asked), strict=True)))
        for curve in curves
        for name, (near_n, past_n) in [(" × ".join(curve.values) or "everybody", curve.counts)]
        for age, through, asked in zip(curve.ages, curve.let_through, curve.asked, strict=True)
    ]
    name = own_id(f"challenge-ages-{result.check.first}", result.head, content.regressions)
    return Table(name, "Rates by challenge age", columns, rows)


def _curve_words(name: str, curve: Curve, result: CheckResult) -> str:
    near, _, past = result.check.measures
    shown = [
        place for place, age in enumerate(curve.ages) if (age - curve.ages[0]) % 5 == 0 or age == result.check.last
    ]
    parts = [
        f"at {curve.ages[place]} {number(curve.let_through[place].value, 0, is_percent=True)} and "
        f"{number(curve.asked[place].value, 0, is_percent=True)}"
        for place in shown
    ]
    return (
        f"{name}: share let through of {curve.counts[0]} photos labelled {near.ages}, and asked for an ID of "
        f"{curve.counts[1]} labelled {past.ages}, by challenge age: {', '.join(parts)}"
    )


def _chosen(content: ReportContent, result: CheckResult, chosen: ChosenAge) -> dict[str, Any]:
    """Return the challenge age that keeps the wanted rate, in words and as a table."""
    near, _, past = result.check.measures
    wanted = number(chosen.wanted, 0 if round(100 * chosen.wanted, 6) % 1 == 0 else 1, is_percent=True)
    if chosen.age is None:
        none = (
            f"No challenge age up to {chosen.oldest} lets through at most {wanted} of the people labelled {near.ages} "
            f"in every group of one half of the photos."
        )
        return {"sentences": [none], "table": None}
    everybody = chosen.groups[0]
    broken = [one for one in chosen.groups if one.verdict == "not kept"]
    unsure = sum(one.verdict == "cannot be told" for one in chosen.groups)
    said = [
        f"By one half of the photos ({count(everybody.first_n)} labelled {near.ages}) {chosen.age} is the lowest "
        f"challenge age that lets through at most {wanted} of them, and of each group of which that half has "
        f"{count(math.ceil(1 / chosen.wanted))} or more.",
        f"On the other half ({count(everybody.second_n)} photos), by which it was not chosen, it lets through "
        f"{interval(everybody.second, is_percent=True)}"
        + (f", and asks {interval(chosen.asked, is_percent=True)} of those labelled {past.ages} for an ID." if
           chosen.asked_n else "."),
        _kept_words(chosen, broken, unsure, wanted),
    ]  # fmt: skip
    return {"sentences": said, "table": _chosen_table(content, result, chosen)}


def _kept_words(chosen: ChosenAge, broken: Sequence[Any], unsure: int, wanted: str) -> str:
    total = len(chosen.groups)
    if broken:
        names = listing(" × ".join(one.values) or "everybody" for one in broken)
        return f"There it does not keep {wanted} for {names}."
    if unsure == total:
        which = "everybody" + (f" nor for any of these {total - 1} groups" if total > 1 else "")
        return f"Whether it keeps {wanted} there cannot be told for {which}: intervals reach beyond it."
    if unsure:
        told = f"There it keeps {wanted} for {total - unsure} of {total} (everybody is one)"
        return f"{told}; for the others it cannot be told."
    return f"There it keeps {wanted} for everybody and each such group."


def _chosen_table(content: ReportContent, result: CheckResult, chosen: ChosenAge) -> Table:
    ages = result.check.measures[0].ages
    columns = (
        Column("group", "Group"),
        Column("first_n", "Photos, first half", 0),
        Column(
            "first_rate", "Let through there", 1, "the age was chosen by this half, so it flatters", is_percent=True
        ),
        Column("n", "Photos, other half", 0),
        Column("rate", "Let through there", 1, is_percent=True),
        Column("verdict", "Keeps the wanted rate"),
    )
    rows = [
        Row(
            {
                "group": " × ".join(one.values) or "everybody",
                "first_n": one.first_n if _shows(content, one.first_n) else f"<{FEW}",
                "first_rate": one.first if _shows(content, one.first_n) else None,
                "n": one.second_n if _shows(content, one.second_n) else f"<{FEW}",
                "rate": one.second if _shows(content, one.second_n) else None,
                "verdict": one.verdict if _shows(content, one.second_n) else "cannot be told",
            },
            one.second_n < SMALL_GROUP,
        )
        for one in chosen.groups
    ]
    name = own_id(f"chosen-age-{result.check.name.replace(':', '-to-')}", result.head, content.regressions)
    return Table(name, f"A challenge age of {chosen.age}, labelled {ages}", columns, rows)


def _shows(content: ReportContent, n: int) -> bool:
    return not (content.hide_faces and 0 < n < FEW)
