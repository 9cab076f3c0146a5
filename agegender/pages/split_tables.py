"""Train, valid and test side by side, and the plain words on whether the model learnt its photos by heart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.audit import grouping
from agegender.audit.assessment import ALL_ROWS
from agegender.audit.estimates import Estimate, mean_of
from agegender.audit.words import FEW, capitalised, count, in_unit, is_first_of_kind, number
from agegender.heads import Head, Regression
from agegender.pages.page_writing import ReportContent
from agegender.pages.tables import Column, Row, Table, known_columns
from agegender.settings import SMALL_GROUP

_SPLIT_WORDS = {"train": "train (seen)", "valid": "valid (chose and calibrated)", "test": "test (kept aside)"}
_RESAMPLE_COUNT = 500
Clusters = NDArray[np.int64] | None


def split_table(content: ReportContent) -> Table:
    """Return the key figures of each split, or of all rows where there are no splits."""
    parts = content.assessment.splits or {ALL_ROWS: content.assessment.judged}
    clusters = content.assessment.split_clusters or {ALL_ROWS: content.assessment.clusters}
    # What became of the photos is known of our own models only.
    words = _SPLIT_WORDS if content.card else {}
    rows = [
        Row(
            {"split": words.get(name, name), "name": name, "n": len(part)}
            | {
                key: value
                for head in content.heads
                for key, value in _values(content, head, part, clusters[name], name).items()
            }
        )
        if len(part) >= (FEW if content.hide_faces else 1)
        else Row({"split": words.get(name, name), "name": name, "n": f"<{FEW}"}, is_small=True)
        for name, part in parts.items()
    ]
    columns = [Column("split", "Split"), Column("n", "Photos", 0)]
    columns += [column for head in content.heads for column in _columns(content, head)]
    note = f"{_which_counts(content)} Brackets: 95 % interval; figures without one have none."
    return Table("splits", "Key figures", known_columns(columns, rows), rows, note.strip())


def split_group_table(content: ReportContent) -> Table | None:
    """Return the main figures of each group in each split side by side, or None where there is one split only."""
    splits, groupings = content.assessment.splits, content.comparisons.single
    if len(splits) < 2 or not groupings:
        return None
    columns = [Column("grouping", "Grouping"), Column("group", "Group")]
    for name in splits:
        columns.append(Column(f"{name}_n", f"{name}: photos", 0))
        columns += [_main_column(content, head, name) for head in content.heads]
    rows = [
        _group_row(content, column, str(value))
        for (column,) in groupings
        for value in dict.fromkeys(content.assessment.judged[column].dropna().sort_values())
    ]
    note = "A group that is fine in train and not in test was learnt by heart. Brackets: 95 % interval."
    return Table("split-groups", "Each group in each split", known_columns(columns, rows), rows, note, len(rows) > 6)


def key_figures(content: ReportContent, table: Table) -> list[dict[str, str]]:
    """Return the judged split's main figures, each with its interval in words, for the head of a page."""
    split = content.assessment.judged_split
    row = next((row for row in table.rows if row.values["name"] == split), table.rows[-1])
    wanted = {key: name for head in content.heads for key, name in _key_names(content, head)}
    judged = row.values["n"]
    figures = [
        {
            "name": "Photos judged",
            "value": judged if isinstance(judged, str) else count(judged),
            "more": f"split: {split}",
        }
    ]
    for column in table.columns:
        value = row.values.get(column.key)
        if column.key in wanted:
            figures.append({"name": wanted[column.key], "value": column.text(value), "more": column.ends(value)})
    return figures


def overfitting_words(content: ReportContent) -> str:
    """Return plain sentences on the distance between photos that were seen and photos that were not."""
    assessment = content.assessment
    if assessment.training is None or assessment.judged_split == ALL_ROWS:
        return "Without the training photos beside them, nothing can be said on how far the model learnt by heart."
    heads = content.regressions or content.classifications
    return " ".join(filter(None, (_overfitting_sentence(content, head) for head in heads)))


def _overfitting_sentence(content: ReportContent, head: Head) -> str:
    training, judged = content.assessment.training, content.assessment.judged
    assert training is not None
    seen, unseen = _mean_error(head, training), _mean_error(head, judged)
    if not (pd.notna(seen) and pd.notna(unseen)):
        return ""
    if isinstance(head, Regression):
        where = "" if is_first_of_kind(head, content.heads) else f" in {head.title}"
        said = f"errs by {number(seen, content.digits(head))} {head.unit}".rstrip() + where
        beside = f"by {number(unseen, content.digits(head))}"
    else:
        said = f"misses the {head.title} label in {number(seen, 1, is_percent=True)}"
        beside = f"in {number(unseen, 1, is_percent=True)}"
    # Whether a table from elsewhere calls those rows train that the model has seen, nobody told.
    first, second = "photos that it has seen", "those kept aside"
    if not content.card:
        first, second = "photos of the split “train”", f"those of “{content.assessment.judged_split}”"
    text = f"On {first} the model {said}, on {second} {beside}: "
    ratio = unseen / seen if seen else float("inf")
    if ratio > 1.5:
        return (
            f"{text}it has partly learnt its training photos by heart, and figures from the training split mean little."
        )
    return f"{text}some overfitting, as is usual." if ratio > 1.15 else f"{text}hardly any overfitting."


def _mean_error(head: Head, rows: pd.DataFrame) -> float:
    if isinstance(head, Regression):
        return float(rows[head.absolute_error_column].mean())
    return 1.0 - float(rows[head.right_column].mean())


