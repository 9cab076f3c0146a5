"""Cuts every face of a table out into a folder of crops, with everything that was decided recorded.

The originals are never touched. Margin and detector go into the notes of the table, so that the model's card can carry
them and prediction crops as training did. The folder has one subfolder for each set of crops, named after the photos
and rules that it was made of, so the same set is not made twice. A table that exists already leads to one set; a new
set is made beside it and the old one removed only when the new table is in place: whoever is killed half-way is left
with a table and its own crops.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.data.faces_table import UNREADABLE, FacesTable, check_table
from agegender.errors import OutputError, PhotoError, UsageError
from agegender.photos.face_crops import Cut, Margins, centre_square, cut_out, face_cut
from agegender.photos.face_detection import DetectorsInTurn, FaceBox, FaceDetector, YuNetDetector
from agegender.photos.reading import read_photo
from agegender.photos.reading_ahead import read_ahead
from agegender.progress import track
from agegender.settings import LANDMARKS, WHEN_NO_FACE, WHEN_SEVERAL_FACES
from agegender.swapping import replaced_folder
from agegender.writing import check_writable, write_text

FACTS = ["face_count", "face_score", "crop_left", "crop_top", "crop_side"]
# Only where there is something to say: several detectors, turned faces, points that the detector has told.
MORE_FACTS = ["face_found_by", "crop_degrees", *(f"{point}_{way}" for point in LANDMARKS for way in "xy")]
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
# One more when the same photos are cut differently, so that old crops are not taken for new ones.
CROPS_VERSION = "agegender crops 2"
MARKER = "agegender-crops.txt"
RECORD = "found.parquet"
_NAME_DIGITS = 12
_LEFT_HALF_WAY = re.compile(rf"\.[0-9a-f]{{{_NAME_DIGITS}}}\.")  # as `replaced_folder` names what it has not finished


@dataclass(frozen=True)
class _Rules:
    detector: FaceDetector
    margins: Margins
    aligns: bool
    when_none: str
    when_several: str


@dataclass(frozen=True)
class _Crop:
    face_count: int | None
    face: FaceBox | None
    cut: Cut | None
    dropped_because: str | None


def crop_faces(  # noqa: PLR0913 (the options of the command, each by its name)
    faces: FacesTable,
    detector: FaceDetector,
    *,
    folder: Path,
    margin: float = 0.4,
    margins: tuple[float, float, float] | None = None,
    aligns: bool = False,
    when_none: Literal["centre", "skip"] = "centre",
    when_several: Literal["largest", "skip"] = "largest",
) -> FacesTable:
    """Cut the face out of every kept photo into JPEG files below `folder`; the set becomes whole or not at all.

    The paths then lead to the crops, `original_path` to the photos, below a root that holds both; `face_count`,
    `face_score`, `crop_left`, `crop_top` and `crop_side` (pixels of the original) say what was done, and the notes have
    `crop` (the detector), `crop_margin` or `crop_margins` (above, below, beside) and `cropping` (choices, counts and
    the subfolder). With `aligns` a face whose eyes are known is turned by `crop_degrees`, until they lie level; the
    points that a detector tells are columns as well, such as `left_eye_x`. A photo without a face is cut to the square
    in its middle or left out as "no face"; of several faces the largest is taken, or the photo is
    left out as "several faces". Older sets stay until `remove_other_crops`, since a table may still lead to them.
    """
    _check(faces, folder, when_none, when_several)
    rules = _Rules(detector, Margins.of(margin, margins), aligns, when_none, when_several)
    # Links are followed first: what lies below the root by a link alone would not be opened afterwards.
    home, crops_folder = Path(os.path.realpath(faces.root)), Path(os.path.realpath(folder))
    root = Path(os.path.commonpath([home, crops_folder]))
    table = check_table(faces.table)
    table["original_path"] = [_below(root, home / path) for path in table["path"]]
    kept = table.index[table["dropped_because"].isna()]
    paths = table.loc[kept, "path"].tolist()
    names, photos = crop_names(paths), [faces.photo_path(path) for path in paths]
    files = dict(zip(names, photos, strict=True))
    parts = detector.detectors if isinstance(detector, DetectorsInTurn) else (detector,)
    for part in parts:
        if isinstance(part, YuNetDetector):
            files["detector"] = part.model_file  # another model under the same name finds other faces
    name = set_name(f"OpenCV {cv2.__version__} {rules!r}", files)
    found = read_record(folder / name, names)
    if found is None:
        with new_crops(folder, name) as temporary:
            jobs = [(photo, temporary / crop) for photo, crop in zip(photos, names, strict=True)]
            decided = read_ahead(lambda job: _crop_file(*job, rules), jobs)
            found = _record(list(track(decided, "cropping faces", total=len(jobs))))
            found.to_parquet(temporary / RECORD, index=False)
    found.index = kept
    for column in [*FACTS, *(column for column in MORE_FACTS if column in found)]:
        table[column] = found[column].reindex(table.index)
    table.loc[kept, "dropped_because"] = found["dropped_because"]
    table["path"] = table["original_path"]
    is_cut = found["dropped_because"].isna()
    crops = [crops_folder / name / crop for crop, was_cut in zip(names, is_cut, strict=True) if was_cut]
    table.loc[kept[is_cut], "path"] = [_below(root, crop) for crop in crops]
    choices = {"when_none": when_none, "when_several": when_several, "folder": name, **_counts(found)}
    sides = {"crop_margin": margin} if margins is None else {"crop_margins": list(margins)}
    notes = {**faces.notes, "crop": detector.name, **sides, **_further_notes(parts, detector, aligns)}
    notes |= {"cropping": choices}
    return replace(faces, table=check_table(table), root=root, notes=notes)


def _further_notes(parts: Sequence[FaceDetector], detector: FaceDetector, aligns: bool) -> dict[str, Any]:
    """Return what is not as usual: the card carries it to `predict`."""
    smallest = detector.smallest if isinstance(detector, DetectorsInTurn) else 0.0
    further = {"crop_then": parts[1].name if len(parts) > 1 else "none", "crop_smallest": smallest}
    usual = {"crop_then": "none", "crop_smallest": 0.0, "crop_aligned": False}
    return {name: value for name, value in {**further, "crop_aligned": aligns}.items() if value != usual[name]}


def _check(faces: FacesTable, folder: Path, when_none: str, when_several: str) -> None:
    if when_none not in WHEN_NO_FACE or when_several not in WHEN_SEVERAL_FACES:
        raise UsageError(
            f"without a face: {' or '.join(WHEN_NO_FACE)}, with several: {' or '.join(WHEN_SEVERAL_FACES)}; "
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
        return _Crop(None, None, None, UNREADABLE)
    crop = _decide(photo, rules)
    if crop.cut is not None:
        _write_jpeg(crop_path, cut_out(photo, crop.cut))
    return crop


def _decide(photo: NDArray[np.uint8], rules: _Rules) -> _Crop:
    found = rules.detector.detect(photo)
    if not found:
        skip = rules.when_none == "skip"
        return _Crop(0, None, None if skip else Cut(centre_square(photo)), "no face" if skip else None)
    if len(found) > 1 and rules.when_several == "skip":
        return _Crop(len(found), found[0], None, "several faces")
    return _Crop(len(found), found[0], face_cut(found[0], rules.margins, aligns=rules.aligns), None)


def _write_jpeg(path: Path, photo: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(photo, cv2.COLOR_RGB2BGR), _JPEG)
    if not done:
        raise OutputError(
            f"a crop of {photo.shape[1]} x {photo.shape[0]} pixels cannot be written as JPEG: {path.name}"
        )
    path.write_bytes(encoded.tobytes())


def _record(crops: list[_Crop]) -> pd.DataFrame:
    squares = [crop.cut and crop.cut.square for crop in crops]
    faces = [crop.face for crop in crops]
    columns = {
        "face_count": pd.Series([crop.face_count for crop in crops], dtype="Int64"),
        "face_score": pd.Series([face and face.score for face in faces], dtype="float64"),
        "crop_left": pd.Series([square and square.left for square in squares], dtype="Int64"),
        "crop_top": pd.Series([square and square.top for square in squares], dtype="Int64"),
        "crop_side": pd.Series([square and square.side for square in squares], dtype="Int64"),
        "dropped_because": pd.Series([crop.dropped_because for crop in crops], dtype=object),
    }
    return pd.DataFrame(columns | _more_facts(crops))


def _more_facts(crops: list[_Crop]) -> dict[str, pd.Series]:
    faces = [crop.face for crop in crops]
    more: dict[str, pd.Series] = {}
    if any(face and face.found_by for face in faces):
        more["face_found_by"] = pd.Series([(face and face.found_by) or None for face in faces], dtype=object)
    if any(crop.cut and crop.cut.degrees for crop in crops):
        more["crop_degrees"] = pd.Series([crop.cut and crop.cut.degrees for crop in crops], dtype="float64")
    if any(face and face.landmarks for face in faces):
        nowhere = ((None, None),) * len(LANDMARKS)
        points = [(face and face.landmarks) or nowhere for face in faces]
        for number, point in enumerate(LANDMARKS):
            for place, way in enumerate("xy"):
                more[f"{point}_{way}"] = pd.Series([one[number][place] for one in points], dtype="float64")
    return more


def _counts(found: pd.DataFrame) -> dict[str, int]:
    return {
        "photos": len(found),
        "without_face": int((found["face_count"] == 0).sum()),
        "with_several_faces": int((found["face_count"] > 1).sum()),
        "unreadable": int((found["dropped_because"] == UNREADABLE).sum()),
    }


def _below(root: Path, path: Path) -> str:
    return Path(os.path.relpath(path, root)).as_posix()


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds anything else than crops."""
    if folder.exists() and not (folder / MARKER).exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} holds something else than face crops, and it would be replaced. Name a new folder.")


