"""The way from folders to a finished faces table: read, combine, clean, derive labels, score, crop, split, count.

Each step is another module's; this one puts them in order and adds up what was lost. `prepare_datasets` makes a table
of folders; `gather` gets one in whatever way a command was told to: a table, folders, or faces that are drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from agegender.data.cleaning import clean
from agegender.data.corrections import correct_faces, correction_words, read_corrections
from agegender.data.derived_labels import add_age_class, combine_labels
from agegender.data.faces_table import SPLITS, UNREADABLE, FacesTable, combine_faces, read_faces
from agegender.data.leakage import has_published_twins, leak_count, leakage_table
from agegender.data.leaving_out import leave_out, left_out_words
from agegender.data.sources import find_source, source_name
from agegender.data.sources.recognising import recognised_source
from agegender.data.splitting import fold_faces, has_official_split, keep_official_split, split_faces, use_fold
from agegender.errors import FolderError, OutputError, TableError, UsageError, WeightsError
from agegender.photos.finding import MALFORMED
from agegender.progress import say
from agegender.settings import PreparationSettings
from agegender.writing import check_writable

if TYPE_CHECKING:
    from agegender.photos.face_detection import FaceDetector

MALFORMED_COLUMN = "is_malformed_name"
WORKING_FOLDER = Path("data")  # where faces are drawn, and hashes remembered
DRAWN_FACE_COUNT = 1200
DRAWN_SEED = 7


@dataclass(frozen=True)
class Dataset:
    """One folder, the source whose layout it has (empty: it is to be recognised), and options for that source."""

    source: str
    folder: Path
    options: Mapping[str, Any] = field(default_factory=dict)


def gather(  # noqa: PLR0913 (the options of the commands, each by its name)
    *,
    faces: Path | None = None,
    source: str | None = None,
    folders: Sequence[Path] = (),
    options: Mapping[str, Any] | None = None,
    images: Path | None = None,
    limit: int | None = None,
    seed: int = 7,
    fold: int | None = None,
    splits: bool = True,
    check: Callable[[FacesTable], object] | None = None,
) -> FacesTable:
    """Return a faces table: the one in the file `faces`, one of `folders` of a source, or one of drawn faces.

    `options` are the source's, and `images` is the folder that the paths of a table in a file start from now, where its
    photos have moved.

    With `splits`, every kept photo is in a split; a table in a file must have one, folders get one. Without, folders
    get none: a model is judged on all of their photos and has seen none of them. `check` may refuse the labels, or
    anything else, before a photo is read.
    """
    if faces is not None:
        if folders:
            raise UsageError("give either --faces or --data, not both: a faces table knows its own folder.")
        table = read_faces(faces, root=images)
        if splits and table.kept()["split"].isna().all():
            raise TableError(f"{faces} has no splits. `agegender prepare --split 70/15/15` makes a table with them.")
        if check is not None:
            check(table)
        table.check_photos()
        return limit_faces(table if fold is None else use_fold(table, fold), limit, seed=seed)
    if images is not None:
        raise UsageError("--images says where the photos of a faces table are now; --data names its own folder.")
    if fold is not None:
        raise UsageError("--fold needs --faces FILE: a table that `agegender prepare --folds 5` made.")
    settings = PreparationSettings(limit=limit, seed=seed, split="auto" if splits else "none")
    if folders:
        settings = replace(settings, cache=WORKING_FOLDER / "hashes.parquet")
        datasets = [Dataset(source or "", folder, options or {}) for folder in folders]
    else:
        # Drawn faces have no near twins to find: their likeness is in the drawing.
        settings = replace(settings, near_duplicates=None)
        datasets = [Dataset("drawn_faces", _drawn_folder(source))]
    prepared, _ = prepare_datasets(datasets, settings, check=check)
    say(_losses(prepared))
    return prepared


def _drawn_folder(source: str | None) -> Path:
    if source is not None and source_name(source) != "drawn_faces":
        raise UsageError(f"--source {source} needs --data FOLDER: where are its photos?")
    from agegender.data.sources.drawn_faces import draw_faces

    folder = WORKING_FOLDER / f"drawn-faces-{DRAWN_FACE_COUNT}-seed{DRAWN_SEED}"
    say(f"no --data given: using faces drawn by agegender itself, in {folder}")
    draw_faces(folder, face_count=DRAWN_FACE_COUNT, seed=DRAWN_SEED)
    return folder


def _losses(faces: FacesTable) -> str:
    """Return one line on what was kept and what was left out, and why."""
    kept, file_count = faces.kept(), len(faces.table)
    sides = kept["split"].value_counts()
    splits = f" ({', '.join(f'{sides.get(side, 0)} {side}' for side in SPLITS)})" if len(sides) else ""
    reasons = ", ".join(f"{count} {reason}" for reason, count in faces.dropped().items())
    lost = file_count - len(kept)
    return f"{file_count} photos, {len(kept)} kept{splits}" + (f"; dropped {lost}: {reasons}" if lost else "")


def prepare_faces(source: str, folders: Sequence[Path], **settings: Any) -> tuple[FacesTable, dict[str, Any]]:
    """Prepare folders of one source; `settings` are the fields of `PreparationSettings`."""
    return prepare_datasets([Dataset(source, folder) for folder in folders], PreparationSettings(**settings))


def prepare_datasets(
    datasets: Sequence[Dataset],
    settings: PreparationSettings,
    *,
    check: Callable[[FacesTable], object] | None = None,
) -> tuple[FacesTable, dict[str, Any]]:
    """Return several datasets as one table, dropped rows included, and the counts that `prepare --json` prints."""
    detector = detector_of(settings)
    corrections = None if settings.corrections is None else read_corrections(settings.corrections)
    faces = combine_faces([read_dataset(dataset) for dataset in datasets])
    if corrections is not None:
        faces, taken = correct_faces(faces, corrections, file=str(settings.corrections))
        say(correction_words(taken))
    faces = limit_faces(faces, settings.limit, seed=settings.seed)
    _derive_labels(faces, settings)  # a label that is not there is found out before the photos are read
    if check is not None:
        check(faces)
    faces, cleaning = clean(
        faces,
        near_duplicates=settings.near_duplicates,
        on_conflict=settings.on_conflict,
        near_twins=settings.near_twins,
        cache=_usable_cache(settings.cache),
    )
    _check_something_is_left(faces)
    faces = _derive_labels(faces, settings)
    if settings.quality or settings.leave_out:
        from agegender.data.photo_quality import assess_quality

        faces = assess_quality(faces, detector=detector)
    if settings.leave_out:
        faces = leave_out(faces, settings.leave_out)
        for line in left_out_words(faces):
            say(line)
        _check_something_is_left(faces)
    if detector is not None:
        faces = crop_as(faces, detector, settings)
        _check_something_is_left(faces)
    faces = split_as(faces, settings)
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
    """Return a random `limit` of the rows, the same ones for the same seed, in their old order."""
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


def read_dataset(dataset: Dataset) -> FacesTable:
    """Return one folder as its source reads it."""
    source = dataset.source or recognised_source(dataset.folder)
    read = find_source(source)
    known = list(signature(read).parameters)[1:]
    unknown = sorted(set(dataset.options) - set(known))
    if unknown:
        offered = f"it has {', '.join(known)}" if known else "it has none"
        raise UsageError(f"the source {source} has no option {', '.join(unknown)}; {offered}.")
    return read(dataset.folder, **dataset.options)


def _derive_labels(faces: FacesTable, settings: PreparationSettings) -> FacesTable:
    if settings.age_classes:
        faces = add_age_class(faces, settings.age_classes)
    for columns in settings.combine:
        faces = combine_labels(faces, columns)
    return faces


def split_as(faces: FacesTable, settings: PreparationSettings) -> FacesTable:
    """Return the kept photos divided as the settings say; twins and persons stay together."""
    if settings.split == "none":
        nobody = pd.Series(None, index=faces.table.index, dtype=object)
        return replace(faces, table=faces.table.assign(split=nobody))
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
    """
    try:
        train, valid, test = (float(part) for part in text.split("/"))
    except ValueError as error:
        raise UsageError(f"the split {text!r} is not three parts of train, valid and test; write 70/15/15.") from error
    return train, valid, test


