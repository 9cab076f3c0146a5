"""Errors along the label on the bias page: a curve with its band, for everybody and for each group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from agegender.audit import grouping
from agegender.audit.error_curves import ErrorCurve, error_curve
from agegender.audit.estimates import Estimates
from agegender.audit.words import capitalised, count, in_unit, number, own_id, too
from agegender.heads import Regression
from agegender.pages import charts
from agegender.pages.page_writing import ReportContent
from agegender.pages.tables import Column, Row, Table

MOST_PANELS = 6  # groups of one grouping, the largest
MOST_IN_ALL = 8  # groups with charts of their own, of the first head of numbers
_TABLE_STEPS = 5  # every fifth point is in the table
_POINTS = 60  # about as many, of a label that is no age


def error_curves(content: ReportContent, head: Regression) -> dict[str, Any] | None:
    """Return the section of one head: two charts of everybody, small ones of each group, and their table."""
    rows = content.assessment.judged
    whole = _curve(content, head, np.ones(len(rows), dtype=bool))
    if whole is None:
        return None
    parts = list(_parts(content, head))
    of_groups = [one for _, _, found in parts for one in found]
    reach = f"±{whole.half_width:g} {head.unit}".rstrip()
    return {
        "anchor": own_id("along", head, content.regressions),
        "title": head.title,
        "drawings": _pair(content, head, "everybody", whole, None, _ends([whole])),
        "reach": reach,
        "worst": _worst(content, head, whole),
        "groupings": [
            {
                "name": name,
                "left_out": left_out,
                "drawings": [
                    drawing
                    for who, curve in found
                    for drawing in _pair(content, head, who, curve, whole, _ends([whole, *(one for _, one in found)]))
                ],
            }
            for name, left_out, found in parts
        ],
        "table": _table(content, head, [("everybody", whole), *of_groups]),
    }


def _curve(content: ReportContent, head: Regression, chosen: np.ndarray) -> ErrorCurve | None:
    rows, clusters = content.assessment.judged[chosen], content.assessment.clusters
    labels, errors = (rows[name].to_numpy(float) for name in (head.column, head.error_column))
    return error_curve(
        labels, errors, step=_step(content, head), clusters=None if clusters is None else clusters[chosen]
    )


def _step(content: ReportContent, head: Regression) -> float:
    """Return how far points are apart: a year, or a round part of the range of any other label."""
    if head.has_bands:
        return 1.0
    known = content.assessment.judged[head.column].dropna().to_numpy(float)
    low, high = np.quantile(known, [0.01, 0.99]) if known.size else (0.0, 1.0)
    rough = float(high - low) / _POINTS
    if not rough > 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(rough))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= rough * (1 - 1e-9)))


def _parts(content: ReportContent, head: Regression) -> Iterator[tuple[str, int, list[tuple[str, ErrorCurve]]]]:
    """Yield each grouping with how many of its groups have no room or no curve, and the curves of the others."""
    room = MOST_IN_ALL if head == content.regressions[0] else 0
    for columns in content.comparisons.single:
        result = content.comparisons.get(columns, head.metrics[0].name)
        if not room:
            return
        # Along the age a band of ages is a piece of the curve.
        if result is None or (head.has_bands and columns[0] in grouping.AGE_COLUMNS):
            continue
        codes = content.assessment.groupings[columns].codes
        numbers = {values: number for number, values in enumerate(content.assessment.groupings[columns].values)}
        found = []
        for group in sorted(result.ranked, key=lambda group: -group.n)[: min(MOST_PANELS, room)]:
            curve = _curve(content, head, codes == numbers[group.values])
            if curve is not None:
                found.append((f"{group.name} ({count(group.n)})", curve))
        if found:
            room -= len(found)
            yield grouping.title(columns), len(result.groups) - len(found), found


def _pair(
    content: ReportContent,
    head: Regression,
    who: str,
    curve: ErrorCurve,
    whole: ErrorCurve | None,
    ends: tuple[tuple[float, float], tuple[float, float]],
) -> list[Markup]:
    """Return the chart of the mean error and that of its size."""
    more, _ = too(head)
    kinds = (
        ("signed", "mean error", f"above 0: too {more}", ends[0]),
        ("absolute", "mean absolute error", "lower is better", ends[1]),
    )
    x_label = in_unit(f"labelled {head.title}", head)
    return [
        charts.curve_chart(
            curve.points,
            getattr(curve, kind),
            title=f"{capitalised(who)}: {name}",
            x_label=x_label,
            y_label=f"{in_unit(name, head)}",
            beside=None if whole is None else (whole.points, getattr(whole, kind).values),
            has_zero=kind == "signed",
            ends=(_span(curve, whole), y_ends),
            description=f"{name} along the {x_label}, {who}; {told}. "
            + _words(content, head, curve, getattr(curve, kind)),
        )
        for kind, name, told, y_ends in kinds
    ]


def _words(content: ReportContent, head: Regression, curve: ErrorCurve, values: Estimates) -> str:
    """Return the values at a few points, for those who cannot see the chart."""
    places = np.flatnonzero(curve.is_known)
    chosen = places[np.unique(np.linspace(0, len(places) - 1, 8).round().astype(int))]
    digits = content.digits(head)
    return "; ".join(
        f"at {curve.points[place]:g}: {number(values.values[place], digits, signed=values is curve.signed)} "
        f"({number(values.low[place], digits)} to {number(values.high[place], digits)})"
        for place in chosen
    )


def _span(curve: ErrorCurve, whole: ErrorCurve | None) -> tuple[float, float]:
    points = (whole or curve).points[(whole or curve).is_known]
    return float(points[0]), float(points[-1])


def _ends(curves: Sequence[ErrorCurve]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the ends of the two axes that all charts of a grouping share."""
    signed = np.concatenate([[0.0], *(part for one in curves for part in (one.signed.low, one.signed.high))])
    absolute = np.concatenate([one.absolute.high for one in curves])
    edge = 0.05 * float(np.nanmax(signed) - np.nanmin(signed) or 1.0)
    return (
        (float(np.nanmin(signed)) - edge, float(np.nanmax(signed)) + edge),
        (0.0, 1.05 * float(np.nanmax(absolute) or 1.0)),
    )


