"""Files and folders that change together: staged beside their places, then moved in as one.

All that is new is written first, into a hidden folder beside each place. Then a journal of the moves is written, whole,
and from there on the change is decided: whoever is killed before it leaves everything old, and whoever is killed after
it leaves moves that `finish_swaps` carries out when a command next comes by. Moves are made in the order in which the
places were staged.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from agegender.writing import TEMPORARY, hold, output_errors, remove_unheld, temporary_folder, write_json

_JOURNAL = "swap.json"
_HOME = "home.txt"  # in every staging folder but the first: which one has the journal
_NEW, _OLD = "new", "old"


class Swap:
    """What is to change together; `replaced_set` makes one."""

    def __init__(self) -> None:
        self._stages: dict[Path, Path] = {}  # folder of places -> its staging folder
        self._handles: list[int] = []
        self._made: list[Path] = []
        self._moves: list[tuple[Path, str, bool]] = []

    def stage(self, place: Path) -> Path:
        """Return where to write what is to become `place`, a file or a folder; what is not written stays as it is."""
        stage = self._stage_beside(place)
        self._moves.append((stage, place.name, True))
        return stage / _NEW / place.name

    def has(self, place: Path) -> bool:
        """Return whether `place` is to change."""
        return any((stage.parent / name) == place.absolute() for stage, name, _ in self._moves)

    def remove(self, place: Path) -> None:
        """Have `place` go when the rest comes."""
        self._moves.append((self._stage_beside(place), place.name, False))

    def commit(self) -> None:
        """Decide the change, and make it."""
        if not self._moves:
            return
        home = next(iter(self._stages.values()))
        moves = [[os.path.relpath(stage, home), name, is_new] for stage, name, is_new in self._moves]
        write_json(home / _JOURNAL, {"moves": moves})
        with output_errors(home.parent):
            _carry_out(home)

    def close(self) -> None:
        """Remove what was staged and not moved, and let other processes come near."""
        stages = list(self._stages.values())
        if not any((stage / _JOURNAL).is_file() for stage in stages):  # else the moves are still to be made
            for stage in reversed(stages):
                shutil.rmtree(stage, ignore_errors=True)
        for handle in self._handles:
            os.close(handle)
        for folder in reversed(self._made):
            with suppress(OSError):
                folder.rmdir()  # only where it is empty: nothing has come of it

    def _stage_beside(self, place: Path) -> Path:
        folder = place.parent.absolute()
        if folder not in self._stages:
            missing = [one for one in (folder, *folder.parents) if not one.exists()]
            stage, handle = temporary_folder(folder / place.name)
            self._made += reversed(missing)
            self._handles.append(handle)
            with output_errors(place):
                (stage / _NEW).mkdir()
                if self._stages:
                    home = os.path.relpath(next(iter(self._stages.values())), stage)
                    (stage / _HOME).write_text(home, encoding="utf-8")
            self._stages[folder] = stage
        return self._stages[folder]


@contextmanager
def replaced_set() -> Iterator[Swap]:
    """Give a `Swap` to stage files and folders in; they take their places together when the block ends well."""
    swap = Swap()
    try:
        yield swap
        swap.commit()
    finally:
        swap.close()


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path` to fill; it becomes `path` when the block ends well."""
    with replaced_set() as swap:
        new = swap.stage(path)
        with output_errors(path):
            new.mkdir()
            yield new


def finish_swaps(*folders: Path) -> None:
    """Make the moves that a killed process had decided, and remove what others have left half-written."""
    for folder in folders:
        try:
            left = [Path(entry.path) for entry in os.scandir(folder) if TEMPORARY.fullmatch(entry.name)]
        except OSError:
            continue  # not there, or not to be read: then there is nothing to mend either
        for path in left:
            if not path.is_symlink():
                _finish(path)


def _finish(path: Path) -> None:
    home = _home_of(path) if (path / _HOME).is_file() else path
    if home is None or not (home / _JOURNAL).is_file():
        remove_unheld(path)
        return
    handle = hold(home)
    if handle is None:
        return  # at work, or already being mended
    try:
        with suppress(OSError):  # as on a disk that can only be read
            _carry_out(home)
    finally:
        os.close(handle)


def _home_of(stage: Path) -> Path | None:
    try:
        home = Path(os.path.normpath(stage / (stage / _HOME).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
    return home if TEMPORARY.fullmatch(home.name) and not home.is_symlink() else None


def _carry_out(home: Path) -> None:
    """Make the moves of a journal that are not made yet, then remove the staging folders, the journal's last."""
    moves = _read_moves(home)
    for stage, name, is_new in moves:
        place, new, old = stage.parent / name, stage / _NEW / name, stage / _OLD / name
        if is_new and not os.path.lexists(new):
            continue
        if os.path.lexists(place) and not (is_new and _are_files(new, place)) and not os.path.lexists(old):
            old.parent.mkdir(exist_ok=True)
            place.replace(old)
        if is_new:
            new.replace(place)
    for stage in dict.fromkeys(stage for stage, _, _ in moves if stage != home):
        shutil.rmtree(stage, ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)


def _are_files(new: Path, place: Path) -> bool:
    return new.is_file() and not place.is_dir()


def _read_moves(home: Path) -> list[tuple[Path, str, bool]]:
    """Return the moves of a journal that stay beside its own staging folders: a folder from elsewhere moves nothing."""
    try:
        document: Any = json.loads((home / _JOURNAL).read_text(encoding="utf-8"))
        listed = [(str(stage), str(name), bool(is_new)) for stage, name, is_new in document["moves"]]
    except (OSError, ValueError, TypeError, KeyError):
        return []
    moves = []
    for relative, name, is_new in listed:
        stage = Path(os.path.normpath(home / relative))
        is_ours = stage == home or (TEMPORARY.fullmatch(stage.name) and _home_of(stage) == home)
        links = any(path.is_symlink() for path in (stage, stage / _NEW, stage / _OLD))
        if is_ours and not links and name not in ("", ".", "..") and Path(name).name == name:
            moves.append((stage, name, is_new))
    return moves
