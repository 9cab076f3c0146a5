"""The CACD layout: `<age>_<First_Last>_<number>.jpg`, and the split by celebrity in its metadata.

There are no gender labels, and ages are the year of the photo less the year of birth, so the training part is noisy.
The person's name is the `subject_id`. Names are compared in one Unicode form (NFC), because archives hold both.

References
----------
Chen, Chen, Hsu: Cross-Age Reference Coding for Age-Invariant Face Recognition and Retrieval, ECCV 2014.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np

from agegender.data.faces_table import FacesTable
from agegender.data.sources.labels import find_label_file, read_age
from agegender.data.sources.layouts import assemble, malformed_row
from agegender.errors import TableError
from agegender.photos.finding import FoundFile, list_photos

METADATA_NAME = "celebrity2000_meta.mat"
EXPECTED = "photos named age_First_Last_number.jpg, such as 14_Bill_Skarsgard_0004.jpg"
_NAME = re.compile(r"(?P<age>\d{1,3})_(?P<person>.+)_(?P<number>\d+)\.\w+")


def read(root: Path) -> FacesTable:
    """Return the faces table of a CACD folder; with `celebrity2000_meta.mat` in it, the official split too.

    Ranks up to 2 are valid, 3 to 5 test, the others train.
    """
    metadata = find_label_file(root, METADATA_NAME) if root.is_dir() else None
    ranks = _ranks(metadata) if metadata else {}
    rows = [_row(found, ranks) for found in list_photos(root)]
    without = sum(row.get("split") is None and row.get("dropped_because") is None for row in rows) if ranks else 0
    return assemble(rows, root, "cacd", expected=EXPECTED, photos_not_in_metadata=without)


def _row(found: FoundFile, ranks: dict[str, int]) -> dict[str, Any]:
    match = _NAME.fullmatch(_composed(found.name))
    if found.dropped_because or not match:
        return malformed_row(found)
    age = read_age(match["age"])
    return {
        "path": found.path,
        "age_years": age.years,
        "subject_id": match["person"],
        "split": _side(ranks.get(_composed(found.name))),
        "dropped_because": age.dropped_because,
    }


def _side(rank: int | None) -> str | None:
    if rank is None:
        return None
    return "valid" if rank <= 2 else "test" if rank <= 5 else "train"


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _ranks(path: Path) -> dict[str, int]:
    """Return photo name -> rank of its celebrity."""
    from scipy.io import loadmat

    try:
        images = loadmat(str(path))["celebrityImageData"]
        ranks = images["rank"][0][0].flatten()
        names = images["name"][0][0].flatten()
        return {_composed(_innermost(name)): int(rank) for name, rank in zip(names, ranks, strict=True)}
    # scipy raises whatever the damaged byte happens to break, NotImplementedError for MATLAB's newer format included.
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TableError(
            f"{path} cannot be read as CACD's metadata: {reason}. Remove the file to do without the split."
        ) from error


def _innermost(cell: Any) -> str:
    while isinstance(cell, np.ndarray):
        cell = cell.flat[0]
    return str(cell)
