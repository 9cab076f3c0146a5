"""`compare.html`: which model is better, for whom, how sure that is, and on which faces it shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from agegender.audit.assessment import Assessment
from agegender.audit.comparison_sentences import CLAIMED, Answer, group_sentences, headline, unit_of
from agegender.audit.estimates import Estimate
from agegender.audit.models_compared import NumberChange, PairedComparison, change_column
from agegender.audit.words import FEW, about, capitalised, count, interval, number
from agegender.heads import Classification, Head, Regression
from agegender.pages.charts import captioned
from agegender.pages.comparison_charts import dumbbell_chart, errors_chart
from agegender.pages.comparison_tables import bias_score_table, group_table, leaderboard_table
from agegender.pages.experiment_tables import experiment_table, judged_grids, judged_long_table
from agegender.pages.galleries import PhotoShelf, Strip
from agegender.pages.page_writing import ReportContent, write_page

FACES_EACH = 12
_MOST_LINES = 24


@dataclass(frozen=True)
class JudgedSet:
    """Models on one set of photos.

    Attributes
    ----------
    board : DataFrame
        See `audit.leaderboard`.
    pairs : mapping of name to PairedComparison
        Further models against the first.
    first : str
    name : str
        Of the photos, where there are several sets.
    leaders : sequence of str
        Which of many models does best by each head.
    notes : sequence of str
        What is to be said of the photos.
    photos_root : Path or None
    """

    board: pd.DataFrame
    pairs: Mapping[str, PairedComparison]
    first: str
    name: str = ""
    leaders: Sequence[str] = ()
    notes: Sequence[str] = ()
    photos_root: Path | None = None


def write_comparison(
    path: Path,
    *,
    board: pd.DataFrame,
    pairs: Mapping[str, PairedComparison],
    first: str,
    photos_root: Path | None = None,
    hide_faces: bool = False,
) -> Path:
    """Write `compare.html` of one set of photos to `path`, whole or not at all; return the path."""
    judged = JudgedSet(board, pairs, first, photos_root=photos_root)
    return write_comparisons(path, [judged], hide_faces=hide_faces)


def write_comparisons(
    path: Path,
    judged: Sequence[JudgedSet],
    *,
    hide_faces: bool = False,
    experiments: Sequence[Mapping[str, Any]] = (),
    matrix: pd.DataFrame | None = None,
    reports: Mapping[str, str] | None = None,
) -> Path:
    """Write `compare.html` of one or several sets of photos, the first one unfolded.

    Parameters
    ----------
    experiments : sequence of mapping
        See `model.experiments.experiments`.
    matrix : DataFrame, optional
        See `api.judging.judged_table`.
    reports : mapping of str to str, optional
        Model -> address of its own report, seen from the page.
    """
    contents = [_content(one, hide_faces=hide_faces) for one in judged]
    is_drawn = all(content.assessment.is_drawn for content in contents)
    sets = [_set(place, one, content) for place, (one, content) in enumerate(zip(judged, contents, strict=True))]
    main = judged[0]
    settings = experiment_table(experiments, tuple(dict.fromkeys(head for one in contents for head in one.heads)))
    grids = [] if matrix is None or not len(matrix) else judged_grids(matrix)
    links = [("answer", "Answer")]
    links += [("judged", "Trained on × judged on")] if grids else []
    links += [(one["anchor"], one["title"]) for one in sets] if len(sets) > 1 else [
        ("board", "Leaderboard"), *((section["anchor"], section["name"]) for section in sets[0]["pairs"])
    ]  # fmt: skip
    links += [("experiments", "Experiments")] if settings else []
    return write_page(
        path,
        "compare.html",
        title=f"Which model, and for whom? {listing_of(main)}",
        is_drawn=is_drawn,
        cautions=list(dict.fromkeys(caution for content in contents for caution in content.cautions)),
        hide_faces=hide_faces,
        first=main.first,
        sets=sets,
        experiments=settings,
        grids=grids,
        grids_table=judged_long_table(matrix) if grids and matrix is not None else None,
        reports=reports or {},
        sections=[*links, ("methods", "Methods")],
    )


def listing_of(judged: JudgedSet) -> str:
    """Return the models of a page's title."""
    names = [judged.first, *judged.pairs]
    return " and ".join(names) if len(names) == 2 and sum(map(len, names)) < 60 else f"{len(names)} models"


def _content(judged: JudgedSet, *, hide_faces: bool) -> ReportContent:
    faces = [pair.faces for pair in judged.pairs.values()]
    is_drawn = bool(faces) and all("source" in rows and bool((rows["source"] == "drawn_faces").all()) for rows in faces)
    heads = tuple(dict.fromkeys(head for pair in judged.pairs.values() for head in pair.heads))
    rows = faces[0] if faces else pd.DataFrame()
    assessment = Assessment(rows, heads, title=judged.first, is_drawn=is_drawn)
    return ReportContent(assessment, judged.photos_root, hide_faces=hide_faces)


def _set(place: int, judged: JudgedSet, content: ReportContent) -> dict[str, Any]:
    """Return one set of photos: its answer, its leaderboard, a section for each pair."""
    least, shelf = FEW if content.hide_faces else 1, PhotoShelf(content)
    leaders = [Answer(rest=sentence) for sentence in judged.leaders]
    before = f"set-{place}-" if place else ""
    sections = [
        _section(f"{before}{number}", name, pair, content, shelf)
        for number, (name, pair) in enumerate(judged.pairs.items())
    ]
    board = leaderboard_table(judged.board, content.heads)
    return {
        "anchor": f"set-{place}",
        "title": judged.name or "these photos",
        "headline": [*leaders, *headline(judged.first, judged.pairs, least=least)],
        "notes": judged.notes,
        "board": replace(board, identifier=f"{before}leaderboard"),
        "pairs": sections,
        "has_photos": judged.photos_root is not None,
    }


