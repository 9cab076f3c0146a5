"""Photos whose labels are the names of the folders around them: `25/female/`, `female/25/`, `train/male_30-39/`.

Each folder name is taken word by word and counts only if every word is understood: a number is an age, two numbers a
range of ages, male or female (woman, m, …) a gender, train, valid, val or test a side of the split. The innermost
folder that says something about a label wins; names that say nothing are passed over.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from agegender.data.faces_table import FacesTable
from agegender.data.sources.labels import read_age, read_age_range, read_gender, read_side
from agegender.data.sources.layouts import assemble, guess_source, refuse
from agegender.photos.finding import FoundFile, list_photos

EXPECTED = "photos in folders named by age and gender, such as 25/female/photo.jpg or female/25/photo.jpg"
_FILLERS = frozenset({"age", "aged", "years", "year", "yo", "old", "gender", "sex"})


def read(root: Path) -> FacesTable:
    """Return the faces table of labelled folders."""
    listed = list_photos(root)
    guess = guess_source(root)
    if guess in {"afad", "masked_faces"}:  # there, 111 and 112 are genders and no ages
        raise refuse(root, "folder", EXPECTED)
    rows = [_row(found) for found in listed]
    if not any(row["age_known"] or row["gender"] for row in rows):
        raise refuse(root, "folder", EXPECTED)
    unlabelled = sum(not (row.pop("age_known") or row["gender"]) for row in rows)
    return assemble(rows, root, "folder", expected=EXPECTED, photos_without_labels=unlabelled)


def labelled_share(root: Path) -> float:
    """Return the share of the photos whose folders' names say an age or a gender."""
    rows = [_row(found) for found in list_photos(root)]
    return sum(bool(row["age_known"] or row["gender"]) for row in rows) / max(1, len(rows))


def _row(found: FoundFile) -> dict[str, Any]:
    labels: dict[str, Any] = {}
    for name in found.path.split("/")[:-1]:
        labels |= _folder_labels(name)
    age_problem = labels.pop("age_problem", None)
    return {
        "age_years": None,
        "gender": None,
        **labels,
        "path": found.path,
        "age_known": "age_years" in labels or age_problem is not None,
        "dropped_because": found.dropped_because or age_problem,
    }


@lru_cache(maxsize=4096)
def _folder_labels(name: str) -> dict[str, Any]:
    """Return what one folder name says; nothing when any word of it is not understood.

    >>> _folder_labels("female_25"), _folder_labels("holiday_25")
    ({'gender': 'female', 'age_years': 25.0, 'age_problem': None}, {})
    """
    text = name.strip().lower()
    labels: dict[str, Any] = {}
    if match := re.search(r"\d+\s*-\s*\d+", text):
        ages = read_age_range(match[0])
        if ages is None:
            return {}
        labels |= {"age_years": ages.midpoint_years, "age_problem": None}
        labels |= {"age_range_low_years": ages.low_years, "age_range_high_years": ages.high_years}
        text = text.replace(match[0], " ")
    for word in re.findall(r"[^\s_\-.,;=]+", text):
        said = _word_labels(word)
        if said is None:
            return {}
        labels |= said
    return labels


def _word_labels(word: str) -> dict[str, Any] | None:
    if word.isascii() and word.isdigit():
        age = read_age(word)
        return {"age_years": age.years, "age_problem": age.dropped_because}
    if gender := read_gender(word):
        return {"gender": gender}
    if side := read_side(word):
        return {"split": side}
    return {} if word in _FILLERS else None
