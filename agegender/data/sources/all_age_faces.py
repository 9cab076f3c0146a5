"""The All-Age-Faces layout: `<serial>A<age>.jpg` in folders whose names hold blanks.

Serial numbers up to 07380 are female, later ones male. The aligned photos lie in a folder spelt `aglined faces`. The
published lists write 0 for female, the opposite of UTKFace.

References
----------
Cheng, Li, Wang, Yu, Wang: Exploiting Effective Facial Patches for Robust Gender Recognition, Tsinghua Science and
Technology 2019.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from agegender.data.faces_table import FacesTable
from agegender.data.sources.labels import read_age
from agegender.data.sources.layouts import assemble, malformed_row
from agegender.errors import FolderError, UsageError
from agegender.photos.finding import FoundFile, list_photos

LAST_FEMALE_SERIAL = 7380
PHOTOS = ("aligned", "original")
EXPECTED = "photos named serialAage.jpg, such as 00000A02.jpg, in `aglined faces` or `original images`"
_FOLDERS = {"aglined faces": "aligned", "aligned faces": "aligned", "original images": "original"}
_NAME = re.compile(r"(?P<serial>\d{5})A(?P<age>\d{2,3})\.\w+", re.IGNORECASE)
_LISTED = re.compile(r"(\d{5}A\d{2,3})\S*\s+([01])")
_GENDER_OF_LIST = {"0": "female", "1": "male"}


def read(root: Path, *, photos: str = "aligned") -> FacesTable:
    """Return the faces table of an All-Age-Faces folder.

    The lists in `image sets`, where they are found, give the official train and validation part; the latter serves as
    test.
    """
    if photos not in PHOTOS:
        raise UsageError(f"photos={photos!r} is neither of {' and '.join(PHOTOS)}.")
    listed = list_photos(root)
    wanted = [found for found in listed if _version(found.path) in {photos, None}]
    if listed and not wanted:
        other = PHOTOS[photos == PHOTOS[0]]
        raise FolderError(f"{root} holds no {photos} photos of All-Age-Faces. Try --option photos={other}.")
    lists = _lists(root)
    rows = [_row(found, lists) for found in wanted]
    contradictions = [row["path"] for row in rows if row.pop("contradicts_list", False)]
    return assemble(rows, root, "all_age_faces", expected=EXPECTED, list_contradictions=contradictions or None)


def _version(path: str) -> str | None:
    names = {_FOLDERS.get(name.lower()) for name in path.split("/")[:-1]} - {None}
    return names.pop() if names else None


def _lists(root: Path) -> dict[str, tuple[str, str]]:
    """Return "00000A02" -> (split, gender) of the published lists."""
    found: dict[str, tuple[str, str]] = {}
    for path in sorted(root.rglob("*.txt")):
        side = "train" if "train" in path.stem.lower() else "test" if "val" in path.stem.lower() else None
        if side:
            text = path.read_text(encoding="utf-8", errors="replace")
            found |= {name: (side, _GENDER_OF_LIST[gender]) for name, gender in _LISTED.findall(text)}
    return found


def _row(found: FoundFile, lists: dict[str, tuple[str, str]]) -> dict[str, Any]:
    match = _NAME.fullmatch(found.name)
    if found.dropped_because or not match:
        return malformed_row(found)
    age = read_age(match["age"])
    gender = "female" if int(match["serial"]) <= LAST_FEMALE_SERIAL else "male"
    side, listed_gender = lists.get(found.name.rpartition(".")[0].upper(), (None, gender))
    return {
        "path": found.path,
        "age_years": age.years,
        "gender": gender if gender == listed_gender else None,
        "ethnicity": "Asian",
        "split": side,
        "contradicts_list": gender != listed_gender,
        "dropped_because": age.dropped_because,
    }
