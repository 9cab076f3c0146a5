"""Owns the charts of the bias page: which comparison becomes which drawing."""

from __future__ import annotations

import numpy as np
import pandas as pd
from markupsafe import Markup

from agegender.audit.calibration import reliability_bins
from agegender.audit.comparisons import Comparisons, as_interval, ranked, title
from agegender.audit.judged import Audit
from agegender.audit.results import Group, GroupResult
from agegender.pages import charts
from agegender.pages.bias_tables import training_shares
from agegender.pages.words import Interval, count, number, scaled

MOST_GROUPS = 24  # a chart with more lines than that is a table
MOST_POINTS = 20_000
_ERROR_LABEL = "predicted minus labelled age, years"


def forests(comparisons: Comparisons, columns: tuple[str, ...]) -> list[Markup]:
    """Return the forest plots of one grouping: gaps of MAE and gender accuracy, signed error; none for 3 columns."""
    if len(columns) > 2:
        return []
    wanted = (
        ("mae", "gap_to_rest", "Gap in MAE to the other groups", "years; right of the line: worse"),
        ("signed_error", "estimate", "Mean error", "years; right of the line: judged too old"),
        ("gender_accuracy", "gap_to_rest", "Gap in gender accuracy", "percentage points; left of the line: worse"),
    )
    drawings = []
    for metric, part, name, x_label in wanted:
        result = comparisons.get(columns, metric)
        if result is not None and len(result.groups) > 1:
            drawings.append(_forest(result, part, name, x_label))
    return drawings


def _forest(result: GroupResult, part: str, name: str, x_label: str) -> Markup:
    groups = _largest(result)
    scale = 100 if result.unit == "share" else 1
    values = [scaled(as_interval(getattr(group, part)), scale) for group in groups]
    left_out = len(result.groups) - len(groups)
    told = [
        f"{group.name}: {number(value.estimate, 1, signed=True)}" for group, value in zip(groups, values, strict=True)
    ]
    drawing = charts.forest_chart(
        [f"{group.name} ({count(group.n)})" for group in groups],
        values,
        title=name,
        x_label=x_label,
        null_value=0.0,
        is_faint=[not group.is_ranked for group in groups],
        description=f"{name} by {title(result.columns)}. {'; '.join(told)}",
    )
    return charts.captioned(drawing, f"The {left_out} smallest groups are in the table only." if left_out else "")


def representation(audit: Audit, comparisons: Comparisons) -> list[Markup]:
    """Return error against share of the training photos, one drawing per grouping."""
    drawings = []
    for columns in comparisons.single:
        result, shares = comparisons.get(columns, "mae"), training_shares(audit, columns)
        groups = ranked(result)[:MOST_GROUPS]
        if len(groups) < 2 or not shares:
            continue
        drawing = charts.representation_chart(
            [group.name for group in groups],
            [shares.get(group.values, 0.0) for group in groups],
            [as_interval(group.estimate) for group in groups],
            title=f"By {title(columns)}",
            description=f"Error of each group by {title(columns)} against its share of training; see the tables.",
        )
        drawings.append(drawing)
    return drawings


def clouds(audit: Audit, comparisons: Comparisons) -> list[Markup]:
    """Return predicted against labelled age, for all judged rows and for the groups by gender and ethnicity."""
    rows = audit.judged.dropna(subset=["age_years", "predicted_age_years"])
    limit = float(np.ceil(rows[["age_years", "predicted_age_years"]].max().max() / 10) * 10) if len(rows) else 100.0
    parts = [(f"Everybody ({count(len(rows))})", rows)]
    for columns in (("gender",), ("ethnicity",)):
        groups = ranked(comparisons.get(columns, "mae"))[:6]
        parts += [(f"{group.name} ({count(group.n)})", rows[rows[columns[0]] == group.name]) for group in groups]
    return [_cloud(name, part, limit) for name, part in parts if len(part)]


