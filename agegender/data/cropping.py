"""Owns the cutting out of every face of a table into a folder of its own, with everything that was decided recorded.

The originals are never touched. Margin and detector go into the notes of the table, so that the model's card can carry
them and prediction crops as training did. `dataset.preparing` calls it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.data.crop_folder import RECORD, check_folder, crop_names, new_crops, read_record, set_name
from agegender.data.faces_table import FacesTable, check_table
from agegender.errors import OutputError, PhotoError, UsageError
from agegender.photos.face_crops import Square, centre_square, check_margin, crop_square, face_square
from agegender.photos.face_detection import FaceDetector, YuNetDetector
from agegender.photos.reading import read_photo
from agegender.photos.reading_ahead import read_ahead
from agegender.progress import track

WHEN_NONE = ("centre", "skip")
WHEN_SEVERAL = ("largest", "skip")
FACTS = ["face_count", "face_score", "crop_left", "crop_top", "crop_side"]
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]


@dataclass(frozen=True)
class _Rules:
    detector: FaceDetector
    margin: float
    when_none: str
    when_several: str


@dataclass(frozen=True)
class _Crop:
    face_count: int | None
    face_score: float | None
    square: Square | None
    dropped_because: str | None


def crop_faces(
    faces: FacesTable,
    detector: FaceDetector,
    *,
    folder: Path,
    margin: float = 0.4,
    when_none: Literal["centre", "skip"] = "centre",
    when_several: Literal["largest", "skip"] = "largest",
) -> FacesTable:
    """Cut the face out of every kept photo.

    Parameters
    ----------
    faces : FacesTable
    detector : FaceDetector
    folder : Path
        Where the crops go: a subfolder named after the photos and rules, in it JPEG files under the photos' own paths.
        It becomes whole or not at all, and is used again when it is there. Older ones stay until
        `crop_folder.remove_other_crops`, since a table may still lead to them.
    margin : float
        Share of the face's longer side that is added on every side.
    when_none : {"centre", "skip"}
        A photo without a face is cut to the square in its middle, or left out as "no face".
    when_several : {"largest", "skip"}
        Of several faces the largest is taken, or the photo is left out as "several faces".

    Returns
    -------
    FacesTable
        `path` leads to the crop, and `original_path` to the photo it comes from, below a root that holds both;
        `face_count`, `face_score`, `crop_left`, `crop_top` and `crop_side` (pixels of the original) say what was done.
        The notes have `crop` (the detector's name), `crop_margin` and `cropping` (choices, counts and the subfolder).

    Raises
    ------
    UsageError
        A choice or the margin is unknown, or `folder` lies within the photos or holds something else.
    OutputError
        The crops cannot be written.
    """
    _check(faces, folder, when_none, when_several)
    check_margin(margin)
    rules = _Rules(detector, margin, when_none, when_several)
    root = Path(os.path.commonpath([faces.root.absolute(), folder.absolute()]))
    table = check_table(faces.table)
    table["original_path"] = [_below(root, faces.photo_path(path)) for path in table["path"]]
    kept = table.index[table["dropped_because"].isna()]
    paths = table.loc[kept, "path"].tolist()
    names, photos = crop_names(paths), [faces.photo_path(path) for path in paths]
    files = dict(zip(names, photos, strict=True))
    if isinstance(detector, YuNetDetector):
        files["detector"] = detector.model_file  # another model under the same name finds other faces
    name = set_name(f"OpenCV {cv2.__version__} {detector!r} {margin} {when_none} {when_several}", files)
    found = read_record(folder / name, names)
    if found is None:
        with new_crops(folder, name) as temporary:
            jobs = [(photo, temporary / crop) for photo, crop in zip(photos, names, strict=True)]
            decided = read_ahead(lambda job: _crop_file(*job, rules), jobs)
            found = _record(list(track(decided, "cropping faces", total=len(jobs))))
            found.to_parquet(temporary / RECORD, index=False)
    found.index = kept
    for column in FACTS:
        table[column] = found[column].reindex(table.index)
    table.loc[kept, "dropped_because"] = found["dropped_because"]
    table["path"] = table["original_path"]
    is_cut = found["dropped_because"].isna()
    crops = [folder.absolute() / name / crop for crop, was_cut in zip(names, is_cut, strict=True) if was_cut]
    table.loc[kept[is_cut], "path"] = [_below(root, crop) for crop in crops]
    choices = {"when_none": when_none, "when_several": when_several, "folder": name, **_counts(found)}
    notes = {**faces.notes, "crop": detector.name, "crop_margin": margin, "cropping": choices}
    return FacesTable(check_table(table), root, notes)


def _check(faces: FacesTable, folder: Path, when_none: str, when_several: str) -> None:
    if when_none not in WHEN_NONE or when_several not in WHEN_SEVERAL:
        raise UsageError(
            f"without a face: {' or '.join(WHEN_NONE)}, with several: {' or '.join(WHEN_SEVERAL)}; "
            f"not {when_none!r} and {when_several!r}."
        )
    photos, crops = Path(os.path.realpath(faces.root)), Path(os.path.realpath(folder))
    if crops == photos or photos in crops.parents or crops in photos.parents:
        raise UsageError(
            f"the crops' folder {folder} and the photos' folder {faces.root} lie within each other; the crops would be "
            "taken for photos next time. Name a folder beside it."
        )
    check_folder(folder)


def _crop_file(photo_path: Path, crop_path: Path, rules: _Rules) -> _Crop:
    try:
        photo = read_photo(photo_path)
    except PhotoError:
        return _Crop(None, None, None, "unreadable")
    crop = _decide(photo, rules)
    if crop.square is not None:
        _write_jpeg(crop_path, crop_square(photo, crop.square))
    return crop


def _decide(photo: NDArray[np.uint8], rules: _Rules) -> _Crop:
    found = rules.detector.detect(photo)
    if not found:
        skip = rules.when_none == "skip"
        return _Crop(0, None, None if skip else centre_square(photo), "no face" if skip else None)
    if len(found) > 1 and rules.when_several == "skip":
        return _Crop(len(found), found[0].score, None, "several faces")
    return _Crop(len(found), found[0].score, face_square(found[0], rules.margin), None)


def _write_jpeg(path: Path, photo: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(photo, cv2.COLOR_RGB2BGR), _JPEG)
    if not done:
        raise OutputError(
            f"a crop of {photo.shape[1]} x {photo.shape[0]} pixels cannot be written as JPEG: {path.name}"
        )
    path.write_bytes(encoded.tobytes())


def _record(crops: list[_Crop]) -> pd.DataFrame:
    squares = [crop.square for crop in crops]
    columns = {
        "face_count": pd.Series([crop.face_count for crop in crops], dtype="Int64"),
        "face_score": pd.Series([crop.face_score for crop in crops], dtype="float64"),
        "crop_left": pd.Series([square and square.left for square in squares], dtype="Int64"),
        "crop_top": pd.Series([square and square.top for square in squares], dtype="Int64"),
        "crop_side": pd.Series([square and square.side for square in squares], dtype="Int64"),
        "dropped_because": pd.Series([crop.dropped_because for crop in crops], dtype=object),
    }
    return pd.DataFrame(columns)


def _counts(found: pd.DataFrame) -> dict[str, int]:
    return {
        "photos": len(found),
        "without_face": int((found["face_count"] == 0).sum()),
        "with_several_faces": int((found["face_count"] > 1).sum()),
        "unreadable": int((found["dropped_because"] == "unreadable").sum()),
    }


def _below(root: Path, path: Path) -> str:
    return Path(os.path.relpath(path.absolute(), root)).as_posix()
