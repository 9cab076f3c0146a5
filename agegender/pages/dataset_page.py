"""The dataset page: what became of the files, who is in the data, what to be wary of, and the photos to look at.

Everything is chosen here from a finished faces table and the counts of its making, and drawn. Counting, searching for
twins and scoring quality happened before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from agegender.audit.words import FEW, count, flattened, photos
from agegender.data.faces_table import (
    CONFLICTING_LABELS,
    CORRECTED,
    EXACT_DUPLICATE,
    NEAR_DUPLICATE,
    SPLITS,
    USUAL_LABELS,
    FacesTable,
    label_columns,
)
from agegender.data.leaving_out import left_out_words, losses_by_group
from agegender.data.preparing import count_faces
from agegender.data.summary import count_steps, warnings_of
from agegender.heads import AGE, GENDER, KNOWN_HEADS, Classification
from agegender.heads.age_bands import DECADES, age_decade, age_group
from agegender.pages.charts import bar_chart, captioned, pyramid_chart
from agegender.pages.dataset_people import cells_table, heaping_words, heatmaps, missing_table, number_charts
from agegender.pages.dataset_photos import SHEET_PIXELS, contact_sheet, pairs_by_distance, size_table
from agegender.pages.galleries import Photo
from agegender.pages.page_writing import write_page
from agegender.pages.split_likeness import likeness_table
from agegender.pages.tables import Column, Row, Table, table_of_frame, without_few
from agegender.pages.thumbnails import SIZE_PIXELS, thumbnail
from agegender.settings import SMALL_GROUP

MOST_GROUPS_SHOWN = 24
MOST_PHOTOS_IN_GROUP = 6
MOST_CORRECTED = 60
MOST_VALUES = 24  # a column of texts with more is no label to count by
_MOST_MEANS = 3
# What the quality checks measure, each from 0 to 1.
_SCORES = {
    "blurry": "variance of the Laplacian as a share of that of grey",
    "blurry_fft": "share of the spectrum's energy in fine detail",
    "dark": "brightness that only 5 % of the pixels exceed, 1 is white",
    "bright": "1 minus the brightness that only 5 % of the pixels fall short of",
    "low_contrast": "range from 5 % to 95 % of the pixels as a share of the range there is",
    "tiny": "shorter side as a share of 64 pixels",
    "odd_aspect": "shorter side as a share of the longer",
    "no_face": "1 where the detector finds a face, 0 where not",
    "brisque": "rank of the BRISQUE value among these photos",
}
_MOST_PYRAMIDS = 8
_WITH = ("with_age", "with_gender", "with_ethnicity", "with_subject")


def write_dataset_page(
    path: Path, faces: FacesTable, counts: Mapping[str, Any] | None = None, *, hide_faces: bool = False
) -> Path:
    """Write the page to `path`, one offline file, whole or not at all; return the path.

    `counts` are those that `prepare_datasets` made; without them they are counted again, as far as the table knows.
    """
    context = dataset_context(faces, count_faces(faces) if counts is None else counts, hide_faces=hide_faces)
    return write_page(path, "dataset.html", **context)


def dataset_context(faces: FacesTable, counts: Mapping[str, Any], *, hide_faces: bool = False) -> dict[str, Any]:
    """Return everything that the template of the page names.

    With `hide_faces` nothing is about fewer than ten photos: no gallery, no row per photo, no number below ten.
    """
    kept = faces.kept()
    leakage = _leakage(counts["leakage"])
    is_leaking = any(record["shared_count"] for record in counts["leakage"])
    context: dict[str, Any] = {
        "title": f"Dataset: {', '.join(map(str, faces.table['source'].unique()))}",
        "is_drawn": faces.is_drawn(),
        "kept_count": count(len(kept)),
        "file_count": count(len(faces.table)),
        "warnings": warnings_of(faces, counts, least=FEW if hide_faces else 0),
        "hide_faces": hide_faces,
        "few": FEW,
        "small": SMALL_GROUP,
        "heats": heatmaps(kept, hide_few=hide_faces),
        "number_charts": number_charts(kept, hide_few=hide_faces),
        "heaping": heaping_words(kept),
        "bars": _bars(kept, hide_few=hide_faces),
        "pyramids": _pyramids(kept, hide_few=hide_faces),
        "is_leaking": is_leaking,
        "leak_checks": len(counts["leakage"]),
        "corrected": _corrected(faces),
        "corrected_count": _corrected_count(faces, hide_faces),
        "left_out": left_out_words(faces, least=FEW if hide_faces else 0),
        "galleries": [] if hide_faces else _galleries(faces),
        "sheet": [] if hide_faces else contact_sheet(kept, _photo_maker(faces, SHEET_PIXELS)),
        "notes": [] if hide_faces else flattened(_notes(faces)),
    }
    tables = {
        "counts": (_counts_table(faces), ("photos",)),
        "split_counts": (_split_table(kept), ("n", "unlabelled")),
        "label_counts": (_label_table(kept), ("n", *SPLITS)),
        "missing": (missing_table(kept, hide_few=hide_faces), ("known", "missing")),
        "cells": (cells_table(kept), ("photos", *SPLITS, "none")),
        "sizes": (size_table(faces), ("photos", "measured")),
        "likeness": (likeness_table(kept), ("photos",)),
        "leakage": (leakage, ("known_photo_count", "shared_count", "photo_count")),
        "lost": (lost_table(faces), ("before", "lost")),
        "sources": (table_of_frame("table-sources", "Sources", _sources(faces)), ("files", "kept", *_WITH)),
    }
    for name, (table, keys) in tables.items():
        context[name] = without_few(table, keys) if table is not None and hide_faces else table
    if hide_faces:
        context["corrected"] = None
    return {**context, "sections": _sections(context)}


def _sections(context: Mapping[str, Any]) -> list[tuple[str, str]]:
    sections = [("warnings", "Warnings"), ("from-files", "From files to photos"), ("who", "Who is in it")]
    sections += [("sheet", "Faces at random")] if context["sheet"] else []
    sections += [("sizes-section", "Sizes")] if context["sizes"] else []
    sections += [("splits-section", "Splits")] if context["likeness"] or context["leakage"] else []
    sections += [(one["anchor"], one["short"]) for one in context["galleries"] if one["groups"]]
    return [*sections, ("how", "How it was made")]


def _galleries(faces: FacesTable) -> list[dict[str, Any]]:
    pairs = pairs_by_distance(faces, _photo_maker(faces))
    return [
        {"anchor": "twins", "title": "Twins", "short": "Twins", **_twins(faces)},
        {
            "anchor": "distances", "title": "Pairs by the distance of their hashes", "short": "Distances",
            **_gallery(pairs, len(pairs), words="One pair for each distance that occurs, from a sample: how far apart "
            "two photos may lie and still be the same. At --near-duplicates and below, pairs are looked at as twins"),
        },
        {"anchor": "conflicts", "title": "Conflicts", "short": "Conflicts", **_conflicts(faces)},
        {"anchor": "quality", "title": "Extremes of quality", "short": "Quality", **_quality_extremes(faces)},
    ]  # fmt: skip


def _photo_maker(faces: FacesTable, size: int = SIZE_PIXELS) -> Callable[[Mapping[Any, Any], str], Photo]:
    """Return what makes a photo of a row: its labels, and what else is said of it."""

    def make(row: Mapping[Any, Any], said: str) -> Photo:
        return _photo(faces, row["path"], ", ".join(filter(None, [_caption(row, USUAL_LABELS), said])), size=size)

    return make


def _corrected(faces: FacesTable) -> Table | None:
    """Return the labels that people have mended, with what they were."""
    if CORRECTED not in faces.table or faces.table[CORRECTED].isna().all():
        return None
    mended = faces.table[faces.table[CORRECTED].notna()]
    columns = (Column("path", "Photo"), Column("change", "What was mended"), Column("fate", "What became of it"))
    rows = [
        Row({"path": path, "change": change, "fate": fate if isinstance(fate, str) else "kept"})
        for path, change, fate in zip(mended["path"], mended[CORRECTED], mended["dropped_because"], strict=True)
    ]
    hidden = rows[MOST_CORRECTED:]
    return Table("corrected", "Labels that people have mended", columns, rows[:MOST_CORRECTED], hidden_rows=hidden)


def _corrected_count(faces: FacesTable, hide_faces: bool) -> str:
    """Return what became of a corrections file, in words."""
    taken = faces.notes.get("corrections")
    if not isinstance(taken, Mapping):
        return ""
    words = {key: number for key, number in taken.items() if isinstance(number, int) and number}
    said = [f"{photos(number, hides_few=hide_faces)} {key.replace('_', ' ')}" for key, number in sorted(words.items())]
    return f"{'; '.join(said) or 'nothing was changed'}."


def _counts_table(faces: FacesTable) -> Table:
    columns = (Column("step", "Step"), Column("photos", "Photos", 0), Column("meaning", "What it means"))
    rows = [
        Row({"step": name, "photos": number if is_total else -number, "meaning": explanation})
        for name, number, explanation, is_total in count_steps(faces)
    ]
    return Table("counts", "From files to kept photos", columns, rows)


def _split_table(kept: pd.DataFrame) -> Table | None:
    names = [name for name in SPLITS if (kept["split"] == name).any()]
    if not names:
        return None
    means, second_classes = _number_columns(kept)[:_MOST_MEANS], _second_classes(kept)
    rows = []
    for name in names:
        part = kept[kept["split"] == name]
        known = {column: part[column].dropna() for column in second_classes}
        shares = {
            f"share_{column}": (known[column] == value).mean() if len(known[column]) else None
            for column, value in second_classes.items()
        }
        lacks_label = part[[head.column for head in KNOWN_HEADS]].isna().any(axis=1)
        counted = {"split": name, "n": len(part), "share": len(part) / len(kept), "unlabelled": int(lacks_label.sum())}
        rows.append(Row(counted | {f"mean_{column}": part[column].mean() for column in means} | shares))
    columns = (
        Column("split", "Split"),
        Column("n", "Photos", 0),
        Column("share", "Share", 1, is_percent=True),
        *(Column(f"mean_{column}", f"Mean {_words(column)}", 1) for column in means),
        *(
            Column(f"share_{column}", f"Labelled {value}", 1, is_percent=True)
            for column, value in second_classes.items()
        ),
        Column("unlabelled", "Lacking a label", 0),
    )
    return Table("split-counts", "Photos per split", columns, rows)


def _label_table(kept: pd.DataFrame) -> Table | None:
    """Return how many photos of each split have each label, for every label of few values and the age bands."""
    sides = [name for name in SPLITS if (kept["split"] == name).any()]
    rows = []
    for name, values in _counted_labels(kept).items():
        texts = values.astype(object).where(values.notna(), "unknown").astype(str)
        by_value = pd.crosstab(texts, kept["split"].fillna("")).reindex(columns=sides, fill_value=0)
        for value, size in sorted(texts.value_counts().items(), key=lambda item: _rank(str(item[0]))):
            counted = {side: int(by_value.loc[value, side]) for side in sides}
            rows.append(Row({"label": name, "value": value, "n": int(size), "share": size / len(kept), **counted}))
    columns = (
        Column("label", "Label"),
        Column("value", "Value"),
        Column("n", "Photos", 0),
        Column("share", "Share", 1, is_percent=True),
        *(Column(side, f"In {side}", 0) for side in sides),
    )
    return Table("label-counts", "Labels per split", columns, rows) if rows else None


def _rank(value: str) -> tuple[bool, int, float, str]:
    """Return what values are sorted by: bands as they rise, texts by the alphabet, the unknown last."""
    number = re.match(r"\d+", value.lstrip("<≥"))
    return value == "unknown", {"<": 0, "≥": 2}.get(value[:1], 1), float(number[0]) if number else 0.0, value


def _counted_labels(kept: pd.DataFrame) -> dict[str, pd.Series]:
    """Return what to count by, name -> values: bands of age, and every label column of few values."""
    counted = {}
    if kept[AGE.column].notna().any():
        counted["Age"] = pd.Series(age_group(kept[AGE.column]), index=kept.index, dtype=object)
    numbers = _number_columns(kept)
    for column in label_columns(kept):
        if column not in numbers and 0 < kept[column].nunique() <= MOST_VALUES:
            counted[_words(column).capitalize()] = kept[column]
    return counted


def _number_columns(kept: pd.DataFrame) -> list[str]:
    return [
        name for name in label_columns(kept) if pd.api.types.is_float_dtype(kept[name]) and kept[name].notna().any()
    ]


def _second_classes(kept: pd.DataFrame) -> dict[str, str]:
    """Return column -> the second of its classes, for the heads that know two."""
    pairs = {head.column: head.classes for head in KNOWN_HEADS if isinstance(head, Classification)}
    return {column: classes[1] for column, classes in pairs.items() if len(classes) == 2 and column in kept}


def _words(column: str) -> str:
    """Return a column as a heading has it.

    >>> _words("age_years"), _words("mask")
    ('age, years', 'mask')
    """
    words = column.removesuffix("_years").replace("_", " ")
    return f"{words}, years" if column.endswith("_years") else words


def _pyramids(kept: pd.DataFrame, *, hide_few: bool) -> list[Markup]:
    rows = kept.dropna(subset=[AGE.column, GENDER.column])
    if not len(rows):
        return []
    parts = [("Everybody", rows)]
    parts += [(f"Split “{name}”", rows[rows["split"] == name]) for name in SPLITS]
    largest = rows["ethnicity"].value_counts().index[:_MOST_PYRAMIDS]
    parts += [(str(name), rows[rows["ethnicity"] == name]) for name in largest]
    return [_pyramid(name, part, hide_few) for name, part in parts if len(part) >= (FEW if hide_few else 1)]


def _pyramid(name: str, rows: pd.DataFrame, hide_few: bool) -> Markup:
    decades = pd.Series(age_decade(rows[AGE.column]), index=rows.index)
    left, right = (
        decades[rows[GENDER.column] == side].value_counts().reindex(DECADES, fill_value=0) for side in GENDER.classes
    )
    if hide_few:
        left, right = (side.where(side >= FEW, 0) for side in (left, right))
    first, second = GENDER.classes
    told = "; ".join(f"{decade}: {left[decade]} {first}, {right[decade]} {second}" for decade in DECADES)
    return pyramid_chart(
        DECADES,
        left.tolist(),
        right.tolist(),
        sides=(f"labelled {first}", f"labelled {second}"),
        title=f"{name} ({count(len(rows))})",
        description=f"Photos by {AGE.name} and {GENDER.name} label, {name}. {told}",
    )


def _bars(kept: pd.DataFrame, *, hide_few: bool) -> list[Markup]:
    """Return a chart for every column of classes but the one that the pyramids show."""
    columns = [name for name in label_columns(kept) if name not in (*_number_columns(kept), AGE.column, GENDER.column)]
    counts = [kept[column].value_counts() for column in columns]
    counts = [one[one >= FEW] for one in counts] if hide_few else counts
    return [_bar(column, one) for column, one in zip(columns, counts, strict=True) if len(one)]


def _bar(column: str, counts: pd.Series) -> Markup:
    shown = counts.head(MOST_VALUES)
    told = "; ".join(f"{name}: {number}" for name, number in shown.items())
    names = [f"{name} ({count(number)})" for name, number in shown.items()]
    title = f"{_words(column).capitalize()} labels"
    drawing = bar_chart(names, shown.tolist(), title=title, x_label="photos", description=told)
    left_out = len(counts) - len(shown)
    return captioned(drawing, f"The {left_out} rarest are left out." if left_out else "")


def _leakage(records: Sequence[Mapping[str, Any]]) -> Table | None:
    if not records:
        return None
    columns = (
        Column("check", "What is compared"),
        Column("split_a", "One side"),
        Column("split_b", "Other side"),
        Column("known_photo_count", "Photos compared", 0),
        Column("shared_count", "On both sides", 0),
        Column("photo_count", "Their photos", 0),
    )
    note = "Photos or people that stand on two sides would flatter every figure; each count should be 0."
    if any(record["known_photo_count"] == 0 for record in records):
        note += " Where no photo was compared, the table knows nothing of the kind."
    return Table("leakage", "What is shared between splits", columns, [Row(record) for record in records], note)


def _gallery(groups: Sequence[Mapping[str, Any]], group_count: int, *, words: str = "") -> dict[str, Any]:
    left = max(group_count - len(groups), 0)
    shown = f"; the first {len(groups)} are shown" if left else ""
    return {"groups": groups, "words": words or f"{count(group_count)} found{shown}"}


def _twins(faces: FacesTable) -> dict[str, Any]:
    """Return the twin groups that cost photos and then those that are alike by hash alone; conflicts stand below."""
    table = faces.table
    twins = table[table["twin_cluster"].notna()] if "twin_cluster" in table else table.iloc[:0]
    if twins.empty:
        return _gallery([], 0)
    in_conflict = twins["twin_cluster"][twins["dropped_because"].eq(CONFLICTING_LABELS)]
    twins = twins[~twins["twin_cluster"].isin(in_conflict)]
    is_lost = twins["dropped_because"].isin([EXACT_DUPLICATE, NEAR_DUPLICATE])
    by_cluster = is_lost.groupby(twins["twin_cluster"])
    sizes = pd.DataFrame({"lost": by_cluster.sum(), "size": by_cluster.size()})
    chosen = sizes.sort_values(["lost", "size"], ascending=False, kind="stable").index[:MOST_GROUPS_SHOWN]
    groups = [_twin_group(faces, twins[twins["twin_cluster"] == name]) for name in chosen]
    return _gallery(groups, len(sizes))


def _twin_group(faces: FacesTable, rows: pd.DataFrame) -> dict[str, Any]:
    distinct = rows["file_sha512"].nunique()
    kind = "identical files" if distinct == 1 else f"{distinct} different files"
    fates = rows["dropped_because"].fillna("kept").value_counts()
    all_stay = "; alike by hash alone, so all stay, on one side of the split" if list(fates.index) == ["kept"] else ""
    return {
        "title": f"{len(rows)} photos, {kind}",
        "note": ", ".join(f"{number} {fate}" for fate, number in fates.items()) + all_stay,
        "photos": [
            _photo(faces, row["path"], _caption(row, USUAL_LABELS))
            for row in rows.head(MOST_PHOTOS_IN_GROUP).to_dict("records")
        ],
    }


def _conflicts(faces: FacesTable) -> dict[str, Any]:
    cleaning = faces.notes.get("cleaning", {})
    conflicts = cleaning.get("conflicts", [])
    groups = [_conflict_group(faces, conflict) for conflict in conflicts[:MOST_GROUPS_SHOWN]]
    return _gallery(groups, cleaning.get("conflict_groups", len(conflicts)))


def _conflict_group(faces: FacesTable, conflict: Mapping[str, Any]) -> dict[str, Any]:
    rows = conflict["photos"]
    kind = "identical files" if conflict["kind"] == "exact" else "near twins"
    further = [name for name in rows[0] if name not in ("path", *USUAL_LABELS)]
    shown = [*USUAL_LABELS, *(name for name in further if len({row[name] for row in rows}) > 1)]
    return {
        "title": f"{len(rows)} {kind} with different labels",
        "note": "",
        "photos": [_photo(faces, row["path"], _caption(row, shown)) for row in rows[:MOST_PHOTOS_IN_GROUP]],
    }


def _quality_extremes(faces: FacesTable) -> dict[str, Any]:
    """Return, for every quality check that marked a photo, the photos with the lowest scores."""
    kept = faces.kept()
    thresholds = (faces.notes.get("quality") or {}).get("thresholds") or {}
    groups = []
    checks = [name[3:] for name in map(str, kept.columns) if name.startswith("is_") and f"{name[3:]}_score" in kept]
    for check in checks:
        column, marked = f"{check}_score", kept[kept[f"is_{check}"].eq(True).fillna(False)]
        if marked.empty:
            continue
        worst = marked.nsmallest(MOST_PHOTOS_IN_GROUP, column)
        below = f" below {thresholds[check]:g}" if check in thresholds else ""
        groups.append(
            {
                "title": f"{check.replace('_', ' ').capitalize()}: {len(marked)} of {len(kept)} photos{below}",
                "note": f"{_SCORES.get(check, 'a score from 0 to 1')}; low is bad, lowest first; a hint, no verdict",
                "photos": [
                    _photo(faces, path, f"{score:.3g}")
                    for path, score in zip(worst["path"], worst[column], strict=True)
                ],
            }
        )
    return _gallery(groups, len(groups), words="The photos at the low end of each scale")


def _photo(faces: FacesTable, path: str, caption: str, *, size: int = SIZE_PIXELS) -> Photo:
    alt = f"{'A drawn face' if faces.is_drawn() else 'A face'}; in the data: {caption or 'no label'}"
    return Photo(thumbnail(faces.photo_place(path), size=size), alt, "", (caption,), path.rpartition("/")[2])


def _caption(row: Mapping[Any, Any], columns: Sequence[str]) -> str:
    """Return a photo's labels; an unknown age is said, since most photos have one."""
    words = []
    for column in columns:
        value = row.get(column)
        if isinstance(value, str):
            words.append(value)
        elif value is not None and not pd.isna(value):
            words.append(f"{value:g} years" if column.endswith("_years") else f"{value:g}")
        elif column.endswith("_years"):
            words.append(f"{_words(column).partition(',')[0]} unknown")
    return ", ".join(words)