def _cloud(name: str, rows: pd.DataFrame, limit: float) -> Markup:
    correlation = rows["age_years"].corr(rows["predicted_age_years"])
    shown = rows if len(rows) <= MOST_POINTS else rows.sample(MOST_POINTS, random_state=7)
    drawing = charts.cloud_chart(
        shown["age_years"],
        shown["predicted_age_years"],
        title=name,
        x_label="labelled age, years",
        y_label="predicted age, years",
        limit=limit,
        description=f"Predicted against labelled age, {name}. Correlation {correlation:.2f}",
    )
    return charts.captioned(drawing, f"A sample of {count(MOST_POINTS)} photos." if len(shown) < len(rows) else "")


def error_distributions(audit: Audit, comparisons: Comparisons) -> list[Markup]:
    """Return the distribution of signed errors: a histogram of everybody, then quantiles of each group."""
    errors = audit.judged["age_error_years"].dropna().to_numpy(float)
    told = f"Errors of {count(len(errors))} photos; median {number(np.median(errors), signed=True)} years"
    drawings = [charts.histogram_chart(errors, title="Everybody", x_label=_ERROR_LABEL, description=told)]
    for columns in comparisons.single:
        result = comparisons.get(columns, "mae")
        groups = [group for group in _largest(result) if group.is_ranked] if result else []
        if not groups:
            continue
        samples = [_errors(audit, columns[0], group) for group in groups]
        medians = [f"{group.name}: {np.median(values):+.1f}" for group, values in zip(groups, samples, strict=True)]
        drawing = charts.quantile_chart(
            [f"{group.name} ({count(group.n)})" for group in groups],
            samples,
            title=f"By {title(columns)}",
            x_label=_ERROR_LABEL,
            description=f"Errors by {title(columns)}; medians in years: {'; '.join(medians)}",
        )
        drawings.append(drawing)
    return drawings


def coverages(comparisons: Comparisons) -> list[Markup]:
    """Return how often the age intervals hold, by group, against the promised 90 %."""
    drawings = []
    for columns in comparisons.single:
        result = comparisons.get(columns, "interval_coverage")
        if result is None or len(result.groups) < 2:
            continue
        groups = _largest(result)
        drawing = charts.forest_chart(
            [f"{group.name} ({count(group.n)})" for group in groups],
            [scaled(as_interval(group.estimate), 100) for group in groups],
            title=f"Coverage by {title(columns)}",
            x_label="% inside their interval; dashes: 90",
            null_value=90.0,
            is_faint=[not group.is_ranked for group in groups],
            description=f"Coverage of the 90 % age interval by {title(columns)}; figures in the table below.",
        )
        drawings.append(drawing)
    return drawings


def reliabilities(audit: Audit, comparisons: Comparisons) -> list[Markup]:
    """Return reliability curves of the gender probability: everybody, then the largest groups by ethnicity."""
    known = audit.judged.dropna(subset=["gender", "female_probability"])
    parts = [(f"Everybody ({count(len(known))})", known)]
    groups = sorted(ranked(comparisons.get(("ethnicity",), "gender_accuracy")), key=lambda group: -group.n)[:5]
    parts += [(f"{group.name} ({count(group.n)})", known[known["ethnicity"] == group.name]) for group in groups]
    return [_reliability(name, rows) for name, rows in parts if len(rows)]


def _reliability(name: str, rows: pd.DataFrame) -> Markup:
    bins = reliability_bins(rows["gender"] == "female", rows["female_probability"])
    bins = bins[bins["n"] > 0]
    ends = bins[["female_share", "female_share_low", "female_share_high"]].to_numpy()
    return charts.reliability_chart(
        bins["mean_probability"],
        [Interval(*row) for row in ends],
        title=name,
        description=f"Reliability of the probability of female, {name}",
    )


def _errors(audit: Audit, column: str, group: Group) -> np.ndarray:
    rows = audit.judged[audit.judged[column].astype(object) == group.name]
    return rows["age_error_years"].dropna().to_numpy(float)


def _largest(result: GroupResult) -> list[Group]:
    """Return at most `MOST_GROUPS` groups, in the result's order."""
    kept = {id(group) for group in sorted(result.groups, key=lambda group: -group.n)[:MOST_GROUPS]}
    return [group for group in result.groups if id(group) in kept]
