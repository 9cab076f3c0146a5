"""How results reach the disk: under a temporary name first, moved into place when whole.

Whoever is killed half-way leaves the old result or the new one, never half of one. Everything that writes calls this
module, and a disk that is full or read-only becomes an `OutputError` here.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from agegender.errors import OutputError


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; move it onto `path` when the block ends well.

    Raises
    ------
    OutputError
        The folder cannot be written to, or the disk is full.
    """
    with _output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    temporary = Path(name)
    try:
        with _output_errors(path):
            yield temporary
            temporary.chmod(0o666 & ~current_umask())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path` to fill; it becomes `path` when the block ends well.

    An older `path` is moved aside first and removed after, so that its name never holds half a result.
    """
    with _output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        with _output_errors(path):
            yield temporary
            temporary.chmod(0o777 & ~current_umask())
            _swap_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_writable(folder: Path) -> None:
    """Make `folder` and try to write into it, so that long work fails before it starts and not after.

    Raises
    ------
    OutputError
        Nothing can be written there.
    """
    with _output_errors(folder):
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


def _swap_folder(new: Path, path: Path) -> None:
    if not path.exists():
        new.replace(path)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
    path.replace(aside / "old")
    try:
        new.replace(path)
    except OSError:
        (aside / "old").replace(path)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _output_errors(path: Path) -> Iterator[None]:
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
