"""Owns the file that remembers fingerprints, so that a photo is hashed again only when it has changed.

A photo is known by its absolute path, size and time of change. The file can be deleted at any moment, and one that
cannot be understood is treated as if it were not there. `dataset.cleaning` calls this module.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from agegender.photos.fingerprints import Fingerprint, fingerprint_files
from agegender.progress import track
from agegender.writing import replaced_file

# One more when fingerprints come out differently, so that old ones are not mixed with new ones.
CACHE_VERSION = "agegender fingerprints 1"
KEY = ["path", "size_bytes", "changed_ns"]
VALUES = ["file_sha512", "phash"]
_log = logging.getLogger(__name__)


def fingerprints(paths: Sequence[Path], *, cache: Path | None = None) -> pd.DataFrame:
    """Return the fingerprint of every photo, hashing only those that the cache does not know.

    Parameters
    ----------
    paths : sequence of Path
    cache : Path, optional
        Parquet file that is read and, when something was hashed, replaced as a whole, even when the run is stopped
        half-way.

    Returns
    -------
    DataFrame
        One row per path, in order: `file_sha512` and `phash` as text, missing where there is none.
    """
    if cache is None:
        return pd.DataFrame(list(_hash(paths)), columns=VALUES, dtype=object)
    wanted = _keys(paths)
    known = _read(cache)
    found = wanted.merge(known, how="left", on=KEY, indicator="state")
    new = np.flatnonzero(found["state"] == "left_only").tolist()
    hashed: list[Fingerprint] = []
    try:
        for fingerprint in _hash([paths[place] for place in new]):
            hashed.append(fingerprint)  # noqa: PERF402  an interrupted run must not forget what it has
    finally:
        done = new[: len(hashed)]
        found.loc[done, VALUES] = np.array(hashed, dtype=object).reshape(-1, len(VALUES))
        # A photo that could not even be looked at has no size to be known by.
        _write(cache, known, found.loc[done][found.loc[done, "size_bytes"] >= 0])
    return found[VALUES]


def _hash(paths: Sequence[Path]) -> Iterator[Fingerprint]:
    return track(fingerprint_files(paths), "hashing photos", total=len(paths))


def _keys(paths: Sequence[Path]) -> pd.DataFrame:
    rows: list[tuple[str, int, int]] = []
    for path in paths:
        place = os.path.abspath(path)  # noqa: PTH100  does not follow links, and is quick for a million photos
        try:
            facts = path.stat()
            rows.append((place, facts.st_size, facts.st_mtime_ns))
        except (OSError, ValueError):
            rows.append((place, -1, 0))
    return pd.DataFrame(rows, columns=KEY)


def _read(cache: Path) -> pd.DataFrame:
    import pyarrow.parquet as pq

    empty = pd.DataFrame({"path": pd.Series(dtype=object), "size_bytes": [], "changed_ns": [], **dict.fromkeys(VALUES)})
    empty = empty.astype({"size_bytes": "int64", "changed_ns": "int64"})
    if not cache.exists():
        return empty
    try:
        arrow = pq.read_table(cache)
        if (arrow.schema.metadata or {}).get(b"version") != CACHE_VERSION.encode():
            _log.warning("%s was written by another version; all photos are hashed again.", cache)
            return empty
        return arrow.select([*KEY, *VALUES]).to_pandas().drop_duplicates(KEY)
    except Exception as error:  # whatever is wrong with a file that can be deleted freely, it is as good as deleted
        _log.warning("%s is no fingerprint cache (%s); all photos are hashed again.", cache, type(error).__name__)
        return empty


def _write(cache: Path, known: pd.DataFrame, found: pd.DataFrame) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if found.empty:
        return
    columns = [*KEY, *VALUES]
    rows = pd.concat([found[columns], known[columns]]).drop_duplicates("path")
    arrow = pa.Table.from_pandas(rows, preserve_index=False)
    with replaced_file(cache) as temporary:
        pq.write_table(arrow.replace_schema_metadata({b"version": CACHE_VERSION.encode()}), temporary)
