"""Every usual score of a head, of everybody and by group, for those who look one up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from agegender.audit import grouping
from agegender.audit.words import FEW, capitalised, in_unit, own_id
from agegender.heads import Classification, Head, Regression, slug
from agegender.heads.classification import as_names
from agegender.heads.row_metrics import known_pairs
from agegender.pages.page_writing import ReportContent
from agegender.pages.tables import Column, Row, Table, known_columns
from agegender.settings import SMALL_GROUP

_LARGEST_TOLERANCE = 10  # whole units up to which the cumulative scores go
_NEAR_SHARE = 0.2  # of the label: what suits children, of whom eight years is no near miss
_MOST_GROUPS = 60  # of one grouping, the largest
_NO_INTERVAL = "Scores without an interval; those with one stand in the tables of groups above."


class _Part(NamedTuple):
    """One group's rows and what the head scores on them."""

    grouping: str
    group: str
    rows: pd.DataFrame
    scores: dict[str, Any]


def score_tables(content: ReportContent, head: Head) -> list[Table]:
    """Return every score of a head by group; of classes those of each class besides."""
    parts = [part for part in _parts(content, head) if part.scores["n"] and _is_shown(content, part.scores["n"])]
    if isinstance(head, Regression):
        return [_number_table(content, head, parts)]
    return [_class_scores(content, head, parts), _each_class(content, head, parts)]


def _parts(content: ReportContent, head: Head) -> Iterator[_Part]:
    """Yield everybody, then every group of one column or two; of classes none by the labels themselves."""
    judged = content.assessment.judged
    rows = judged[[name for name in dict.fromkeys((head.column, *head.prediction_columns)) if name in judged]]
    yield _Part("all", "everybody", rows, head.scores(rows))
    for columns, groups in content.assessment.groupings.items():
        if len(columns) < 3 and not (isinstance(head, Classification) and head.column in columns):
            for code in np.argsort(-groups.counts[: len(groups.values)], kind="stable")[:_MOST_GROUPS]:
                own = rows[groups.codes == code]
                yield _Part(grouping.title(columns), " × ".join(groups.values[code]), own, head.scores(own))


def _number_table(content: ReportContent, head: Regression, parts: Sequence[_Part]) -> Table:
    digits = content.digits(head, 2)
    sizes = (
        ("MAE", "mae", "mean absolute error"),
        ("MSE", "mse", "mean squared error"),
        ("RMSE", "rmse", "root of the mean squared error"),
        ("Median error", "median_absolute_error", "median absolute error"),
        ("Mean error", "signed_error", "predicted minus labelled"),
        ("Least error", "least_error", "the furthest under-estimate"),
        ("Most error", "most_error", "the furthest over-estimate"),
        ("Mean label", "mean_label", ""),
        ("Mean prediction", "mean_prediction", ""),
    )
    signed = ("signed_error", "least_error", "most_error")
    columns = [
        Column("group", "Group"),
        Column("n", "Photos", 0),
        *(Column(key, in_unit(title, head), digits, hint, is_signed=key in signed) for title, key, hint in sizes),
        Column("r2", "R²", 3),
        Column("mape", "MAPE", 1, "mean of absolute error / label, over labels above 0", is_percent=True),
        Column("within_share", "Within ±20 %", 1, "of the label", is_percent=True),
        *(
            Column(f"cs_{size}", f"Within ±{size}", 1, f"cumulative score, {head.unit}".rstrip(", "), is_percent=True)
            for size in range(1, _LARGEST_TOLERANCE + 1)
        ),
        Column("grouping", "Grouping"),
    ]
    rows = [_number_row(head, part) for part in parts]
    name = own_id("all-scores", head, content.regressions)
    caption = f"{capitalised(head.title)}: every score"
    return Table(name, caption, known_columns(columns, rows), rows, _NO_INTERVAL, can_filter=True)


