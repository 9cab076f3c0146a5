"""The APPA-REAL layout: photos in train, valid and test, votes about them in tables.

Each photo has a real age and an apparent age, the mean of the votes. Which of the two becomes `age_years` is said in
`target`; both stay in columns of their own. The challenge's `allcategories_*.csv`, where they lie in the folder too,
add gender, ethnicity and expression. Tables and photos are joined by file name, never by order: 22 ids of the test part
do not exist.

References
----------
Agustsson et al.: Apparent and Real Age Estimation in Still Images with Deep Residual Regressors on APPA-REAL Database,
FG 2017. Clapés et al.: From Apparent to Real Age, CVPR Workshops 2018 (the categories).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from agegender.data.faces_table import SPLITS, FacesTable
from agegender.data.sources.labels import find_label_file, is_unknown, read_age, read_gender, read_label_file
from agegender.data.sources.layouts import assemble, refuse
from agegender.errors import FolderError, UsageError
from agegender.photos.finding import FoundFile, list_photos

TARGETS = ("apparent", "real")
PHOTOS = ("crops", "whole")
IGNORED = "on the ignore list"
EXPECTED = "gt_avg_train.csv, gt_avg_valid.csv, gt_avg_test.csv and the folders train, valid, test with 000000.jpg"
_CROP_END = "_face.jpg"
_CATEGORIES = {"race": "ethnicity", "happiness": "expression", "makeup": "makeup", "time": "time"}


def read(
    root: Path, *, target: str = "apparent", photos: str = "crops", ignore_list: Path | str | None = None
) -> FacesTable:
    """Return the faces table of an APPA-REAL folder."""
    _check_options(target, photos)
    listed = list_photos(root)
    labels = _labels(root)
    if labels.empty:
        raise refuse(root, "appa_real", EXPECTED)
    wanted = [found for found in listed if _is_wanted(found, photos)]
    if not wanted and listed:
        other = PHOTOS[photos == PHOTOS[0]]
        raise FolderError(f"{root} holds no {photos} photos of APPA-REAL. Try --option photos={other}.")
    ignored = _ignored(Path(ignore_list)) if ignore_list else set()
    by_name = labels.to_dict("index")
    rows = [_row(found, by_name.get(_key(found), {}), target, ignored) for found in wanted]
    without_photo = len(set(by_name) - {_key(found) for found in wanted})
    return assemble(rows, root, "appa_real", expected=EXPECTED, target=target, labels_without_photo=without_photo)


def _check_options(target: str, photos: str) -> None:
    if target not in TARGETS:
        raise UsageError(f"target={target!r} is neither of {' and '.join(TARGETS)}.")
    if photos not in PHOTOS:
        raise UsageError(f"photos={photos!r} is neither of {' and '.join(PHOTOS)}.")


def _key(found: FoundFile) -> str:
    return found.name.removesuffix(_CROP_END)


def _is_wanted(found: FoundFile, photos: str) -> bool:
    return found.name.endswith(_CROP_END) == (photos == "crops")


def _labels(root: Path) -> pd.DataFrame:
    """Return the labels of all parts, indexed by file name (000000.jpg)."""
    parts = [part for split in SPLITS if (part := _part(root, split)) is not None]
    return pd.concat(parts) if parts else pd.DataFrame()


def _part(root: Path, split: str) -> pd.DataFrame | None:
    if averages := find_label_file(root, f"gt_avg_{split}.csv"):
        table = read_label_file(averages, ("file_name", "num_ratings", "apparent_age_avg", "real_age"))
    elif votes := find_label_file(root, f"gt_{split}.csv"):
        table = _averaged(read_label_file(votes, ("file_name", "real_age", "apparent_age")))
    else:
        return None
    table = table.drop_duplicates("file_name").set_index("file_name").assign(split=split)
    if categories := find_label_file(root, f"allcategories_{split}.csv"):
        extra = read_label_file(categories, ("file", "gender")).drop_duplicates("file").set_index("file")
        extra.index = extra.index.str.removesuffix(_CROP_END)
        table = table.join(extra, how="left")
    return table


def _averaged(votes: pd.DataFrame) -> pd.DataFrame:
    votes["apparent_age"] = pd.to_numeric(votes["apparent_age"], errors="coerce")
    by_photo = votes.groupby("file_name", sort=False)
    ages = by_photo["apparent_age"].agg(num_ratings="count", apparent_age_avg="mean", apparent_age_std="std")
    return ages.join(by_photo["real_age"].first()).reset_index()


def _ignored(path: Path) -> set[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the ignore list {path} cannot be read: {error}") from error
    return {line.split(",")[-1].strip().removesuffix(_CROP_END) for line in lines}


def _row(found: FoundFile, labels: dict[Any, Any], target: str, ignored: set[str]) -> dict[str, Any]:
    ages = {"apparent": read_age(labels.get("apparent_age_avg")), "real": read_age(labels.get("real_age"))}
    dropped = IGNORED if _key(found) in ignored and labels.get("split") == "train" else ages[target].dropped_because
    return {
        "path": found.path,
        "age_years": ages[target].years,
        "apparent_age_years": ages["apparent"].years,
        "real_age_years": ages["real"].years,
        "apparent_age_std_years": read_age(labels.get("apparent_age_std")).years,
        "rating_count": _count(labels.get("num_ratings")),
        "gender": read_gender(labels.get("gender")),
        **{column: _word(labels.get(name)) for name, column in _CATEGORIES.items()},
        "split": labels.get("split"),
        "dropped_because": found.dropped_because or dropped,
    }


def _count(label: object) -> float | None:
    text = str(label)
    return float(text) if text.isdigit() else None


def _word(label: object) -> str | None:
    return None if label != label or is_unknown(label) else str(label).strip().lower()  # noqa: PLR0124 (NaN after a join)
