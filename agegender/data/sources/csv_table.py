"""Photos whose labels stand in a table: CSV, TSV, Excel or Parquet, with whatever column names.

Usual names are recognised (`file`, `img_name`, `sex`, …), others are mapped; any further column becomes a label under
the name that it is mapped to. Genders written as words are understood; of numbers nobody knows which is which (datasets
disagree), so they must be said. The table decides which photos there are: a row without a photo keeps its row and the
reason.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from agegender.data.faces_table import BOOKKEEPING, CONFLICTING_LABELS, FacesTable
from agegender.data.sources.labels import is_unknown, read_age, read_age_range, read_gender, read_label_file, read_side
from agegender.data.sources.layouts import assemble
from agegender.errors import DataError, FolderError, TableError, UsageError
from agegender.photos.finding import PhotosFolder, require_folder
from agegender.progress import say
from agegender.reading_tables import TABLE_SUFFIXES
from agegender.table_cells import plain_name

PHOTO_MISSING = "photo missing"
_LABEL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
EXPECTED = "a table with a column of photo paths and one of ages or genders"
# Column of the faces table -> names under which datasets have it, most telling first.
USUAL_NAMES = {
    "path": ("path", "file", "filename", "file_name", "img_name", "image", "image_path", "img", "photo", "full_path"),
    "age_years": ("age_years", "age", "real_age", "apparent_age_avg"),
    "gender": ("gender", "sex"),
    "ethnicity": ("ethnicity", "race"),
    "expression": ("expression", "emotion"),
    "mask": ("mask",),
    "subject_id": ("subject_id", "subject", "person_id", "identity", "user_id", "id_num"),
    "split": ("split", "subset", "fold_name"),
}


def read(
    root: Path,
    *,
    table: Path | str | None = None,
    columns: Mapping[str, str] | None = None,
    male: str | None = None,
    female: str | None = None,
) -> FacesTable:
    """Return the faces table of a label table and the photos that it names.

    Parameters
    ----------
    root : Path
        The folder that the paths in the table start from, or the table itself when it lies in that folder.
    table : Path or None
        The table; by default the only one in the folder.
    columns : mapping
        Column of the faces table -> column of the given one, such as `{"age_years": "years", "path": "img"}`.
    male, female : str or None
        How the table writes the two genders where they are not words, such as "0" and "1".
    """
    if root.name.lower().endswith(TABLE_SUFFIXES) and not root.is_dir():
        root, table = root.parent, root
    require_folder(root)
    place = Path(table) if table else _only_table(root)
    given = read_label_file(place)
    names = _column_names(given, dict(columns or {}), place)
    labels = pd.DataFrame({column: given[name] for column, name in names.items()})
    genders = {str(male).strip().lower(): "male", str(female).strip().lower(): "female"} if male or female else {}
    _check_genders(labels, genders, place)
    rows = [_row(row, genders) for row in labels.to_dict("records")]
    named = [row for row in rows if row["path"]]
    odd = {name: sum(row.pop(name) for row in rows) for name in ("age_is_odd", "gender_is_odd")}
    photos = _one_row_per_photo(_checked_photos(named, root))
    repeated = len(named) - len(photos)
    if repeated:
        say(f"{place.name} names photos more than once: {repeated:,} rows are about one that stood there before.")
    _read_numbers(photos, [name for name in names if name not in USUAL_NAMES])
    if photos and all(row["dropped_because"] == PHOTO_MISSING for row in photos):
        raise FolderError(
            f"none of the {len(photos)} photos that {place.name} names lies in {root}, first {photos[0]['path']}. "
            "Name the folder that the paths start from with --data, and the table with --option table=FILE."
        )
    return assemble(
        photos,
        root,
        "csv_table",
        expected=EXPECTED,
        table=str(place),
        rows_without_path=len(rows) - len(named),
        rows_repeated=repeated,
        ages_not_understood=odd["age_is_odd"],
        genders_not_understood=odd["gender_is_odd"],
    )


def has_labels(root: Path) -> bool:
    """Return whether a folder holds one table, or is one, whose columns name photos and their ages or genders."""
    is_table = root.name.lower().endswith(TABLE_SUFFIXES) and root.is_file()
    try:
        place = root if is_table else _only_table(root)
        return bool(_column_names(read_label_file(place, says=False), {}, place))
    except (DataError, OSError):
        return False


def _only_table(root: Path) -> Path:
    tables = sorted(path for path in root.iterdir() if path.name.lower().endswith(TABLE_SUFFIXES) and path.is_file())
    if len(tables) == 1:
        return tables[0]
    if not tables:
        raise FolderError(f"there is no CSV, TSV, Excel or Parquet table in {root}. Name one with --option table=FILE.")
    names = ", ".join(path.name for path in tables[:5])
    raise FolderError(f"{root} holds {len(tables)} tables ({names}). Say which one with --option table=FILE.")


def _column_names(given: pd.DataFrame, mapped: dict[str, str], place: Path) -> dict[str, str]:
    """Return column of the faces table -> column of the given table."""
    for name in mapped:
        _check_label_name(name)
    plainly = {plain_name(name): str(name) for name in reversed(given.columns)}
    names = {ours: name if name in given else plainly.get(plain_name(name), name) for ours, name in mapped.items()}
    for column, usual in USUAL_NAMES.items():
        hit = next((plainly[name] for name in usual if name in plainly), None)
        if column not in names and hit:
            names[column] = hit
    absent = [name for name in names.values() if name not in given]
    if absent or "path" not in names or not {"age_years", "gender"} & set(names):
        lacking = ", ".join(absent) or ("one for the photos' paths" if "path" not in names else "one for age or gender")
        raise TableError(
            f"{place} lacks the column {lacking}; it has {', '.join(map(str, given.columns)) or 'none'}. "
            "Map its names with --columns path=NAME age_years=NAME gender=NAME."
        )
    return names


def _check_label_name(name: str) -> None:
    """Refuse a further label whose name is taken, or stands for one of ours that was surely meant."""
    if name in USUAL_NAMES:
        return
    meant = next((ours for ours, usual in USUAL_NAMES.items() if name.lower() in usual), None)
    if meant:
        raise UsageError(f"a faces table calls {name} {meant}; write --columns {meant}=NAME.")
    if name in BOOKKEEPING or not _LABEL_NAME.fullmatch(name):
        raise UsageError(
            f"a label cannot be called {name!r}. Give it a name of letters, digits and underscores that is none of "
            f"{', '.join(sorted(BOOKKEEPING))}."
        )


def _check_genders(labels: pd.DataFrame, genders: Mapping[str, str], place: Path) -> None:
    if "gender" not in labels:
        return
    said = [label for label in labels["gender"].unique() if not is_unknown(label)]
    if said and all(_gender(label, genders) is None for label in said):
        raise TableError(
            f"the genders in {place} ({', '.join(map(repr, said[:4]))}) are not understood. "
            f"Say which is which with --option male={said[0]} --option female={said[-1]}, or the other way round."
        )


def _gender(label: object, genders: Mapping[str, str]) -> str | None:
    return genders.get(str(label).strip().lower()) or read_gender(label)


def _row(given: Mapping[Any, Any], genders: Mapping[str, str]) -> dict[str, Any]:
    age = read_age(given.get("age_years"))
    ages = None if age.is_understood else read_age_range(given.get("age_years"))
    gender = _gender(given.get("gender"), genders)
    row: dict[str, Any] = {
        "path": str(given["path"]).strip().replace("\\", "/"),
        "age_years": ages.midpoint_years if ages else age.years,
        "gender": gender,
        "split": read_side(given.get("split")),
        "dropped_because": age.dropped_because,
        "age_is_odd": not age.is_understood and ages is None,
        "gender_is_odd": gender is None and not is_unknown(given.get("gender")),
    }
    for column in dict.fromkeys(("ethnicity", "expression", "mask", "subject_id", *given)):
        if column in row:
            continue
        label = given.get(column)
        row[column] = None if is_unknown(label) else str(label).strip()
    if ages:
        row |= {"age_range_low_years": ages.low_years, "age_range_high_years": ages.high_years}
    return row


def _one_row_per_photo(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each photo once; one that is listed with different labels is left out: nobody knows which is right."""
    first: dict[str, dict[str, Any]] = {}
    for row in rows:
        known = first.setdefault(row["path"], dict(row))
        if row != known and known["dropped_because"] is None:
            known["dropped_because"] = CONFLICTING_LABELS
    return list(first.values())


def _read_numbers(rows: list[dict[str, Any]], columns: Collection[str]) -> None:
    """Turn further labels into numbers where all that are known are numbers."""
    for column in columns:
        numbers = pd.to_numeric(pd.Series([row[column] for row in rows], dtype=object), errors="coerce")
        if all(row[column] is None for row in rows) or any(
            row[column] is not None and math.isnan(number) for row, number in zip(rows, numbers, strict=True)
        ):
            continue
        for row, number in zip(rows, numbers, strict=True):
            row[column] = None if math.isnan(number) else float(number)


def _checked_photos(rows: list[dict[str, Any]], root: Path) -> list[dict[str, Any]]:
    """Return the rows with their paths below `root`, marked where there is no such photo or it lies elsewhere."""
    home = root.resolve()
    folder = PhotosFolder(home)
    for row in rows:
        problem, place = folder.problem(row["path"]), folder.place(row["path"])
        if place is None:
            row["dropped_because"] = problem
            continue
        row["path"] = place.relative_to(home).as_posix()
        if not os.path.isfile(place):  # noqa: PTH113 (no error for a path that is too long)
            row["dropped_because"] = PHOTO_MISSING
    return rows
