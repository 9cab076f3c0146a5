"""Which photos are left out as unreadable, as twins of others, or because twins contradict each other.

Nothing disappears: a photo that is left out keeps its row and gets its reason. `data.twins` finds the twins; here their
labels decide what becomes of them. Fingerprints are remembered in a file, so that a photo is hashed again only when its
path, size or time of change is new; the file can be deleted at any moment, and one that cannot be understood is treated
as if it were not there.
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from agegender.data.faces_table import (
    CONFLICTING_LABELS,
    EXACT_DUPLICATE,
    NEAR_DUPLICATE,
    UNREADABLE,
    FacesTable,
    check_table,
    label_columns,
)
from agegender.data.twins import Twins, find_twins
from agegender.errors import UsageError
from agegender.heads import KNOWN_HEADS, Regression
from agegender.heads.choosing import MOST_AMBIGUOUS_VALUES
from agegender.photos.hashing import Fingerprint, fingerprint_files
from agegender.progress import track
from agegender.settings import NEAR_RADIUS_BITS, NEAR_TWINS, ON_CONFLICT
from agegender.writing import replaced_file

MOST_NOTED_CONFLICTS = 1000  # notes travel with every copy of the table
# One more when fingerprints come out differently, so that old ones are not mixed with new ones.
CACHE_VERSION = "agegender fingerprints 1"
KEY = ["path", "size_bytes", "changed_ns"]
VALUES = ["file_sha512", "phash"]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CleaningCounts:
    """What cleaning found."""

    files: int  # rows of the table, whatever became of them
    unreadable: int  # photos that cannot be decoded; nobody's duplicates
    exact_duplicates: int  # photos that are a further copy of a file, byte for byte
    exact_conflicts: int  # groups of equal files whose labels contradict each other
    near_duplicate_pairs: int  # pairs of distinct files within the Hamming radius
    near_duplicates: int  # files in at least one such pair
    kept: int  # rows without a reason to leave them out
    conflicts: tuple[dict[str, Any], ...] = ()  # of each group its `kind`, exact or near, and its `photos` with labels

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, JSON-able."""
        return {**asdict(self), "conflicts": list(self.conflicts)}


def clean(
    faces: FacesTable,
    *,
    near_duplicates: int | None = NEAR_RADIUS_BITS,
    on_conflict: Literal["drop", "keep-first", "median"] = "drop",
    near_twins: Literal["keep-one", "drop-all"] = "keep-one",
    cache: Path | None = None,
) -> tuple[FacesTable, CleaningCounts]:
    """Mark unreadable photos and twins; rows that were left out before are not looked at.

    A group of twins whose known labels agree leaves one photo: the one with most labels, the first by path among
    those. One whose labels contradict each other is left out whole ("drop"), since nobody knows which is right; or the
    first by path is kept as it is ("keep-first"), or with the median of numbers and the majority of texts, missing at a
    tie ("median"). "drop-all" leaves out every photo with a near hash, even where a second look tells the two apart.

    `near_duplicates` is the Hamming radius in bits, None leaves near twins alone; `cache` remembers fingerprints. The
    table returned has `file_sha512`, `phash`, `twin_cluster` (photos with equal or near hashes share a text, others
    have none) and `dropped_because` filled; the notes have the counts under "cleaning".
    """
    _check_options(near_duplicates, on_conflict, near_twins)
    table = check_table(faces.table)
    table["twin_cluster"] = pd.Series(None, index=table.index, dtype=object)
    live = table.index[table["dropped_because"].isna()]
    hashed = fingerprints([faces.photo_path(path) for path in table.loc[live, "path"]], cache=cache)
    table.loc[live, ["file_sha512", "phash"]] = hashed.to_numpy()
    unreadable = live[hashed["phash"].isna().to_numpy()]
    table.loc[unreadable, "dropped_because"] = UNREADABLE
    photos = table.loc[live.difference(unreadable, sort=False)].sort_values("path", kind="stable")
    paths = [faces.photo_path(path) for path in photos["path"]]
    twins = find_twins(photos["file_sha512"], photos["phash"], paths, radius=near_duplicates)
    table.loc[photos.index, "twin_cluster"] = _cluster_names(photos["file_sha512"], twins)
    conflicts = _leave_out(table, photos, twins, on_conflict=on_conflict, drop_near=near_twins == "drop-all")
    table = check_table(table)
    counts = _count(table, photos, twins, len(unreadable), conflicts)
    facts = {"near_duplicates": near_duplicates, "on_conflict": on_conflict, "near_twins": near_twins}
    counted = {
        **counts.to_dict(),
        "conflicts": conflicts[:MOST_NOTED_CONFLICTS],
        "conflict_groups": len(conflicts),
    }
    notes = {**faces.notes, "cleaning": {**facts, **counted}}
    return replace(faces, table=table, notes=notes), counts


def _check_options(near_duplicates: int | None, on_conflict: str, near_twins: str) -> None:
    if near_duplicates is not None and not 0 <= near_duplicates <= 64:
        raise UsageError(f"--near-duplicates {near_duplicates}: a hash has 64 bits, so give 0 to 64.")
    for option, value, choices in (
        ("on-conflict", on_conflict, ON_CONFLICT),
        ("near-twins", near_twins, NEAR_TWINS),
    ):
        if value not in choices:
            raise UsageError(f"--{option} {value}: choose one of {', '.join(choices)}.")


