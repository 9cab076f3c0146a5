"""The charts of the bias page: which comparison becomes which drawing. The kind of a head decides, never its name."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from agegender.audit import grouping
from agegender.audit.estimates import Estimate
from agegender.audit.groups import Group, GroupResult
from agegender.audit.reliability import reliability_bins
from agegender.audit.words import about, count, in_unit, number, too
from agegender.heads import Classification, Head, Regression
from agegender.heads.classification import as_names
from agegender.pages import charts
from agegender.pages.bias_tables import ranked, training_shares
from agegender.pages.page_writing import ReportContent

MOST_GROUPS = 24  # a chart with more lines than that is a table
MOST_POINTS = 20_000
_MOST_CLOUDS = 4  # groups of one column with a cloud, the largest
_FEWEST_IN_BIN = 10  # a share of fewer photos would be drawn as if it were one
_PANELS = (("gender",), ("ethnicity",))  # groupings whose groups get a cloud of their own


def forests(content: ReportContent, columns: tuple[str, ...]) -> list[Markup]:
    """Return the forest plots of one grouping, head by head; none for three columns."""
    if len(columns) > 2:
        return []
    drawings = []
    for head in content.heads:
        for metric, part, name, x_label in _forest_kinds(head, about(head, content.heads)):
            result = content.comparisons.get(columns, f"{head.name}.{metric}")
            if result is not None and len(result.groups) > 1:
                ends = _shared_ends(content, result.metric, part) if len(columns) == 1 else None
                drawings.append(_forest(result, part, name, x_label, ends))
    return drawings


def representation(content: ReportContent) -> list[Markup]:
    """Return error against share of the training photos, one drawing per regression and grouping."""
    drawings = []
    for head in content.regressions:
        for columns in content.comparisons.single:
            result = content.comparisons.get(columns, head.metrics[0].name)
            groups, shares = ranked(result)[:MOST_GROUPS], training_shares(content, columns)
            if len(groups) < 2 or not shares:
                continue
            drawing = charts.representation_chart(
                [group.name for group in groups],
                [shares.get(group.values, 0.0) for group in groups],
                [group.estimate for group in groups],
                title=f"By {grouping.title(columns)}{about(head, content.heads, ': ')}",
                y_label=in_unit("MAE", head),
                description=f"Error of each group by {grouping.title(columns)} against its share of training; "
                "see the tables.",
            )
            drawings.append(drawing)
    return drawings


def clouds(content: ReportContent, head: Regression) -> list[Markup]:
    """Return predicted against labelled values, for all judged rows and for the groups of a few columns."""
    rows = content.assessment.judged.dropna(subset=[head.column, head.predicted])
    ends = _axis_ends(head, rows)
    parts: list[tuple[str, pd.DataFrame, tuple[str, str] | None]] = [(f"Everybody ({count(len(rows))})", rows, None)]
    left_out = 0
    for columns in _PANELS:
        every = sorted(ranked(content.comparisons.get(columns, head.metrics[0].name)), key=lambda group: -group.n)
        groups = every[:_MOST_CLOUDS]
        left_out += len(every) - len(groups)
        parts += [
            (f"{group.name} ({count(group.n)})", rows[rows[columns[0]] == group.name], (columns[0], group.name))
            for group in groups
        ]
    drawings = [_cloud(head, name, part, ends, only) for name, part, only in parts if len(part)]
    if left_out:
        words = f"{left_out} smaller group{'s have' if left_out != 1 else ' has'} no cloud of points."
        drawings[-1] = charts.captioned(drawings[-1], words)
    return drawings


def error_distributions(content: ReportContent, head: Regression) -> list[Markup]:
    """Return the distribution of signed errors: a histogram of everybody, then quantiles of each group."""
    judged = content.assessment.judged
    errors = judged[head.error_column].dropna().to_numpy(float)
    x_label, digits = in_unit(f"predicted minus labelled {head.title}", head), content.digits(head)
    told = f"Errors of {count(len(errors))} photos; median {number(np.median(errors), digits, signed=True)} {head.unit}"
    step = 2.0 if head.has_bands else _round_up(float(np.quantile(np.abs(errors), 0.99)) / 15)
    drawings = [
        charts.histogram_chart(errors, step=step, title="Everybody", x_label=x_label, description=told.rstrip())
    ]
    for columns in content.comparisons.single:
        result = content.comparisons.get(columns, head.metrics[0].name)
        groups = [group for group in _largest(result) if group.is_ranked] if result else []
        if not groups:
            continue
        labels = judged[columns[0]].astype(object)
        samples = [judged[head.error_column][labels == group.name].dropna().to_numpy(float) for group in groups]
        medians = [
            f"{group.name}: {np.median(values):+.{digits}f}" for group, values in zip(groups, samples, strict=True)
        ]
        drawing = charts.quantile_chart(
            [f"{group.name} ({count(group.n)})" for group in groups],
            samples,
            title=f"By {grouping.title(columns)}",
            x_label=x_label,
            description=f"Errors by {grouping.title(columns)}; {in_unit('medians', head).replace(',', ' in')}: "
            + "; ".join(medians),
        )
        drawings.append(drawing)
    return drawings


def coverages(content: ReportContent, head: Regression) -> list[Markup]:
    """Return how often the intervals of a head hold, by group, against the promised 90 %."""
    drawings = []
    for columns in content.comparisons.single:
        result = content.comparisons.get(columns, f"{head.name}.interval_coverage")
        if result is None or len(result.groups) < 2:
            continue
        groups = _largest(result)
        drawing = charts.forest_chart(
            [f"{group.name} ({count(group.n)})" for group in groups],
            [group.estimate.scaled(100) for group in groups],
            title=f"Coverage by {grouping.title(columns)}",
            x_label="% inside their interval; dashes: 90",
            null_value=90.0,
            is_faint=[not group.is_ranked for group in groups],
            description=f"Coverage of the 90 % {head.title} interval by {grouping.title(columns)}; "
            "figures in the table below.",
        )
        drawings.append(drawing)
    return drawings


def reliabilities(content: ReportContent, head: Classification) -> list[Markup]:
    """Return reliability curves of a head's probabilities: everybody, then the largest groups by ethnicity."""
    chance = head.probabilities(content.assessment.judged)
    if chance is None:
        return []
    rows, clusters = content.assessment.judged, content.assessment.clusters
    known = rows[head.column].notna().to_numpy() & np.isfinite(chance).all(axis=1)
    parts = [(f"Everybody ({count(int(known.sum()))})", known)]
    groups = sorted(ranked(content.comparisons.get(_PANELS[-1], head.metrics[0].name)), key=lambda group: -group.n)[:5]
    parts += [
        (f"{group.name} ({count(group.n)})", known & (rows[_PANELS[-1][0]] == group.name).to_numpy(dtype=bool))
        for group in groups
    ]
    return [
        _reliability(head, name, rows[part], None if clusters is None else clusters[part])
        for name, part in parts
        if part.any()
    ]