def detector_of(settings: PreparationSettings) -> FaceDetector | None:
    """Return the face detector, so that one that cannot be had is found out before the photos are read."""
    if settings.crop == "none":
        asked = {"--crop-then": settings.crop_then != "none", "--align": settings.align}
        asked |= {"--crop-margins": settings.crop_margins is not None, "--smallest-face": bool(settings.smallest_face)}
        if any(asked.values()):
            raise UsageError(
                f"{' and '.join(name for name in asked if asked[name])} needs --crop, which cuts faces out."
            )
        return None
    from agegender.photos.face_crops import Margins
    from agegender.photos.face_detection import DETECTORS_OF_LANDMARKS, make_detectors

    Margins.of(settings.crop_margin, settings.crop_margins)  # refuses what is out of range
    if settings.crops is None:
        raise UsageError(f"cropping with {settings.crop} needs a folder for the crops; name one with --crops FOLDER.")
    if settings.crop_then == settings.crop:
        raise UsageError(f"--crop-then {settings.crop_then} is the first detector again; name another one.")
    if not 0 <= settings.smallest_face < float("inf"):
        raise UsageError(f"--smallest-face {settings.smallest_face:g}: give pixels, or a share below 1.")
    if settings.align and not {settings.crop, settings.crop_then} & set(DETECTORS_OF_LANDMARKS):
        raise UsageError(f"--align needs a detector that finds eyes: {', '.join(DETECTORS_OF_LANDMARKS)}.")
    if settings.crop_model is not None and not settings.crop_model.is_file():
        raise WeightsError(f"there is no face detection model at {settings.crop_model}; use --crop haar without one.")
    return make_detectors(
        settings.crop, settings.crop_then, smallest=settings.smallest_face, model_file=settings.crop_model
    )


