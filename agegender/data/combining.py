"""Owns putting several datasets into one faces table: one root for all, and no path twice.

Photos stay where they are; the common root is the deepest folder that holds all the given ones, so photos with the same
name in two folders keep two paths. It knows nothing of what the labels mean.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from agegender.data.faces_table import FacesTable, check_table
from agegender.errors import FolderError, UsageError


def combine_faces(parts: Sequence[FacesTable]) -> FacesTable:
    """Return one table of all parts, paths relative to their common folder.

    Notes: `sources` and `malformed_names` are merged, everything else is kept per part under `parts`.

    Raises
    ------
    UsageError
        There is nothing to combine.
    FolderError
        One folder was given twice, or lies within another, so that photos would stand in the table twice.
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
    return FacesTable(check_table(table), root, _merged_notes(root, parts))


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
