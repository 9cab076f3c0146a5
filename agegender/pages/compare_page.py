"""Owns `compare.html`: which model is better, for whom, how sure that is, and on which faces it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from agegender.audit.comparison import PairedComparison
from agegender.audit.comparisons import TITLES
from agegender.audit.judged import Audit
from agegender.data.faces_table import FacesTable
from agegender.pages import charts
from agegender.pages.galleries import Photo, PhotoShelf, Strip
from agegender.pages.page_writing import write_page
from agegender.pages.tables import Column, Row, Table
from agegender.pages.words import SMALL_GROUP, Interval, count, interval, number, p_value

FACES_EACH = 12
_MOST_LINES = 24
_SCORES = {
    "mae": "MAE, years",
    "bias_gender": "Bias, gender",
    "bias_age": "Bias, age",
    "bias_ethnicity": "Bias, ethnicity",
    "bias_expression": "Bias, expression",
}


@dataclass(frozen=True)
class PairSection:
    """One model held against the first."""

    anchor: str
    name: str
    sentences: Sequence[str]
    drawings: Sequence[Markup]
    table: Table | None
    strips: Sequence[Strip]


def write_comparison(
    path: Path,
    *,
    board: pd.DataFrame,
    pairs: Mapping[str, PairedComparison],
    first: str,
    faces: FacesTable | None = None,
    hide_faces: bool = False,
) -> Path:
    """Write `compare.html` to `path`, whole or not at all; return the path.

    Parameters
    ----------
    board : DataFrame
        From `metrics.comparison.leaderboard`.
    pairs : mapping
        Name of each further model -> what it changes against `first`.
    faces : FacesTable or None
        Where the photos lie, for the galleries.

    Raises
    ------
    OutputError
        The place can't be written to.
    """
    shown = [pair.faces for pair in pairs.values()]
    is_drawn = bool(shown) and all(_is_drawn(rows) for rows in shown)
    audit = Audit(pd.DataFrame(), first, faces, hide_faces=hide_faces, is_drawn=is_drawn)
    shelf = PhotoShelf(audit)
    sections = [_section(place, name, pair, first, shelf) for place, (name, pair) in enumerate(pairs.items())]
    return write_page(
        path,
        "compare.html",
        title=f"Which model, and for whom? {len(board)} models",
        is_drawn=is_drawn,
        hide_faces=hide_faces,
        has_photos=faces is not None,
        first=first,
        board=leaderboard_table(board),
        overview=_overview(pairs, first),
        pairs=sections,
        sections=[
            ("board", "Leaderboard"),
            *((section.anchor, section.name) for section in sections),
            ("methods", "Methods"),
        ],
    )


def leaderboard_table(board: pd.DataFrame) -> Table:
    """Return the leaderboard as a page's table; scores that no model has are left out."""
    known = [key for key in _SCORES if board[key].notna().any()]
    columns = [Column("model", "Model"), Column("n", "Photos", 0), Column("average_rank", "Average rank", 2)]
    columns += [Column(key, _SCORES[key], 2) for key in known]
    if board["gender_accuracy"].notna().any():
        columns.append(Column("gender_accuracy", "Gender accuracy", 1, is_percent=True))
    keys = [column.key for column in columns]
    rows = [Row({str(key): value for key, value in record.items()}) for record in board[keys].to_dict("records")]
    note = (
        "Ordered by the average of the ranks in MAE and the bias scores, as the ChaLearn course does; lower is better."
    )
    return Table("leaderboard", "Models by average rank", columns, rows, note)


def _overview(pairs: Mapping[str, PairedComparison], first: str) -> list[Markup]:
    if not pairs:
        return []
    values = [_difference(pair) for pair in pairs.values()]
    told = "; ".join(f"{name}: {interval(value, 2, signed=True)}" for name, value in zip(pairs, values, strict=True))
    drawing = charts.forest_chart(
        list(pairs),
        values,
        title=charts.shortened(f"Mean absolute error minus that of {first}", 44),
        x_label="years; left of the line: better",
        description=f"Difference of MAE against {first}, in years. {told}",
        null_value=0.0,
        is_faint=[False] * len(values),
    )
    return [drawing]


