"""Owns which files of a folder are photos, in an order that never changes.

It opens no photo. Links are looked at and never followed out of the folder, so that a loop ends and a photo of
somebody else's folder is not read by accident; whatever was passed over has its reason. Sources call it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from agegender.errors import FolderError

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
ESCAPES = "escapes the folder"


@dataclass(frozen=True)
class FoundPhotos:
    """The photos of a folder, and what was passed over.

    Attributes
    ----------
    photos : list of Path
        Sorted by their path below the folder.
    passed_over : dict of Path to str
        Links and folders that were not read, each with its reason: "escapes the folder", "broken link",
        "link to a folder", "cannot be listed", "name is not UTF-8".
    """

    photos: list[Path] = field(default_factory=list)
    passed_over: dict[Path, str] = field(default_factory=dict)


def find_photos(root: Path) -> list[Path]:
    """Return all photos below `root`, sorted; hidden files and links out of the folder are left out.

    Raises
    ------
    FolderError
        There is no such folder, or it is a file.
    """
    return search_folder(root).photos


def search_folder(root: Path) -> FoundPhotos:
    """Return the photos below `root` and everything that was passed over, with reasons.

    Hidden files (a name that starts with a dot, so `._copy.jpg` of a Mac too) are no photos and not mentioned.

    Raises
    ------
    FolderError
        There is no such folder, or it is a file.
    """
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise FolderError(f"{root} {what}. Name the folder that holds the photos.")
    found = FoundPhotos()
    home = os.path.realpath(root)
    for entry in _entries(root, found):
        reason = _reason_to_pass(entry, home)
        if reason:
            found.passed_over[Path(entry.path)] = reason
        elif _is_photo_name(entry.name) and entry.is_file():
            found.photos.append(Path(entry.path))
    found.photos.sort(key=lambda photo: photo.relative_to(root).parts)
    return found


def _entries(folder: Path, found: FoundPhotos) -> Iterator[os.DirEntry[str]]:
    waiting = [str(folder)]
    while waiting:
        current = waiting.pop()
        try:
            with os.scandir(current) as listing:
                entries = [entry for entry in listing if not entry.name.startswith(".")]
        except OSError:
            found.passed_over[Path(current)] = "cannot be listed"
            continue
        waiting += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        yield from entries


def _reason_to_pass(entry: os.DirEntry[str], home: str) -> str | None:
    if _is_photo_name(entry.name) and not _is_text(entry.name):
        return "name is not UTF-8"
    if not entry.is_symlink():
        return None
    target = os.path.realpath(entry.path)
    leads_to_photos = os.path.isdir(target) or _is_photo_name(entry.name)  # noqa: PTH112 (a string, made 20,000 times)
    if not leads_to_photos:
        return None
    if os.path.commonpath([home, target]) != home:
        return ESCAPES
    if os.path.isdir(target):  # noqa: PTH112
        return "link to a folder"
    return None if os.path.exists(target) else "broken link"  # noqa: PTH110


def _is_photo_name(name: str) -> bool:
    return name.lower().endswith(PHOTO_SUFFIXES)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