def _number_row(head: Regression, part: _Part) -> Row:
    scores = part.scores
    label, predicted = known_pairs(part.rows[head.column], part.rows[head.predicted])
    error = predicted - label
    keys = ("n", "mae", "rmse", "r2", "mape", "signed_error", "median_absolute_error")
    values = {"group": part.group, "grouping": part.grouping, **{key: scores[key] for key in keys}}
    values |= {
        "mse": float(np.mean(error**2)),
        "least_error": float(error.min()),
        "most_error": float(error.max()),
        "mean_label": float(label.mean()),
        "mean_prediction": float(predicted.mean()),
        "within_share": float(np.mean(np.abs(error) <= _NEAR_SHARE * np.abs(label))),
    }
    values |= {f"cs_{size}": scores["cumulative_scores"][size] for size in range(1, _LARGEST_TOLERANCE + 1)}
    return Row(values, scores["n"] < SMALL_GROUP)


def _class_scores(content: ReportContent, head: Classification, parts: Sequence[_Part]) -> Table:
    about_which = f"of “{head.classes[1]}”" if head.is_binary else "mean over the classes"
    columns = [
        Column("group", "Group"),
        Column("n", "Photos", 0),
        Column("accuracy", "Accuracy", 1, is_percent=True),
        Column("macro_f1", "Macro F1", 3),
        Column("roc_auc", "ROC AUC", 3, about_which),
        Column("pr_auc", "PR AUC", 3, about_which),
        Column("brier", "Brier score", 4),
        Column("log_loss", "Log loss, nats", 4),
        Column("expected_calibration_error", "Calibration error", 3),
        Column("grouping", "Grouping"),
    ]
    rows = [
        Row({**part.scores, "group": part.group, "grouping": part.grouping}, part.scores["n"] < SMALL_GROUP)
        for part in parts
    ]
    name = own_id("all-class-scores", head, content.classifications)
    caption = f"{capitalised(head.title)}: every score"
    return Table(name, caption, known_columns(columns, rows), rows, _NO_INTERVAL, can_filter=True)


def _each_class(content: ReportContent, head: Classification, parts: Sequence[_Part]) -> Table:
    columns = [
        Column("group", "Group"),
        Column("class", "Class"),
        Column("support", "Labelled so", 0),
        Column("precision", "Precision", 1, "of those predicted so, the share labelled so", is_percent=True),
        Column("recall", "Recall", 1, "of those labelled so, the share predicted so", is_percent=True),
        Column("f1", "F1", 3),
        Column("pr_auc", "PR AUC", 3, "of this class against the others"),
        Column("brier", "Brier score", 4, "of this class's probability"),
        Column("log_loss", "Log loss, nats", 4, "of this class's probability"),
        Column("grouping", "Grouping"),
    ]
    rows = []
    for part in parts:
        for place, one in enumerate(head.classes):
            scores = {key: part.scores[f"{key}_{slug(one)}"] for key in ("support", "precision", "recall", "f1")}
            if scores["support"] and _is_shown(content, scores["support"]):
                values = {"group": part.group, "class": one, "grouping": part.grouping, **scores}
                rows.append(Row(values | _of_class(head, part.rows, place), scores["support"] < SMALL_GROUP))
    name = own_id("each-class", head, content.classifications)
    caption = f"{capitalised(head.title)}: every class by group"
    return Table(name, caption, known_columns(columns, rows), rows, "Scores without an interval.", can_filter=True)


def _of_class(head: Classification, rows: pd.DataFrame, place: int) -> dict[str, float]:
    """Return the scores of one class's probability against all others; nothing where it is not known."""
    from sklearn.metrics import average_precision_score

    chance = head.probabilities(rows)
    if chance is None:
        return {}
    label = as_names(rows[head.column])
    known = label.notna().to_numpy() & np.isfinite(chance).all(axis=1)
    if not known.any():
        return {}
    is_it, said = (label == head.classes[place]).to_numpy(dtype=bool)[known], chance[known, place]
    likely = np.clip(np.where(is_it, said, 1.0 - said), 1e-15, 1.0)
    found = {"brier": float(np.mean((said - is_it) ** 2)), "log_loss": float(-np.mean(np.log(likely)))}
    return found | ({"pr_auc": float(average_precision_score(is_it, said))} if 0 < is_it.sum() < len(is_it) else {})


def _is_shown(content: ReportContent, n: int) -> bool:
    return not (content.hide_faces and 0 < n < FEW)
