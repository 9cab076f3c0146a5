"""Which files of a folder are photos, in an order that never changes; sources, `predict` and benchmarks all ask here.

Names and links alone are looked at, and no photo is opened. Hidden files, looping links and links that leave the
folder are treated alike everywhere, so that nobody's photo is read by accident.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import Any

from agegender.errors import FolderError, UsageError, did_you_mean
from agegender.progress import say

PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm"}
    # Photos of telephones, which cannot be read: each is a row that says so, and none is passed over in silence.
    | {".heic", ".heif", ".avif"}
)
# Archives from macOS and notebooks leave look-alikes behind: `._25_0_1.jpg` is no photo.
JUNK_FOLDERS = frozenset({"__MACOSX", "__pycache__"})
# A folder of drawn faces has this file, and beside it a folder of maps, which are pictures and no photos.
DRAWING_FILE, CAUSES_FOLDER = "drawing.json", "causes"
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/|data:")
ESCAPES = "escapes the folder"
MALFORMED = "malformed name"
_UNLISTED = "cannot be listed"
_LONGEST_NAME = 255  # bytes, of a file or a folder
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".rar", ".7z")


@dataclass(frozen=True)
class FoundFile:
    """One file: its path below the root with forward slashes, and why it cannot be used (None when it can)."""

    path: str
    dropped_because: str | None = None

    @property
    def name(self) -> str:
        """The file's name without its folders."""
        return self.path.rpartition("/")[2]


def has_photo_suffix(name: str) -> bool:
    """Return whether a file's name ends as photos' names do.

    >>> has_photo_suffix("25_0_1.JPG"), has_photo_suffix("README.md")
    (True, False)
    """
    return os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES  # noqa: PTH122 (a Path per file costs 20 times as much)


def list_photos(root: Path, *, is_photo: Callable[[str], bool] = has_photo_suffix) -> list[FoundFile]:
    """Return every photo below `root`, sorted by path, those that cannot be used with the reason.

    Links to folders are not followed: what they show lies in the root already, or outside it. A link that leaves the
    root, or leads nowhere, is listed with the reason `escapes the folder`.
    """
    require_folder(root)
    found = sorted(_walk(root.resolve(), "", is_photo), key=lambda file: file.path)
    for file in found:
        if file.dropped_because == _UNLISTED:
            raise FolderError(f"the folder {root / file.path} cannot be read. Allow it, or move it away.")
    return found


def named_photos(given: Sequence[Any]) -> list[Any]:
    """Return the photos of a command line or a call: folders and patterns replaced by their photos, each file once.

    What is passed over is said: files that stand there twice, links that leave a folder, names that are no UTF-8.
    """
    return [Path(item) if isinstance(item, str) else item for item in photo_names(given)]


def photo_names(given: Sequence[Any]) -> list[Any]:
    """Return what `named_photos` does, files as texts: of a million, a `Path` each would take most of the memory."""
    items: list[Any] = []
    seen: set[str] = set()
    twice = 0
    for item in given:
        if not isinstance(item, (str, Path)):
            items.append(item)
            continue
        for name in _files_of(str(item)):
            place = os.path.abspath(name)  # noqa: PTH100 (strings: asked for every photo)
            twice += place in seen
            if place not in seen:
                seen.add(place)
                items.append(name)
    if twice:
        say(f"{twice} of the photos {'is' if twice == 1 else 'are'} named twice, and taken once")
    return items


def refuse_address(name: str) -> None:
    """Raise a UsageError for what stands for something on a network."""
    if ADDRESS.match(name):
        raise UsageError(
            f"{printable(name)[:200]} is a network address, and agegender opens none: fetch it, and name the file."
        )


def _files_of(name: str) -> list[str]:
    """Return the files that a name stands for: itself, a folder's photos, or the photos that a pattern matches."""
    refuse_address(name)
    if os.path.isdir(name):  # noqa: PTH112
        return _photos_below(Path(name))
    if not has_magic(name) or os.path.lexists(name):
        return [str(Path(name))]
    # Path.glob knows no absolute patterns; hidden files are passed over by either.
    files = [one for one in sorted(glob(name, recursive=True)) if has_photo_suffix(one) and os.path.isfile(one)]  # noqa: PTH113, PTH207
    if not files:
        raise FolderError(f"no photo matches {printable(name)}.")
    return files


def _photos_below(root: Path) -> list[str]:
    require_folder(root)
    found = sorted(_walk(root.resolve(), "", has_photo_suffix), key=lambda file: file.path)
    passed_over = [file for file in found if file.dropped_because is not None]
    if passed_over:
        reasons = Counter(file.dropped_because for file in passed_over)
        counts = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        say(f"passed over {len(passed_over)} in {printable(root)} ({counts}), first {passed_over[0].path}")
    if len(passed_over) == len(found):
        raise FolderError(f"there is no photo in {printable(root)}" + (" that can be used." if found else "."))
    folder = str(root)
    return [os.path.join(folder, file.path) for file in found if file.dropped_because is None]  # noqa: PTH118


