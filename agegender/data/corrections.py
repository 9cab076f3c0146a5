"""What people found when they looked at suspected labels, taken into a faces table: each mended label with its history.

A corrections file is a CSV file (or any other table) with a row for each finding, as the page suspects.html saves it:

    photo,path,column,label,mark,correction
    1f0c…,a/63_0.jpg,age_years,63,wrong label,36
    88d2…,a/b.jpg,,,not a face,

`photo` or `path` says which; `photo_code` makes one of the other, and stands alone where names are hidden.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from agegender.data.faces_table import CORRECTED, FacesTable, check_table, label_columns
from agegender.errors import TableError, did_you_mean
from agegender.heads import KNOWN_HEADS, Classification, Regression
from agegender.reading_tables import read_table
from agegender.table_cells import without_apostrophes

WRONG, NO_FACE, LOOK_AGAIN = "wrong label", "not a face", "look again"
MARKS = (WRONG, NO_FACE, LOOK_AGAIN)
NOT_A_FACE = "not a face, found by review"
NO_LABEL_LEFT = "wrong label, found by review"
UNKNOWN_WORDS = ("", "unknown", "?")  # a correction that says that nobody knows
_COLUMNS = ("photo", "path", "column", "label", "mark", "correction")


def photo_code(path: str) -> str:
    """Return what stands for a photo where its name is hidden: 16 hexadecimal digits of its path.

    >>> photo_code("a/b.jpg")
    '67ed673b4d9fccae'
    """
    return hashlib.blake2b(path.encode(), digest_size=8).hexdigest()


def read_corrections(path: Path) -> pd.DataFrame:
    """Return a corrections file as texts, checked as far as it can be without a faces table.

    Raises
    ------
    TableError
        It is no table, names neither photos nor marks, has a mark that there is not, or contradicts itself.
    """
    hint = "The page that `agegender suspects` writes saves one."
    rows = read_table(path, what="corrections file", hint=hint, as_texts=True).rows
    rows = rows.rename(columns=lambda name: str(name).strip().lower())
    if "mark" not in rows or not {"photo", "path"} & set(rows):
        raise TableError(
            f"{path} is no corrections file: it needs the columns mark, and photo or path; it has "
            f"{', '.join(map(str, rows.columns[:10])) or 'none'}. {hint}"
        )
    for name in _COLUMNS:
        texts = rows[name].astype(object) if name in rows else pd.Series("", index=rows.index, dtype=object)
        rows[name] = without_apostrophes(texts.where(texts.notna(), "").astype(str).str.strip())
    rows = rows[list(_COLUMNS)]
    rows = rows[rows["mark"] != ""].drop_duplicates(ignore_index=True)
    strange = rows[~rows["mark"].isin(MARKS)]
    if len(strange):
        mark = strange["mark"].iloc[0]
        raise TableError(
            f"{path} has the mark {mark[:40]!r}, and there are {', '.join(MARKS)}.{did_you_mean(mark, MARKS)}"
        )
    nameless = rows[(rows["photo"] == "") & (rows["path"] == "")]
    if len(nameless):
        raise TableError(f"{path}: {len(nameless)} rows have a mark and name no photo.")
    lacking = rows[(rows["mark"] == WRONG) & (rows["column"] == "")]
    if len(lacking):
        raise TableError(f"{path}: a wrong label needs its column, such as age_years; {len(lacking)} rows have none.")
    rows["photo"] = rows["photo"].where(rows["photo"] != "", rows["path"].map(photo_code))
    twice = rows[rows["mark"] == WRONG].duplicated(["photo", "column"])
    if twice.any():
        first = rows[rows["mark"] == WRONG][twice].iloc[0]
        named = first["path"] or first["photo"]
        raise TableError(f"{path} corrects {first['column']} of {named} twice, and differently. Keep one of the rows.")
    return rows


def correct_faces(faces: FacesTable, corrections: pd.DataFrame, *, file: str = "") -> tuple[FacesTable, dict[str, int]]:
    """Return the faces with corrections taken in, and how many of each kind there were.

    What is no face is left out. A wrong label becomes its correction, or unknown without one, and the column
    `corrected` keeps what it was; a photo that has no label left is left out.

    Raises
    ------
    TableError
        None of the photos is in the table, a column isn't, or a correction cannot be a label of it.
    """
    table = faces.table.copy()
    names = table["original_path"].fillna(table["path"]) if "original_path" in table else table["path"]
    place = dict(zip(map(photo_code, names), table.index, strict=True))
    known = corrections[corrections["photo"].isin(place.keys())]
    if known.empty and len(corrections):
        named = corrections["path"].iloc[0] or corrections["photo"].iloc[0]
        raise TableError(
            f"none of the {len(corrections)} photos of the corrections file {file} is in this table, first {named}. "
            f"Paths start from the folder that the suspects' own table started from: give the same --data."
        )
    columns = label_columns(table)
    counts = {"mended": 0, "made_unknown": 0, "not_a_face": 0, "look_again": 0, "label_changed_since": 0}
    counts["not_in_table"] = len(corrections) - len(known)
    if CORRECTED not in table:
        table[CORRECTED] = pd.Series(None, index=table.index, dtype=object)
    for one in known.to_dict("records"):
        _take_in(table, place[one["photo"]], one, columns, counts)
    _leave_out_unlabelled(table, [place[code] for code in known["photo"][known["mark"] == WRONG]], columns)
    notes = {**faces.notes, "corrections": {"file": file, **counts}}
    return replace(faces, table=check_table(table), notes=notes), counts


def correction_words(counts: Mapping[str, int]) -> str:
    """Return how many corrections were taken in, in words."""
    said = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.items() if count)
    return f"corrections: {said or 'none'}"


def _take_in(table: pd.DataFrame, row: Any, one: Mapping[str, str], columns: list[str], counts: dict[str, int]) -> None:
    if one["mark"] == LOOK_AGAIN:
        counts["look_again"] += 1
        return
    if one["mark"] == NO_FACE:
        table.loc[row, "dropped_because"] = NOT_A_FACE
        counts["not_a_face"] += 1
        return
    column = one["column"]
    if column not in columns:
        raise TableError(
            f"there is no label column {column[:60]!r} to correct.{did_you_mean(column, columns)} There are "
            f"{', '.join(columns)}."
        )
    now = _as_text(table.loc[row, column])
    if one["label"] and _as_text(_cell(one["label"], column, table)) != now:
        counts["label_changed_since"] += 1  # somebody has mended it already, or it is another dataset
        return
    new = None if one["correction"].lower() in UNKNOWN_WORDS else _cell(one["correction"], column, table)
    table.loc[row, column] = new
    before = table.loc[row, CORRECTED]
    change = f"{column}: {now or 'unknown'} → {_as_text(new) or 'unknown'}"
    table.loc[row, CORRECTED] = change if pd.isna(before) else f"{before}; {change}"
    counts["made_unknown" if new is None else "mended"] += 1


def _cell(text: str, column: str, table: pd.DataFrame) -> Any:
    """Return a text as a label of a column."""
    head = next((one for one in KNOWN_HEADS if one.column == column), None)
    if isinstance(head, Classification):
        found = head.classes_of(pd.Series([text], dtype=object)).iloc[0]
        if found is None:
            raise TableError(f"{text[:60]!r} is no {column}: it is {' or '.join(head.classes)}, or left empty.")
        return found
    if not (isinstance(head, Regression) or pd.api.types.is_numeric_dtype(table[column])):
        return text
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = float("nan")
    low, high = (head.low, head.high) if isinstance(head, Regression) else (-1e15, 1e15)
    if not low <= value <= high:
        raise TableError(f"{text[:60]!r} is no {column}: give a number of {low:g} to {high:g}, or leave it empty.")
    return value


def _as_text(value: Any) -> str:
    if value is None or pd.isna(value):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _leave_out_unlabelled(table: pd.DataFrame, rows: list[Any], columns: list[str]) -> None:
    known = [head.column for head in KNOWN_HEADS if head.column in columns]
    for row in rows:
        if table.loc[row, known].isna().all() and pd.isna(table.loc[row, "dropped_because"]):
            table.loc[row, "dropped_because"] = NO_LABEL_LEFT