def _forest_kinds(head: Head, where: str) -> list[tuple[str, str, str, str]]:
    """Return metric, estimate, title and axis of each forest plot of a head."""
    if isinstance(head, Regression):
        unit = f"{head.unit}; " if head.unit else ""
        over = f"{unit}right of the line: judged too {too(head)[0]}"
        return [
            (
                "mean_absolute_error",
                "gap_to_rest",
                f"Gap in MAE to the other groups{where}",
                f"{unit}right of the line: worse",
            ),
            ("mean_signed_error", "estimate", f"Mean error{where}", over),
        ]
    return [("accuracy", "gap_to_rest", f"Gap in {head.title} accuracy", "percentage points; left of the line: worse")]


def _shared_ends(content: ReportContent, metric: str, part: str) -> tuple[float, float]:
    """Return the ends of the axis that the charts of all single groupings share."""
    results = [content.comparisons.get(columns, metric) for columns in content.comparisons.single]
    shown = [result for result in results if result is not None and len(result.groups) > 1]
    scale = 100 if shown[0].unit == "share" else 1
    every = [getattr(group, part).scaled(scale) for result in shown for group in result.ranked]
    return charts.axis_ends(every, 0.0)


def _sorted(result: GroupResult, part: str) -> list[Group]:
    """Return the largest groups, the worst first and small ones last; bands of age keep their order."""
    groups = _largest(result)
    if set(result.columns) <= set(grouping.AGE_COLUMNS):
        return groups
    sign = 1.0 if result.better == "higher" else -1.0
    return sorted(groups, key=lambda group: (not group.is_ranked, sign * np.nan_to_num(getattr(group, part).value)))


