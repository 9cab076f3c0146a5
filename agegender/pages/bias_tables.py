"""The tables of the bias page: one per head and grouping, largest gaps, calibration, classes, bias scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from agegender.audit import grouping
from agegender.audit.groups import Group, GroupResult
from agegender.audit.sentences import equal_words
from agegender.audit.words import (
    FEW,
    about,
    capitalised,
    identifier,
    in_unit,
    is_first_of_kind,
    number,
    own_id,
    photos,
    too,
)
from agegender.heads import Classification, Head, Regression, slug
from agegender.heads.age_bands import DECADES, age_decade
from agegender.heads.classification import as_names
from agegender.pages.galleries import faces_addresses
from agegender.pages.page_writing import ReportContent
from agegender.pages.tables import Column, Matrix, Row, Table, known_columns
from agegender.settings import SMALL_GROUP

MOST_ROWS = 120  # further groups go to the downloads alone
MOST_RECALLS = 6  # classes with a column of their own in the tables of groups
MOST_MATRIX_CLASSES = 20
_MOST_MATRICES = 10  # of the groups of one column
_IN_GAP_TABLE = ("mae", "signed_error", "accuracy", "interval_coverage")

_GROUP = Column("group", "Group")
_COUNT = Column("n", "Photos", 0, hint="photos that are judged")
_SHARE = Column("training_share", "Share of training", 1, is_percent=True, hint="share of the training photos")
_LEFT = "what is left of the gap; its interval is corrected for every comparison"
_P = Column(
    "p_corrected",
    "p (corrected)",
    3,
    is_p_value=True,
    hint="permutation test of the gap, corrected for every comparison that was made",
)


def group_tables(content: ReportContent, columns: tuple[str, ...], *, page: str = "") -> list[Table]:
    """Return the tables of one grouping, one per head that was judged by it.

    Groups link to their faces, which stand on `page` when the tables don't.
    """
    addresses = faces_addresses(content, columns, page)
    results, shares = content.comparisons.by_columns[columns], training_shares(content, columns)
    tables = []
    for head in content.heads:
        main = results.get(head.metrics[0].name)
        if main is None:
            continue
        rows = [
            Row(_values(head, group, results, shares), not group.is_ranked, addresses.get(group.values, ""))
            for group in main.groups
        ]
        tables.append(_group_table(content, head, columns, rows))
    return tables


def training_shares(content: ReportContent, columns: tuple[str, ...]) -> Mapping[tuple[str, ...], float]:
    """Return each group's share of the training photos, where these are known."""
    training = content.assessment.training
    if training is None or not set(columns) <= set(training):
        return {}
    counts = training[list(columns)].dropna().astype(str).value_counts(normalize=True)
    return {key if isinstance(key, tuple) else (key,): float(share) for key, share in counts.items()}


def ranked(result: GroupResult | None) -> list[Group]:
    """Return the groups that are large enough to be compared."""
    return result.ranked if result else []


def gap_table(content: ReportContent) -> Table | None:
    """Return the largest gap of each metric and grouping beside what chance alone would make."""
    columns = (
        Column("metric", "Metric"),
        Column("grouping", "Grouping"),
        Column("gap", "Largest gap"),
        Column("null_95", _chance_title(content)),
        Column("times_chance", "Gap ÷ chance", 2, hint="years and points can be sorted by this together"),
        Column("p_value", "p", 3, is_p_value=True),
        Column("between", "Between"),
    )
    metrics = {metric.name: head for head in content.heads for metric in head.metrics if metric.short in _IN_GAP_TABLE}
    rows = [
        Row(_gap_values(content, metrics[name], result))
        for results in content.comparisons.by_columns.values()
        for name, result in results.items()
        if name in metrics and result.largest_gap is not None
    ]
    note = (
        "Largest and smallest group differ even when nothing is wrong; a gap below the chance column is no news. These "
        "gaps have no interval."
    )
    caption = "Largest gap between groups of 30 photos or more"
    return Table("largest-gaps", caption, columns, rows, note, True) if rows else None


def calibration_table(content: ReportContent, head: Classification) -> Table | None:
    """Return how well a head's probabilities hold in each group of 30 or more, all single groupings in one table."""
    columns = (
        Column("grouping", "Grouping"),
        Column("group", "Group"),
        Column("n", "Photos", 0),
        Column("expected_calibration_error", "Calibration error", 3, hint="mean distance of probability and share"),
        Column("brier", "Brier score", 3),
        Column("log_loss", "Log loss, nats", 3),
        Column("roc_auc", "AUC", 3),
    )
    judged, rows = content.assessment.judged, []
    for single in content.comparisons.single:
        # Within one label the share of it is always 1, so no probability but 1 would be called calibrated.
        if single == (head.column,):
            continue
        for group in ranked(content.comparisons.get(single, head.metrics[0].name)):
            scores = head.scores(judged[judged[single[0]].astype(object) == group.name])
            rows.append(Row({**scores, "grouping": grouping.title(single), "group": group.name, "n": group.n}))
    note = "Small groups have larger calibration errors by chance alone. These scores have no interval."
    name = own_id("calibration", head, content.classifications)
    caption = f"Calibration by group{about(head, content.classifications, ': ')}"
    return Table(name, caption, columns, rows, note, len(rows) > 6) if rows else None