def _worst(content: ReportContent, head: Regression, curve: ErrorCurve) -> str:
    """Return where the curve is highest, in words."""
    place = int(np.nanargmax(curve.absolute.values))
    digits, values = content.digits(head), curve.absolute
    return (
        f"The mean absolute error is largest around {curve.points[place]:g}: {number(values.values[place], digits)} "
        f"({number(values.low[place], digits)} to {number(values.high[place], digits)}) {head.unit}".rstrip()
        + f", n = {count(curve.counts[place])}."
    )


def _table(content: ReportContent, head: Regression, curves: Sequence[tuple[str, ErrorCurve]]) -> Table:
    digits = content.digits(head)
    columns = (
        Column("group", "Group"),
        Column("label", in_unit(f"Labelled {head.title}", head), 0 if head.has_bands else digits),
        Column("n", "Photos", 0),
        Column("signed_error", in_unit("Mean error", head), digits, f"above 0: judged too {too(head)[0]}", True),
        Column("mae", in_unit("MAE", head), digits, "mean absolute error"),
    )
    rows = [
        Row(
            {
                "group": name,
                "label": float(curve.points[place]),
                "n": int(curve.counts[place]),
                "signed_error": curve.signed.of(place),
                "mae": curve.absolute.of(place),
            }
        )
        for name, curve in curves
        for place in map(int, np.flatnonzero(curve.is_known))
        if round(curve.points[place] / _step(content, head)) % _TABLE_STEPS == 0
    ]
    return Table(
        own_id("errors-along", head, content.regressions),
        f"Errors along the labelled {head.title}",
        columns,
        rows,
        "Every fifth point of the curves. Each is of the photos labelled so, or nearly so; each interval by itself.",
        can_filter=True,
    )
