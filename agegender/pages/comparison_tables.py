"""The tables of a comparison: leaderboard, groups before and after, bias scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from agegender.audit import grouping
from agegender.audit.comparison_sentences import digits_of
from agegender.audit.estimates import Estimate
from agegender.audit.models_compared import PairedComparison
from agegender.audit.words import FEW, capitalised, count, in_unit
from agegender.heads import KNOWN_HEADS, Classification, Head, Regression
from agegender.pages.tables import Column, Row, Table, known_columns
from agegender.settings import SMALL_GROUP

_BIAS = "bias_"
_P_KEYS = {"p_corrected": "p", "signed_p_corrected": "p_signed", "gap_p_corrected": "p_gap"}
_TALL = 6  # rows from which a table can be filtered


def leaderboard_table(board: pd.DataFrame, heads: Sequence[Head] = KNOWN_HEADS) -> Table:
    """Return the leaderboard as a page's table; scores that no model has are left out."""
    columns = [Column("model", "Model"), Column("n", "Photos", 0), Column("average_rank", "Average rank", 2)]
    columns += [column for name in map(str, board.columns) if (column := _score_column(name, heads))]
    rows = [Row({str(key): value for key, value in record.items()}) for record in board.to_dict("records")]
    ranked = "MAE and the bias scores, as the ChaLearn course does; lower is better"
    if not any(column.key.startswith(_BIAS) for column in columns):
        ranked = "the main score of each head; lower is better"
    note = f"Ordered by the average of the ranks in {ranked}. These scores have no interval."
    return Table("leaderboard", "Models by average rank", known_columns(columns, rows), rows, note)


def _score_column(name: str, heads: Sequence[Head]) -> Column | None:
    """Return a score's column; a head that one model alone has is known by the score's name only."""
    if name.startswith("rank_"):
        return None
    if name.startswith(_BIAS):
        return Column(name, f"Bias, {name.removeprefix(_BIAS).replace('_', ' ')}", 2)
    head_name, _, score = name.rpartition("_")
    title = capitalised(head_name.replace("_", " "))
    if score == "accuracy":
        return Column(name, f"{title} accuracy", 1, is_percent=True)
    if score != "mae":
        return None
    numbers = [head for head in heads if isinstance(head, Regression)]
    head = next((one for one in numbers if one.name == head_name or (one.has_bands and not head_name)), None)
    words = f"{title}: MAE" if title else "MAE"
    return Column(name, words if head is None else in_unit(words, head), 2)


def group_table(
    place: str, names: tuple[str, str], head: Head, pair: PairedComparison, *, hide_faces: bool = False
) -> Table | None:
    """Return every group by one head: either model's figures, and what changes."""
    groups, digits = pair.changes[head.name].by_group, digits_of(head, pair)
    least = FEW if hide_faces else 1
    columns = [Column("column", "Grouping"), Column("group", "Group"), Column("n", "Photos", 0)]
    columns += _regression_columns(head, names, digits) if isinstance(head, Regression) else _class_columns(head, names)
    rows = [
        Row(
            {"column": grouping.title((str(record["column"]),)), "group": str(record["group"]), "n": int(record["n"])}
            | _group_values(head, record, hides_few=hide_faces),
            bool(record["n"] < SMALL_GROUP),
        )
        for record in groups.to_dict("records")
        if record["n"] >= least
    ]
    if not rows:
        return None
    kept = "" if pair.cluster_count is None else f" {count(pair.cluster_count)} persons or twins are kept whole."
    note = (
        f"Intervals and p-values of changes hold for all {count(len(groups))} groups and every head of this pair "
        f"together: of two equally good models any group is said to change in 5 of 100 comparisons. Those of one model "
        f"are single 95 % intervals; small groups are grey.{kept}"
    )
    identifier = f"groups-{place}-{head.name.replace('_', '-')}"
    caption = f"{capitalised(head.title)}, group by group: {names[0]} and {names[1]}"
    return Table(identifier, caption, known_columns(columns, rows), rows, note, len(rows) > _TALL)


def _regression_columns(head: Regression, names: tuple[str, str], digits: int) -> list[Column]:
    columns = []
    for kind, title, change, p_key in (
        ("mae", "MAE", "error_difference", "p"),
        ("signed", "Mean error", "signed_difference", "p_signed"),
        ("gap", "MAE minus the rest's", "gap_difference", "p_gap"),
    ):
        is_signed = kind != "mae"
        columns += [
            Column(f"{kind}_{which}", in_unit(f"{title} of {name}", head), digits, is_signed=is_signed)
            for which, name in zip(("first", "second"), names, strict=True)
        ]
        columns += [
            Column(change, "Change", digits, is_signed=True),
            Column(p_key, "p (corrected)", 3, is_p_value=True),
        ]
    return columns


def _class_columns(head: Classification, names: tuple[str, str]) -> list[Column]:
    columns = []
    for kind, title, change, p_key in (
        ("accuracy", f"{capitalised(head.title)} accuracy, %", "accuracy_difference", "p"),
        ("gap", "Accuracy minus the rest's, points", "gap_difference", "p_gap"),
    ):
        columns += [
            Column(f"{kind}_{which}", f"{title}, {name}", 1, is_signed=kind == "gap")
            for which, name in zip(("first", "second"), names, strict=True)
        ]
        columns += [
            Column(change, "Change, points", 1, is_signed=True),
            Column(p_key, "p (corrected)", 3, is_p_value=True),
        ]
    return [*columns, Column("mended", "Mended", 0), Column("broken", "Broken", 0)]


def _group_values(head: Head, record: Mapping[Any, Any], *, hides_few: bool) -> dict[str, Any]:
    scale = 100.0 if isinstance(head, Classification) else 1.0
    values: dict[str, Any] = {}
    for name, value in record.items():
        if f"{name}_low" in record:
            values[str(name)] = Estimate(*(float(record[f"{name}{end}"]) for end in ("", "_low", "_high"))).scaled(
                scale
            )
        elif str(name).endswith("p_corrected"):
            values[_P_KEYS[str(name)]] = value
        elif name in ("mended", "broken"):
            values[str(name)] = f"<{FEW}" if hides_few and 0 < value < FEW else int(value)
    return values


def bias_score_table(place: str, names: tuple[str, str], head: Regression, pair: PairedComparison) -> Table | None:
    """Return ChaLearn's bias scores before and after, each beside what chance alone would make of it."""
    columns = [Column("attribute", "Bias score by"), Column("n", "Photos", 0)]
    for which, name in zip(("first", "second"), names, strict=True):
        columns += [
            Column(which, in_unit(name, head), 2),
            Column(f"chance_{which}", f"Chance level of {name}", 2),
        ]
    columns.append(Column("difference", in_unit("Change", head), 2, is_signed=True))
    rows = [
        Row(
            {
                "attribute": f"{one.attribute} ({one.groups} groups)", "n": one.n,
                "first": one.first, "second": one.second,
                "chance_first": one.chance_first, "chance_second": one.chance_second, "difference": one.difference,
            }
        )
        for one in pair.bias
    ]  # fmt: skip
    note = (
        "Mean difference of MAE over all pairs of groups, as the ChaLearn course scores; 0 is best. Chance levels are "
        "what a model without any gap reaches in 5 of 100 deals among faces of one age, and have no interval: a score "
        "below its chance level is no evidence of a gap, and such a score, with its interval, stands above the truth. "
        "Each change is one question with a 95 % interval of its own."
    )
    return (
        Table(f"bias-{place}", f"ChaLearn bias scores: {names[0]} and {names[1]}", columns, rows, note)
        if rows
        else None
    )
