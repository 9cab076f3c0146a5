"""The UTKFace layout: labels in the file name, `age_gender_ethnicity_date.jpg`.

Both the aligned photos (`….jpg.chip.jpg`) and those in the wild are read, from the folder and all folders below it.
The published names are not clean; this module knows their defects and keeps what can be read:

* `39_1_20170116174525125`: one field is missing, and published repairs disagree which. The age stays, gender and
  ethnicity are missing.
* `61_3_…`, `53__0_…`: a gender that is no gender, or none. The other labels stay.
* a blank before the dot, no dot, `.pg`, time stamps of 16 or 18 digits: nothing is lost.

Names of the first two kinds count as malformed. The same photo in several folders (as in the copy on Kaggle) becomes
several rows here; cleaning finds them by their bytes.

References
----------
Zhang, Song, Qi: Age Progression/Regression by Conditional Adversarial Autoencoder, CVPR 2017.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agegender.data.faces_table import GENDERS, FacesTable
from agegender.data.sources.labels import Age, choose, read_age
from agegender.data.sources.layouts import assemble, is_drawn
from agegender.photos.finding import MALFORMED, FoundFile, has_photo_suffix, list_photos

ETHNICITIES = ("White", "Black", "Asian", "Indian", "Others")
EXPECTED = "photos named age_gender_ethnicity_date.jpg, such as 25_0_1_20170116174525125.jpg.chip.jpg"

_NAME = re.compile(r"(?P<fields>.*?)\s*\.?(jpe?g|pg|png)(\.chip\.jpe?g)?", re.IGNORECASE)
_LABELLED_START = re.compile(r"\d{1,3}_")
_TIME_STAMP = re.compile(r"\d{14,}")


@dataclass(frozen=True)
class NameLabels:
    """What one file name says. `is_whole` is False when a label is absent or makes no sense."""

    age_years: float | None = None
    gender: str | None = None
    ethnicity: str | None = None
    is_whole: bool = False
    dropped_because: str | None = None


def read(root: Path) -> FacesTable:
    """Return the faces table of a UTKFace folder: one row per photo, also for those that are left out."""
    source = "drawn_faces" if is_drawn(root) else "utkface"  # they are named alike
    return assemble([_row(found) for found in list_photos(root, is_photo=_is_photo)], root, source, expected=EXPECTED)


def parse_name(name: str) -> NameLabels:
    """Return the labels in a file name, as far as they can be read without guessing.

    >>> parse_name("25_0_1_20170116174525125.jpg.chip.jpg")
    NameLabels(age_years=25.0, gender='male', ethnicity='Black', is_whole=True, dropped_because=None)
    >>> parse_name("39_1_20170116174525125.jpg.chip.jpg")
    NameLabels(age_years=39.0, gender=None, ethnicity=None, is_whole=False, dropped_because=None)
    >>> parse_name("holiday.jpg").dropped_because
    'malformed name'
    """
    match = _NAME.fullmatch(name)
    fields = [field.strip() for field in match["fields"].split("_")] if match else []
    has_time_stamp = len(fields) >= 2 and bool(_TIME_STAMP.fullmatch(fields[-1]))
    if has_time_stamp:
        return _labels(*fields[:3]) if len(fields) == 4 else _labels(fields[0], "", "")
    # Without a true time stamp it may be anybody's name: the labels count only if all three make sense.
    labels = _labels(*fields[:3]) if len(fields) in {3, 4} else _nothing()
    if not labels.is_whole or not all(field.isdigit() for field in fields):
        return _nothing()
    return labels if len(fields) == 4 else replace(labels, is_whole=False)


def _labels(age: str, gender: str, ethnicity: str) -> NameLabels:
    found_age = read_age(age) if age.isdigit() else Age()
    gender_label, ethnicity_label = choose(gender, GENDERS), choose(ethnicity, ETHNICITIES)
    is_whole = None not in {found_age.years, gender_label, ethnicity_label}
    if found_age.years is None and gender_label is None and ethnicity_label is None and not found_age.dropped_because:
        return _nothing()
    return NameLabels(found_age.years, gender_label, ethnicity_label, is_whole, found_age.dropped_because)


def _nothing() -> NameLabels:
    return NameLabels(dropped_because=MALFORMED)


def _is_photo(name: str) -> bool:
    # Some names end in `.pg` or in `357jpg`: a labelled start and any such end will do.
    return has_photo_suffix(name) or bool(_LABELLED_START.match(name) and _NAME.fullmatch(name))


def _row(found: FoundFile) -> dict[str, Any]:
    labels = parse_name(found.name)
    dropped_because = found.dropped_because or labels.dropped_because
    return {
        "path": found.path,
        "age_years": labels.age_years,
        "gender": labels.gender,
        "ethnicity": labels.ethnicity,
        "is_malformed_name": not labels.is_whole and dropped_because in {None, MALFORMED},
        "dropped_because": dropped_because,
    }
