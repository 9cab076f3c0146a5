"""Owns train, valid and test side by side, and the plain words on whether the model learnt its photos by heart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from agegender.audit.age import age_metrics
from agegender.audit.comparisons import TITLES
from agegender.audit.gender import gender_metrics
from agegender.audit.intervals import mean_intervals, resample_groups
from agegender.audit.judged import Audit
from agegender.audit.rates import wilson
from agegender.audit.rows import METRICS, is_known, row_values
from agegender.pages.tables import Column, Row, Table
from agegender.pages.words import SMALL_GROUP, Interval, count, number

_SPLIT_WORDS = {"train": "train (seen)", "valid": "valid (for choosing)", "test": "test (kept aside)"}
_COLUMNS = (
    Column("split", "Split"),
    Column("n", "Photos", 0),
    Column("mae", "MAE, years", 2),
    Column("signed_error", "Mean error, years", 2, is_signed=True),
    Column("rmse", "RMSE, years", 2),
    Column("r2", "R²", 3),
    Column("within_5", "Within ±5 years", 1, is_percent=True),
    Column("within_8", "Within ±8 years", 1, is_percent=True),
    Column("gender_accuracy", "Gender accuracy", 1, is_percent=True),
    Column("roc_auc", "Gender AUC", 3),
)
_RESAMPLE_COUNT = 500
_WITH_INTERVAL = ("mae", "signed_error", "within_5", "within_8", "gender_accuracy")


def split_table(audit: Audit) -> Table:
    """Return the key figures of each split, or of all rows where there are no splits."""
    parts = audit.splits or {"all rows": audit.rows}
    rows = [Row(_values(name, part)) for name, part in parts.items()]
    known = [column for column in _COLUMNS if any(_is_known(row.values.get(column.key)) for row in rows)]
    note = "Only the last row tells how the model does on photos that it has never met." if len(rows) > 1 else ""
    return Table("splits", "Key figures", known, rows, f"{note} Brackets: 95 % interval.".strip())


def split_group_table(audit: Audit, groupings: Sequence[tuple[str, ...]]) -> Table | None:
    """Return the error of each group in each split side by side, or None where there is one split only."""
    if len(audit.splits) < 2 or not groupings:
        return None
    columns = [Column("grouping", "Grouping"), Column("group", "Group")]
    for name in audit.splits:
        columns += [Column(f"{name}_n", f"{name}: photos", 0), Column(f"{name}_mae", f"{name}: MAE, years", 1)]
        columns.append(Column(f"{name}_gender_accuracy", f"{name}: gender accuracy", 1, is_percent=True))
    rows = [
        _group_row(audit, column, str(value))
        for (column,) in groupings
        for value in dict.fromkeys(audit.judged[column].dropna().sort_values())
    ]
    known = [column for column in columns if any(_is_known(row.values.get(column.key)) for row in rows)]
    note = "A group that is fine in train and not in test was learnt by heart. Brackets: 95 % interval."
    return Table("split-groups", "Each group in each split", known, rows, note, len(rows) > 6)


def _group_row(audit: Audit, column: str, value: str) -> Row:
    values: dict[str, Any] = {"grouping": TITLES.get(column, column), "group": value}
    for name, rows in audit.splits.items():
        part = rows[rows[column].astype(object) == value]
        values[f"{name}_n"] = len(part)
        values |= {f"{name}_{metric}": _with_interval(part, metric) for metric in ("mae", "gender_accuracy")}
    return Row(values, values[f"{audit.judged_split}_n"] < SMALL_GROUP)


def key_figures(table: Table, split: str) -> list[dict[str, str]]:
    """Return the judged split's main figures, each with its interval in words, for the head of a page."""
    row = next((row for row in table.rows if row.values["name"] == split), table.rows[-1])
    wanted = {"mae": "Mean age error, years", "within_8": "Within ±8 years", "gender_accuracy": "Gender accuracy"}
    figures = [{"name": "Photos judged", "value": count(row.values["n"]), "more": f"split: {split}"}]
    for column in table.columns:
        value = row.values.get(column.key)
        if column.key in wanted:
            figures.append({"name": wanted[column.key], "value": column.text(value), "more": column.ends(value)})
    return figures


def overfitting_words(audit: Audit) -> str:
    """Return one plain sentence on the distance between photos that were seen and photos that were not."""
    if "train" not in audit.splits or audit.judged_split == "all rows":
        return "Without the training photos beside them, nothing can be said on how far the model learnt by heart."
    seen, judged = (part["absolute_age_error_years"].mean() for part in (audit.splits["train"], audit.judged))
    if not (pd.notna(seen) and pd.notna(judged)):
        return ""
    text = (
        f"On photos that it has seen the model errs by {number(seen)} years, on those kept aside by {number(judged)}: "
    )
    ratio = judged / seen if seen else float("inf")
    if ratio > 1.5:
        return (
            text + "it has partly learnt its training photos by heart, and figures from the training split mean little."
        )
    if ratio > 1.15:
        return text + "some overfitting, as is usual."
    return text + "hardly any overfitting."


def _values(name: str, rows: pd.DataFrame) -> dict[str, Any]:
    ages = age_metrics(rows["age_years"], rows["predicted_age_years"])
    genders = gender_metrics(rows["gender"], rows["female_probability"], predicted=rows["predicted_gender"])
    values: dict[str, Any] = {key: ages[key] for key in ("rmse", "r2")}
    values["roc_auc"] = genders["roc_auc"]
    values |= {key: _with_interval(rows, key) for key in _WITH_INTERVAL}
    return {"split": _SPLIT_WORDS.get(name, name), "name": name, "n": len(rows)} | values


def _with_interval(rows: pd.DataFrame, metric: str) -> Interval | None:
    if not is_known(rows, metric):
        return None
    values = row_values(rows, metric)
    values = values[np.isfinite(values)]
    if METRICS[metric].is_rate:
        low, high = wilson([values.sum()], [values.size])
    else:
        one_group = np.zeros(values.size, dtype=np.int64)
        low, high = mean_intervals(resample_groups(values, one_group, 1, resample_count=_RESAMPLE_COUNT))
    return Interval(float(values.mean()), float(low[0]), float(high[0]))


def _is_known(value: Any) -> bool:
    if value is None or isinstance(value, str):
        return value is not None
    return bool(np.isfinite(value.estimate if isinstance(value, Interval) else value))
