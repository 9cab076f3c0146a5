"""Where groups cross, as coloured tables: a figure in each cell, its interval and its photos; small cells are grey."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np

from agegender.audit import grouping
from agegender.audit.groups import Group, GroupResult
from agegender.audit.words import FEW, capitalised, count, identifier, in_unit, interval_ends, number, too
from agegender.heads import Regression, RowMetric
from agegender.pages.page_writing import ReportContent
from agegender.pages.tables import Column, Row, Table
from agegender.settings import SMALL_GROUP

_CROSSED = ("gender", "ethnicity", "age_band")  # rows before columns: bands of age lie along the top
_MOST_CELLS = 200


def heatmaps(content: ReportContent) -> list[dict[str, Any]]:
    """Return the coloured tables, the first two to be shown at once: how far which crossing is off, and by how much."""
    single = {columns[0] for columns in content.comparisons.single}
    known = [name for name in _CROSSED if name in single]
    # Ethnicity × age first, then ethnicity × gender: where the gaps of most models are.
    pairs = sorted(
        combinations(known, 2), key=lambda pair: (pair != ("ethnicity", "age_band"), pair[1] in grouping.AGE_COLUMNS)
    )
    found = [made for pair in pairs for made in _of_pair(content, pair)]
    return sorted(found, key=lambda one: one["rank"])


def _of_pair(content: ReportContent, pair: tuple[str, str]) -> Iterator[dict[str, Any]]:
    columns = pair[::-1] if pair[::-1] in content.comparisons.by_columns else pair
    for place, head in enumerate(content.heads[:3]):
        for position, metric in enumerate(head.metrics[:2] if isinstance(head, Regression) else head.metrics[:1]):
            if metric.name not in content.assessment.metrics:
                continue
            result = content.assessment.compare(metric.name, columns)
            if 0 < len(result.groups) <= _MOST_CELLS:
                # The direction of errors first, then their size.
                rank = (place, 1 - position if isinstance(head, Regression) else 0)
                yield {"rank": rank, **_heatmap(content, result, metric, place)}


def _heatmap(content: ReportContent, result: GroupResult, metric: RowMetric, place: int) -> dict[str, Any]:
    head = content.heads[place]
    names = [[values[0] for values in content.assessment.groupings[(column,)].values] for column in result.columns]
    groups = {group.values: group for group in result.groups}
    digits = content.digits(head) if isinstance(head, Regression) else 1
    what = capitalised(in_unit(metric.title, head) if isinstance(head, Regression) else metric.title)
    sizes = [abs(_shade(group, metric)) for group in result.groups if group.is_ranked]
    largest = max([size for size in sizes if np.isfinite(size)], default=0.0) or 1.0
    return {
        "caption": f"{what}, by {grouping.title(result.columns)}",
        "note": _note(head, metric),
        "corner": f"{grouping.title(result.columns[:1])} ↓ {grouping.title(result.columns[1:])} →",
        "columns": names[1],
        "rows": [
            {
                "name": row,
                "cells": [_cell(content, groups.get((row, column)), metric, digits, largest) for column in names[1]],
            }
            for row in names[0]
        ],
        "table": _downloads(content, result, metric, digits),
    }


def _note(head: Any, metric: RowMetric) -> str:
    few = f"Grey: under {SMALL_GROUP} photos. Brackets: 95 % interval of each cell by itself."
    if metric.better == "zero":
        more, less = too(head)
        return f"+ and the warm colour: judged too {more}; − and the cool one: too {less}. {few}"
    return f"Darker: {'larger errors' if metric.better == 'lower' else 'more often wrong'}. {few}"


def _shade(group: Group, metric: RowMetric) -> float:
    """Return what a cell is coloured by: the error, its sign kept, or the share that is wrong."""
    return 1.0 - group.estimate.value if metric.better == "higher" else group.estimate.value


def _cell(
    content: ReportContent, group: Group | None, metric: RowMetric, digits: int, largest: float
) -> dict[str, Any]:
    if group is None or not group.n:
        return {"text": "", "ends": "", "count": "0", "share": 0, "side": "", "is_few": True}
    if content.hide_faces and group.n < FEW:
        return {"text": "…", "ends": "", "count": f"<{FEW}", "share": 0, "side": "", "is_few": True}
    is_signed, shade = metric.better == "zero", _shade(group, metric)
    how: dict[str, Any] = {"signed": is_signed, "is_percent": metric.is_rate}
    return {
        "text": number(group.estimate.value, digits, **how),
        "ends": interval_ends(group.estimate, digits, **how),
        "count": count(group.n),
        "share": round(min(abs(shade) / largest, 1.0), 3) if group.is_ranked and np.isfinite(shade) else 0,
        "side": "over" if is_signed and shade > 0 else "",
        "is_few": not group.is_ranked,
    }


def _downloads(content: ReportContent, result: GroupResult, metric: RowMetric, digits: int) -> Table:
    columns = [Column(name, grouping.title((name,))) for name in result.columns]
    columns += [Column("n", "Photos", 0), Column("value", metric.title, digits, is_percent=metric.is_rate)]
    rows = [
        Row({**dict(zip(result.columns, group.values, strict=True)), "n": group.n, "value": group.estimate})
        for group in result.groups
        if not (content.hide_faces and group.n < FEW)
    ]
    return Table(
        f"heat-{identifier(result.columns)}-{metric.head}-{metric.short}".replace("_", "-"), metric.title, columns, rows
    )
