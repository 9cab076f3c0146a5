"""The mask competition's layout: one folder per person, seven photos in each.

A folder is named `<id>_<gender>_<race>_<age>`, its photos mask1 to mask5, incorrect_mask and normal, with whatever
ending; macOS' and notebooks' leftovers lie between them. The evaluation photos have no labels and are no rows. Known
label errors are mended only when asked for.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from agegender.data.faces_table import FacesTable
from agegender.data.sources.labels import is_unknown, read_age, read_gender
from agegender.data.sources.layouts import assemble, malformed_row
from agegender.photos.finding import FoundFile, list_photos

EXPECTED = "folders named id_gender_race_age with mask1 to mask5, incorrect_mask and normal, below train/images"
MASKS = {**{f"mask{number}": "wear" for number in range(1, 6)}, "incorrect_mask": "incorrect", "normal": "normal"}
_PERSON = re.compile(r"(?P<id>[\w-]+?)_(?P<gender>male|female)_(?P<race>[^_/]+)_(?P<age>\d{1,3})")
# Found by participants of the competition by looking at the photos.
_WRONG_GENDER = frozenset({"001498-1", "004432", "005223", *(f"{number:06d}" for number in range(6359, 6365))})
_SWAPPED_MASKS = frozenset({"000020", "004418", "005227"})
_OTHER_GENDER = {"male": "female", "female": "male", None: None}
_OTHER_MASK = {"normal": "incorrect", "incorrect": "normal"}


def read(root: Path, *, corrections: bool | str = False) -> FacesTable:
    """Return the faces table of the competition's folder; `subject_id` is the person.

    Parameters
    ----------
    corrections : bool
        Whether to mend the known label errors: nine genders, and three people whose `normal` and `incorrect_mask` are
        swapped. What was mended stands in the notes.

    Raises
    ------
    FolderError
        The folder has not this layout.
    """
    is_corrected = str(corrections).lower() in {"true", "yes", "1"}
    listed = list_photos(root)
    labelled = [found for found in listed if not re.search(r"(^|/)eval/images/[^/]+$", found.path)]
    rows = [_row(found, is_corrected) for found in labelled]
    mended = [row["path"] for row in rows if row.pop("is_mended", False)]
    return assemble(
        rows,
        root,
        "masked_faces",
        expected=EXPECTED,
        photos_without_labels=len(listed) - len(labelled),
        corrected_photos=mended or None,
    )


def _row(found: FoundFile, is_corrected: bool) -> dict[str, Any]:
    folder = found.path.split("/")[-2] if "/" in found.path else ""
    person = _PERSON.fullmatch(folder)
    mask = MASKS.get(found.name.rpartition(".")[0])
    if found.dropped_because or not person or not mask:
        return malformed_row(found)
    age, gender, subject = read_age(person["age"]), read_gender(person["gender"]), person["id"]
    is_gender_mended = is_corrected and subject in _WRONG_GENDER
    is_mask_mended = is_corrected and subject in _SWAPPED_MASKS and mask in _OTHER_MASK
    return {
        "path": found.path,
        "age_years": age.years,
        "gender": _OTHER_GENDER[gender] if is_gender_mended else gender,
        "ethnicity": None if is_unknown(person["race"]) else person["race"],
        "mask": _OTHER_MASK[mask] if is_mask_mended else mask,
        "subject_id": subject,
        "is_mended": is_gender_mended or is_mask_mended,
        "dropped_because": age.dropped_because,
    }