def lost_table(faces: FacesTable) -> Table | None:
    """Return which share of each group was left out for poor quality, None where nothing was."""
    losses = losses_by_group(faces)
    if not losses:
        return None
    columns = (
        Column("grouping", "Grouping"),
        Column("group", "Group"),
        Column("before", "Photos before", 0),
        Column("lost", "Left out", 0),
        Column("share", "Share left out", 1, is_percent=True),
    )
    rows = [Row(one._asdict(), one.before < SMALL_GROUP) for one in losses]
    return Table("lost", "Left out for poor quality, by group", columns, rows, "Shares have no interval.")


def _sources(faces: FacesTable) -> pd.DataFrame:
    """Return photos and labels by source."""
    table = faces.table.assign(is_kept=faces.table["dropped_because"].isna())
    with_labels = {f"with_{name.removesuffix('_years')}": (name, "count") for name in USUAL_LABELS}
    by_source = table.groupby("source").agg(
        files=("path", "size"), kept=("is_kept", "sum"), **with_labels, with_subject=("subject_id", "count")
    )
    return by_source.reset_index()


def _notes(faces: FacesTable) -> dict[str, Any]:
    """Return how the table was made, without the long lists that the page shows elsewhere."""
    notes = {key: value for key, value in faces.notes.items() if key not in ("malformed_names", "parts")}
    cleaning = notes.pop("cleaning", {})
    options = ("near_duplicates", "on_conflict", "near_twins")
    return {**notes, **{name: cleaning[name] for name in options if name in cleaning}}
