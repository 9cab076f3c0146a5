"""Owns the faces table: its columns, dtypes, checks, and its place on disk.

One row per photo. An unknown label is a missing value, never a made-up one; a photo that was left out keeps its row and
its reason in `dropped_because`. This module knows neither where labels come from nor what is done with them: sources
fill the table, cleaning and splitting mark it, training and reports read it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agegender.errors import TableError
from agegender.writing import plain, replaced_file

GENDERS = ("male", "female")
SPLITS = ("train", "valid", "test")
OLDEST_AGE_YEARS = 122.0  # the longest documented life, Jeanne Calment's, was 122 years

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
TEXT_COLUMNS = tuple(name for name in COLUMNS if name != "age_years")
_METADATA_KEY = b"agegender"


@dataclass(frozen=True)
class FacesTable:
    """A faces table, the folder its paths start from, and notes on how it was made.

    Attributes
    ----------
    table : DataFrame
        One row per photo, columns `COLUMNS` first. `path` is relative to `root`, with forward slashes.
    root : Path
        Absolute folder.
    notes : mapping
        JSON-able facts about the making: sources, seeds, crop margin, counts.
    """

    table: pd.DataFrame
    root: Path
    notes: Mapping[str, Any] = field(default_factory=dict)

    def kept(self) -> pd.DataFrame:
        """Return the rows that were not left out."""
        return self.table[self.table["dropped_because"].isna()]

    def dropped(self) -> pd.Series:
        """Return how many rows were left out for each reason, most frequent first."""
        return self.table["dropped_because"].dropna().value_counts()

    def photo_path(self, path: str) -> Path:
        """Return the absolute place of one photo."""
        return self.root / path

    def is_drawn(self) -> bool:
        """Return whether every photo is a drawn face, so that pages can say so."""
        return bool(len(self.table)) and bool((self.table["source"] == "drawn_faces").all())

    def fingerprint(self) -> str:
        """Return a SHA-256 over paths, labels and splits of the kept rows: the same data, the same fingerprint."""
        columns = ["path", "age_years", "gender", "ethnicity", "split"]
        rows = self.kept()[columns].sort_values("path", kind="stable")
        return hashlib.sha256(rows.to_csv(index=False).encode()).hexdigest()


def make_table(rows: Mapping[str, Any] | list[dict[str, Any]]) -> pd.DataFrame:
    """Return a checked faces table of `rows`, absent columns filled with missing values.

    >>> table = make_table([{"path": "a.jpg", "source": "csv", "age_years": 7, "gender": "female"}])
    >>> table[["age_years", "gender"]].values.tolist(), table["ethnicity"].tolist()
    ([[7.0, 'female']], [None])
    """
    return check_table(pd.DataFrame(rows))


def check_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with all `COLUMNS`, their dtypes set and their values checked.

    Text columns hold str or missing values (an empty string becomes missing), `age_years` is float64 in years.

    Raises
    ------
    TableError
        A needed column is absent, a path stands twice, or a label lies outside its range.
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
    """Write the table as Parquet, root and notes in its metadata; whole or not at all.

    Raises
    ------
    OutputError
        The place cannot be written to.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = pa.Table.from_pandas(check_table(faces.table), preserve_index=False)
    facts = json.dumps({"root": str(faces.root), "notes": plain(dict(faces.notes))})
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), _METADATA_KEY: facts.encode()})
    with replaced_file(path) as temporary:
        pq.write_table(arrow, temporary)


def read_faces(path: Path, *, root: Path | None = None) -> FacesTable:
    """Read a faces table; `root` replaces the stored folder when the photos have moved.

    Raises
    ------
    TableError
        The file is missing, is no Parquet, or breaks a rule of `check_table`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise TableError(f"there is no faces table at {path}. `agegender prepare --out {path}` makes one.")
    try:
        arrow = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise TableError(f"{path} is not a Parquet file: {str(error).splitlines()[0]}") from error
    facts = json.loads((arrow.schema.metadata or {}).get(_METADATA_KEY, b"{}"))
    stored = facts.get("root")
    return FacesTable(
        check_table(arrow.to_pandas()), root or Path(stored or path.parent).absolute(), facts.get("notes", {})
    )


def _text(values: pd.Series) -> pd.Series:
    texts = values.astype(object).where(values.notna(), None)
    cleaned = [None if value is None or str(value) == "" else str(value) for value in texts]
    return pd.Series(cleaned, index=values.index, dtype=object)


def _ages(values: Any, table: pd.DataFrame) -> pd.Series:
    given = pd.Series(values, index=table.index)
    ages = pd.to_numeric(given, errors="coerce").astype("float64")
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
