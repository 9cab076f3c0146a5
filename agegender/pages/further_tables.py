"""Tables that an auditor looks up: who is among the largest errors, error by quality of the photo, every score."""

from __future__ import annotations

from typing import Any

import numpy as np

from agegender.audit import grouping
from agegender.audit.estimates import Estimate
from agegender.audit.sentences import equal_words
from agegender.audit.words import FEW, about, number, own_id, photos
from agegender.audit.worst_errors import WorstErrors, WorstShare, worst_errors
from agegender.heads import Regression
from agegender.pages.page_writing import ReportContent
from agegender.pages.quality_tables import quality_tables
from agegender.pages.score_tables import score_tables
from agegender.pages.tables import Column, Row, Table
from agegender.settings import SMALL_GROUP


def further_section(content: ReportContent) -> dict[str, Any]:
    """Return what the template names: lists of tables with words, each folded on the page."""
    return {
        "worst": [part for head in content.regressions if (part := _worst(content, head))],
        "quality": quality_tables(content),
        "scores": [table for head in content.heads for table in score_tables(content, head)],
    }


def _worst(content: ReportContent, head: Regression) -> dict[str, Any] | None:
    assessment = content.assessment
    errors = np.abs(head.errors(assessment.judged))
    found = worst_errors(errors, assessment.groupings, clusters=assessment.clusters)
    if found is None:
        return None
    columns = (
        Column("group", "Group"),
        Column("n", "Photos", 0),
        Column("share", "Share of all", 1, is_percent=True),
        Column("worst_n", f"Among the worst {found.count}", 0),
        Column("expected", "By chance", 0, hint="in brackets: what 95 of 100 random draws hold"),
        Column("differs", "Than by chance", hint="corrected for all groups of this table"),
        Column("grouping", "Grouping"),
    )
    rows = [
        Row(
            {
                "group": " × ".join(one.values),
                "n": one.n,
                "share": one.n / found.total,
                "worst_n": one.worst_n,
                "expected": Estimate(one.expected, one.low, one.high),
                "differs": {"more": "more often", "less": "less often"}.get(one.differs, "cannot be told"),
                "grouping": grouping.title(one.columns),
            },
            one.n < SMALL_GROUP,
        )
        for one in sorted(found.groups, key=lambda one: (len(one.columns), one.columns, -one.worst_n))
        if _is_shown(content, one)
    ]
    name = own_id("worst-errors", head, content.regressions)
    caption = f"The {found.count} largest errors{about(head, content.regressions)} by group"
    return {"words": _worst_words(content, head, found), "table": Table(name, caption, columns, rows, can_filter=True)}


def _worst_words(content: ReportContent, head: Regression, found: WorstErrors) -> str:
    size = f"{number(found.smallest, content.digits(head))} {head.unit}".rstrip()
    singles = [one for one in found.groups if len(one.columns) == 1 and _is_shown(content, one)]
    more = [one for one in singles if one.differs == "more"]
    names = "; ".join(
        f"{' × '.join(one.values)} ({one.worst_n} of {found.count}, {number(one.expected, 0)} by chance)"
        for one in more
    )
    shown = f"More often among them than chance would put them, of single columns: {names}." if names else (
        "No group of a single column is among them more often than by chance."
    )  # fmt: skip
    once = "" if content.assessment.clusters is None else " (of one person's photos, and of twins, the worst alone)"
    equal = equal_words(content.assessment.adjust_for).strip()
    unequal = f", not {equal}" if equal else ""
    return (
        f"The {found.count} largest of {photos(found.total)}{once} err by {size} or more. {shown} Groups are taken as "
        f"they are{unequal}: this is exploratory, and no claim that a group is judged worse."
    )


def _is_shown(content: ReportContent, share: WorstShare) -> bool:
    return not content.hide_faces or min(share.n, share.worst_n) >= FEW
