"""Owns the cutting out of every face of a table into a folder of its own, with everything that was decided recorded.

The originals are never touched. Margin and detector go into the notes of the table, so that the model's card can carry
them and prediction crops as training did. `dataset.preparing` calls it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.errors import OutputError, PhotoError, UsageError
from agegender.faces import Faces, check_table
from agegender.images.face_crops import Square, centre_square, check_margin, crop_square, face_square
from agegender.images.face_detection import FaceDetector
from agegender.images.reading import read_photo
from agegender.progress import track
from agegender.writing import replaced_folder

WHEN_NONE = ("centre", "skip")
WHEN_SEVERAL = ("largest", "skip")
MARKER = "agegender-crops.txt"
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
_AT_ONCE = 256


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
    faces: Faces,
    detector: FaceDetector,
    *,
    folder: Path,
    margin: float = 0.4,
    when_none: Literal["centre", "skip"] = "centre",
    when_several: Literal["largest", "skip"] = "largest",
) -> Faces:
    """Cut the face out of every kept photo.

    Parameters
    ----------
    faces : Faces
    detector : FaceDetector
    folder : Path
        Where the crops go, as JPEG files under the photos' own paths. It becomes whole or not at all; crops of an
        earlier run there are replaced.
    margin : float
        Share of the face's longer side that is added on every side.
    when_none : {"centre", "skip"}
        A photo without a face is cut to the square in its middle, or left out as "no face".
    when_several : {"largest", "skip"}
        Of several faces the largest is taken, or the photo is left out as "several faces".

    Returns
    -------
    Faces
        `path` leads to the crop, and `original_path` to the photo it comes from, below a root that holds both;
        `face_count`, `face_score`, `crop_left`, `crop_top` and `crop_side` (pixels of the original) say what was done.
        The notes have `crop` (the detector's name), `crop_margin` and `cropping` (choices and counts).

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
    names = _crop_names([table.loc[row, "path"] for row in kept])
    with replaced_folder(folder) as temporary:
        jobs = [(faces.photo_path(table.loc[row, "path"]), temporary / names[place]) for place, row in enumerate(kept)]
        crops = list(track(_crop_all(jobs, rules), "cropping faces", total=len(jobs)))
        (temporary / MARKER).write_text(f"Face crops, {detector.name}, margin {margin}. Replaced as a whole.\n")
    _record(table, kept, crops)
    table["path"] = table["original_path"]
    for row, name, crop in zip(kept, names, crops, strict=True):
        if crop.dropped_because is None:
            table.loc[row, "path"] = _below(root, folder.absolute() / name)
    choices = {"when_none": when_none, "when_several": when_several, **_counts(crops)}
    notes = {**faces.notes, "crop": detector.name, "crop_margin": margin, "cropping": choices}
    return Faces(check_table(table), root, notes)


def _check(faces: Faces, folder: Path, when_none: str, when_several: str) -> None:
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
    if folder.exists() and not (folder / MARKER).exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} holds something else than face crops, and it would be replaced. Name a new folder.")


def _crop_names(paths: list[str]) -> list[str]:
    """Return where each crop goes below the folder: as the photo, but a JPEG, and no two in one place."""
    names = [path if path.lower().endswith((".jpg", ".jpeg")) else f"{path}.jpg" for path in paths]
    # A table may be anybody's: nothing is written outside the folder.
    inside = ["/".join(part for part in PurePosixPath(name).parts if part not in {"..", "/"}) for name in names]
    taken: set[str] = set()
    for place, name in enumerate(inside):
        inside[place] = name if name not in taken else f"{place}-{PurePosixPath(name).name}"
        taken.add(inside[place])
    return inside


def _crop_all(jobs: list[tuple[Path, Path]], rules: _Rules) -> Iterator[_Crop]:
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for start in range(0, len(jobs), _AT_ONCE):
            yield from pool.map(lambda job: _crop_file(job[0], job[1], rules), jobs[start : start + _AT_ONCE])


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


def _record(table: pd.DataFrame, kept: pd.Index, crops: list[_Crop]) -> None:
    columns = {
        "face_count": [crop.face_count for crop in crops],
        "face_score": [crop.face_score for crop in crops],
        "crop_left": [crop.square and crop.square.left for crop in crops],
        "crop_top": [crop.square and crop.square.top for crop in crops],
        "crop_side": [crop.square and crop.square.side for crop in crops],
    }
    for name, values in columns.items():
        dtype = "float64" if name == "face_score" else "Int64"
        table[name] = pd.Series(values, index=kept, dtype=dtype).reindex(table.index)
    table.loc[kept, "dropped_because"] = pd.Series([crop.dropped_because for crop in crops], index=kept, dtype=object)


def _counts(crops: list[_Crop]) -> dict[str, int]:
    return {
        "photos": len(crops),
        "without_face": sum(crop.face_count == 0 for crop in crops),
        "with_several_faces": sum((crop.face_count or 0) > 1 for crop in crops),
        "unreadable": sum(crop.dropped_because == "unreadable" for crop in crops),
    }


def _below(root: Path, path: Path) -> str:
    return Path(os.path.relpath(path.absolute(), root)).as_posix()