def crop_as(faces: FacesTable, detector: FaceDetector, settings: PreparationSettings) -> FacesTable:
    """Return the faces with the detected ones cut out, as the settings say."""
    from agegender.data.cropping import crop_faces

    assert settings.crops is not None  # detector_of made sure
    cropped = crop_faces(
        faces,
        detector,
        folder=settings.crops,
        margin=settings.crop_margin,
        margins=settings.crop_margins,
        aligns=settings.align,
        when_none=settings.no_face,
        when_several=settings.several_faces,
    )
    return replace(cropped, notes=_moved_notes(cropped.notes, faces.root, cropped.root))


def _moved_notes(notes: Mapping[str, Any], old_root: Path, new_root: Path) -> dict[str, Any]:
    """Return the notes with the photos named in them as seen from another root."""
    below = old_root.resolve().relative_to(new_root).as_posix()
    prefix = "" if below == "." else f"{below}/"
    conflicts = [
        {**conflict, "photos": [{**photo, "path": prefix + photo["path"]} for photo in conflict["photos"]]}
        for conflict in notes.get("cleaning", {}).get("conflicts", [])
    ]
    malformed = [prefix + path for path in notes.get("malformed_names", [])]
    return {**notes, "malformed_names": malformed, "cleaning": {**notes.get("cleaning", {}), "conflicts": conflicts}}


def _check_something_is_left(faces: FacesTable) -> None:
    if not faces.kept().empty:
        return
    file_count, dropped = len(faces.table), faces.dropped()
    if dropped.index.tolist() == [UNREADABLE]:
        raise FolderError(
            f"no readable photo in {faces.root}: all {file_count} files are damaged, empty or no photos at all."
        )
    reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
    raise FolderError(f"none of the {file_count} photos in {faces.root} can be used ({reasons}).")


def count_faces(faces: FacesTable, cleaning: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what became of the files, JSON-able: what cleaning counted (or noted), reasons, sides and leaks."""
    if cleaning is None:
        cleaning = faces.notes.get("cleaning", {})
    kept, table = faces.kept(), faces.table
    leakage = leakage_table(table)
    leaks = leaks_as_published = leak_count(leakage)
    if has_published_twins(table):
        leaks_as_published = leak_count(leakage_table(table, as_published=True))
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
        "leaks": leaks,
        "leaks_as_published": leaks_as_published,
        "leakage": leakage.to_dict("records"),
        "split": {side: int((kept["split"] == side).sum()) for side in SPLITS},
    }
