"""The photos of a dataset: sizes and sharpness by group, a random sheet of faces, and pairs as far apart as they come.

Photos are read here, a sample of them, chosen by a hash of their paths: the same one for the same table, whatever else
is in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agegender.data.faces_table import FacesTable
from agegender.errors import PhotoError
from agegender.heads.age_bands import AGE_GROUPS
from agegender.pages.dataset_people import age_bands, group_names
from agegender.pages.galleries import Photo
from agegender.pages.tables import Column, Row, Table, known_columns
from agegender.photos.hashing import hash_numbers
from agegender.settings import NEAR_RADIUS_BITS

SEED = 7
FACES_EACH = 12  # in a cell of the sheet
MOST_FACES = 360  # on the sheet: at about 1.5 kB each half a megabyte
MOST_CELLS = 60
SHEET_PIXELS = 72
_MEASURED_OF_ALL, _MEASURED_EACH, _MOST_MEASURED = 200, 60, 600  # photos of all, of a group, and of all groups
_MOST_HASHED = 3000  # photos whose hashes are compared all with all
_FARTHEST = 14  # bits
MakePhoto = Callable[[Mapping[Any, Any], str], Photo]


def chosen(paths: pd.Series, number: int, *, seed: int = SEED) -> pd.Index:
    """Return the index of up to `number` paths at random, the same ones for the same seed."""
    keys = [hashlib.blake2b(f"sheet {seed}\0{path}".encode(), digest_size=8).digest() for path in paths]
    order = sorted(range(len(keys)), key=keys.__getitem__)[:number]
    return paths.index[sorted(order)]


def contact_sheet(kept: pd.DataFrame, make_photo: MakePhoto) -> list[dict[str, Any]]:
    """Return up to 12 random faces of every cell of ethnicity, gender and age band; of many cells the largest."""
    names, bands = group_names(kept), age_bands(kept)
    cells = pd.DataFrame({"group": names.fillna("group unknown"), "age": bands.fillna("age unknown")})
    sizes = cells.value_counts()
    shown = sizes.index[:MOST_CELLS]
    each = max(1, min(FACES_EACH, MOST_FACES // max(len(shown), 1)))
    sheet: dict[str, list[dict[str, Any]]] = {}
    for group, age in sorted(shown, key=_order):
        rows = kept[(cells["group"] == group) & (cells["age"] == age)]
        faces = [
            replace(make_photo(row, ""), file="") for row in rows.loc[chosen(rows["path"], each)].to_dict("records")
        ]
        sheet.setdefault(group, []).append({"age": age, "n": len(rows), "photos": faces})
    return [{"group": group, "n": sum(one["n"] for one in found), "cells": found} for group, found in sheet.items()]


def _order(cell: tuple[str, str]) -> tuple[str, int]:
    return cell[0], AGE_GROUPS.index(cell[1]) if cell[1] in AGE_GROUPS else len(AGE_GROUPS)


def size_table(faces: FacesTable) -> Table | None:
    """Return size and sharpness of a sample of each group's photos, None where none can be read."""
    kept = faces.kept()
    groups = group_names(kept).fillna("group unknown")
    names = groups.value_counts().index[: _MOST_MEASURED // 10]
    each = max(10, min(_MEASURED_EACH, _MOST_MEASURED // max(len(names), 1)))
    rows = []
    for name in ("everybody", *sorted(names)):
        part = kept if name == "everybody" else kept[groups == name]
        number = _MEASURED_OF_ALL if name == "everybody" else each
        measured = [
            found for path in part.loc[chosen(part["path"], number), "path"] if (found := _measure(faces, path))
        ]
        rows.append(Row(_sizes(name, part, measured)))
    if not any(row.values["measured"] for row in rows):
        return None
    columns = [
        Column("group", "Group"),
        Column("photos", "Photos", 0),
        Column("measured", "Measured", 0, hint="photos chosen at random, the same ones each time"),
        Column("shorter_side", "Shorter side, px", 0, hint="median, in pixels; more is better"),
        Column("smallest_tenth", "Of the smallest tenth, px", 0, hint="10 % of the photos are no larger"),
        Column("sharpness", "Sharpness", 3, hint="median; variance of the Laplacian as a share of that of grey"),
        Column("blurry", "Called blurry", 1, is_percent=True, hint="share of all photos, where they were scored"),
        Column("no_face", "No face found", 1, is_percent=True, hint="share of all photos, where they were scored"),
    ]
    note = (
        "Medians of a random sample. Sharpness is the variance of the Laplacian as a share of the variance of grey, at "
        "128 pixels: no unit, 0 to 1, and more is sharper; below 0.010 a photo is called blurry. Sizes are as stored."
    )
    return Table("sizes", "Size and sharpness by group", known_columns(columns, rows), rows, note, len(rows) > 12)


def _sizes(name: str, part: pd.DataFrame, measured: Sequence[tuple[int, float]]) -> dict[str, Any]:
    sides, sharpness = (np.array([one[place] for one in measured], float) for place in (0, 1))
    return {
        "group": name, "photos": len(part), "measured": len(measured),
        "shorter_side": float(np.median(sides)) if len(sides) else None,
        "smallest_tenth": float(np.quantile(sides, 0.1)) if len(sides) else None,
        "sharpness": float(np.median(sharpness)) if len(sharpness) else None,
        "blurry": _share(part, "is_blurry"), "no_face": _share(part, "is_no_face"),
    }  # fmt: skip


def _share(part: pd.DataFrame, flag: str) -> float | None:
    known = part[flag].dropna() if flag in part else pd.Series(dtype=float)
    return float(known.astype(bool).mean()) if len(known) else None


def _measure(faces: FacesTable, path: str) -> tuple[int, float] | None:
    """Return the shorter side of a photo in pixels and its sharpness, None where it can't be read."""
    from agegender.photos.quality import light_and_blur
    from agegender.photos.reading import read_photo

    place: Path | None = faces.photo_place(path)
    try:
        photo = read_photo(place) if place is not None else None
    except (PhotoError, OSError):
        return None
    return None if photo is None else (min(photo.shape[:2]), light_and_blur(photo)["blurry"])


def pairs_by_distance(faces: FacesTable, make_photo: MakePhoto) -> list[dict[str, Any]]:
    """Return one pair of photos for each Hamming distance of their hashes up to 14 bits that occurs in a sample."""
    hashed = faces.table[faces.table["phash"].notna()]
    if len(hashed) < 2:
        return []
    in_clusters = hashed["twin_cluster"].notna() if "twin_cluster" in hashed else pd.Series(False, index=hashed.index)
    twins = hashed[in_clusters]
    sample = pd.concat([hashed.loc[chosen(part["path"], _MOST_HASHED // 2)] for part in (twins, hashed[~in_clusters])])
    numbers = np.asarray(hash_numbers(sample["phash"].tolist()), np.uint64)
    radius = (faces.notes.get("cleaning") or {}).get("near_duplicates", NEAR_RADIUS_BITS)
    found: dict[int, tuple[int, int]] = {}
    for one in range(len(numbers) - 1):
        bits = np.bitwise_count(numbers[one + 1 :] ^ numbers[one])
        for distance in set(bits[bits <= _FARTHEST].tolist()) - set(found):
            found[distance] = (one, one + 1 + int(np.flatnonzero(bits == distance)[0]))
    return [_pair(sample, found[bits], bits, radius, make_photo) for bits in sorted(found)]


def _pair(
    sample: pd.DataFrame, places: tuple[int, int], bits: int, radius: int | None, make_photo: MakePhoto
) -> dict[str, Any]:
    rows = [sample.iloc[place].to_dict() for place in places]
    is_same = rows[0]["file_sha512"] == rows[1]["file_sha512"] is not None
    is_near = radius is not None and bits <= radius
    verdict = "identical files" if is_same else "looked at as twins" if is_near else "taken for different photos"
    return {
        "title": f"{bits} of 64 bits apart",
        "note": verdict,
        "photos": [make_photo(row, str(row["dropped_because"] or "kept")) for row in rows],
    }
