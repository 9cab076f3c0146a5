"""Which faces tables were made by this account: a seal on the folder of photos that a table names.

A table from elsewhere must not have whatever it likes read and shown. The key stays in the account's own folder of
settings; whoever has none there, or may not write there, names folders with --images.
"""

from __future__ import annotations

import hmac
import os
import secrets
from contextlib import suppress
from functools import cache
from pathlib import Path

_KEY_BYTES = 32


def seal_of(root: str) -> str | None:
    """Return what marks a stored folder as ours, or None where no key can be kept."""
    key = _key(_key_file())
    return None if key is None else hmac.new(key, os.fsencode(root), "sha256").hexdigest()


def is_ours(root: str, seal: object) -> bool:
    """Return whether a table that names this folder was written by this account."""
    known = seal_of(root) if isinstance(seal, str) and seal.isascii() else None
    return known is not None and hmac.compare_digest(known, str(seal))


def _key_file() -> Path | None:
    settings = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    if not settings.is_absolute():  # which the XDG specification says is to be ignored: it would lie anywhere
        settings = Path(os.path.expanduser("~/.config"))  # noqa: PTH111 (no error for an account without a home)
    return settings / "agegender" / "seal.key" if settings.is_absolute() else None


@cache
def _key(file: Path | None) -> bytes | None:
    """Return the account's key, made when it is first asked for."""
    if file is None:
        return None
    with suppress(OSError):
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            new = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
            try:
                with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as made:
                    made.write(secrets.token_bytes(_KEY_BYTES))
                with suppress(FileExistsError):  # another process was quicker: its key counts
                    os.link(new, file)
            finally:
                new.unlink(missing_ok=True)
        key = file.read_bytes()
        return key if len(key) == _KEY_BYTES else None
    return None
