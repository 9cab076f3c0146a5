"""From a finished faces table to the page about it: choose what to show, and have it written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from agegender.data.faces_table import FacesTable
from agegender.data.leakage import leakage_table
from agegender.data.summary import count_steps, warnings_of
from agegender.pages.dataset import CountStep, DatasetReport, GalleryPhoto, PhotoGroup, write_dataset

SHOWN_GROUPS = 24
SHOWN_PHOTOS_PER_GROUP = 6
SHOWN_EXTREMES = 8


def report_dataset(path: Path, faces: FacesTable, counts: Mapping[str, Any], *, hide_faces: bool = False) -> Path:
    """Write the page about a dataset and return its path.

    Parameters
    ----------
    counts : mapping
        What `prepare_faces` counted.

    Raises
    ------
    OutputError
        The place cannot be written to.
    """
    return write_dataset(path, dataset_content(faces, counts), hide_faces=hide_faces)


def dataset_content(faces: FacesTable, counts: Mapping[str, Any]) -> DatasetReport:
    """Return everything that the page shows."""
    twins, twin_count = _twin_groups(faces)
    conflicts = faces.notes.get("cleaning", {}).get("conflicts", [])
    return DatasetReport(
        faces=faces,
        counts=tuple(CountStep(*step) for step in count_steps(faces)),
        title=f"Dataset: {', '.join(faces.notes.get('sources', ['unknown source']))}",
        warnings=tuple(warnings_of(faces, counts)),
        leakage=leakage_table(faces.table),
        twin_groups=tuple(twins),
        twin_group_count=twin_count,
        conflict_groups=tuple(_conflict_group(faces, conflict) for conflict in conflicts[:SHOWN_GROUPS]),
        conflict_group_count=len(conflicts),
        quality_extremes=tuple(_quality_extremes(faces)),
        tables=_tables(faces),
        notes=_notes(faces),
    )


def _notes(faces: FacesTable) -> dict[str, Any]:
    """Return how the table was made, without the long lists that the page shows elsewhere."""
    notes = {key: value for key, value in faces.notes.items() if key not in ("malformed_names", "parts")}
    options = ("near_duplicates", "on_conflict", "near_twins")
    cleaning = notes.pop("cleaning", {})
    return {**notes, **{name: cleaning[name] for name in options if name in cleaning}}


def _twin_groups(faces: FacesTable) -> tuple[list[PhotoGroup], int]:
    """Return the twin groups that cost photos and then those that are alike by hash alone; and how many there are."""
    table = faces.table
    if "twin_cluster" not in table:
        return [], 0
    twins = table[table["twin_cluster"].notna()]
    is_lost = twins["dropped_because"].isin(["exact duplicate", "near duplicate"])
    by_cluster = is_lost.groupby(twins["twin_cluster"])
    groups = pd.DataFrame({"lost": by_cluster.sum(), "size": by_cluster.size()})
    chosen = groups.sort_values(["lost", "size"], ascending=False, kind="stable").index[:SHOWN_GROUPS]
    return [_twin_group(faces, twins[twins["twin_cluster"] == name]) for name in chosen], len(groups)


def _twin_group(faces: FacesTable, rows: pd.DataFrame) -> PhotoGroup:
    distinct = rows["file_sha512"].nunique()
    kind = "identical files" if distinct == 1 else f"{distinct} different files"
    fates = rows["dropped_because"].fillna("kept").value_counts()
    all_stay = "; alike by hash alone, so all stay, on one side of the split" if list(fates.index) == ["kept"] else ""
    return PhotoGroup(
        title=f"{len(rows)} photos, {kind}",
        photos=_photos(faces, rows),
        note=", ".join(f"{count} {fate}" for fate, count in fates.items()) + all_stay,
    )


def _photos(faces: FacesTable, rows: pd.DataFrame) -> tuple[GalleryPhoto, ...]:
    shown = rows.head(SHOWN_PHOTOS_PER_GROUP).to_dict("records")
    return tuple(GalleryPhoto(faces.photo_path(row["path"]), _labels(row)) for row in shown)


def _labels(row: Mapping[Any, Any]) -> str:
    age, gender, ethnicity = row.get("age_years"), row.get("gender"), row.get("ethnicity")
    age_words = "age unknown" if age is None or pd.isna(age) else f"{age:g} years"
    return ", ".join([age_words, *(word for word in (gender, ethnicity) if isinstance(word, str))])


def _conflict_group(faces: FacesTable, conflict: Mapping[str, Any]) -> PhotoGroup:
    photos = conflict["photos"]
    shown = tuple(GalleryPhoto(faces.photo_path(row["path"]), _labels(row)) for row in photos[:SHOWN_PHOTOS_PER_GROUP])
    kind = "identical files" if conflict["kind"] == "exact" else "near twins"
    return PhotoGroup(title=f"{len(photos)} {kind} with different labels", photos=shown)


def _quality_extremes(faces: FacesTable) -> list[PhotoGroup]:
    """Return, for every quality check that marked a photo, the photos with the lowest scores."""
    kept = faces.kept()
    groups = []
    checks = [name[3:] for name in map(str, kept.columns) if name.startswith("is_") and f"{name[3:]}_score" in kept]
    for check in checks:
        column, marked = f"{check}_score", kept[kept[f"is_{check}"].eq(True).fillna(False)]
        worst = marked.nsmallest(SHOWN_EXTREMES, column)
        photos = tuple(
            GalleryPhoto(faces.photo_path(row["path"]), f"{row[column]:.3g}") for row in worst.to_dict("records")
        )
        if len(marked):
            title = f"{check.replace('_', ' ').capitalize()}: {len(marked)} of {len(kept)} photos"
            groups.append(PhotoGroup(title=title, photos=photos, note="lowest scores first; a hint, not a verdict"))
    return groups


def _tables(faces: FacesTable) -> dict[str, pd.DataFrame]:
    """Return further tables: photos and labels by source."""
    table = faces.table.assign(is_kept=faces.table["dropped_because"].isna())
    by_source = table.groupby("source").agg(
        files=("path", "size"),
        kept=("is_kept", "sum"),
        with_age=("age_years", "count"),
        with_gender=("gender", "count"),
        with_ethnicity=("ethnicity", "count"),
        with_subject=("subject_id", "count"),
    )
    return {"Sources": by_source.reset_index()}
