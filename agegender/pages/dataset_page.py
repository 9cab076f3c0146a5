"""Owns what `dataset.html` shows of a `DatasetReport`: pyramids, splits, sparsest cells, galleries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup

from agegender.audit.bias import age_decade, age_group
from agegender.data.faces_table import SPLITS
from agegender.pages.charts import bar_chart, captioned, pyramid_chart
from agegender.pages.dataset import CountStep, DatasetReport, PhotoGroup
from agegender.pages.galleries import Photo
from agegender.pages.tables import Column, Row, Table, table_of_frame
from agegender.pages.thumbnails import thumbnail
from agegender.pages.words import count, flattened

MOST_GROUPS_SHOWN = 24
MOST_PHOTOS_IN_GROUP = 6
MOST_SPARSE_CELLS = 20
_MOST_PYRAMIDS = 8
_DECADES = [*(f"{ten}0–{ten}9" if ten else "0–9" for ten in range(9)), "90+"]


def dataset_context(content: DatasetReport, *, hide_faces: bool) -> dict[str, Any]:
    """Return everything that the template of the page names."""
    kept = content.faces.kept()
    return {
        "title": content.title,
        "is_drawn": content.faces.is_drawn(),
        "kept_count": count(len(kept)),
        "file_count": count(_file_count(content)),
        "warnings": content.warnings,
        "counts": _counts_table(content.counts),
        "split_counts": _split_table(kept),
        "pyramids": _pyramids(kept),
        "ethnicities": _ethnicities(kept),
        "sparsest": _sparsest(kept),
        "leakage": _leakage(content.leakage),
        "galleries": [
            _gallery(content, hide_faces, "twins", "Twins", content.twin_groups, content.twin_group_count),
            _gallery(
                content, hide_faces, "conflicts", "Conflicts", content.conflict_groups, content.conflict_group_count
            ),
            _gallery(content, hide_faces, "quality", "Extremes of quality", content.quality_extremes),
        ],
        "tables": [
            table_of_frame(f"table-{place}", name, frame) for place, (name, frame) in enumerate(content.tables.items())
        ],
        "notes": flattened(content.notes),
        "hide_faces": hide_faces,
        "sections": _sections(content),
    }


def _file_count(content: DatasetReport) -> int:
    totals = [step.photo_count for step in content.counts if step.is_total]
    return totals[0] if totals else len(content.faces.table)


def _counts_table(steps: Sequence[CountStep]) -> Table:
    columns = (Column("step", "Step"), Column("photos", "Photos", 0), Column("meaning", "What it means"))
    rows = [
        Row(
            {
                "step": step.name,
                "photos": step.photo_count if step.is_total else -step.photo_count,
                "meaning": step.explanation,
            }
        )
        for step in steps
    ]
    return Table("counts", "From files to kept photos", columns, rows)


def _split_table(kept: pd.DataFrame) -> Table | None:
    names = [name for name in SPLITS if (kept["split"] == name).any()]
    if not names:
        return None
    rows = []
    for name in names:
        part = kept[kept["split"] == name]
        known = part["gender"].dropna()
        rows.append(
            Row(
                {
                    "split": name,
                    "n": len(part),
                    "share": len(part) / len(kept),
                    "age": part["age_years"].mean(),
                    "female": (known == "female").mean() if len(known) else None,
                    "unlabelled": int(part[["age_years", "gender"]].isna().any(axis=1).sum()),
                }
            )
        )
    columns = (
        Column("split", "Split"),
        Column("n", "Photos", 0),
        Column("share", "Share", 1, is_percent=True),
        Column("age", "Mean age, years", 1),
        Column("female", "Labelled female", 1, is_percent=True),
        Column("unlabelled", "Lacking a label", 0),
    )
    return Table("split-counts", "Photos per split", columns, rows)


def _pyramids(kept: pd.DataFrame) -> list[Markup]:
    rows = kept.dropna(subset=["age_years", "gender"])
    if not len(rows):
        return []
    parts = [("Everybody", rows)]
    parts += [(f"Split “{name}”", rows[rows["split"] == name]) for name in SPLITS]
    largest = rows["ethnicity"].value_counts().index[:_MOST_PYRAMIDS]
    parts += [(str(name), rows[rows["ethnicity"] == name]) for name in largest]
    return [_pyramid(name, part) for name, part in parts if len(part)]


def _pyramid(name: str, rows: pd.DataFrame) -> Markup:
    decades = pd.Series(age_decade(rows["age_years"]), index=rows.index)
    sides = [
        decades[rows["gender"] == side].value_counts().reindex(_DECADES, fill_value=0) for side in ("male", "female")
    ]
    told = "; ".join(f"{decade}: {sides[0][decade]} male, {sides[1][decade]} female" for decade in _DECADES)
    return pyramid_chart(
        _DECADES,
        sides[0].tolist(),
        sides[1].tolist(),
        sides=("labelled male", "labelled female"),
        title=f"{name} ({count(len(rows))})",
        description=f"Photos by age and gender label, {name}. {told}",
    )


def _ethnicities(kept: pd.DataFrame) -> list[Markup]:
    counts = kept["ethnicity"].value_counts()
    if not len(counts):
        return []
    shown = counts.head(24)
    told = "; ".join(f"{name}: {number}" for name, number in shown.items())
    names = [f"{name} ({count(number)})" for name, number in shown.items()]
    drawing = bar_chart(names, shown.tolist(), title="Ethnicity labels", x_label="photos", description=told)
    return [captioned(drawing, f"The {len(counts) - 24} rarest are left out." if len(counts) > 24 else "")]


def _sparsest(kept: pd.DataFrame) -> Table | None:
    """Return the cells of ethnicity × gender × age band with the fewest photos, empty ones first."""
    bands = pd.Series(age_group(kept["age_years"]), index=kept.index, dtype=object)
    keys = [kept["gender"], bands.rename("age")]
    if kept["ethnicity"].notna().any():
        keys.insert(0, kept["ethnicity"])
    labels = pd.concat(keys, axis=1).dropna()
    if not len(labels):
        return None
    names = [str(name) for name in labels.columns]
    every = pd.MultiIndex.from_product([sorted(labels[name].unique()) for name in names], names=names)
    cells = labels.value_counts().reindex(every, fill_value=0).sort_values(kind="stable").head(MOST_SPARSE_CELLS)
    columns = [*(Column(name, name.capitalize()) for name in names), Column("photos", "Photos", 0)]
    rows = [
        Row(dict(zip(names, list(key), strict=True)) | {"photos": int(n)}, n < 30)
        for key, n in zip(cells.index, cells, strict=True)
    ]
    note = "What a model rarely sees it rarely learns, and what a test rarely holds can't be judged."
    return Table("sparsest", "Sparsest cells", columns, rows, note)


def _leakage(leakage: pd.DataFrame | None) -> Table | None:
    if leakage is None or not len(leakage):
        return None
    columns = (
        Column("check", "What is compared"),
        Column("split_a", "One side"),
        Column("split_b", "Other side"),
        Column("known_photo_count", "Photos compared", 0),
        Column("shared_count", "On both sides", 0),
        Column("photo_count", "Their photos", 0),
    )
    rows = [Row({str(name): value for name, value in record.items()}) for record in leakage.to_dict("records")]
    note = "Photos or people that stand on two sides would flatter every figure; each count should be 0."
    if (leakage["known_photo_count"] == 0).any():
        note += " Where no photo was compared, the table knows nothing of the kind."
    return Table("leakage", "What is shared between splits", columns, rows, note)


def _gallery(
    content: DatasetReport,
    hide_faces: bool,
    anchor: str,
    name: str,
    groups: Sequence[PhotoGroup],
    found: int | None = None,
) -> dict[str, Any]:
    is_drawn = content.faces.is_drawn()
    group_count = len(groups) if found is None else found
    shown = [
        {"title": group.title, "note": group.note, "photos": _photos(group, hide_faces, is_drawn)}
        for group in groups[:MOST_GROUPS_SHOWN]
    ]
    left_out = max(group_count - len(shown), 0)
    found_words = {"is_counted": anchor != "quality", "found": count(group_count), "left_out": left_out}
    return {"anchor": anchor, "title": name, "groups": shown} | found_words


def _photos(group: PhotoGroup, hide_faces: bool, is_drawn: bool) -> list[Photo]:
    what = "A drawn face" if is_drawn else "A face"
    return [
        Photo(
            thumbnail(photo.path, hide_faces=hide_faces),
            f"{what}{', blurred' if hide_faces else ''}; in the data: {photo.caption or 'no label'}",
            "",
            (photo.caption,),
            photo.path.name,
        )
        for photo in group.photos[:MOST_PHOTOS_IN_GROUP]
    ]


def _sections(content: DatasetReport) -> list[tuple[str, str]]:
    sections = [("warnings", "Warnings"), ("from-files", "From files to photos"), ("who", "Who is in it")]
    sections += [("leaks", "Leaks")] if content.leakage is not None else []
    named = (("twins", "Twins", content.twin_groups), ("conflicts", "Conflicts", content.conflict_groups))
    sections += [(anchor, name) for anchor, name, groups in named if groups]
    sections += [("quality", "Quality")] if content.quality_extremes else []
    return [*sections, ("how", "How it was made")]
