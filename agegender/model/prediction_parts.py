"""What a long prediction has done so far: a folder of tables beside the file that they will be.

Each part is named by its number and by the names, sizes and times of its photos, so that a run which was stopped or
killed goes on behind the last whole part, and photos that have changed since are predicted again. Nothing is joined
before all is done, so the old file stays until then.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd

from agegender.errors import UsageError
from agegender.model.face_rows import PART
from agegender.writing import check_writable, hold, output_errors, replaced_file, write_json

UNFINISHED_FOLDER = ".unfinished"  # behind the file's name
_PLAN = "plan.json"
_MODELS = "models"
_DIGITS = 16
_NAME = re.compile(r"\d{6}-[0-9a-f]{16}\.parquet")


class PredictionParts:
    """The parts of one prediction; `opened_parts` gives them."""

    def __init__(self, folder: Path, photos: Sequence[Any]) -> None:
        self.folder, self._photos = folder, photos
        self._files: list[Path] = []
        there = {file.name for file in _parts_in(folder)} if (folder / _PLAN).is_file() else set()
        for number in range(-(-len(photos) // PART)):
            if not any(name.startswith(f"{number:06d}-") for name in there):
                break
            file = self._file(number)
            if file.name not in there:
                break
            self._files.append(file)
        for file in set(_parts_in(folder)) - set(self._files):
            file.unlink(missing_ok=True)

    @property
    def done(self) -> int:
        """How many photos lie in whole parts."""
        return min(len(self._files) * PART, len(self._photos))

    def add(self, table: pd.DataFrame) -> None:
        """Keep the table of the next part."""
        file = self._file(len(self._files))
        with replaced_file(file) as temporary:
            table.to_parquet(temporary, index=False)
        self._files.append(file)

    def tables(self) -> Iterator[pd.DataFrame]:
        """Yield the tables in order."""
        return map(pd.read_parquet, self._files)

    def _file(self, number: int) -> Path:
        digest = hashlib.sha256()
        for item in self._photos[number * PART : (number + 1) * PART]:
            digest.update(os.fsencode(item) + b"\0")
            with suppress(OSError, ValueError):
                facts = os.stat(item)  # noqa: PTH116 (a text; a million of them)
                digest.update(f"{facts.st_size} {facts.st_mtime_ns}\0".encode())
        return self.folder / f"{number:06d}-{digest.hexdigest()[:_DIGITS]}.parquet"


@contextmanager
def opened_parts(out: Path, photos: Sequence[Any], plan: Mapping[str, Any]) -> Iterator[PredictionParts]:
    """Give the parts of a prediction that is to become `out`, those of an interrupted run among them.

    Parameters
    ----------
    photos : sequence of str
        The files.
    plan : mapping
        `models` (name -> digest) and whatever else the rows depend on, JSON-able; parts of another plan are refused.
    """
    check_writable(out.parent)
    folder = out.with_name(f"{out.name}{UNFINISHED_FOLDER}")
    with output_errors(folder):
        folder.mkdir(exist_ok=True)
    handle = hold(folder)
    if handle is None:
        raise UsageError(f"another process is predicting into {folder}: wait for it, or name another --out.")
    try:
        if (folder / _PLAN).is_file():
            check_plan(folder / _PLAN, plan)
        parts = PredictionParts(folder, photos)
        write_json(folder / _PLAN, plan)
        yield parts
    finally:
        os.close(handle)


def remove_parts(parts: PredictionParts) -> None:
    """Remove the folder once the file is in its place; whoever is killed meanwhile leaves parts that still fit."""
    for file in [*sorted(_parts_in(parts.folder), reverse=True), parts.folder / _PLAN]:
        file.unlink(missing_ok=True)
    with suppress(OSError):
        parts.folder.rmdir()  # not where somebody has put something else into it


def _parts_in(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if _NAME.fullmatch(file.name)]


def model_digest(card: Mapping[str, Any]) -> str:
    """Return what tells a model from others: a digest of its card, which has its run and its calibration."""
    return hashlib.sha256(json.dumps(card, sort_keys=True, default=str).encode()).hexdigest()[:_DIGITS]


def check_plan(file: Path, plan: Mapping[str, Any]) -> None:
    """Refuse to go on with what another model, or other options, have begun."""
    folder = file.parent
    remedy = f"Remove {folder} to begin anew, or name another --out."
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        models = dict(kept[_MODELS])
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(
            f"{folder} is no prediction that can go on: its {file.name} cannot be read. {remedy}"
        ) from None
    if models != plan[_MODELS]:
        names = " and ".join(map(str, models)) or "no model"
        raise UsageError(f"{folder} keeps what another model has predicted ({names[:100]}). {remedy}")
    if any(kept.get(name) != value for name, value in json.loads(json.dumps(plan)).items()):
        raise UsageError(f"{folder} keeps what was predicted with other options. {remedy}")
