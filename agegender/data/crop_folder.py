"""Owns the folder that holds face crops: one subfolder for each set of crops, named after what it was made of.

A table that exists already leads to one set; a new set is made beside it and the old one removed only when the new
table is in place. So whoever is killed half-way is left with a table and its own crops. The same photos and rules are
the same set, which is not made again. It knows no detector; `dataset.cropping` fills it.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import pandas as pd

from agegender.errors import UsageError
from agegender.writing import check_writable, replaced_folder, write_text

# One more when the same photos are cut differently, so that old crops are not taken for new ones.
CROPS_VERSION = "agegender crops 1"
MARKER = "agegender-crops.txt"
RECORD = "found.parquet"
_NAME_DIGITS = 12
_LEFT_HALF_WAY = re.compile(rf"\.[0-9a-f]{{{_NAME_DIGITS}}}\.")  # as `replaced_folder` names what it has not finished


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds anything else than crops.

    Raises
    ------
    UsageError
        It does.
    """
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