def _forest(result: GroupResult, part: str, name: str, x_label: str, ends: tuple[float, float] | None) -> Markup:
    groups = _sorted(result, part)
    scale = 100 if result.unit == "share" else 1
    values: list[Estimate] = [getattr(group, part).scaled(scale) for group in groups]
    left_out = len(result.groups) - len(groups)
    told = [f"{group.name}: {number(value.value, 1, signed=True)}" for group, value in zip(groups, values, strict=True)]
    drawing = charts.forest_chart(
        [f"{group.name} ({count(group.n)})" for group in groups],
        values,
        title=name,
        x_label=x_label,
        null_value=0.0,
        is_faint=[not group.is_ranked for group in groups],
        ends=ends,
        description=f"{name} by {grouping.title(result.columns)}. {'; '.join(told)}",
    )
    return charts.captioned(drawing, f"The {left_out} smallest groups are in the table only." if left_out else "")


def _axis_ends(head: Regression, rows: pd.DataFrame) -> tuple[float, float]:
    values = rows[[head.column, head.predicted]].to_numpy(float)
    if not len(rows):
        return 0.0, 100.0
    if head.has_bands:
        return 0.0, float(np.ceil(values.max() / 10) * 10)
    edge = 0.03 * max(float(np.ptp(values)), 1e-9)
    return float(values.min()) - edge, float(values.max()) + edge


def _cloud(
    head: Regression, name: str, rows: pd.DataFrame, ends: tuple[float, float], only: tuple[str, str] | None
) -> Markup:
    correlation = rows[head.column].corr(rows[head.predicted]) if len(rows) > 1 else np.nan
    shown = rows if len(rows) <= MOST_POINTS else rows.sample(MOST_POINTS, random_state=7)
    drawing = charts.cloud_chart(
        shown[head.column],
        shown[head.predicted],
        title=name,
        x_label=in_unit(f"labelled {head.title}", head),
        y_label=in_unit(f"predicted {head.title}", head),
        ends=ends,
        description=f"Predicted against labelled {head.title}, {name}. Correlation {number(correlation, 2)}",
    )
    # What the page's script needs to know whose point is pointed at.
    of_rows = Markup(' data-only="{}"').format(json.dumps(only)) if only else ""
    facts = Markup('<svg data-cloud="{}"{} ').format(head.name, of_rows)
    drawing = Markup(str(drawing).replace("<svg ", str(facts), 1))
    return charts.captioned(drawing, f"A sample of {count(MOST_POINTS)} photos." if len(shown) < len(rows) else "")


def _reliability(head: Classification, name: str, rows: pd.DataFrame, clusters: NDArray[np.int64] | None) -> Markup:
    chance = head.probabilities(rows)
    assert chance is not None
    if head.is_binary:
        second = head.classes[1]
        is_it, said = (as_names(rows[head.column]) == second).to_numpy(), chance[:, 1]
        x_label, y_label = f"predicted probability of “{second}”", f"share labelled “{second}”"
        what = f"the probability of {second}"
    else:
        is_it, said = head.is_right(rows), chance.max(axis=1)
        x_label, y_label, what = "probability of the predicted class", "share predicted right", "its confidence"
    bins = reliability_bins(is_it, said, clusters=clusters)
    drawn = bins["n"] >= _FEWEST_IN_BIN
    left_out, bins = int(((bins["n"] > 0) & ~drawn).sum()), bins[drawn]
    drawing = charts.reliability_chart(
        bins["mean_probability"],
        [Estimate(*ends) for ends in bins[["share", "share_low", "share_high"]].to_numpy()],
        title=name,
        x_label=x_label,
        y_label=y_label,
        description=f"Reliability of {what}, {name}",
    )
    words = f"{left_out} bin{'s' * (left_out != 1)} of fewer than {_FEWEST_IN_BIN} photos left out."
    return charts.captioned(drawing, words if left_out else "")


def _largest(result: GroupResult) -> list[Group]:
    """Return at most `MOST_GROUPS` groups, in the result's order."""
    kept = {id(group) for group in sorted(result.groups, key=lambda group: -group.n)[:MOST_GROUPS]}
    return [group for group in result.groups if id(group) in kept]


def _round_up(value: float) -> float:
    """Return the next 1, 2 or 5 times a power of ten."""
    if not value > 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9)))