def _which_counts(content: ReportContent) -> str:
    splits, judged = content.assessment.splits, content.assessment.judged_split
    if len(splits) < 2:
        return ""
    if content.card and judged == list(splits)[-1] == "test":
        return "Only the last row tells how the model does on photos that it has never met."
    if content.card:
        return "No row is of photos that were kept aside, so the figures may flatter."
    return f"Only the row {judged} is judged; the table doesn't say which photos the model was trained on."


def _group_row(content: ReportContent, column: str, value: str) -> Row:
    values: dict[str, Any] = {"grouping": grouping.title((column,)), "group": value}
    for name, rows in content.assessment.splits.items():
        inside = (rows[column].astype(object).astype(str) == value).to_numpy()
        part, clusters = rows[inside], content.assessment.split_clusters[name]
        own = None if clusters is None else clusters[inside]
        values[f"{name}_n"] = len(part)
        if content.hide_faces and 0 < len(part) < FEW:
            values[f"{name}_n"] = f"<{FEW}"
            continue
        for head in content.heads:
            key, estimate = f"{name}_{_key(content, head, _main_key(head))}", None
            if name == content.assessment.judged_split:
                estimate = _judged(content, head, column, value)
            values[key] = estimate or _estimate(head, head.metrics[0].key, part, own)
    judged = values[f"{content.assessment.judged_split}_n"]
    return Row(values, isinstance(judged, str) or judged < SMALL_GROUP)


def _judged(content: ReportContent, head: Head, column: str, value: str) -> Estimate | None:
    """Return the main figure of a group as the tables of groups have it: one figure, one interval."""
    result = content.comparisons.get((column,), head.metrics[0].name)
    found = [group.estimate for group in result.groups if group.values == (value,)] if result else []
    return found[0] if found else None


def _main_column(content: ReportContent, head: Head, split: str) -> Column:
    key = f"{split}_{_key(content, head, _main_key(head))}"
    if isinstance(head, Regression):
        return Column(key, f"{split}: {_named(content, head, in_unit('MAE', head))}", content.digits(head))
    return Column(key, f"{split}: {head.title} accuracy", 1, is_percent=True)


def _columns(content: ReportContent, head: Head) -> Iterator[Column]:
    if isinstance(head, Regression):
        digits = content.digits(head, 2)
        for key, title, is_signed in (
            ("mae", "MAE", False),
            ("signed_error", "Mean error", True),
            ("rmse", "RMSE", False),
        ):
            name = _named(content, head, in_unit(title, head))
            yield Column(_key(content, head, key), name, digits, is_signed=is_signed)
        yield Column(_key(content, head, "r2"), _named(content, head, "R²"), 3)
        for size in head.tolerances:
            name = _named(content, head, f"Within ±{size:g} {head.unit}".rstrip())
            yield Column(_key(content, head, f"within_{size:g}"), name, 1, is_percent=True)
        return
    yield Column(f"{head.name}_accuracy", f"{capitalised(head.title)} accuracy", 1, is_percent=True)
    if not head.is_binary:
        yield Column(f"{head.name}_macro_f1", f"{capitalised(head.title)} macro F1", 3)
    yield Column(_key(content, head, "roc_auc"), f"{capitalised(head.title)} AUC", 3)


def _values(content: ReportContent, head: Head, rows: pd.DataFrame, clusters: Clusters, split: str) -> dict[str, Any]:
    scores = head.scores(rows)
    if split == content.assessment.judged_split:
        told: dict[str, Estimate | None] = {
            one.key: content.assessment.overall(one.name)
            for one in content.assessment.metrics.values()
            if one.head == head.name
        }
    else:
        told = {one.key: _estimate(head, one.key, rows, clusters) for one in head.metrics}
    if isinstance(head, Regression):
        measured = {metric.short: told.get(metric.key) for metric in head.metrics}
        return {
            _key(content, head, key): value
            for key, value in ({"rmse": scores["rmse"], "r2": scores["r2"]} | measured).items()
        }
    return {
        f"{head.name}_accuracy": told.get("accuracy"),
        f"{head.name}_macro_f1": scores["macro_f1"],
        _key(content, head, "roc_auc"): scores["roc_auc"],
    }


def _estimate(head: Head, key: str, rows: pd.DataFrame, clusters: Clusters) -> Estimate | None:
    metric = next(metric for metric in head.metrics if metric.key == key)
    if not metric.is_known(rows):
        return None
    return mean_of(metric.values(rows), is_rate=metric.is_rate, clusters=clusters, resample_count=_RESAMPLE_COUNT)


def _key_names(content: ReportContent, head: Head) -> Iterator[tuple[str, str]]:
    if isinstance(head, Regression):
        yield _key(content, head, "mae"), in_unit(f"Mean absolute {head.title} error", head)
        for size in head.tolerances[-1:]:
            name = _named(content, head, f"Within ±{size:g} {head.unit}".rstrip())
            yield _key(content, head, f"within_{size:g}"), name
        return
    yield f"{head.name}_accuracy", f"{capitalised(head.title)} accuracy"
    yield f"{head.name}_macro_f1", f"{capitalised(head.title)} macro F1"


def _main_key(head: Head) -> str:
    return "mae" if isinstance(head, Regression) else "accuracy"


def _key(content: ReportContent, head: Head, key: str) -> str:
    """Return the name of a figure in downloads: with the head's before it where another head has one of that name."""
    is_plain = is_first_of_kind(head, content.heads) and key != "accuracy"
    return key if is_plain else f"{head.name}_{key}"


def _named(content: ReportContent, head: Head, text: str) -> str:
    """Return a heading with the head's name before it where another head has one like it."""
    if is_first_of_kind(head, content.heads):
        return text
    return f"{capitalised(head.title)}: {text if text[:2].isupper() else text[0].lower() + text[1:]}"
