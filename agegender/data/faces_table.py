"""The faces table: its columns, dtypes and checks, its place on disk, and several tables put together as one.

One row per photo. An unknown label is a missing value, never a made-up one; a photo that was left out keeps its row and
its reason in `dropped_because`. Sources fill the table, cleaning and splitting mark it, training and reports read it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agegender.data.foreign_faces import checked_facts, has_photos, path_problems, root_of_photos
from agegender.data.seals import is_ours, seal_of
from agegender.errors import FolderError, TableError, UsageError
from agegender.heads import AGE, GENDER
from agegender.photos.finding import ESCAPES, PhotosFolder
from agegender.progress import say
from agegender.reading_tables import METADATA_KEY, read_table
from agegender.settings import LANDMARKS, SPLITS
from agegender.swapping import finish_swaps
from agegender.table_cells import nested_columns, numbers_of
from agegender.writing import plain, replaced_file

GENDERS = GENDER.classes
OLDEST_AGE_YEARS = AGE.high

# Every faces table has these columns, in this order; further columns (quality scores, real ages) may follow.
COLUMNS = (
    "path",
    "source",
    "age_years",
    "gender",
    "ethnicity",
    "expression",
    "mask",
    "subject_id",
    "split",
    "file_sha512",
    "phash",
    "dropped_because",
)
TEXT_COLUMNS = tuple(name for name in COLUMNS if name != AGE.column)
USUAL_LABELS = ("age_years", "gender", "ethnicity")
CORRECTED = "corrected"  # the column with the history of labels that people have mended
# What a table says of a photo besides its labels. Every other column is a label: it may be learnt and counted.
BOOKKEEPING = frozenset(
    {"path", "source", "subject_id", "split", "fold", "file_sha512", "phash", "twin_cluster", "dropped_because"}
    | {CORRECTED}
    | {"is_malformed_name", "rating_count", "apparent_age_std_years", "brisque_value"}
    | {"original_path", "face_count", "face_score", "crop_left", "crop_top", "crop_side"}
    | {"face_found_by", "crop_degrees"}
    | {f"{point}_{way}" for point in LANDMARKS for way in "xy"}
)
# Why a photo may be left out; each source has further reasons of its own.
UNREADABLE = "unreadable"
EXACT_DUPLICATE = "exact duplicate"
NEAR_DUPLICATE = "near duplicate"
CONFLICTING_LABELS = "conflicting labels"


@dataclass(frozen=True)
class FacesTable:
    """A faces table, the folder its paths start from, and notes on how it was made."""

    table: pd.DataFrame  # one row per photo, columns `COLUMNS` first; `path` is below `root`, with forward slashes
    root: Path  # absolute
    notes: Mapping[str, Any] = field(default_factory=dict)  # JSON-able: sources, seeds, crop margin, counts

    def kept(self) -> pd.DataFrame:
        """Return the rows that were not left out."""
        return self.table[self.table["dropped_because"].isna()]

    def dropped(self) -> pd.Series:
        """Return how many rows were left out for each reason, most frequent first."""
        return self.table["dropped_because"].dropna().value_counts()

    def photo_path(self, path: str) -> Path:
        """Return the absolute place of one photo."""
        place = self.photo_place(path)
        if place is None:
            raise TableError(f"the path {path!r} {ESCAPES} {self.root}. It is not opened: leave the row out.")
        return place

    def photo_place(self, path: object) -> Path | None:
        """Return the absolute place of one photo, None where its path leads out of the folder of photos."""
        return self._folder.place(path)

    @cached_property
    def _folder(self) -> PhotosFolder:
        return PhotosFolder(self.root)

    def check_photos(self) -> None:
        """Refuse a table whose photos are all gone, before anything long."""
        paths = self.kept()["path"].tolist()
        if paths and not has_photos(paths, self.root):
            raise FolderError(
                f"none of the {len(paths):,} photos of the table is in {self.root}, first {paths[0]}. If they have "
                "moved, name the folder that their paths start from with --images FOLDER."
            )

    def is_drawn(self) -> bool:
        """Return whether every photo is a drawn face, so that pages can say so."""
        return bool(len(self.table)) and bool((self.table["source"] == "drawn_faces").all())

    def fingerprint(self) -> str:
        """Return a SHA-256 over paths, labels and splits of the kept rows: the same data, the same fingerprint."""
        kept = self.kept()
        further = sorted(set(label_columns(kept)) - set(USUAL_LABELS))
        rows = kept[["path", *USUAL_LABELS, "split", *further]].sort_values("path", kind="stable")
        return hashlib.sha256(rows.to_csv(index=False).encode()).hexdigest()


def label_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns that hold labels, in their order: the usual three, and every further one with a known label.

    >>> label_columns(make_table([{"path": "a.jpg", "source": "csv", "gender": "female", "hat": "none"}]))
    ['age_years', 'gender', 'ethnicity', 'hat']
    """
    names = [str(name) for name in table.columns]
    scored = {name.removesuffix("_score") for name in names if name.endswith("_score")}
    checks = {check for check in scored if f"is_{check}" in names}  # of quality: `<check>_score` and `is_<check>`
    aside = BOOKKEEPING | {f"{check}_score" for check in checks} | {f"is_{check}" for check in checks}
    labels = [name for name in names if name not in aside]
    return [name for name in labels if name in USUAL_LABELS or table[name].notna().any()]


