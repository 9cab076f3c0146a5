"""From folders to a faces table: what `train` and `evaluate` are told to read, or the drawn faces where nothing is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agegender.data.faces_table import SPLITS, FacesTable, read_faces
from agegender.data.preparing import limit_faces, prepare_faces
from agegender.data.sources.drawn_faces import draw_faces
from agegender.data.splitting import use_fold
from agegender.errors import TableError, UsageError
from agegender.progress import say

DRAWN_FACE_COUNT = 1200
DRAWN_SEED = 7


@dataclass(frozen=True)
class Wanted:
    """Which faces to read: a table, or folders of a source, or neither for the drawn ones."""

    faces: Path | None = None
    source: str | None = None
    folders: Sequence[Path] = ()
    limit: int | None = None
    seed: int = 7
    fold: int | None = None
    data: Path = Path("data")  # where faces are drawn


def gather_faces(wanted: Wanted) -> FacesTable:
    """Return a faces table with splits.

    Raises
    ------
    UsageError
        A table and folders are both named, or folders without their source.
    DataError
        The photos or the table cannot be used.
    """
    if wanted.faces is not None:
        if wanted.folders:
            raise UsageError("give either --faces or --data, not both: a faces table knows its own folder.")
        faces = _with_splits(read_faces(wanted.faces), wanted.faces)
        faces = faces if wanted.fold is None else use_fold(faces, wanted.fold)
        return limit_faces(faces, wanted.limit, seed=wanted.seed)
    if wanted.fold is not None:
        raise UsageError("--fold needs --faces FILE: a table that `agegender prepare --folds 5` made.")
    if not wanted.folders:
        return _drawn_faces(wanted)
    if wanted.source is None:
        raise UsageError("--data needs --source: say which layout the folder has, for example --source utkface.")
    cache = wanted.data / "hashes.parquet"
    faces, counts = prepare_faces(wanted.source, wanted.folders, limit=wanted.limit, seed=wanted.seed, cache=cache)
    say(describe_losses(faces, counts["files"]))
    return faces


def describe_losses(faces: FacesTable, file_count: int) -> str:
    """Return one line on what was kept and what was left out, and why."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in faces.dropped().items())
    kept = faces.kept()
    splits = ", ".join(f"{int((kept['split'] == side).sum())} {side}" for side in SPLITS)
    lost = file_count - len(kept)
    return f"{file_count} photos, {len(kept)} kept ({splits})" + (f"; dropped {lost}: {reasons}" if lost else "")


def _drawn_faces(wanted: Wanted) -> FacesTable:
    if wanted.source not in (None, "drawn_faces", "drawn-faces"):
        raise UsageError(f"--source {wanted.source} needs --data FOLDER: where are its photos?")
    folder = wanted.data / f"drawn-faces-{DRAWN_FACE_COUNT}-seed{DRAWN_SEED}"
    say(f"no --data given: using faces drawn by agegender itself, in {folder}")
    draw_faces(folder, face_count=DRAWN_FACE_COUNT, seed=DRAWN_SEED)
    # Drawn faces have no near twins to find: their likeness is in the drawing.
    faces, counts = prepare_faces("drawn_faces", [folder], limit=wanted.limit, seed=wanted.seed, near_duplicates=None)
    say(describe_losses(faces, counts["files"]))
    return faces


def _with_splits(faces: FacesTable, path: Path) -> FacesTable:
    if faces.kept()["split"].isna().all():
        raise TableError(f"{path} has no splits. `agegender prepare --split 70/15/15` makes a table with them.")
    return faces