def class_table(content: ReportContent, head: Classification) -> Table | None:
    """Return precision, recall and F1 of each class, for a head of more than two."""
    if head.is_binary:
        return None
    scores = head.scores(content.assessment.judged)
    columns = (
        Column("class", "Class"),
        Column("support", "Labelled", 0),
        Column("precision", "Precision", 1, is_percent=True, hint="of those predicted so, the share labelled so"),
        Column("recall", "Recall", 1, is_percent=True, hint="of those labelled so, the share predicted so"),
        Column("f1", "F1", 3),
    )
    rows = []
    for name in head.classes:
        values = {key: scores[f"{key}_{slug(name)}"] for key in ("support", "precision", "recall", "f1")}
        if content.hide_faces and 0 < values["support"] < FEW:
            values = {"support": f"<{FEW}"}
        rows.append(Row({"class": name, **values}, scores[f"support_{slug(name)}"] < SMALL_GROUP))
    macro = number(scores["macro_f1"], 3)
    note = f"Macro F1, the mean over the classes that occur: {macro}. These scores have no interval."
    return Table(
        f"classes-{head.name}", f"{capitalised(head.title)}, class by class", columns, rows, note, len(rows) > 6
    )


def confusion_matrices(content: ReportContent, head: Classification) -> list[Matrix]:
    """Return labels against predictions: of everybody, and of the groups where the classes are few."""
    if len(head.classes) > MOST_MATRIX_CLASSES:
        return []
    judged = content.assessment.judged
    parts = [("Everybody", judged)]
    for columns in content.comparisons.single if len(head.classes) <= MOST_RECALLS else ():
        if columns != (head.column,):
            groups = ranked(content.comparisons.get(columns, head.metrics[0].name))[:_MOST_MATRICES]
            kind = capitalised(grouping.title(columns))
            parts += [
                (f"{kind}: {group.name}", judged[judged[columns[0]].astype(object) == group.name]) for group in groups
            ]
    found = [confusion_matrix(head, rows, caption, hides_few=content.hide_faces) for caption, rows in parts]
    return [matrix for matrix in found if matrix is not None]


def confusion_matrix(
    head: Classification, rows: pd.DataFrame, caption: str, *, hides_few: bool = False
) -> Matrix | None:
    """Return labels of a head against its predictions, or None when no row knows both."""
    pairs = pd.DataFrame(
        {"labelled": as_names(rows[head.column]), "predicted": as_names(rows[head.predicted])}
    ).dropna()
    if not len(pairs):
        return None
    counts = _counts(pairs, head.classes)
    if len(head.classes) <= MOST_RECALLS:
        return Matrix(caption, head.classes, counts, photos(len(pairs)), hides_few=hides_few)
    note = f"{photos(len(pairs))}; % of each label"
    return Matrix(caption, head.classes, counts, note, has_counts=False, hides_few=hides_few)


def decade_matrix(head: Regression, rows: pd.DataFrame, *, hides_few: bool = False) -> Matrix | None:
    """Return labelled decades against predicted ones in % of the row, or None when no row knows both."""
    known = rows.dropna(subset=[head.column, head.predicted])
    if not len(known):
        return None
    pairs = pd.DataFrame({"labelled": age_decade(known[head.column]), "predicted": age_decade(known[head.predicted])})
    names = DECADES[: max(DECADES.index(name) for name in np.unique(pairs.to_numpy(str))) + 1]
    note = "% of each labelled decade; outlined: the right decade. Shades left of the outline: judged too young."
    caption = "Labelled against predicted decade"
    return Matrix(caption, names, _counts(pairs, names), note, has_counts=False, hides_few=hides_few)


def chalearn_table(content: ReportContent, head: Regression) -> Table | None:
    """Return the ChaLearn scores of the attributes that are known, each beside what chance alone would make of it."""
    rows = [
        Row({str(key): value for key, value in record.items()})
        for record in content.assessment.chalearn.to_dict("records")
    ]
    note = (
        "Mean difference of MAE over all pairs of groups; 0 is best. Small groups count like large ones, so a score is "
        "above zero by chance: read it against the last column. These scores have no interval."
    )
    columns = (
        Column("attribute", "Attribute"),
        Column("groups", "Groups", 0),
        Column("n", "Photos", 0),
        Column("score", in_unit("Bias score", head), 2),
        Column("chance", _chance_title(content), 2),
    )
    return Table("chalearn", "ChaLearn bias scores", columns, rows, note) if rows else None


