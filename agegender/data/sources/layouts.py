"""Telling dataset layouts apart by their names, refusing a folder that is not one's own, and rows to a faces table.

There is one tell-tale per layout, so that a wrong folder gets a helpful refusal. Every source starts with
`photos.finding.list_photos` and ends with `assemble` here.
"""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from typing import Any

from agegender.data.faces_table import FacesTable, make_table
from agegender.errors import FolderError
from agegender.photos.finding import DRAWING_FILE, MALFORMED, FoundFile, has_photo_suffix, list_photos

_SAMPLED_FILES = 2_000  # photos
# Source -> a pattern that most paths of such a dataset match, most telling first.
_TELL_TALES = {
    "masked_faces": re.compile(r"\d{6}(-\d)?_(fe)?male_[^/]+_\d+/(mask\d|incorrect_mask|normal)\.\w+$"),
    "appa_real": re.compile(r"(^|/)\d{6}\.jpg(_face\.jpg)?$"),
    "course_kit": re.compile(r"(^|/)kit-(train|valid|test)-\d{6}\.png$"),
    "afad": re.compile(r"(^|/)\d{2}/11[12]/[^/]+$"),
    "all_age_faces": re.compile(r"(^|/)\d{5}A\d{2}\.\w+$"),
    "fairface": re.compile(r"(^|/)(train|val)/\d+\.jpg$"),
    "utkface": re.compile(r"(^|/)\d{1,3}_[^/_]?_[^/_]?_\d{14,}[^/]*$"),
    "cacd": re.compile(r"(^|/)\d{1,2}_[^/]*_\d{4}\.jpg$"),
    "folder": re.compile(r"(^|/)(\d{1,3}/(fe)?male|(fe)?male/\d{1,3})/[^/]+$", re.IGNORECASE),
}
# Source -> files that give the dataset away even when no photo does.
_LABEL_FILES = {
    "appa_real": ("gt_avg_*.csv",),
    "course_kit": ("data_train.npy", "data/data_train.npy"),
    "fairface": ("fairface_label_*.csv",),
    "cacd": ("celebrity2000_meta.mat",),
    "masked_faces": ("train/train.csv",),
}


def guess_source(root: Path) -> str | None:
    """Return the source whose layout the folder looks like most, None when it looks like none."""
    scores = layout_scores(root)
    return max(scores, key=lambda source: scores[source], default=None)


def layout_scores(root: Path) -> dict[str, float]:
    """Return how much a folder looks like each source that it looks like at all, most telling ones first.

    A layout scores 1 when more than half of the (first 2,000) photos follow its naming, and 1 for its label file.
    """
    if is_drawn(root):
        return {"drawn_faces": 2.0}
    paths = [found.path for found in islice(list_photos(root), _SAMPLED_FILES)]
    scores = {
        source: float(2 * sum(pattern.search(path) is not None for path in paths) > len(paths))
        for source, pattern in _TELL_TALES.items()
    }
    for source, names in _LABEL_FILES.items():
        scores[source] += any(path for name in names for path in root.glob(name))
    return {source: score for source, score in scores.items() if score}


def is_drawn(root: Path) -> bool:
    """Return whether the faces in a folder were drawn by this program, which must be said wherever they are used."""
    return (root / DRAWING_FILE).is_file()


def refuse(root: Path, source: str, expected: str) -> FolderError:
    """Return the error for a folder that holds no photo of `source`: what was expected, and what it looks like.

    `expected` is how such a folder looks, as the end of the sentence "expected …".
    """
    if not any(root.iterdir()):
        return FolderError(f"the folder {root} is empty; expected {expected}.")
    guess = guess_source(root)
    if guess and guess != source:
        return FolderError(
            f"the folder {root} holds no {source} photos; it looks like {guess}. "
            f"Try --source {guess.replace('_', '-')}, or name a folder with {expected}."
        )
    has_photos = any(has_photo_suffix(found.name) for found in list_photos(root))
    state = f"holds no photo that is named as {source} names them" if has_photos else "holds no photo"
    return FolderError(f"the folder {root} {state}; expected {expected}.")


def assemble(rows: list[dict[str, Any]], root: Path, source: str, *, expected: str, **notes: Any) -> FacesTable:
    """Return the faces table of `rows`, names that could not be read listed in its notes; refuse where none is usable.

    `notes` are JSON-able facts; counts of 0 are left out.
    """
    if all(row.get("dropped_because") is not None for row in rows):
        raise refuse(root, source, expected)
    malformed = [row["path"] for row in rows if row.get("dropped_because") == MALFORMED or row.get("is_malformed_name")]
    facts = {name: value for name, value in notes.items() if value not in (0, None)}
    table = make_table([{**row, "source": source} for row in rows])
    return FacesTable(table, root.resolve(), {"sources": [source], "malformed_names": malformed, **facts})


def malformed_row(found: FoundFile) -> dict[str, Any]:
    """Return the row of a photo of which nothing can be read from its name."""
    return {"path": found.path, "dropped_because": found.dropped_because or MALFORMED}
