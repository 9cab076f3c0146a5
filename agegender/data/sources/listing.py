"""Owns which files of a dataset folder are taken for photos, and that none of them lies outside that folder.

It looks at names and links alone and opens no photo; what the names mean is each source's own business. Every source
starts here, so that hidden files, looping links and links that leave the folder are treated alike everywhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from agegender.errors import FolderError

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm"})
# Archives from macOS and notebooks leave look-alikes behind: `._25_0_1.jpg` is no photo.
JUNK_FOLDERS = frozenset({"__MACOSX", "__pycache__"})
ESCAPES = "escapes the folder"
MALFORMED = "malformed name"


@dataclass(frozen=True)
class FoundFile:
    """One file: its path below the root with forward slashes, and why it cannot be used (None when it can)."""

    path: str
    dropped_because: str | None = None

    @property
    def name(self) -> str:
        """Return the file's name without its folders."""
        return self.path.rpartition("/")[2]


def has_photo_suffix(name: str) -> bool:
    """Return whether a file's name ends as photos' names do.

    >>> has_photo_suffix("25_0_1.JPG"), has_photo_suffix("README.md")
    (True, False)
    """
    return os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES  # noqa: PTH122 (a Path per file costs 20 times as much)


def list_photos(root: Path, *, is_photo: Callable[[str], bool] = has_photo_suffix) -> list[FoundFile]:
    """Return every photo below `root`, sorted by path.

    Links to folders are not followed: what they show lies in the root already, or outside it. A link that leaves the
    root, or leads nowhere, is listed with the reason `escapes the folder`.

    Parameters
    ----------
    root : Path
        The dataset folder; it may itself be a link.
    is_photo : callable
        File name -> whether it is taken for a photo; by default judged by the suffix.

    Raises
    ------
    FolderError
        There is no such folder, it is a file, or it cannot be read.
    """
    require_folder(root)
    return sorted(_walk(root.resolve(), "", is_photo), key=lambda found: found.path)


def require_folder(root: Path) -> None:
    """Raise a FolderError unless `root` is a folder that can be read."""
    if root.is_file():
        raise FolderError(f"{root} is a file, not a folder of photos. Name the folder that it lies in.")
    if not root.is_dir():
        raise FolderError(f"there is no folder at {root}. Name the folder that holds the photos with --data.")
    if not os.access(root, os.R_OK | os.X_OK):
        raise FolderError(f"the folder {root} cannot be read: permission denied.")


def _walk(root: Path, below: str, is_photo: Callable[[str], bool]) -> Iterator[FoundFile]:
    folders = []
    try:
        entries = os.scandir(root / below)
    except OSError as error:
        raise FolderError(f"the folder {root / below} cannot be read: {error.strerror}.") from error
    with entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name in JUNK_FOLDERS:
                continue
            path = f"{below}/{entry.name}" if below else entry.name
            if entry.is_symlink():
                yield from _link(root, path, is_photo)
            elif entry.is_dir():
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
            yield FoundFile(_printable(path), ESCAPES)
        return
    if not target.is_relative_to(root):
        if target.is_dir() or is_photo(link.name):
            yield FoundFile(_printable(path), ESCAPES)
    elif target.is_file() and is_photo(link.name):
        yield _file(path)


def _file(path: str) -> FoundFile:
    printable = _printable(path)
    # A name that is no UTF-8 cannot be stored in a table and found again.
    return FoundFile(printable, None if printable == path else MALFORMED)


def _printable(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode()