def crop_names(paths: Sequence[str]) -> list[str]:
    """Return where each crop goes below its set: as the photo, but a JPEG, and no two in one place."""
    names = [path if path.lower().endswith((".jpg", ".jpeg")) else f"{path}.jpg" for path in paths]
    # A table may be anybody's: nothing is written outside the folder.
    inside = ["/".join(part for part in PurePosixPath(name).parts if part not in {"..", "/"}) for name in names]
    taken: set[str] = set()
    for place, name in enumerate(inside):
        inside[place] = name if name not in taken else f"{place}-{PurePosixPath(name).name}"
        taken.add(inside[place])
    return inside


def set_name(rules: str, files: Mapping[str, Path]) -> str:
    """Return the name of a set: the same for the same rules, and files of the same names, sizes and times of change."""
    digest = hashlib.sha256(f"{CROPS_VERSION}\0{rules}".encode())
    for name, file in files.items():
        try:
            facts = file.stat()
            state = f"{facts.st_size} {facts.st_mtime_ns}"
        except (OSError, ValueError):
            state = "missing"
        digest.update(f"\0{name}\0{file}\0{state}".encode(errors="surrogatepass"))
    return digest.hexdigest()[:_NAME_DIGITS]


def read_record(crops: Path, names: Sequence[str]) -> pd.DataFrame | None:
    """Return what was found when a set was made, one row per name; None when there is no such set, or not all of it."""
    try:
        record = pd.read_parquet(crops / RECORD)
    except Exception:  # a record that cannot be read is as good as none: the crops are made again
        return None
    if len(record) != len(names):
        return None
    cut = [name for name, is_cut in zip(names, record["crop_side"].notna(), strict=True) if is_cut]
    return record if all((crops / name).is_file() for name in cut) else None


@contextmanager
def new_crops(folder: Path, name: str) -> Iterator[Path]:
    """Give a temporary folder to write a set into; it becomes the set of this name when the block ends well."""
    is_new = not folder.exists()
    check_writable(folder)
    try:
        write_text(folder / MARKER, "Face crops of agegender. What no table leads to any more is removed.\n")
        with replaced_folder(folder / name) as temporary:
            yield temporary
    except BaseException:
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def remove_other_crops(folder: Path, name: str) -> None:
    """Remove every set but the one of this name, once the table that leads to it is in place; and nothing else."""
    if not (folder / MARKER).exists():
        return
    for path in folder.iterdir():
        is_ours = _LEFT_HALF_WAY.match(path.name) or (path / RECORD).is_file()
        if path.name != name and is_ours and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
