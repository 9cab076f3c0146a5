"""Owns opening a dataset's label files: CSV and TSV as they come, with their columns checked."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from agegender.errors import TableError


def read_label_file(path: Path, needed: Collection[str] = ()) -> pd.DataFrame:
    """Return a CSV, TSV or Parquet file as texts, so that no library guesses what a label means.

    The separator (comma, semicolon, tab) is taken from the first line. Empty cells are empty texts.

    Raises
    ------
    TableError
        The file is missing, is no table, or lacks one of the `needed` columns.
    """
    if not path.is_file():
        raise TableError(f"there is no label table at {path}.")
    try:
        table = _parquet(path) if path.suffix.lower() == ".parquet" else _text_table(path)
    except (OSError, ValueError, csv.Error) as error:  # pandas' and pyarrow's parse errors are ValueErrors
        reason = (str(error).splitlines() or ["unknown reason"])[0]
        raise TableError(f"{path} cannot be read as a table: {reason}") from error
    table.columns = table.columns.map(lambda name: str(name).strip())
    missing = [name for name in needed if name not in table]
    if missing:
        raise TableError(
            f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            f"it has {', '.join(map(str, table.columns)) or 'none'}."
        )
    return table


def find_label_file(root: Path, name: str) -> Path | None:
    """Return the first file of that name below `root`, or beside it, where people unpack tables and photos apart."""
    beside = [root.parent / name] if (root.parent / name).is_file() else []
    return next(iter([*sorted(root.rglob(name)), *beside]), None)


def _text_table(path: Path) -> pd.DataFrame:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        first_line = file.readline()
    separator = max((",", ";", "\t"), key=first_line.count)
    return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")


def _parquet(path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path)
    return table.astype(object).where(table.notna(), "").astype(str)
