"""Owns the tables of the bias page: one for ages and one for genders per grouping, splits, scores, largest gaps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from agegender.audit.comparisons import Comparisons, as_interval, faces_address, identifier, ranked, title
from agegender.audit.gender import gender_metrics
from agegender.audit.judged import Audit
from agegender.audit.results import Group, GroupResult, LargestGap
from agegender.pages.tables import Column, Row, Table
from agegender.pages.words import scaled

_IN_GAP_TABLE = ("mae", "signed_error", "gender_accuracy", "interval_coverage")
MOST_ROWS = 120  # further groups go to the downloads alone

_GROUP = Column("group", "Group")
_COUNT = Column("n", "Photos", 0, hint="photos that are judged")
_SHARE = Column("training_share", "Share of training", 1, is_percent=True, hint="share of the training photos")
_P = Column(
    "p_corrected",
    "p (Holm)",
    3,
    is_p_value=True,
    hint="permutation test of the gap, corrected for the number of groups",
)
_AGE_COLUMNS = (
    _GROUP,
    _COUNT,
    Column("mae", "MAE, years", 1, hint="mean absolute error"),
    Column("mae_gap", "Gap to the rest, years", 1, is_signed=True, hint="above 0: worse than the other groups"),
    Column(
        "mae_gap_same_age", "Gap at equal ages, years", 1, is_signed=True, hint="what is left when ages are mixed alike"
    ),
    _P,
    Column("signed_error", "Mean error, years", 1, is_signed=True, hint="above 0: judged too old"),
    Column("within_8", "Within ±8 years", 0, is_percent=True),
    _SHARE,
)
_GENDER_COLUMNS = (
    _GROUP,
    _COUNT,
    Column("gender_accuracy", "Accuracy", 1, is_percent=True),
    Column("gender_gap", "Gap to the rest, points", 1, is_signed=True, hint="percentage points; below 0: worse"),
    Column("gender_gap_same_age", "Gap at equal ages, points", 1, is_signed=True),
    _P,
    Column("recall_male", "Recall of “male”", 1, is_percent=True, hint="labelled male and predicted male"),
    Column("recall_female", "Recall of “female”", 1, is_percent=True, hint="labelled female and predicted female"),
    _SHARE,
)
_KINDS = (
    ("age", "Age error", _AGE_COLUMNS, "mae"),
    ("gender", "Gender accuracy", _GENDER_COLUMNS, "gender_accuracy"),
)


def group_tables(audit: Audit, comparisons: Comparisons, columns: tuple[str, ...], *, page: str = "") -> list[Table]:
    """Return the tables of one grouping: ages, then genders, each only where it is known.

    Groups link to their faces, which stand on `page` when the tables don't.
    """
    shares = training_shares(audit, columns)
    results = comparisons.by_columns[columns]
    tables = []
    for kind, name, wanted, main in _KINDS:
        if main not in results:
            continue
        rows = [
            Row(_values(group, results, shares, main), not group.is_ranked, faces_address(columns, position, page))
            for position, group in enumerate(results[main].groups)
        ]
        tables.append(_table(f"{identifier(columns)}-{kind}", f"{name} by {title(columns)}", wanted, rows))
    return tables


def training_shares(audit: Audit, columns: tuple[str, ...]) -> Mapping[tuple[str, ...], float]:
    """Return each group's share of the training photos, where these are known."""
    training = audit.training
    if training is None or not set(columns) <= set(training):
        return {}
    known = training[list(columns)].dropna().astype(str)
    counts = known.value_counts(normalize=True)
    return {key if isinstance(key, tuple) else (key,): float(share) for key, share in counts.items()}


def gap_table(comparisons: Comparisons) -> Table | None:
    """Return the largest gap of each metric and grouping beside what chance alone would make."""
    columns = (
        Column("metric", "Metric"),
        Column("grouping", "Grouping"),
        Column("gap", "Largest gap"),
        Column("null_95", "Chance alone (95th percentile)"),
        Column("p_value", "p", 3, is_p_value=True),
        Column("between", "Between"),
    )
    rows = [
        Row(_gap_values(result, result.largest_gap))
        for results in comparisons.by_columns.values()
        for result in results.values()
        if result.largest_gap is not None and result.metric in _IN_GAP_TABLE
    ]
    note = "Largest and smallest group differ even when nothing is wrong; a gap below the chance column is no news."
    return (
        Table("largest-gaps", "Largest gap between groups of 30 photos or more", columns, rows, note, True)
        if rows
        else None
    )