def _section(place: int, name: str, pair: PairedComparison, first: str, shelf: PhotoShelf) -> PairSection:
    strips = (
        ("Mended: much closer than before", pair.mended(FACES_EACH)),
        ("Broken: much further off than before", pair.broken(FACES_EACH)),
    )
    return PairSection(
        f"pair-{place}",
        name,
        _sentences(name, pair, first),
        _group_forests(pair),
        _group_table(place, name, pair),
        [Strip(title, _photos(rows, shelf)) for title, rows in strips if len(rows)],
    )


def _sentences(name: str, pair: PairedComparison, first: str) -> list[str]:
    value, sentences = _difference(pair), []
    if pair.n:
        words = f"{interval(value, 2, signed=True)} years against {first} on {count(pair.n)} shared photos"
        clear = value.high < 0 or value.low > 0
        verdict = f"{name} is {'better' if value.estimate < 0 else 'worse'}" if clear else "no difference beyond chance"
        sentences.append(f"Mean absolute age error: {words}; {verdict}.")
    if pair.gender_n:
        verdict = "more than chance" if pair.mcnemar_p_value < 0.05 else "no more than chance makes"
        sentences.append(
            f"Gender labels: {count(pair.mended_genders)} mended and {count(pair.broken_genders)} broken of "
            f"{count(pair.gender_n)}, {verdict} (exact McNemar p {_p_words(pair.mcnemar_p_value)})."
        )
    return sentences


def _group_forests(pair: PairedComparison) -> list[Markup]:
    drawings = []
    for column, rows in pair.by_group.groupby("column", sort=False):
        shown = rows[rows["n"] > 0].nlargest(_MOST_LINES, "n").sort_index()
        if len(shown) < 2:
            continue
        ends = shown[["error_difference", "error_difference_low", "error_difference_high"]].to_numpy()
        drawing = charts.forest_chart(
            [f"{group} ({count(n)})" for group, n in zip(shown["group"], shown["n"], strict=True)],
            [Interval(*row) for row in ends],
            title=f"By {TITLES.get(str(column), str(column))}",
            x_label="years; left of the line: better",
            description=f"Difference of MAE by {column}; figures in the table below.",
            null_value=0.0,
            is_faint=[bool(n < SMALL_GROUP) for n in shown["n"]],
        )
        drawings.append(drawing)
    return drawings


def _group_table(place: int, name: str, pair: PairedComparison) -> Table | None:
    columns = (
        Column("column", "Grouping"),
        Column("group", "Group"),
        Column("n", "Photos", 0),
        Column("difference", "Change of MAE, years", 2, is_signed=True),
        Column("mended", "Genders mended", 0),
        Column("broken", "Genders broken", 0),
        Column("p", "p (McNemar)", 3, is_p_value=True),
    )
    rows = [Row(_group_values(record), record["n"] < SMALL_GROUP) for record in pair.by_group.to_dict("records")]
    note = "Brackets: 95 % interval, paired photo by photo. p-values aren't corrected for how many there are."
    return Table(f"groups-{place}", f"{name}, group by group", columns, rows, note, len(rows) > 6) if rows else None


def _group_values(record: Mapping[Any, Any]) -> dict[str, Any]:
    ends = (record["error_difference"], record["error_difference_low"], record["error_difference_high"])
    return {
        "column": TITLES.get(record["column"], record["column"]),
        "group": record["group"],
        "n": record["n"],
        "difference": Interval(*ends),
        "mended": record["mended_genders"],
        "broken": record["broken_genders"],
        "p": record["mcnemar_p_value"],
    }


def _photos(rows: pd.DataFrame, shelf: PhotoShelf) -> tuple[Photo, ...]:
    return tuple(
        shelf.compared(
            row,
            f"{number(row['error_change_years'], 0, signed=True)} years",
            (
                f"off by {number(row['absolute_error_first_years'], 0)} before",
                f"off by {number(row['absolute_error_second_years'], 0)} now",
            ),
        )
        for row in rows.to_dict("records")
    )


def _difference(pair: PairedComparison) -> Interval:
    found = pair.error_difference
    return Interval(found.value, found.low, found.high)


def _p_words(value: float) -> str:
    words = p_value(value)
    return words if words.startswith("<") else f"= {words}"


def _is_drawn(rows: pd.DataFrame) -> bool:
    return "source" in rows and bool((rows["source"] == "drawn_faces").all())
