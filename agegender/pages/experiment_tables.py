"""Tables about the models as they were made: experiments side by side, and trained on against judged on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from agegender.audit.estimates import Estimate
from agegender.audit.words import capitalised, count, interval, number
from agegender.heads import Head, Regression
from agegender.pages.tables import Column, Row, Table, known_columns

_MOST_SETTINGS = 40


@dataclass(frozen=True)
class Grid:
    """How models do by one head on sets of photos: a cell is its lines and whether photos and model are of one set."""

    caption: str
    judged_on: Sequence[str]
    rows: Sequence[tuple[str, str, Sequence[tuple[Sequence[str], bool]]]]


def experiment_table(experiments: Sequence[Mapping[str, Any]], heads: Sequence[Head]) -> Table | None:
    """Return the trainings side by side, the settings in which they differ as columns."""
    if not any(one.get("trained_on") or one.get("parameters") for one in experiments):
        return None
    settings = list(dict.fromkeys(key for one in experiments for key in one["settings"]))
    columns = [Column("model", "Model"), Column("trained_on", "Trained on"), Column("photos", "Training photos", 0)]
    names = list(dict.fromkeys(name for one in experiments for side in ("valid", "test") for name in one[side]))
    for name in names:
        columns += [_score_column(name, side, heads) for side in ("valid", "test")]
    columns += [
        Column("parameters", "Parameters, millions", 2), Column("megabytes", "Weights, MB", 1),
        Column("macs", "MACs a photo, millions", 0), Column("ms", "ms a photo", 2),
        *(Column(f"setting {key}", key.replace("_", " ")) for key in settings[:_MOST_SETTINGS]),
    ]  # fmt: skip
    rows = [Row(_experiment(one, settings)) for one in experiments]
    note = (
        "From the models' cards. These figures have no interval; valid photos have chosen the epoch, so their figures "
        "flatter. MACs: multiplications with an addition, in convolutions and linear layers. Behind these columns: "
        "every setting in which the trainings differ."
    )
    if any("ms" in one for one in experiments):
        note += " Time: the network alone, 32 photos at once, on the machine that made this page."
    return Table("experiment-table", "Experiments side by side", known_columns(columns, rows), rows, note)


def _experiment(one: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    values = {key: one.get(key) for key in ("model", "trained_on", "photos", "megabytes", "ms")}
    values |= {key: None if one.get(key) is None else one[key] / 1e6 for key in ("parameters", "macs")}
    values |= {f"{side} {name}": value for side in ("valid", "test") for name, value in one[side].items()}
    return values | {f"setting {key}": one["settings"].get(key) or None for key in settings}


def _score_column(name: str, side: str, heads: Sequence[Head]) -> Column:
    head_name, _, score = name.rpartition("_")
    head = next((one for one in heads if one.name == head_name), None)
    title = f"{capitalised(head_name.replace('_', ' '))} {'MAE' if score == 'mae' else score}"
    unit = f", {head.unit}" if isinstance(head, Regression) and head.unit else ""
    return Column(f"{side} {name}", f"{title}{unit}, {side}", 1 if score == "accuracy" else 2,
                  is_percent=score == "accuracy")  # fmt: skip


def judged_grids(matrix: pd.DataFrame) -> list[Grid]:
    """Return, head by head, models as rows and sets of photos as columns."""
    grids = []
    sets = list(dict.fromkeys(matrix["judged_on"]))
    for head, rows in matrix.groupby("head", sort=False):
        found = {(row["model"], row["judged_on"]): row for row in rows.to_dict("records")}
        lines = [
            (str(model), str(trained_on), [_cell(found.get((model, one))) for one in sets])
            for model, trained_on in dict.fromkeys(zip(rows["model"], rows["trained_on"], strict=True))
        ]
        is_rate = rows["unit"].iloc[0] == "share"
        what = "accuracy" if is_rate else f"mean absolute error, {rows['unit'].iloc[0]}".rstrip(", ")
        grids.append(Grid(f"{capitalised(str(head).replace('_', ' '))}: {what}", sets, lines))
    return grids


def _cell(row: Mapping[Any, Any] | None) -> tuple[list[str], bool]:
    if row is None:
        return [], False
    if not row["n"]:
        return ["no labels"], bool(row["is_own"])
    is_rate = row["unit"] == "share"
    value = Estimate(row["value"], row["low"], row["high"])
    lines = [interval(value, 1 if is_rate else 2, is_percent=is_rate)]
    if not is_rate:
        lines.append(f"mean error {number(row['mean_error'], 2, signed=True)}")
    return [*lines, f"{count(row['n'])} photos"], bool(row["is_own"])


def judged_long_table(matrix: pd.DataFrame) -> Table:
    """Return the same as one row per model, set of photos and head, for the downloads."""
    columns = [Column(str(name), str(name)) for name in matrix.columns]
    rows = [Row({str(key): value for key, value in record.items()}) for record in matrix.to_dict("records")]
    return Table("judged-table", "Trained on against judged on", columns, rows)
