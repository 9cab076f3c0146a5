"""How results reach the disk: under a temporary name first, moved into place when whole.

Whoever is killed half-way leaves the old result or the new one, never half of one. Everything that writes calls this
module, and a disk that is full or read-only becomes an `OutputError` here.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from agegender.errors import OutputError

# `.<name>.<eight letters>.agegender-new<suffix>`: what is not yet in its place.
TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}\.agegender-new(\.\w+)?")
_MARK = ".agegender-new"
_STALE_SECONDS = 86400.0  # where a file system knows no locks
_MEGABYTE = 1_000_000


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; move it onto `path` when the block ends well."""
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left_files(path.parent.absolute())
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=f"{_MARK}{path.suffix}", dir=path.parent)
    temporary = Path(name)
    try:
        with output_errors(path):
            _lock(handle)
            yield temporary
            temporary.chmod(0o666 & ~current_umask())
            temporary.replace(path)
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


@cache  # once per process: a folder may hold a hundred thousand files, and be written to as often
def _remove_left_files(folder: Path) -> None:
    """Remove the temporary files that killed processes have left in a folder."""
    with suppress(OSError):
        left = [entry.path for entry in os.scandir(folder) if TEMPORARY.fullmatch(entry.name)]
        for path in map(Path, left):
            if path.is_file() and not path.is_symlink():
                remove_unheld(path)


def temporary_folder(path: Path) -> tuple[Path, int]:
    """Make a folder beside `path` to fill; the handle, while it is open, tells other processes that it is in use."""
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=_MARK, dir=path.parent))
        handle = os.open(temporary, os.O_RDONLY)
        _lock(handle)
    return temporary, handle


def hold(path: Path) -> int | None:
    """Return a handle that keeps other processes off `path` while it is open, or None where one of them has it."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return None
    if not (is_free := _lock(handle)):
        is_free = is_free is None and time.time() - os.fstat(handle).st_mtime > _STALE_SECONDS
    if is_free:
        return handle
    os.close(handle)
    return None


def remove_unheld(path: Path) -> None:
    """Remove a temporary file or folder that a killed process has left."""
    handle = hold(path)
    if handle is None:
        return
    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
    os.close(handle)


def _lock(handle: int) -> bool | None:
    """Lock an open file or folder; False where another process has it, None where there are no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def check_space(folder: Path, needed_bytes: float, what: str) -> None:
    """Refuse long work whose results could not be written to `folder`, which need not be there yet."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    with output_errors(folder), tempfile.TemporaryFile(dir=there):
        pass
    free_bytes = shutil.disk_usage(there).free
    if free_bytes < needed_bytes:
        raise OutputError(
            f"{what} needs about {needed_bytes / _MEGABYTE:,.0f} MB in {folder}, and {free_bytes / _MEGABYTE:,.0f} MB "
            f"are free there. Free some space, or name a place on another disk."
        )


def check_writable(folder: Path) -> None:
    """Make `folder` and try to write into it, so that long work fails before it starts and not after."""
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all."""
    with replaced_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, document: Any) -> None:
    """Write one JSON document whole or not at all; NaN becomes null, so that every reader can read it."""
    write_text(path, to_json(document) + "\n")


def to_json(document: Any) -> str:
    """Return `document` as JSON that any reader understands: numpy numbers as numbers, NaN and infinity as null.

    >>> print(to_json({"a": float("nan")}))
    {
      "a": null
    }
    """
    return json.dumps(plain(document), indent=2, ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:
    """Return `value` built of dict, list, str, int, float, bool and None alone."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays, without importing numpy
        return plain(value.tolist())
    if isinstance(value, float):
        return value if abs(value) != float("inf") and value == value else None  # noqa: PLR0124 (NaN is unequal to itself)
    if value is None or isinstance(value, (str, int, bool)):
        return value
    return str(value)


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn what the disk refuses while the block runs into an `OutputError` about `path`."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}. {_remedy(error)}") from error


def _remedy(error: OSError) -> str:
    """Return what helps against an error, by its number."""
    remedies = {
        (errno.ENOSPC, errno.EDQUOT): "Free some space, or name another place.",
        (errno.EACCES, errno.EPERM): "Allow writing there, or name another place.",
        (errno.EROFS,): "This disk can only be read; name a place on another one.",
        (errno.ENOTDIR, errno.EEXIST, errno.EISDIR): "A file or folder of that name is in the way; name another place.",
        (errno.ENAMETOOLONG,): "Give it a shorter name.",
        (errno.EMFILE, errno.ENFILE): "Close other programs, or allow more open files (ulimit -n).",
        (errno.EIO,): "The disk may be damaged; name a place on another one.",
    }
    return next((remedy for numbers, remedy in remedies.items() if error.errno in numbers), "Name another place.")


def current_umask() -> int:
    """Return the process's file mode mask, which can only be read by setting it."""
    current = os.umask(0)
    with suppress(OSError):
        os.umask(current)
    return current