def _cluster_names(digests: pd.Series, twins: Twins) -> np.ndarray:
    """Return a name for each photo with a twin, made of its smallest digest so that it stays the same next time."""
    sizes = np.bincount(twins.suspected_group)
    names = np.full(len(digests), None, dtype=object)
    twins_of: dict[int, list[int]] = defaultdict(list)
    for place in np.flatnonzero(sizes[twins.suspected_group] > 1).tolist():
        twins_of[int(twins.suspected_group[place])].append(place)
    for places in twins_of.values():
        names[places] = "twins-" + min(digests.iloc[place] for place in places)[:16]
    return names


def _leave_out(
    table: pd.DataFrame, photos: pd.DataFrame, twins: Twins, *, on_conflict: str, drop_near: bool
) -> list[dict[str, Any]]:
    """Write the reasons (and a median's labels) into `table`; return the groups that contradict themselves."""
    groups = pd.Series(twins.file_group if drop_near else twins.confirmed_group, index=photos.index)
    labels = photos[label_columns(photos)]
    is_contradicted = (labels.groupby(groups).transform("nunique") > 1).any(axis=1)
    completeness = labels.notna().sum(axis=1)
    # Photos come sorted by path, and a stable sort keeps that order among equally complete ones.
    is_survivor = ~groups[completeness.sort_values(ascending=False, kind="stable").index].duplicated()
    is_first = ~groups.duplicated()
    stays = is_survivor.reindex(photos.index).where(~is_contradicted, is_first & (on_conflict != "drop"))
    reasons = _reasons(photos, twins, stays)
    if on_conflict == "drop":
        reasons[is_contradicted] = CONFLICTING_LABELS
    if drop_near:
        reasons[pd.Series(twins.is_near_twin, index=photos.index) & reasons.isna()] = NEAR_DUPLICATE
    table.loc[photos.index, "dropped_because"] = reasons
    if on_conflict == "median":
        _settle_by_median(table, photos[is_contradicted], groups)
    return _list_conflicts(photos[is_contradicted], groups)


def _reasons(photos: pd.DataFrame, twins: Twins, stays: pd.Series) -> pd.Series:
    """Return why each photo goes, missing where it stays: a copy of a better file, or like another file."""
    reasons = pd.Series(None, index=photos.index, dtype=object)
    files = pd.Series(twins.file_group, index=photos.index)
    goes = ~stays
    # The staying photo stands for its file; of a file that goes, its first photo does.
    stands_for_file = ~files[stays.sort_values(ascending=False, kind="stable").index].duplicated()
    reasons[goes] = EXACT_DUPLICATE
    reasons[goes & stands_for_file.reindex(photos.index)] = NEAR_DUPLICATE
    return reasons


def _settle_by_median(table: pd.DataFrame, contradicted: pd.DataFrame, groups: pd.Series) -> None:
    columns = label_columns(contradicted)
    for _, group in contradicted.groupby(groups[contradicted.index]):
        for column in columns:
            labels = group[column]
            table.loc[group.index[0], column] = labels.median() if _is_measure(table[column]) else _majority(labels)


def _is_measure(labels: pd.Series) -> bool:
    """Return whether a label is a number to be averaged; a few whole numbers may be classes, which may not."""
    if labels.name in {head.column for head in KNOWN_HEADS if isinstance(head, Regression)}:
        return True
    is_whole = pd.api.types.is_float_dtype(labels) and bool((labels.dropna() % 1 == 0).all())
    return pd.api.types.is_float_dtype(labels) and not (is_whole and labels.nunique() <= MOST_AMBIGUOUS_VALUES)


def _majority(labels: pd.Series) -> Any:
    """Return the most frequent label, missing at a tie."""
    votes = labels.value_counts()
    is_clear = len(votes) == 1 or (len(votes) > 1 and votes.iloc[0] > votes.iloc[1])
    return votes.index[0] if is_clear else None


def _list_conflicts(contradicted: pd.DataFrame, groups: pd.Series) -> list[dict[str, Any]]:
    members: dict[int, list[dict[str, Any]]] = defaultdict(list)
    files: dict[int, set[str]] = defaultdict(set)
    columns = label_columns(contradicted)
    for group, digest, path, *labels in zip(
        groups[contradicted.index],
        contradicted["file_sha512"],
        contradicted["path"],
        *(contradicted[column].astype(object).where(contradicted[column].notna(), None) for column in columns),
        strict=True,
    ):
        members[group].append({"path": path, **dict(zip(columns, labels, strict=True))})
        files[group].add(digest)
    return [
        {"kind": "exact" if len(files[group]) == 1 else "near", "photos": photos} for group, photos in members.items()
    ]


def _count(
    table: pd.DataFrame, photos: pd.DataFrame, twins: Twins, unreadable: int, conflicts: list[dict[str, Any]]
) -> CleaningCounts:
    files = pd.Series(twins.file_group, index=photos.index)
    variety = photos[label_columns(photos)].groupby(files).nunique()
    return CleaningCounts(
        files=len(table),
        unreadable=unreadable,
        exact_duplicates=int(files.duplicated().sum()),
        exact_conflicts=int((variety > 1).any(axis=1).sum()),
        near_duplicate_pairs=twins.near_pair_count,
        near_duplicates=int(files[twins.is_near_twin].nunique()),
        kept=int(table["dropped_because"].isna().sum()),
        conflicts=tuple(conflicts),
    )


def fingerprints(paths: Sequence[Path], *, cache: Path | None = None) -> pd.DataFrame:
    """Return `file_sha512` and `phash` of every photo, in order, missing where there is none.

    Only photos that the cache does not know are hashed. It is replaced as a whole, even when the run is stopped
    half-way.
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