class PhotosFolder:
    """The folder that a table's paths start from, and the one rule of which of them may be opened.

    A table may be anybody's: no path leads out of the folder, whether by "..", from the root of the disk, or by a link.
    """

    def __init__(self, root: Path) -> None:
        self._root = os.path.normpath(root.absolute())
        self._home = os.path.realpath(self._root)
        self._is_inside: dict[str, bool] = {}  # a folder -> whether it lies inside, links followed; asked once

    def place(self, path: object) -> Path | None:
        """Return where a photo should lie, there or not; None where its path may not be opened."""
        problem, written = self._asked(path)
        return None if problem else Path(written)

    def problem(self, path: object) -> str | None:
        """Return why a path may not be opened, or None."""
        return self._asked(path)[0]

    def _asked(self, path: object) -> tuple[str | None, str]:
        """Return why a path may not be opened, and where it leads as written."""
        if not isinstance(path, str) or not path or "\0" in path or is_unwritable(path):
            return MALFORMED, ""
        written = os.path.normpath(os.path.join(self._root, path))  # noqa: PTH118 (strings: asked for every photo)
        if not _is_below(self._root, written):
            return ESCAPES, written
        folder = os.path.dirname(written)  # noqa: PTH120
        if folder not in self._is_inside:
            self._is_inside[folder] = _is_below(self._home, os.path.realpath(folder))
        is_inside = self._is_inside[folder]
        if is_inside and os.path.islink(written):  # noqa: PTH114
            is_inside = _is_below(self._home, os.path.realpath(written))
        return None if is_inside else ESCAPES, written


def _is_below(folder: str, place: str) -> bool:
    return place.startswith(folder if folder.endswith(os.sep) else folder + os.sep) or place == folder


def is_unwritable(path: str) -> bool:
    """Return whether no file can be called so: half a character, which no encoding has, or a name too long."""
    try:
        name = os.fsencode(path)
    except UnicodeEncodeError:
        return True
    return len(name) > _LONGEST_NAME and max(map(len, name.split(b"/"))) > _LONGEST_NAME


def require_folder(root: Path) -> None:
    """Raise a FolderError unless `root` is a folder that can be read."""
    if root.is_file() and root.name.lower().endswith(ARCHIVES):
        raise FolderError(f"{root} is an archive: unpack it first, and name the folder that comes out of it.")
    if root.is_file():
        raise FolderError(f"{root} is a file, not a folder of photos. Name the folder that it lies in.")
    if not root.is_dir():
        near = did_you_mean(root.name, neighbours(root))
        raise FolderError(f"there is no folder at {root}.{near} Name the folder that holds the photos with --data.")
    if not os.access(root, os.R_OK | os.X_OK):
        raise FolderError(f"the folder {root} cannot be read: permission denied.")


def neighbours(place: Path) -> list[str]:
    """Return the names beside a path, for a message that guesses what was meant."""
    try:
        return [entry.name for entry in place.parent.iterdir()]
    except OSError:
        return []


def _walk(root: Path, below: str, is_photo: Callable[[str], bool]) -> Iterator[FoundFile]:
    folders = []
    try:
        entries = os.scandir(root / below)
    except OSError:
        yield FoundFile(printable(below), _UNLISTED)
        return
    with entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name in JUNK_FOLDERS:
                continue
            path = f"{below}/{entry.name}" if below else entry.name
            if entry.is_symlink():
                yield from _link(root, path, is_photo)
            elif entry.is_dir():
                if entry.name != CAUSES_FOLDER or not (root / below / DRAWING_FILE).is_file():
                    folders.append(path)
            elif entry.is_file() and is_photo(entry.name):
                yield _file(path)
    for folder in folders:
        yield from _walk(root, folder, is_photo)


def _link(root: Path, path: str, is_photo: Callable[[str], bool]) -> Iterator[FoundFile]:
    link = root / path
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):  # it leads nowhere, or round in a circle (RuntimeError before Python 3.13)
        if is_photo(link.name):
            yield FoundFile(printable(path), ESCAPES)
        return
    if not target.is_relative_to(root):
        if target.is_dir() or is_photo(link.name):
            yield FoundFile(printable(path), ESCAPES)
    elif target.is_file() and is_photo(link.name):
        yield _file(path)


def _file(path: str) -> FoundFile:
    shown = printable(path)
    # A name that is no UTF-8 cannot be stored in a table and found again.
    return FoundFile(shown, None if shown == path else MALFORMED)


def printable(path: str | Path) -> str:
    r"""Return a path that any terminal, table and JSON can hold: bytes that are no UTF-8 are written as `\xe9`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