def coverage_table(comparisons: Comparisons) -> Table | None:
    """Return coverage and width of the age intervals by group, all single groupings in one table."""
    columns = (
        Column("grouping", "Grouping"),
        Column("group", "Group"),
        Column("n", "Photos", 0),
        Column("coverage", "Coverage", 1, is_percent=True, hint="share of labelled ages inside the interval"),
        Column("width", "Mean width, years", 1),
    )
    rows = []
    for grouping in comparisons.single:
        coverage = comparisons.get(grouping, "interval_coverage")
        width = comparisons.get(grouping, "interval_width")
        if coverage is None or width is None:
            continue
        widths = {group.values: group for group in width.groups}
        for group in coverage.groups:
            values = {
                "grouping": title(grouping),
                "group": group.name,
                "n": group.n,
                "coverage": as_interval(group.estimate),
                "width": as_interval(widths[group.values].estimate) if group.values in widths else None,
            }
            rows.append(Row(values, not group.is_ranked))
    note = "A 90 % interval should hold the labelled age in 90 % of the photos of every group, not only on average."
    return Table("coverage", "Coverage of the 90 % age intervals", columns, rows, note, True) if rows else None


def calibration_table(audit: Audit, comparisons: Comparisons) -> Table | None:
    """Return how well the gender probability holds in each group of 30 or more, all single groupings in one table."""
    columns = (
        Column("grouping", "Grouping"),
        Column("group", "Group"),
        Column("n", "Photos", 0),
        Column("expected_calibration_error", "Calibration error", 3, hint="mean distance of probability and share"),
        Column("brier", "Brier score", 3),
        Column("log_loss", "Log loss, nats", 3),
        Column("roc_auc", "AUC", 3),
    )
    rows = []
    for grouping in comparisons.single:
        # Within one label the share of it is always 1, so no probability but 1 would be called calibrated.
        for group in ranked(comparisons.get(grouping, "gender_accuracy")) if grouping != ("gender",) else ():
            part = audit.judged[audit.judged[grouping[0]].astype(object) == group.name]
            scores = gender_metrics(part["gender"], part["female_probability"], predicted=part["predicted_gender"])
            rows.append(Row({"grouping": title(grouping), "group": group.name, "n": group.n} | scores | {"n": group.n}))
    note = "Small groups have larger calibration errors by chance alone."
    return Table("calibration", "Calibration by group", columns, rows, note, len(rows) > 6) if rows else None


def _values(
    group: Group, results: Mapping[str, GroupResult], shares: Mapping[tuple[str, ...], float], main: str
) -> dict[str, Any]:
    def of(metric: str) -> Any:
        found = {other.values: other for other in results[metric].groups} if metric in results else {}
        return as_interval(found[group.values].estimate) if group.values in found else None

    scale = 100 if main == "gender_accuracy" else 1
    gaps = [scaled(as_interval(gap), scale) for gap in (group.gap_to_rest, group.standardised_gap)]
    prefix = "gender" if main == "gender_accuracy" else "mae"
    return {
        "group": group.name,
        "n": group.n,
        "training_share": shares.get(group.values, 0.0 if shares else None),
        f"{prefix}_gap": gaps[0],
        f"{prefix}_gap_same_age": gaps[1],
        "p_corrected": group.p_corrected,
        **{metric: of(metric) for metric in ("mae", "signed_error", "within_8")},
        **{metric: of(metric) for metric in ("gender_accuracy", "recall_male", "recall_female")},
    }


def _table(name: str, caption: str, wanted: tuple[Column, ...], rows: list[Row]) -> Table:
    columns = [
        column for column in wanted if column is _GROUP or any(_is_known(row.values.get(column.key)) for row in rows)
    ]
    largest = sorted(rows, key=lambda row: -row.values["n"])[:MOST_ROWS]
    kept = {id(row) for row in largest}
    return Table(
        name,
        caption,
        columns,
        [row for row in rows if id(row) in kept],
        can_filter=len(rows) > 6,
        hidden_rows=[row for row in rows if id(row) not in kept],
    )


def _gap_values(result: GroupResult, gap: LargestGap) -> dict[str, Any]:
    scale, unit = (100, "points") if result.unit == "share" else (1, result.unit)
    return {
        "metric": result.title,
        "grouping": title(result.columns),
        "gap": f"{gap.value * scale:.1f} {unit}",
        "null_95": f"{gap.null_95 * scale:.1f} {unit}",
        "p_value": gap.p_value,
        "between": f"{gap.lowest} and {gap.highest}",
    }


def _is_known(value: Any) -> bool:
    if value is None or value is pd.NA:
        return False
    return bool(np.isfinite(value[0] if isinstance(value, tuple) else value)) if not isinstance(value, str) else True
