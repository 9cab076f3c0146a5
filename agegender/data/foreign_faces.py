"""What a faces table from elsewhere is asked before use: its notes, where its photos are now, which may be opened.

Whoever made the file may have meant harm, or used another machine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from agegender.errors import TableError
from agegender.photos.finding import PhotosFolder, is_unwritable
from agegender.progress import say

_NUMBER = (int, float)
# The notes that the program reads again, and what each must be; others are shown as they are.
_KINDS: Mapping[str, tuple[type, ...]] = {
    "sources": (list,),
    "malformed_names": (list,),
    "parts": (list,),
    "cleaning": (dict,),
    "quality": (dict,),
    "combined": (dict,),
    "cropping": (dict,),
    "split": (dict,),
    "crop": (str,),
    "crop_margin": _NUMBER,
    "crop_margins": (list,),
    "crop_then": (str,),
    "crop_smallest": _NUMBER,
    "crop_aligned": (bool,),
    "limit": (int,),
    "limit_seed": (int,),
    "photos_before_limit": (int,),
    "fold": (int,),
}
_OF_TEXTS = ("sources", "malformed_names")
_LIMIT = ("limit", "photos_before_limit")
_SAMPLED_PHOTOS = 100
_ANCESTORS = 3  # folders above the table in which a folder of the stored name is looked for


def checked_facts(facts: Mapping[str, Any], file: Path) -> tuple[Path | None, dict[str, Any]]:
    """Return the stored root and notes of a faces table."""
    root, notes = facts.get("root"), facts.get("notes", {})
    if root is not None and not (isinstance(root, str) and root and "\0" not in root and not is_unwritable(root)):
        raise TableError(f"{file}: the folder of its photos is stored as {str(root)[:40]!r}, no path. {_remedy(file)}")
    if not isinstance(notes, dict):
        raise TableError(f"the notes in {file} are damaged: {str(notes)[:40]!r} is no object. {_remedy(file)}")
    for name, kinds in _KINDS.items():
        value = notes.get(name)
        is_wrong = value is not None and (
            not isinstance(value, kinds) or (isinstance(value, bool) and kinds != (bool,))
        )
        if is_wrong or (name in _OF_TEXTS and not all(isinstance(one, str) for one in value or [])):
            raise _damaged(name, value, file)
    margins = notes.get("crop_margins")
    if margins is not None and not (len(margins) == 3 and all(type(one) in _NUMBER for one in margins)):
        raise _damaged("crop_margins", margins, file)
    if ("limit" in notes) != ("photos_before_limit" in notes) or any(notes.get(name, 0) is None for name in _LIMIT):
        raise _damaged("limit", notes.get("limit"), file)
    conflicts = (notes.get("cleaning") or {}).get("conflicts", [])
    if not isinstance(conflicts, list) or not all(map(_is_conflict, conflicts)):
        raise _damaged("cleaning: conflicts", conflicts, file)
    return None if root is None else Path(root), {name: one for name, one in notes.items() if one is not None}


def root_of_photos(paths: Sequence[str], stored: Path | None, file: Path, *, is_ours: bool) -> Path:
    """Return the folder that the paths start from: the stored one, or, where no photo is there, one near the table.

    The table may have travelled with its photos: a folder beside it, or beside a folder above it, that is called as the
    stored one and holds the first photos, is used, and said. Of a table that was not made here, only what lies in its
    own folder, or in the one that the command is run in, is opened without being named.
    """
    here = file.absolute().parent
    stored = here if stored is None else stored.absolute()
    places = [stored, *_near(stored, file)]
    if not is_ours:
        places = [place for place in places if _is_near(place, here)]
        if stored not in places and stored.is_dir():
            say(
                f"{file.name} says that its photos are in {stored}. It was not made by this account, so nothing is "
                f"opened there unless you name it: --images {stored}"
            )
    if not paths:
        return places[0]
    found = next((place for place in places if has_photos(paths, place)), None)
    if found is None:
        return places[0]
    if found != stored:
        say(f"no photo of {file.name} is in {stored}, where they were; they are taken from {found}.")
    return found


def _is_near(place: Path, here: Path) -> bool:
    """Return whether a folder lies, links followed, in a table's own folder or in the working one.

    A home folder, or one above it, holds everything of somebody, so working there names nothing.
    """
    near, working = [_followed(here)], Path.cwd()
    with suppress(RuntimeError):  # an account without a home
        if not _followed(Path.home()).is_relative_to(working):
            near.append(working)
    return any(_followed(place).is_relative_to(folder) for folder in near)


def _followed(place: Path) -> Path:
    return Path(os.path.realpath(place))  # `resolve` raises on circles and on names too long


def has_photos(paths: Sequence[str], root: Path) -> bool:
    """Return whether any of some hundred paths is a file below `root`."""
    folder = PhotosFolder(root)
    places = map(folder.place, paths[:: -(-len(paths) // _SAMPLED_PHOTOS) or 1])
    return any(place is not None and os.path.isfile(place) for place in places)  # noqa: PTH113 (no error for a path too long)


def path_problems(paths: Sequence[Any], root: Path) -> list[str | None]:
    """Return for each path why it may not be opened, None where it may."""
    folder = PhotosFolder(root)
    return [folder.problem(path) for path in paths]


def _near(stored: Path, file: Path) -> list[Path]:
    here = file.absolute().parent
    endings = [Path(*stored.parts[1:][-count:]) for count in (1, 2, 3) if len(stored.parts) > count]
    return [here, *(above / ending for above in (here, *here.parents[:_ANCESTORS]) for ending in endings)]


def _is_conflict(conflict: Any) -> bool:
    if not (isinstance(conflict, dict) and isinstance(conflict.get("kind"), str)):
        return False
    photos = conflict.get("photos")
    if not (isinstance(photos, list) and photos and all(isinstance(one, dict) for one in photos)):
        return False
    are_alike = all(set(one) == set(photos[0]) for one in photos)
    cells = [cell for one in photos for cell in one.values()]
    return are_alike and all(isinstance(one.get("path"), str) for one in photos) and not _has_nested(cells)


def _has_nested(cells: Sequence[Any]) -> bool:
    return any(isinstance(cell, (list, dict)) for cell in cells)


def _damaged(name: str, value: Any, file: Path) -> TableError:
    return TableError(f"the notes in {file} are damaged: {name} is {str(value)[:40]!r}. {_remedy(file)}")


def _remedy(file: Path) -> str:
    return f"`agegender prepare --out {file}` makes the table anew."
