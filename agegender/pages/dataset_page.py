"""The dataset page: what became of the files, who is in the data, what to be wary of, and the photos to look at.

Everything is chosen here from a finished faces table and the counts of its making, and drawn. Counting, searching for
twins and scoring quality happened before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from agegender.data.faces_table import EXACT_DUPLICATE, NEAR_DUPLICATE, SPLITS, USUAL_LABELS, FacesTable, label_columns
from agegender.data.preparing import count_faces
from agegender.data.summary import count_steps, warnings_of
from agegender.heads import AGE, GENDER, KNOWN_HEADS, Classification
from agegender.heads.age_bands import DECADES, age_decade, age_group
from agegender.pages.charts import bar_chart, captioned, pyramid_chart
from agegender.pages.galleries import Photo
from agegender.pages.page_writing import write_page
from agegender.pages.tables import Column, Row, Table, table_of_frame
from agegender.pages.thumbnails import thumbnail
from agegender.pages.words import count, flattened
from agegender.settings import SMALL_GROUP

MOST_GROUPS_SHOWN = 24
MOST_PHOTOS_IN_GROUP = 6
MOST_SPARSE_CELLS = 20
MOST_VALUES = 24  # a column of texts with more is no label to count by
_MOST_MEANS = 3
_MOST_PYRAMIDS = 8
_CELL_COLUMNS = ("ethnicity", GENDER.column)  # and the age bands


def write_dataset_page(
    path: Path, faces: FacesTable, counts: Mapping[str, Any] | None = None, *, hide_faces: bool = False
) -> Path:
    """Write the page to `path`, one offline file, whole or not at all; return the path.

    `counts` are those that `prepare_datasets` made; without them they are counted again, as far as the table knows.
    """
    context = dataset_context(faces, count_faces(faces) if counts is None else counts, hide_faces=hide_faces)
    return write_page(path, "dataset.html", **context)


def dataset_context(faces: FacesTable, counts: Mapping[str, Any], *, hide_faces: bool = False) -> dict[str, Any]:
    """Return everything that the template of the page names."""
    kept = faces.kept()
    leakage = _leakage(counts["leakage"])
    galleries = [
        {"anchor": "twins", "title": "Twins", **_twins(faces, hide_faces)},
        {"anchor": "conflicts", "title": "Conflicts", **_conflicts(faces, hide_faces)},
        {"anchor": "quality", "title": "Extremes of quality", **_quality_extremes(faces, hide_faces)},
    ]
    return {
        "title": f"Dataset: {', '.join(map(str, faces.table['source'].unique()))}",
        "is_drawn": faces.is_drawn(),
        "kept_count": count(len(kept)),
        "file_count": count(len(faces.table)),
        "warnings": warnings_of(faces, counts),
        "counts": _counts_table(faces),
        "split_counts": _split_table(kept),
        "label_counts": _label_table(kept),
        "pyramids": _pyramids(kept),
        "bars": _bars(kept),
        "sparsest": _sparsest(kept),
        "leakage": leakage,
        "galleries": galleries,
        "tables": [table_of_frame("table-sources", "Sources", _sources(faces))],
        "notes": flattened(_notes(faces)),
        "hide_faces": hide_faces,
        "sections": _sections(leakage is not None, galleries),
    }


def _sections(has_leakage: bool, galleries: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    sections = [("warnings", "Warnings"), ("from-files", "From files to photos"), ("who", "Who is in it")]
    sections += [("leaks", "Leaks")] if has_leakage else []
    sections += [
        (one["anchor"], one["title"].removeprefix("Extremes of ").capitalize()) for one in galleries if one["groups"]
    ]
    return [*sections, ("how", "How it was made")]


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


def _pyramids(kept: pd.DataFrame) -> list[Markup]:
    rows = kept.dropna(subset=[AGE.column, GENDER.column])
    if not len(rows):
        return []
    parts = [("Everybody", rows)]
    parts += [(f"Split “{name}”", rows[rows["split"] == name]) for name in SPLITS]
    largest = rows["ethnicity"].value_counts().index[:_MOST_PYRAMIDS]
    parts += [(str(name), rows[rows["ethnicity"] == name]) for name in largest]
    return [_pyramid(name, part) for name, part in parts if len(part)]


def _pyramid(name: str, rows: pd.DataFrame) -> Markup:
    decades = pd.Series(age_decade(rows[AGE.column]), index=rows.index)
    left, right = (
        decades[rows[GENDER.column] == side].value_counts().reindex(DECADES, fill_value=0) for side in GENDER.classes
    )
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


def _bars(kept: pd.DataFrame) -> list[Markup]:
    """Return a chart for every column of classes but the one that the pyramids show."""
    columns = [name for name in label_columns(kept) if name not in (*_number_columns(kept), AGE.column, GENDER.column)]
    return [_bar(column, kept[column].value_counts()) for column in columns if kept[column].nunique() > 0]


def _bar(column: str, counts: pd.Series) -> Markup:
    shown = counts.head(MOST_VALUES)
    told = "; ".join(f"{name}: {number}" for name, number in shown.items())
    names = [f"{name} ({count(number)})" for name, number in shown.items()]
    title = f"{_words(column).capitalize()} labels"
    drawing = bar_chart(names, shown.tolist(), title=title, x_label="photos", description=told)
    left_out = len(counts) - len(shown)
    return captioned(drawing, f"The {left_out} rarest are left out." if left_out else "")


def _sparsest(kept: pd.DataFrame) -> Table | None:
    """Return the cells of ethnicity × gender × age band with the fewest photos, empty ones first."""
    bands = pd.Series(age_group(kept[AGE.column]), index=kept.index, dtype=object, name=AGE.name)
    keys = [key for key in (*(kept[column] for column in _CELL_COLUMNS), bands) if key.notna().any()]
    labels = pd.concat(keys, axis=1).dropna() if len(keys) > 1 else kept.iloc[:0]
    if not len(labels):
        return None
    names = [str(name) for name in labels.columns]
    every = pd.MultiIndex.from_product([sorted(labels[name].unique()) for name in names], names=names)
    cells = labels.value_counts().reindex(every, fill_value=0).sort_values(kind="stable").head(MOST_SPARSE_CELLS)
    columns = [*(Column(name, name.capitalize()) for name in names), Column("photos", "Photos", 0)]
    rows = [
        Row(dict(zip(names, list(key), strict=True)) | {"photos": int(n)}, n < SMALL_GROUP)
        for key, n in zip(cells.index, cells, strict=True)
    ]
    note = "What a model rarely sees it rarely learns, and what a test rarely holds can't be judged."
    return Table("sparsest", "Sparsest cells", columns, rows, note)


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


def _gallery(groups: Sequence[Mapping[str, Any]], group_count: int, *, is_counted: bool = True) -> dict[str, Any]:
    left_out = max(group_count - len(groups), 0)
    return {"groups": groups, "is_counted": is_counted, "found": count(group_count), "left_out": left_out}


def _twins(faces: FacesTable, hide_faces: bool) -> dict[str, Any]:
    """Return the twin groups that cost photos and then those that are alike by hash alone."""
    table = faces.table
    twins = table[table["twin_cluster"].notna()] if "twin_cluster" in table else table.iloc[:0]
    if twins.empty:
        return _gallery([], 0)
    is_lost = twins["dropped_because"].isin([EXACT_DUPLICATE, NEAR_DUPLICATE])
    by_cluster = is_lost.groupby(twins["twin_cluster"])
    sizes = pd.DataFrame({"lost": by_cluster.sum(), "size": by_cluster.size()})
    chosen = sizes.sort_values(["lost", "size"], ascending=False, kind="stable").index[:MOST_GROUPS_SHOWN]
    groups = [_twin_group(faces, twins[twins["twin_cluster"] == name], hide_faces) for name in chosen]
    return _gallery(groups, len(sizes))


def _twin_group(faces: FacesTable, rows: pd.DataFrame, hide_faces: bool) -> dict[str, Any]:
    distinct = rows["file_sha512"].nunique()
    kind = "identical files" if distinct == 1 else f"{distinct} different files"
    fates = rows["dropped_because"].fillna("kept").value_counts()
    all_stay = "; alike by hash alone, so all stay, on one side of the split" if list(fates.index) == ["kept"] else ""
    return {
        "title": f"{len(rows)} photos, {kind}",
        "note": ", ".join(f"{number} {fate}" for fate, number in fates.items()) + all_stay,
        "photos": [
            _photo(faces, row["path"], _caption(row, USUAL_LABELS), hide_faces)
            for row in rows.head(MOST_PHOTOS_IN_GROUP).to_dict("records")
        ],
    }


def _conflicts(faces: FacesTable, hide_faces: bool) -> dict[str, Any]:
    cleaning = faces.notes.get("cleaning", {})
    conflicts = cleaning.get("conflicts", [])
    groups = [_conflict_group(faces, conflict, hide_faces) for conflict in conflicts[:MOST_GROUPS_SHOWN]]
    return _gallery(groups, cleaning.get("conflict_groups", len(conflicts)))


def _conflict_group(faces: FacesTable, conflict: Mapping[str, Any], hide_faces: bool) -> dict[str, Any]:
    rows = conflict["photos"]
    kind = "identical files" if conflict["kind"] == "exact" else "near twins"
    further = [name for name in rows[0] if name not in ("path", *USUAL_LABELS)]
    shown = [*USUAL_LABELS, *(name for name in further if len({row[name] for row in rows}) > 1)]
    return {
        "title": f"{len(rows)} {kind} with different labels",
        "note": "",
        "photos": [_photo(faces, row["path"], _caption(row, shown), hide_faces) for row in rows[:MOST_PHOTOS_IN_GROUP]],
    }


def _quality_extremes(faces: FacesTable, hide_faces: bool) -> dict[str, Any]:
    """Return, for every quality check that marked a photo, the photos with the lowest scores."""
    kept = faces.kept()
    groups = []
    checks = [name[3:] for name in map(str, kept.columns) if name.startswith("is_") and f"{name[3:]}_score" in kept]
    for check in checks:
        column, marked = f"{check}_score", kept[kept[f"is_{check}"].eq(True).fillna(False)]
        if marked.empty:
            continue
        worst = marked.nsmallest(MOST_PHOTOS_IN_GROUP, column)
        groups.append(
            {
                "title": f"{check.replace('_', ' ').capitalize()}: {len(marked)} of {len(kept)} photos",
                "note": "lowest scores first; a hint, not a verdict",
                "photos": [
                    _photo(faces, path, f"{score:.3g}", hide_faces)
                    for path, score in zip(worst["path"], worst[column], strict=True)
                ],
            }
        )
    return _gallery(groups, len(groups), is_counted=False)


def _photo(faces: FacesTable, path: str, caption: str, hide_faces: bool) -> Photo:
    what = f"{'A drawn face' if faces.is_drawn() else 'A face'}{', blurred' if hide_faces else ''}"
    place = faces.photo_place(path)
    alt = f"{what}; in the data: {caption or 'no label'}"
    return Photo(thumbnail(place, hide_faces=hide_faces), alt, "", (caption,), path.rpartition("/")[2])


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