def _chance_title(content: ReportContent) -> str:
    """Return the heading of what gaps come to where no group has one of its own."""
    different = equal_words(content.assessment.adjust_for).replace(" at equal", " and different")
    return f"Chance{different or ' alone'} (95th percentile)"


def _group_table(content: ReportContent, head: Head, columns: tuple[str, ...], rows: Sequence[Row]) -> Table:
    if isinstance(head, Regression):
        name, wanted = f"{capitalised(head.title)} error", _regression_columns(content, head)
    else:
        name, wanted = f"{capitalised(head.title)} accuracy", _classification_columns(content, head)
    kept = {id(row) for row in sorted(rows, key=lambda row: -row.values["n"])[:MOST_ROWS]}
    return Table(
        f"{identifier(columns)}-{head.name}",
        f"{name} by {grouping.title(columns)}",
        known_columns(wanted, rows),
        [row for row in rows if id(row) in kept],
        can_filter=len(rows) > 6,
        hidden_rows=[row for row in rows if id(row) not in kept],
    )


def _regression_columns(content: ReportContent, head: Regression) -> list[Column]:
    digits, equal = content.digits(head), equal_words(content.assessment.adjust_for)
    near = [
        Column(f"within_{size:g}", in_unit(f"Within ±{size:g}", head).replace(",", ""), 0, is_percent=True)
        for size in head.tolerances[-1:]
    ]
    return [
        _GROUP,
        _COUNT,
        Column("mae", in_unit("MAE", head), digits, hint="mean absolute error"),
        Column("mae_gap", in_unit("Gap to the rest", head), digits, "above 0: worse than the other groups", True),
        Column("mae_gap_same_age", in_unit(f"Gap{equal}", head), digits, _LEFT, is_signed=True),
        _P,
        Column("signed_error", in_unit("Mean error", head), digits, f"above 0: judged too {too(head)[0]}", True),
        *near,
        _SHARE,
    ]


def _classification_columns(content: ReportContent, head: Classification) -> list[Column]:
    equal = equal_words(content.assessment.adjust_for)
    recalls = [
        Column(
            f"recall_{slug(name)}",
            f"Recall of “{name}”",
            1,
            hint=f"labelled {name} and predicted {name}",
            is_percent=True,
        )
        for name in head.classes
        if len(head.classes) <= MOST_RECALLS
    ]
    return [
        _GROUP,
        _COUNT,
        Column(f"{head.name}_accuracy", "Accuracy", 1, is_percent=True),
        Column(f"{head.name}_gap", "Gap to the rest, points", 1, "percentage points; below 0: worse", True),
        Column(f"{head.name}_gap_same_age", f"Gap{equal}, points", 1, _LEFT, is_signed=True),
        _P,
        *recalls,
        _SHARE,
    ]


def _values(
    head: Head, group: Group, results: Mapping[str, GroupResult], shares: Mapping[tuple[str, ...], float]
) -> dict[str, Any]:
    estimates = {}
    for metric in head.metrics:
        found = (
            {other.values: other.estimate for other in results[metric.name].groups} if metric.name in results else {}
        )
        key = f"{head.name}_accuracy" if metric.short == "accuracy" else metric.short
        estimates[key] = found.get(group.values)
    prefix, scale = ("mae", 1) if isinstance(head, Regression) else (head.name, 100)
    return {
        "group": group.name,
        "n": group.n,
        "training_share": shares.get(group.values, 0.0 if shares else None),
        f"{prefix}_gap": group.gap_to_rest.scaled(scale),
        f"{prefix}_gap_same_age": group.adjusted_gap.scaled(scale),
        "p_corrected": group.p_corrected,
        **estimates,
    }


def _gap_values(content: ReportContent, head: Head, result: GroupResult) -> dict[str, Any]:
    gap = result.largest_gap
    assert gap is not None
    scale, unit, digits = 1.0, result.unit, 1
    if result.unit == "share":
        scale, unit = 100.0, "points"
    elif isinstance(head, Regression):
        digits = content.digits(head)
    where = "" if head.title in result.title or is_first_of_kind(head, content.heads) else f" in {head.title}"
    return {
        "metric": f"{result.title}{where}",
        "grouping": grouping.title(result.columns),
        "gap": f"{gap.value * scale:.{digits}f} {unit}".rstrip(),
        "null_95": f"{gap.null_95 * scale:.{digits}f} {unit}".rstrip(),
        "times_chance": gap.value / gap.null_95 if gap.null_95 > 0 else None,
        "p_value": gap.p_value,
        "between": f"{gap.lowest} and {gap.highest}",
    }


def _counts(pairs: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    counts = pd.crosstab(pairs["labelled"], pairs["predicted"])
    return counts.reindex(index=list(names), columns=list(names), fill_value=0).to_numpy(dtype=np.int64)
