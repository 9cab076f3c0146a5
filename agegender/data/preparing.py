"""Owns the way from folders to a finished faces table: read, combine, clean, split, score, crop, count.

Each step is another module's; this one only puts them in order and adds up what was lost. The command `prepare` calls
it and writes the table; `train` calls it for folders that nobody prepared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agegender.data.cleaning import clean
from agegender.data.faces_table import SPLITS, FacesTable, combine_faces
from agegender.data.leakage import leak_count, leakage_table
from agegender.data.preparation_settings import Dataset, PreparationSettings
from agegender.data.sources import find_source
from agegender.data.splitting import fold_faces, has_official_split, keep_official_split, split_faces
from agegender.errors import FolderError, OutputError, UsageError, WeightsError
from agegender.photos.finding import MALFORMED
from agegender.progress import say
from agegender.writing import check_writable

if TYPE_CHECKING:
    from agegender.photos.face_detection import FaceDetector

MALFORMED_COLUMN = "is_malformed_name"


def prepare_faces(source: str, folders: Sequence[Path], **settings: Any) -> tuple[FacesTable, dict[str, Any]]:
    """Prepare folders of one source; `settings` are the fields of `PreparationSettings`.

    Returns
    -------
    FacesTable
        The finished table, dropped rows included.
    dict
        Counts, as `prepare --json` prints them.
    """
    return prepare_datasets([Dataset(source, folder) for folder in folders], PreparationSettings(**settings))


def prepare_datasets(datasets: Sequence[Dataset], settings: PreparationSettings) -> tuple[FacesTable, dict[str, Any]]:
    """Prepare several datasets as one table.

    Raises
    ------
    FolderError
        A folder is missing, empty or of the wrong kind, or no photo in it can be used.
    UsageError
        Settings that make no sense, or a split that a source does not have.
    """
    detector = _detector(settings)
    faces = combine_faces([_read(dataset) for dataset in datasets])
    faces = limit_faces(faces, settings.limit, seed=settings.seed)
    faces, cleaning = clean(
        faces,
        near_duplicates=settings.near_duplicates,
        on_conflict=settings.on_conflict,
        near_twins=settings.near_twins,
        cache=_usable_cache(settings.cache),
    )
    _check_something_is_left(faces)
    if settings.quality:
        faces = _assess_quality(faces, detector)
    if detector is not None:
        faces = _crop(faces, detector, settings)
        _check_something_is_left(faces)
    faces = _split(faces, settings)
    return faces, count_faces(faces, cleaning.to_dict())


def _usable_cache(cache: Path | None) -> Path | None:
    if cache is None:
        return None
    try:
        check_writable(cache.parent)
    except OutputError as error:
        say(f"hashes are not remembered: {error}")
        return None
    return cache


def limit_faces(faces: FacesTable, limit: int | None, *, seed: int = 7) -> FacesTable:
    """Return a random `limit` of the rows, the same ones for the same seed, in their old order.

    Raises
    ------
    UsageError
        The limit is below 1.
    """
    if limit is None or limit >= len(faces.table):
        return faces
    if limit < 1:
        raise UsageError(f"--limit {limit} leaves no photo. Give a number of at least 1.")
    paths = faces.table["path"].tolist()
    keys = [hashlib.blake2b(f"limit {seed}\0{path}".encode(), digest_size=8).digest() for path in paths]
    chosen = sorted(sorted(range(len(paths)), key=keys.__getitem__)[:limit])
    table = faces.table.iloc[chosen].reset_index(drop=True)
    left = {"limit": limit, "limit_seed": seed, "photos_before_limit": len(paths)}
    listed = set(table["path"])
    malformed = [path for path in faces.notes.get("malformed_names", []) if path in listed]
    return replace(faces, table=table, notes={**faces.notes, **left, "malformed_names": malformed})


def _read(dataset: Dataset) -> FacesTable:
    read = find_source(dataset.source)
    known = list(signature(read).parameters)[1:]
    unknown = sorted(set(dataset.options) - set(known))
    if unknown:
        offered = f"it has {', '.join(known)}" if known else "it has none"
        raise UsageError(f"the source {dataset.source} has no option {', '.join(unknown)}; {offered}.")
    return read(dataset.folder, **dataset.options)


def _split(faces: FacesTable, settings: PreparationSettings) -> FacesTable:
    if settings.folds is not None:
        return fold_faces(faces, folds=settings.folds, seed=settings.seed)
    if settings.split == "official" or (settings.split == "auto" and has_official_split(faces)):
        return keep_official_split(faces, seed=settings.seed)
    if settings.split == "auto":
        return split_faces(faces, seed=settings.seed)
    if isinstance(settings.split, str):
        return split_faces(faces, shares=parse_shares(settings.split), seed=settings.seed)
    return split_faces(faces, shares=settings.split, seed=settings.seed)


def parse_shares(text: str) -> tuple[float, float, float]:
    """Return the three parts in a text such as "70/15/15".

    >>> parse_shares("80/10/10")
    (80.0, 10.0, 10.0)

    Raises
    ------
    UsageError
        The text is not three numbers between slashes.
    """
    try:
        train, valid, test = (float(part) for part in text.split("/"))
    except ValueError as error:
        raise UsageError(f"the split {text!r} is not three parts of train, valid and test; write 70/15/15.") from error
    return train, valid, test


def _detector(settings: PreparationSettings) -> FaceDetector | None:
    """Return the face detector, so that one that cannot be had is found out before the photos are read."""
    if settings.crop == "none":
        return None
    from agegender.photos.face_detection import LARGEST_MARGIN, make_detector

    if not 0 <= settings.crop_margin <= LARGEST_MARGIN:
        raise UsageError(f"--crop-margin {settings.crop_margin:g} is no share from 0 to {LARGEST_MARGIN:g}.")
    if settings.crops is None:
        raise UsageError(f"cropping with {settings.crop} needs a folder for the crops; name one with --crops FOLDER.")
    if settings.crop_model is not None and not settings.crop_model.is_file():
        raise WeightsError(f"there is no face detection model at {settings.crop_model}; use --crop haar without one.")
    return make_detector(settings.crop, model_file=settings.crop_model)


def _crop(faces: FacesTable, detector: FaceDetector, settings: PreparationSettings) -> FacesTable:
    from agegender.data.cropping import crop_faces

    assert settings.crops is not None  # _detector made sure
    cropped = crop_faces(
        faces,
        detector,
        folder=settings.crops,
        margin=settings.crop_margin,
        when_none=settings.no_face,
        when_several=settings.several_faces,
    )
    return replace(cropped, notes=_moved_notes(cropped.notes, faces.root, cropped.root))


def _moved_notes(notes: Mapping[str, Any], old_root: Path, new_root: Path) -> dict[str, Any]:
    """Return the notes with the photos named in them as seen from another root."""
    prefix = "" if old_root == new_root else f"{old_root.relative_to(new_root).as_posix()}/"
    conflicts = [
        {**conflict, "photos": [{**photo, "path": prefix + photo["path"]} for photo in conflict["photos"]]}
        for conflict in notes["cleaning"]["conflicts"]
    ]
    malformed = [prefix + path for path in notes.get("malformed_names", [])]
    return {**notes, "malformed_names": malformed, "cleaning": {**notes["cleaning"], "conflicts": conflicts}}


def _assess_quality(faces: FacesTable, detector: FaceDetector | None) -> FacesTable:
    from agegender.data.photo_quality import assess_quality

    return assess_quality(faces, detector=detector)


def _check_something_is_left(faces: FacesTable) -> None:
    if not faces.kept().empty:
        return
    file_count, dropped = len(faces.table), faces.dropped()
    if dropped.index.tolist() == ["unreadable"]:
        raise FolderError(
            f"no readable photo in {faces.root}: all {file_count} files are damaged, empty or no photos at all."
        )
    reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
    raise FolderError(f"none of the {file_count} photos in {faces.root} can be used ({reasons}).")


def count_faces(faces: FacesTable, cleaning: Mapping[str, Any]) -> dict[str, Any]:
    """Return what became of the files, JSON-able: what cleaning counted, reasons, sides and leaks."""
    kept = faces.kept()
    table = faces.table
    leakage = leakage_table(table)
    malformed = table["dropped_because"] == MALFORMED
    if MALFORMED_COLUMN in table:
        malformed |= table[MALFORMED_COLUMN].eq(True).fillna(False)
    return {
        **cleaning,
        "files": len(table),
        "malformed_names": int(malformed.sum()),
        "dropped": {str(reason): int(count) for reason, count in faces.dropped().items()},
        "kept": len(kept),
        "malformed": list(faces.notes.get("malformed_names", [])),
        "leaks": leak_count(leakage),
        "leaks_as_published": leak_count(leakage_table(table, as_published=True)),
        "leakage": leakage.to_dict("records"),
        "split": {side: int((kept["split"] == side).sum()) for side in SPLITS},
    }
