"""The FairFace layout: folders train and val, and label tables with ages in ranges.

The range is kept in `age_range_low_years` and `age_range_high_years`, its midpoint becomes `age_years`. "More than 70"
has no midpoint: its age is missing unless one is chosen. Copies of the tables that went through a spreadsheet (`03-Sep`
for 3-9) are read all the same. The published validation part serves as test, as in the paper's comparisons.

References
----------
Kärkkäinen, Joo: FairFace, WACV 2021. Labels and photos: CC BY 4.0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agegender.data.faces_table import FacesTable
from agegender.data.sources.labels import (
    find_label_file,
    is_unknown,
    read_age,
    read_age_range,
    read_gender,
    read_label_file,
)
from agegender.data.sources.layouts import assemble, refuse
from agegender.errors import FolderError, UsageError
from agegender.photos.finding import FoundFile, list_photos
from agegender.progress import say

MARGINS = ("025", "125")
SIDES = {"train": "train", "val": "test"}
EXPECTED = "fairface_label_train.csv, fairface_label_val.csv and the folders train and val with 1.jpg, 2.jpg, …"


def read(root: Path, *, margin: str | None = None, open_range_age_years: float | str | None = None) -> FacesTable:
    """Return the faces table of a FairFace folder."""
    listed = list_photos(root)
    labels = _labels(root)
    if not labels:
        raise refuse(root, "fairface", EXPECTED)
    chosen = _of_margin(listed, margin, root)
    oldest = _open_age(open_range_age_years)
    rows = [_row(found, labels.get(_key(found.path)), oldest) for found in chosen]
    known = {_key(found.path) for found in chosen}
    return assemble(
        rows,
        root,
        "fairface",
        expected=EXPECTED,
        labels_without_photo=len(set(labels) - known),
        photos_without_label=len(known - set(labels)),
        ages_not_understood=sum(row.pop("is_odd") for row in rows),
    )


def _labels(root: Path) -> dict[str, dict[Any, Any]]:
    """Return "train/9.jpg" -> its row of the label table."""
    labels: dict[str, dict[Any, Any]] = {}
    for side in SIDES:
        path = find_label_file(root, f"fairface_label_{side}.csv")
        if path:
            table = read_label_file(path, ("file", "age", "gender", "race"))
            again = int(table["file"].str.strip().duplicated().sum())
            if again:
                say(f"{path.name}: {again:,} rows are about a photo that stood there before; the last one counts.")
            labels |= dict(zip(table["file"].str.strip(), table.to_dict("records"), strict=True))
    return labels


def _key(path: str) -> str:
    return "/".join(path.split("/")[-2:])


def _of_margin(listed: list[FoundFile], margin: str | None, root: Path) -> list[FoundFile]:
    by_margin = {name: [found for found in listed if f"margin{name}" in found.path] for name in MARGINS}
    if margin is not None and str(margin) not in MARGINS:
        raise UsageError(f"margin={margin!r} is neither of {' and '.join(MARGINS)}.")
    if margin is not None:
        if not by_margin[str(margin)]:
            raise FolderError(f"{root} holds no photo below a folder named after margin{margin}.")
        return by_margin[str(margin)]
    # Both crops of one photo are the same person twice.
    return listed if not all(by_margin.values()) else by_margin[MARGINS[0]]


def _open_age(choice: float | str | None) -> float | None:
    if choice is None:
        return None
    age = read_age(choice)
    if age.years is None:
        raise UsageError(f"open_range_age_years={choice!r} is no age in years.")
    return age.years


def _row(found: FoundFile, labels: dict[Any, Any] | None, oldest: float | None) -> dict[str, Any]:
    labels = labels or {}
    ages = read_age_range(labels.get("age", ""))
    race = labels.get("race", "")
    return {
        "path": found.path,
        "age_years": (ages.midpoint_years if ages.high_years is not None else oldest) if ages else None,
        "age_range_low_years": ages.low_years if ages else None,
        "age_range_high_years": ages.high_years if ages else None,
        "gender": read_gender(labels.get("gender")),
        "ethnicity": None if is_unknown(race) else race.strip(),
        "split": SIDES.get(labels.get("file", "").split("/")[0]),
        "is_odd": ages is None and not is_unknown(labels.get("age")),
        "dropped_because": found.dropped_because,
    }
