"""The rows of single photos inside a page, so that a reader can slice its figures.

They stand in columns, as base64 of floats of 32 bits and of small whole numbers. Nothing of this is in a page that
hides faces: each row would be about somebody.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from agegender.audit import grouping
from agegender.audit.words import about, capitalised, count, in_unit, too
from agegender.data.corrections import MARKS, photo_code
from agegender.heads import Classification, Head, Regression
from agegender.heads.classification import as_names
from agegender.pages.galleries import PhotoShelf
from agegender.pages.page_writing import ReportContent
from agegender.writing import plain

MOST_ROWS = 10_000
_NO_CODE = 255
_SURE = (0.6, 0.9)


def slice_section(content: ReportContent, shelf: PhotoShelf) -> dict[str, Any] | None:
    """Return what the part of the page that slices needs, or None where nothing about single photos may be told."""
    if content.hide_faces:
        return None
    judged = content.assessment.judged
    rows = judged if len(judged) <= MOST_ROWS else judged.sample(MOST_ROWS, random_state=7).sort_index()
    document: dict[str, Any] = {
        "rows": len(rows),
        "seed": _seed_words(content.assessment.seed),
        "clusters": _clusters(content, rows.index.to_numpy()),
        "columns": [
            *_groupings(content, rows),
            *(part for head in content.heads for part in _bands(head, rows)),
        ],
        "heads": [_head(content, head, rows) for head in content.heads],
        "photos": _photos(content, shelf, rows),
    }
    return {
        "document": json.dumps(plain(document), separators=(",", ":"), ensure_ascii=False),
        "columns": document["columns"],
        "headings": [heading for one in document["heads"] for heading in one["headings"]],
        "heads": document["heads"],
        "first_number": next((one for one in document["heads"] if one["kind"] == "regression"), None),
        "row_count": count(len(rows)),
        "is_sample": len(rows) < len(judged),
        "judged_count": count(len(judged)),
        "face_count": count(len(document["photos"])),
        "marks": MARKS,
        "label_columns": [(head.column, head.title) for head in content.heads],
    }


def _seed_words(seed: int) -> list[int]:
    """Return the state that the audit's random numbers start from, as halves of 32 bits, the low one first."""
    state: Any = np.random.SFC64(seed).state
    return [int(half) for word in state["state"]["state"] for half in (int(word) & 0xFFFFFFFF, int(word) >> 32)]


def _clusters(content: ReportContent, places: NDArray[np.int64]) -> str | None:
    clusters = content.assessment.clusters
    return None if clusters is None else _packed(pd.factorize(clusters[places])[0], np.uint16)


def _groupings(content: ReportContent, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the columns that the audit groups by, in its order."""
    found = []
    for columns, groups in content.assessment.groupings.items():
        if len(columns) > 1:
            continue
        codes = groups.codes[rows.index.to_numpy()]
        names = [values[0] for values in groups.values]
        names += ["other values"] if (codes == len(names)).any() else []
        found.append(_column(columns[0], capitalised(grouping.title(columns)), names, codes))
    return found


def _bands(head: Head, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return bands of what a head made of each row: of the error of a number, of how sure a class was."""
    if isinstance(head, Classification):
        right = rows[head.right_column].to_numpy(float)
        sure = rows[head.confidence_column].to_numpy(float)
        low, high = (f"{100 * edge:.0f} %" for edge in _SURE)
        return [
            _column(f"{head.name}.right", f"{capitalised(head.title)}: right or wrong", ["right", "wrong"],
                    np.where(np.isfinite(right), right == 0, -1)),
            _column(f"{head.name}.sure", f"{capitalised(head.title)}: how sure",
                    [f"under {low} sure", f"{low} to {high} sure", f"{high} sure or more"],
                    np.where(np.isfinite(sure), np.digitize(sure, _SURE), -1)),
        ]  # fmt: skip
    assert isinstance(head, Regression)
    errors = rows[head.error_column].to_numpy(float)
    known = np.isfinite(errors)
    edges = head.tolerances or tuple(np.quantile(np.abs(errors[known]), (0.5, 0.9)).round(3) if known.any() else ())
    if len(set(edges)) < 2:
        return []
    near, far = edges[0], edges[-1]
    more, less = too(head)
    unit = f" {head.unit}".rstrip()
    middle, outside = f"by {near:g} to {far:g}{unit}", f"by {far:g}{unit} or more"
    names = [f"too {less} {outside}", f"too {less} {middle}", f"within ±{near:g}{unit}"]
    names += [f"too {more} {middle}", f"too {more} {outside}"]
    sizes = np.digitize(np.abs(errors), (near, far), right=True)
    codes = np.where(known, 2 + np.sign(np.where(known, errors, 0)).astype(int) * sizes, -1)
    return [_column(f"{head.name}.error", f"Error of {head.title}", names, codes)]


def _column(key: str, title: str, names: list[str], codes: NDArray[Any]) -> dict[str, Any]:
    packed = np.where(codes < 0, _NO_CODE, codes)
    return {"key": key, "title": title, "values": names, "codes": _packed(packed, np.uint8)}


def _head(content: ReportContent, head: Head, rows: pd.DataFrame) -> dict[str, Any]:
    shared = {"kind": head.kind, "name": head.name, "title": head.title, "column": head.column}
    if isinstance(head, Classification):
        accuracy = f"{capitalised(head.title)} accuracy"
        pair = [as_names(rows[name]) for name in (head.column, head.predicted)]
        codes = [pd.Categorical(one, categories=head.classes).codes for one in pair]
        sure = rows[head.confidence_column].to_numpy(float)
        return {
            **shared,
            "classes": list(head.classes),
            "label": _packed(codes[0], np.int16),
            "predicted": _packed(codes[1], np.int16),
            "sure": _packed(np.where(np.isfinite(sure), np.round(100 * np.nan_to_num(sure)), _NO_CODE), np.uint8),
            "headings": [{"key": f"{head.name}_accuracy", "title": accuracy}],
        }
    assert isinstance(head, Regression)
    values = rows[[head.column, head.predicted]].to_numpy(float)
    where = about(head, content.heads)
    return {
        **shared,
        "unit": head.unit,
        "digits": content.digits(head),
        "words": too(head),
        "decades": head.has_bands,
        "label": _packed(values[:, 0], np.float32),
        "predicted": _packed(values[:, 1], np.float32),
        "headings": [
            {"key": f"{head.name}_mae", "title": in_unit(f"MAE{where}", head)},
            {"key": f"{head.name}_signed_error", "title": in_unit(f"Mean error{where}", head)},
        ],
    }


def _packed(values: ArrayLike, kind: type) -> str:
    numbers = np.asarray(values).astype(np.dtype(kind).newbyteorder("<"))
    return base64.b64encode(numbers.tobytes()).decode()


def _photos(content: ReportContent, shelf: PhotoShelf, rows: pd.DataFrame) -> list[list[Any]]:
    """Return, of each photo whose face the page holds, its row here, its name, code, labels and explanation."""
    position = {int(place): number for number, place in enumerate(rows.index)}
    found = []
    for place, explained in shelf.shown.items():
        if place not in position:
            continue
        row: Mapping[Any, Any] = rows.loc[place].to_dict()
        original = row.get("original_path")
        name = original if isinstance(original, str) and original else row["path"]
        labels = [_label_text(row.get(head.column)) for head in content.heads]
        found.append([position[place], place, name, photo_code(name), labels, explained])
    return found


def _label_text(value: Any) -> str:
    """Return a label as a corrections file has it."""
    if value is None or pd.isna(value):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
