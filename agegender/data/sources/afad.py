"""The AFAD layout: `<age>/<111 male | 112 female>/<photo>.jpg`, as the folders are published.

The number in front of the dash in `638660-1.jpg` is not documented to be a person, so there is no `subject_id`. The
folders run past the 15 to 40 years that benchmarks quote; `ages` makes that limit a choice.

References
----------
Niu et al.: Ordinal Regression With Multiple Output CNN for Age Estimation, CVPR 2016.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from agegender.data.faces_table import FacesTable
from agegender.data.sources.labels import AgeRange, read_age, read_age_range
from agegender.data.sources.layouts import assemble, malformed_row
from agegender.errors import UsageError
from agegender.photos.finding import FoundFile, list_photos

GENDER_FOLDERS = {"111": "male", "112": "female"}
OUTSIDE_AGES = "outside the chosen ages"
EXPECTED = "folders named by age with 111 (male) and 112 (female) in them, such as AFAD-Full/15/111/638660-1.jpg"
_PATH = re.compile(r"(?:.*/)?(?P<age>\d{1,3})/(?P<gender>111|112)/[^/]+")


def read(root: Path, *, ages: str | None = None) -> FacesTable:
    """Return the faces table of an AFAD folder, full or lite."""
    chosen = read_age_range(ages) if ages else None
    if ages and chosen is None:
        raise UsageError(f"ages={ages!r} is no range of years; write for example ages=15-40.")
    rows = [_row(found, chosen) for found in list_photos(root)]
    return assemble(rows, root, "afad", expected=EXPECTED, ages=ages)


def _row(found: FoundFile, chosen: AgeRange | None) -> dict[str, Any]:
    match = _PATH.fullmatch(found.path)
    if found.dropped_because or not match:
        return malformed_row(found)
    age = read_age(match["age"])
    is_outside = chosen is not None and age.years is not None and not _contains(chosen, age.years)
    return {
        "path": found.path,
        "age_years": age.years,
        "gender": GENDER_FOLDERS[match["gender"]],
        "ethnicity": "Asian",
        "dropped_because": age.dropped_because or (OUTSIDE_AGES if is_outside else None),
    }


def _contains(chosen: AgeRange, years: float) -> bool:
    return chosen.low_years <= years and (chosen.high_years is None or years <= chosen.high_years)
