"""Error by quality of the photo, and whether a group's gap is one between photos as well."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from agegender.audit import grouping
from agegender.audit.grouping import Grouping
from agegender.audit.groups import Group, compare_groups
from agegender.audit.quality_parts import gaps_at_equal_quality, quality_groupings, scores_held
from agegender.audit.sentences import equal_words
from agegender.audit.words import FEW, about, capitalised, in_unit, own_id
from agegender.heads import Head, Regression
from agegender.pages.page_writing import ReportContent
from agegender.pages.tables import Column, Row, Table, known_columns
from agegender.settings import SMALL_GROUP


def quality_tables(content: ReportContent) -> list[Table]:
    """Return errors by thirds of each score and of flagged photos, and gaps with the scores held equal.

    None without scores.
    """
    found = quality_groupings(content.assessment.judged)
    if not found:
        return []
    tables = [_quality_table(content, head, found) for head in content.heads]
    return [*tables, *(table for head in content.heads if (table := _equal_quality_table(content, head)))]


def _quality_table(content: ReportContent, head: Head, found: Mapping[str, tuple[Grouping, ...]]) -> Table:
    assessment, metric = content.assessment, head.metrics[0]
    scale, digits, title = _scale(content, head)
    columns = (
        Column("check", "Score"),
        Column("part", "Photos with"),
        Column("n", "Photos", 0),
        Column("value", title, digits, is_percent=metric.is_rate),
        Column("gap", f"Gap to the rest{', points' if metric.is_rate else ''}", digits, is_signed=True),
        Column("gap_same_age", f"Gap{equal_words(assessment.adjust_for) or ' at equal'}", digits, is_signed=True),
    )
    rows = []
    for check, parts in found.items():
        for groups in parts:
            result = compare_groups(
                metric, metric.values(assessment.judged), groups, assessment.held.support,
                clusters=assessment.clusters, resample_count=500,
            )  # fmt: skip
            rows += [_quality_row(check, group, scale) for group in result.groups if _is_shown(content, group.n)]
    name = own_id(f"quality-{metric.short}", head, content.heads)
    note = "A low score is suspicious. Thirds are made within these photos. Intervals are each by itself."
    caption = f"{capitalised(metric.title)} by quality of the photo{about(head, content.heads)}"
    return Table(name, caption, known_columns(columns, rows), rows, note, can_filter=True)


def _quality_row(check: str, group: Group, scale: float) -> Row:
    values = {
        "check": check.replace("_", " "),
        "part": group.name,
        "n": group.n,
        "value": group.estimate,
        "gap": group.gap_to_rest.scaled(scale),
        "gap_same_age": group.adjusted_gap.scaled(scale),
    }
    return Row(values, group.n < SMALL_GROUP)


def _equal_quality_table(content: ReportContent, head: Head) -> Table | None:
    """Return gaps between groups with and without the scores held equal, or None where there are no groups."""
    assessment, metric = content.assessment, head.metrics[0]
    scale, digits, _ = _scale(content, head)
    equal = equal_words(assessment.adjust_for) or " as it is"
    unit = ", points" if metric.is_rate else f", {head.unit}" if isinstance(head, Regression) and head.unit else ""
    what = f"{head.title} accuracy" if metric.is_rate else f"{head.title} MAE"
    columns = (
        Column("group", "Group"),
        Column("n", "Photos", 0),
        Column("gap", f"Gap{equal}{unit}", digits, is_signed=True),
        Column("gap_same_quality", f"And at equal quality{unit}", digits, is_signed=True),
        Column("grouping", "Grouping"),
    )
    rows = []
    for single, groups in assessment.groupings.items():
        if len(single) > 1 or assessment.held.tells(groups.codes) or single == (head.column,):
            continue
        before, after = gaps_at_equal_quality(
            assessment.judged, metric.values(assessment.judged), groups, assessment.adjust_for,
            is_rate=metric.is_rate, clusters=assessment.clusters,
        )  # fmt: skip
        counts = groups.of_rows(np.isfinite(metric.values(assessment.judged))).counts
        rows += [
            Row(
                {
                    "group": values[0],
                    "n": int(counts[place]),
                    "gap": before.intervals().of(place).scaled(scale),
                    "gap_same_quality": after.intervals().of(place).scaled(scale),
                    "grouping": grouping.title(single),
                },
                int(counts[place]) < SMALL_GROUP,
            )
            for place, values in enumerate(groups.values)
            if _is_shown(content, int(counts[place]))
        ]
    checks = ", ".join(check.replace("_", " ") for check in scores_held(assessment.judged))
    note = (
        f"Where the gap shrinks, the groups' photos differ in quality. Held equal: {checks}. A score is no cause: dark "
        f"skin makes a photo darker, and old photos are soft. Intervals are each by itself; exploratory."
    )
    name = own_id(f"equal-quality-{metric.short}", head, content.heads)
    caption = f"Is a group's gap in {what} also one of quality?"
    return Table(name, caption, columns, rows, note) if rows and checks else None


def _scale(content: ReportContent, head: Head) -> tuple[float, int, str]:
    if isinstance(head, Regression):
        return 1.0, content.digits(head), in_unit("MAE", head)
    return 100.0, 1, f"{head.title} accuracy"


def _is_shown(content: ReportContent, n: int) -> bool:
    return not (content.hide_faces and 0 < n < FEW)