def make_table(rows: Mapping[str, Any] | list[dict[str, Any]]) -> pd.DataFrame:
    """Return a checked faces table of `rows`, absent columns filled with missing values.

    >>> table = make_table([{"path": "a.jpg", "source": "csv", "age_years": 7, "gender": "female"}])
    >>> table[["age_years", "gender"]].values.tolist(), table["ethnicity"].tolist()
    ([[7.0, 'female']], [None])
    """
    return check_table(pd.DataFrame(rows))


def check_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with all `COLUMNS` first, dtypes set and values checked; further columns stay as they are.

    Text columns hold str or missing values (an empty string becomes missing), `age_years` is float64 in years.
    """
    missing = {"path", "source"} - set(table.columns)
    if missing:
        raise TableError(
            f"the faces table lacks the column{'s' * (len(missing) > 1)} {', '.join(sorted(missing))}; "
            f"it has {', '.join(map(str, table.columns)) or 'none'}. `agegender prepare` makes such a table."
        )
    checked = table.reset_index(drop=True).copy()
    for name in TEXT_COLUMNS:
        values = checked[name] if name in checked else pd.Series(None, index=checked.index, dtype=object)
        checked[name] = _text(values)
    checked["age_years"] = _ages(checked.get("age_years", np.nan), checked)
    _check_choices(checked, "gender", GENDERS)
    _check_choices(checked, "split", SPLITS)
    twice = checked["path"][checked["path"].duplicated()]
    if len(twice):
        raise TableError(f"{len(twice)} paths stand twice in the faces table, first {twice.iloc[0]!r}.")
    if checked["path"].isna().any():
        raise TableError(f"{int(checked['path'].isna().sum())} rows of the faces table have no path.")
    return checked[[*COLUMNS, *(name for name in checked.columns if name not in COLUMNS)]]


def write_faces(faces: FacesTable, path: Path) -> None:
    """Write the table as Parquet, root and notes in its metadata; whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = pa.Table.from_pandas(check_table(faces.table), preserve_index=False)
    root = str(faces.root)
    facts = json.dumps({"root": root, "seal": seal_of(root), "notes": plain(dict(faces.notes))})
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), METADATA_KEY: facts.encode()})
    with replaced_file(path) as temporary:
        pq.write_table(arrow, temporary)


def read_faces(path: Path, *, root: Path | None = None) -> FacesTable:
    """Read a faces table; `root` replaces the stored folder when the photos have moved.

    Where no photo is in the stored folder, one near the table is tried; of a table that was not made here, nothing far
    from it is opened. Rows whose path leads out of the folder are
    left out, with that reason.
    """
    finish_swaps(path.absolute().parent)
    read = read_table(path, what="faces table", hint=f"`agegender prepare --out {path}` makes one.")
    stored, notes = checked_facts(read.facts, path)
    for notice in read.notices:
        say(f"{path.name}: {notice}")
    table = check_table(read.rows.drop(columns=nested_columns(read.rows)))
    kept = table["path"][table["dropped_because"].isna()].tolist()
    ours = stored is not None and is_ours(str(stored), read.facts.get("seal"))
    found = root.absolute() if root else root_of_photos(kept, stored, path, is_ours=ours)
    return FacesTable(_without_escapes(table, found, path), found, notes)


