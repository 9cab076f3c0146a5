"""`compare.html`: which model is better, for whom, how sure that is, and on which faces it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from agegender.audit import grouping
from agegender.audit.assessment import Assessment
from agegender.audit.estimates import Estimate
from agegender.audit.models_compared import ClassChange, NumberChange, PairedComparison, change_column
from agegender.heads import KNOWN_HEADS, Classification, Head, Regression
from agegender.pages import charts
from agegender.pages.galleries import PhotoShelf, Strip
from agegender.pages.page_writing import ReportContent, write_page
from agegender.pages.tables import Column, Row, Table, known_columns
from agegender.pages.words import (
    FEW,
    about,
    capitalised,
    count,
    in_unit,
    interval,
    number,
    own_id,
    p_value,
)
from agegender.settings import SMALL_GROUP

FACES_EACH = 12
_MOST_LINES = 24
_BIAS = "bias_"


def write_comparison(
    path: Path,
    *,
    board: pd.DataFrame,
    pairs: Mapping[str, PairedComparison],
    first: str,
    photos_root: Path | None = None,
    hide_faces: bool = False,
) -> Path:
    """Write `compare.html` to `path`, whole or not at all; return the path."""
    faces = [pair.faces for pair in pairs.values()]
    is_drawn = bool(faces) and all("source" in rows and bool((rows["source"] == "drawn_faces").all()) for rows in faces)
    heads = tuple(dict.fromkeys(head for pair in pairs.values() for head in pair.heads))
    rows = faces[0] if faces else pd.DataFrame()
    content = ReportContent(Assessment(rows, heads, title=first, is_drawn=is_drawn), photos_root, hide_faces=hide_faces)
    shelf = PhotoShelf(content)
    sections = [_section(place, name, pair, content, shelf) for place, (name, pair) in enumerate(pairs.items())]
    return write_page(
        path,
        "compare.html",
        title=f"Which model, and for whom? {len(board)} models",
        is_drawn=is_drawn,
        cautions=content.cautions,
        hide_faces=hide_faces,
        has_photos=photos_root is not None,
        first=first,
        board=leaderboard_table(board, heads),
        overview=_overview(pairs, content),
        pairs=sections,
        sections=[
            ("board", "Leaderboard"),
            *((section["anchor"], section["name"]) for section in sections),
            ("methods", "Methods"),
        ],
    )


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
    if name.startswith(_BIAS):
        return Column(name, f"Bias, {name.removeprefix(_BIAS).replace('_', ' ')}", 2)
    head_name, _, score = name.rpartition("_")
    title = capitalised(head_name.replace("_", " "))
    if score == "accuracy":
        return Column(name, f"{title} accuracy", 1, is_percent=True)
    if score != "mae" or name.startswith("rank_"):
        return None
    numbers = [head for head in heads if isinstance(head, Regression)]
    head = next((one for one in numbers if one.name == head_name or (one.has_bands and not head_name)), None)
    words = f"{title}: MAE" if title else "MAE"
    return Column(name, words if head is None else in_unit(words, head), 2)


def _overview(pairs: Mapping[str, PairedComparison], content: ReportContent) -> list[Markup]:
    """Return the difference of each model from the first, one drawing per regression."""
    drawings, first = [], content.assessment.title
    for head in content.regressions:
        changes = {name: pair.changes.get(head.name) for name, pair in pairs.items()}
        values = {
            name: one.error_difference for name, one in changes.items() if isinstance(one, NumberChange) and one.n
        }
        if not values:
            continue
        told = "; ".join(f"{name}: {interval(value, 2, signed=True)}" for name, value in values.items())
        where = about(head, content.heads)
        what = f"MAE{where}" if where else "Mean absolute error"
        drawing = charts.forest_chart(
            list(values),
            list(values.values()),
            title=charts.shortened(f"{what} minus that of {first}", 44),
            x_label=f"{head.unit}; left of the line: better".removeprefix("; "),
            description=f"Difference of MAE{where} against {first}, in {head.unit or 'its unit'}. {told}",
            null_value=0.0,
            is_faint=[False] * len(values),
        )
        drawings.append(drawing)
    return drawings


def _section(
    place: int, name: str, pair: PairedComparison, content: ReportContent, shelf: PhotoShelf
) -> dict[str, Any]:
    """Return one model held against the first: sentences, drawings, the table of groups, faces."""
    sentences = [_sentence(head, pair, name, content) for head in pair.heads]
    return {
        "anchor": f"pair-{place}",
        "name": name,
        "sentences": [sentence for sentence in sentences if sentence],
        "drawings": [drawing for head in pair.heads for drawing in _group_forests(head, pair, content)],
        "table": _group_table(place, name, pair, content),
        "strips": [strip for head in pair.heads for strip in _strips(head, pair, content, shelf)],
    }


def _sentence(head: Head, pair: PairedComparison, name: str, content: ReportContent) -> str:
    change, clusters = pair.changes[head.name], pair.cluster_count
    if not change.n:
        return ""
    if isinstance(change, NumberChange) and isinstance(head, Regression):
        value, first = change.error_difference, content.assessment.title
        digits = content.digits(head, 2)
        words = f"{interval(value, digits, signed=True)} {head.unit}".rstrip()
        clear = value.high < 0 or value.low > 0
        verdict = f"{name} is {'better' if value.value < 0 else 'worse'}" if clear else "no difference beyond chance"
        return (
            f"Mean absolute {head.title} error: {words} against {first} on {count(change.n)} shared photos; {verdict}."
        )
    assert isinstance(change, ClassChange)
    verdict = "more than chance" if change.mcnemar_p_value < 0.05 else "no more than chance makes"
    p = p_value(change.mcnemar_p_value)
    test = "exact McNemar p" if clusters is None else "exact p, persons kept whole,"
    points = interval(change.accuracy_difference.scaled(100.0), 1, signed=True)
    return (
        f"{capitalised(head.title)} labels: {count(change.mended)} mended and {count(change.broken)} broken of "
        f"{count(change.n)}, {verdict} ({test} {p if p.startswith('<') else f'= {p}'}); accuracy changes by {points} "
        f"points."
    )


def _group_forests(head: Head, pair: PairedComparison, content: ReportContent) -> list[Markup]:
    change = pair.changes[head.name]
    if not isinstance(change, NumberChange) or not isinstance(head, Regression):
        return []
    drawings, least = [], FEW if content.hide_faces else 1
    for column, rows in change.by_group.groupby("column", sort=False):
        shown = rows[rows["n"] >= least].nlargest(_MOST_LINES, "n").sort_index()
        if len(shown) < 2:
            continue
        ends = shown[["error_difference", "error_difference_low", "error_difference_high"]].to_numpy(float)
        drawing = charts.forest_chart(
            [f"{group} ({count(n)})" for group, n in zip(shown["group"], shown["n"], strict=True)],
            [Estimate(*row) for row in ends],
            title=f"By {grouping.title((str(column),))}{about(head, content.heads, ': ')}",
            x_label=f"{head.unit}; left of the line: better".removeprefix("; "),
            description=f"Difference of MAE by {column}, corrected intervals; figures in the table below.",
            null_value=0.0,
            is_faint=[bool(n < SMALL_GROUP) for n in shown["n"]],
        )
        drawings.append(drawing)
    return drawings


def _group_table(place: int, name: str, pair: PairedComparison, content: ReportContent) -> Table | None:
    columns = [Column("column", "Grouping"), Column("group", "Group"), Column("n", "Photos", 0)]
    values: dict[tuple[str, str], dict[str, Any]] = {}
    for head in pair.heads:
        change = pair.changes[head.name]
        columns += _change_columns(head, content)
        for record in change.by_group.to_dict("records"):
            row = values.setdefault((str(record["column"]), str(record["group"])), {"n": 0})
            row["n"] = max(row["n"], int(record["n"]))
            row |= _change_values(head, record, content)
    rows = [
        Row({"column": grouping.title((column,)), "group": group} | row, row["n"] < SMALL_GROUP)
        for (column, group), row in values.items()
        if not content.hide_faces or row["n"] >= FEW
    ]
    kept = "" if pair.cluster_count is None else f" {count(pair.cluster_count)} persons or twins are kept whole."
    note = (
        f"Brackets and p-values hold for all {count(len(values))} groups of this table together: of two equally good "
        f"models any group is said to gain or lose in 5 of 100 comparisons.{kept}"
    )
    caption = f"{name}, group by group"
    if not rows:
        return None
    return Table(f"groups-{place}", caption, known_columns(columns, rows), rows, note, len(rows) > 6)


def _change_columns(head: Head, content: ReportContent) -> list[Column]:
    if isinstance(head, Regression):
        title = in_unit(f"Change of MAE{about(head, content.heads)}", head)
        return [Column(own_id("difference", head, content.heads), title, content.digits(head, 2), is_signed=True)]
    name = capitalised(head.title)
    keys = [own_id(key, head, content.heads) for key in ("mended", "broken", "accuracy", "p")]
    return [
        Column(keys[0], f"{name}s mended", 0),
        Column(keys[1], f"{name}s broken", 0),
        Column(keys[2], f"Change of {head.title} accuracy, points", 1, is_signed=True),
        Column(keys[3], f"p (corrected){about(head, content.heads)}", 3, is_p_value=True),
    ]


def _change_values(head: Head, record: Mapping[Any, Any], content: ReportContent) -> dict[str, Any]:
    if isinstance(head, Regression):
        ends = (record["error_difference"], record["error_difference_low"], record["error_difference_high"])
        return {own_id("difference", head, content.heads): Estimate(*ends)}
    change = Estimate(*(record[f"accuracy_difference{end}"] for end in ("", "_low", "_high")))
    values = {"mended": record["mended"], "broken": record["broken"], "p": record["p_corrected"]}
    values["accuracy"] = change.scaled(100.0)
    if content.hide_faces and any(0 < values[key] < FEW for key in ("mended", "broken")):
        values = {key: f"<{FEW}" if 0 < values[key] < FEW else values[key] for key in ("mended", "broken")}
    return {own_id(key, head, content.heads): value for key, value in values.items()}


def _strips(head: Head, pair: PairedComparison, content: ReportContent, shelf: PhotoShelf) -> list[Strip]:
    """Return the faces that changed most; of classes only for a model that predicts nothing else."""
    where = about(head, content.heads)
    named = [("Mended: much closer than before", pair.mended), ("Broken: much further off than before", pair.broken)]
    if isinstance(head, Classification):
        if content.regressions:
            return []
        named = [
            (f"{capitalised(head.title)} label mended", pair.mended),
            (f"{capitalised(head.title)} label broken", pair.broken),
        ]
    found = []
    for title, choose in named:
        rows = choose(head, FACES_EACH)
        shown = tuple(shelf.photo(row, head, *_told(head, row)) for row in rows.to_dict("records"))
        if shown:
            found.append(Strip(f"{title}{where}", shown))
    return found


def _told(head: Head, row: Mapping[Any, Any]) -> tuple[str, tuple[str, str]]:
    """Return the headline of a face in a comparison, and what stands below its label."""
    if isinstance(head, Classification):
        before, now = (row[f"{head.predicted}_{which}"] for which in ("first", "second"))
        return str(row[change_column(head)]), (f"{before} before", f"{now} now")
    before, now = (float(row[f"{head.absolute_error_column}_{which}"]) for which in ("first", "second"))
    digits = 0 if head.has_bands or max(before, now) >= 10 else 1
    unit = f" {head.unit}" if head.unit else ""
    headline = f"{number(row[change_column(head)], digits, signed=True)}{unit}"
    return headline, (f"off by {number(before, digits)} before", f"off by {number(now, digits)} now")