def _section(
    place: str, name: str, pair: PairedComparison, content: ReportContent, shelf: PhotoShelf
) -> dict[str, Any]:
    """Return one model held against the first: charts, what changed for groups, tables, faces."""
    names = (content.assessment.title, name)
    tables = [group_table(place, names, head, pair, hide_faces=content.hide_faces) for head in pair.heads]
    banded = [head for head in pair.heads if isinstance(head, Regression) and head.has_bands]
    tables += [bias_score_table(place, names, head, pair) for head in banded]
    same = [head for head in pair.heads if pair.agreement[head.name].is_identical]
    return {
        "anchor": f"pair-{place}",
        "name": name,
        "sentences": group_sentences(name, pair, least=FEW if content.hide_faces else 1),
        "drawings": [
            drawing for head in pair.heads if head not in same for drawing in _drawings(head, names, pair, content)
        ],
        "shares": [
            _share_sentence(head, names, pair)
            for head in pair.heads
            if isinstance(head, Regression) and content.hide_faces and head not in same
        ],
        "tables": [table for table in tables if table],
        "strips": [strip for head in pair.heads for strip in _strips(head, pair, content, shelf)],
    }


def _share_sentence(head: Regression, names: tuple[str, str], pair: PairedComparison) -> str:
    """Say on how many photos the second model is nearer to the label, and on how many farther away."""
    change = pair.changes[head.name]
    if not isinstance(change, NumberChange) or not change.n:
        return ""
    nearer, farther = (interval(one, 1, is_percent=True) for one in (change.nearer, change.farther))
    return (
        f"{capitalised(head.title)}: {names[1]} is nearer to the label than {names[0]} on {nearer} of "
        f"{count(change.n)} photos, and farther away on {farther}."
    )


def _drawings(head: Head, names: tuple[str, str], pair: PairedComparison, content: ReportContent) -> Iterator[Markup]:
    """Yield the charts of a head: groups before and after, and the errors of both models photo by photo."""
    where = about(head, content.heads, ": ")
    if isinstance(head, Classification):
        yield from _dumbbell("accuracy", f"{capitalised(head.title)} accuracy by group, %", head, names, pair, content)
        yield from _dumbbell("gap", f"Gap in {head.title} accuracy to the rest", head, names, pair, content)
        return
    yield from _dumbbell("signed", f"Mean error by group{where}", head, names, pair, content)
    yield from _dumbbell("mae", f"Mean absolute error (MAE) by group{where}", head, names, pair, content)
    yield from _dumbbell("gap", f"MAE minus that of the rest{where}", head, names, pair, content)
    if content.hide_faces:
        return  # a point is a person
    errors = [pair.faces[f"{head.absolute_error_column}_{which}"].to_numpy(float) for which in ("first", "second")]
    known = np.isfinite(errors[0]) & np.isfinite(errors[1])
    if known.sum() > 1:
        told = _share_sentence(head, names, pair)
        drawing = errors_chart(
            errors[0][known], errors[1][known], models=names, unit=head.unit, title=f"Errors photo by photo{where}",
            description=f"{told} Points below the line: {names[1]} is nearer.",
        )  # fmt: skip
        yield captioned(drawing, told)


def _dumbbell(
    kind: str, title: str, head: Head, names: tuple[str, str], pair: PairedComparison, content: ReportContent
) -> Iterator[Markup]:
    """Yield groups before and after by one figure, sorted by the second model's, filled where a change is claimed."""
    groups, least = pair.changes[head.name].by_group, FEW if content.hide_faces else 2
    shown = groups[groups["n"] >= least].nlargest(_MOST_LINES, "n").sort_values(f"{kind}_second", ascending=False)
    if len(shown) < 2:
        return
    scale = 100.0 if isinstance(head, Classification) else 1.0
    rows: dict[str, list[Estimate]] = {}
    for which in ("first", "second"):
        ends = shown[[f"{kind}_{which}{end}" for end in ("", "_low", "_high")]].to_numpy(float)
        rows[which] = [Estimate(*row).scaled(scale) for row in ends]
    p_value = f"{kind}_p_corrected" if kind in ("signed", "gap") else "p_corrected"
    claimed = [bool(value < CLAIMED) for value in shown[p_value]]
    left_out = len(groups) - len(shown)
    more = f" The other {left_out} groups are in the table alone." if left_out else ""
    unit = "%" if kind == "accuracy" else unit_of(head).strip()
    yield dumbbell_chart(
        [f"{group} ({count(n)})" for group, n in zip(shown["group"], shown["n"], strict=True)],
        rows["first"],
        rows["second"],
        is_claimed=claimed,
        models=names,
        title=title,
        x_label=f"{unit}; filled: a claimed change".removeprefix("; "),
        description=f"{title}, {names[0]} (circles) and {names[1]} (diamonds), {len(shown)} groups with 95 % "
        f"intervals; {sum(claimed)} changes are claimed. Figures in the table below.{more}",
        null_value=0.0 if kind in ("signed", "gap") else None,
    )


def _strips(head: Head, pair: PairedComparison, content: ReportContent, shelf: PhotoShelf) -> list[Strip]:
    """Return the faces that changed most; of classes only for a model that predicts nothing else."""
    if content.hide_faces:
        return []
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