def _without_escapes(table: pd.DataFrame, root: Path, file: Path) -> pd.DataFrame:
    """Return the table with the rows marked whose path may not be opened, and say how many they are."""
    problems = pd.Series(path_problems(table["path"].tolist(), root), index=table.index, dtype=object)
    wrong = problems.notna() & table["dropped_because"].isna()
    if not wrong.any():
        return table
    first = table["path"][wrong].iloc[0]
    words = (
        f"{int(wrong.sum()):,} of {len(table):,} paths in {file} lead out of {root} or are no paths, first {first!r}"
    )
    if wrong.all():
        raise TableError(f"{words}: none of its photos may be opened. If they have moved, name --images FOLDER.")
    say(f"{words}; these rows are left out, and nothing there is opened.")
    return table.assign(dropped_because=table["dropped_because"].where(~wrong, problems))


def combine_faces(parts: Sequence[FacesTable]) -> FacesTable:
    """Return one table of all parts, paths relative to the deepest folder that holds them all.

    `sources` and `malformed_names` of the notes are merged; everything else is kept per part under `parts`.
    """
    if not parts:
        raise UsageError("there is no dataset to prepare. Name one with --source NAME --data FOLDER.")
    if len(parts) == 1:
        return parts[0]
    root = Path(os.path.commonpath([part.root.resolve() for part in parts]))
    tables = [_below(root, part) for part in parts]
    table = pd.concat(tables, ignore_index=True)
    twice = table["path"][table["path"].duplicated()]
    if len(twice):
        folders = ", ".join(dict.fromkeys(str(part.root) for part in parts))
        raise FolderError(
            f"{len(twice)} photos would stand in the table twice, first {twice.iloc[0]}: a folder is given twice or "
            f"lies within another one ({folders}). Name each folder once."
        )
    return replace(parts[0], table=check_table(table), root=root, notes=_merged_notes(root, parts))


def _below(root: Path, part: FacesTable) -> pd.DataFrame:
    prefix = _prefix(root, part)
    return part.table.assign(path=prefix + part.table["path"]).dropna(axis="columns", how="all")


def _prefix(root: Path, part: FacesTable) -> str:
    relative = part.root.resolve().relative_to(root).as_posix()
    return "" if relative == "." else f"{relative}/"


def _merged_notes(root: Path, parts: Sequence[FacesTable]) -> dict[str, Any]:
    sources: list[str] = []
    malformed: list[str] = []
    rest = []
    for part in parts:
        notes = dict(part.notes)
        sources += notes.pop("sources", [])
        malformed += [_prefix(root, part) + path for path in notes.pop("malformed_names", [])]
        rest.append({"root": str(part.root), **notes})
    return {"sources": list(dict.fromkeys(sources)), "malformed_names": malformed, "parts": rest}


def _text(values: pd.Series) -> pd.Series:
    texts = values.astype(object).where(values.notna(), None)
    cleaned = [None if value is None or str(value) == "" else str(value) for value in texts]
    return pd.Series(cleaned, index=values.index, dtype=object)


def _ages(values: Any, table: pd.DataFrame) -> pd.Series:
    given = pd.Series(values, index=table.index)
    ages = numbers_of(given)
    wrong = (given.notna() & ages.isna()) | (ages < 0) | (ages > OLDEST_AGE_YEARS)
    if wrong.any():
        first = table.index[wrong][0]
        raise TableError(
            f"{int(wrong.sum())} ages are not numbers of years between 0 and {OLDEST_AGE_YEARS:.0f}; "
            f"first {given[first]!r} for {table.loc[first, 'path']}. Leave an unknown age empty."
        )
    return ages


def _check_choices(table: pd.DataFrame, column: str, choices: tuple[str, ...]) -> None:
    wrong = table[column].notna() & ~table[column].isin(choices)
    if wrong.any():
        first = table.index[wrong][0]
        raise TableError(
            f"{int(wrong.sum())} values of {column} are none of {', '.join(choices)}; "
            f"first {table.loc[first, column]!r} for {table.loc[first, 'path']}."
        )
