"""Owns the item, one row of the faces table with its labels as numbers, which every later step starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from agegender.data.faces_table import FacesTable
from agegender.errors import TableError
from agegender.settings import Head

UNKNOWN_CLASS = -1


@dataclass(frozen=True, slots=True)
class FaceItem:
    """A photo, its labels and its side.

    Attributes
    ----------
    photo : Path
        Absolute.
    labels : tuple of float or int
        One per head: years, NaN where unknown; the class number, -1 where unknown.
    split : str or None
        "train", "valid" or "test".
    """

    photo: Path
    labels: tuple[float | int, ...]
    split: str | None


def face_items(faces: FacesTable, heads: Sequence[Head]) -> list[FaceItem]:
    """Return the kept rows as items, in the order of the table.

    Raises
    ------
    TableError
        A head's column is absent, or holds a class that the head does not know.
    """
    table = faces.kept()
    labels = zip(*(_labels(table, head) for head in heads), strict=True)
    splits = [None if pd.isna(split) else str(split) for split in table["split"]]
    photos = [faces.photo_path(path) for path in table["path"]]
    return [FaceItem(*parts) for parts in zip(photos, labels, splits, strict=True)]


def _labels(table: pd.DataFrame, head: Head) -> list[float] | list[int]:
    if head.column not in table:
        raise TableError(
            f"the faces table has no column {head.column!r} for the head {head.name!r}; "
            f"it has {', '.join(table.columns)}."
        )
    if head.kind == "years":
        return table[head.column].astype("float64").tolist()
    strangers = table[head.column].notna() & ~table[head.column].isin(head.classes)
    if strangers.any():
        first = table[strangers].iloc[0]
        raise TableError(
            f"{int(strangers.sum())} values of {head.column} are none of {', '.join(head.classes)}; "
            f"first {first[head.column]!r} for {first['path']}. Leave an unknown label empty."
        )
    numbers = {name: number for number, name in enumerate(head.classes)}
    return [UNKNOWN_CLASS if pd.isna(label) else numbers[label] for label in table[head.column]]
