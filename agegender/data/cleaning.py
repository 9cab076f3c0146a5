"""Owns which photos are left out as unreadable, as twins of others, or because twins contradict each other.

Nothing disappears: a photo that is left out keeps its row and gets its reason. What counts as a twin is known by
`dataset.twins`; here labels decide what becomes of them. `dataset.preparing` calls it, and the counts go into the
report.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from agegender.data.faces_table import FacesTable, check_table
from agegender.data.fingerprint_cache import fingerprints
from agegender.data.twins import Twins, find_twins
from agegender.errors import UsageError

NEAR_RADIUS_BITS = 5
ON_CONFLICT = ("drop", "keep-first", "median")
NEAR_TWINS = ("keep-one", "drop-all")
LABELS = ("age_years", "gender", "ethnicity")
MOST_NOTED_CONFLICTS = 1000  # notes travel with every copy of the table
UNREADABLE = "unreadable"
EXACT = "exact duplicate"
NEAR = "near duplicate"
CONFLICT = "conflicting labels"


@dataclass(frozen=True)
class CleaningCounts:
    """What cleaning found.

    Attributes
    ----------
    files : int
        Rows of the table, whatever became of them.
    unreadable : int
        Photos that cannot be decoded; nobody's duplicates.
    exact_duplicates : int
        Photos that are a further copy of a file, byte for byte.
    exact_conflicts : int
        Groups of equal files whose labels contradict each other.
    near_duplicate_pairs, near_duplicates : int
        Pairs of distinct files within the Hamming radius, and files in at least one such pair.
    kept : int
        Rows without a reason to leave them out.
    conflicts : tuple of dict
        Every group of twins with contradictory labels: `kind` ("exact" or "near") and its `photos` with their labels.
    """

    files: int
    unreadable: int
    exact_duplicates: int
    exact_conflicts: int
    near_duplicate_pairs: int
    near_duplicates: int
    kept: int
    conflicts: tuple[dict[str, Any], ...] = ()

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
    those. One whose labels contradict each other is left out whole by default, since nobody knows which is right.

    Parameters
    ----------
    faces : FacesTable
    near_duplicates : int, optional
        Hamming radius of the perceptual hash in bits, 0 to 64; None leaves near twins alone.
    on_conflict : {"drop", "keep-first", "median"}
        For contradictory twins: leave all out, keep the first by path as it is, or keep it with the median age, and
        the majority's gender and ethnicity (missing at a tie).
    near_twins : {"keep-one", "drop-all"}
        "drop-all" leaves out every photo with a near hash, even where a second look would tell the two apart.
    cache : Path, optional
        Where fingerprints are remembered; can be deleted freely.

    Returns
    -------
    tuple of FacesTable, CleaningCounts
        The table with `file_sha512`, `phash`, `twin_cluster` (photos with equal or near hashes share a text, others
        have none) and `dropped_because` filled; and the counts, also in the notes under "cleaning"
        (the first thousand conflicts there).

    Raises
    ------
    UsageError
        An option is out of its range.
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
    return FacesTable(table, faces.root, notes), counts


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
    labels = photos[list(LABELS)]
    is_contradicted = (labels.groupby(groups).transform("nunique") > 1).any(axis=1)
    completeness = labels.notna().sum(axis=1)
    # Photos come sorted by path, and a stable sort keeps that order among equally complete ones.
    is_survivor = ~groups[completeness.sort_values(ascending=False, kind="stable").index].duplicated()
    is_first = ~groups.duplicated()
    stays = is_survivor.reindex(photos.index).where(~is_contradicted, is_first & (on_conflict != "drop"))
    reasons = _reasons(photos, twins, stays)
    if on_conflict == "drop":
        reasons[is_contradicted] = CONFLICT
    if drop_near:
        reasons[pd.Series(twins.is_near_twin, index=photos.index) & reasons.isna()] = NEAR
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
    reasons[goes] = EXACT
    reasons[goes & stands_for_file.reindex(photos.index)] = NEAR
    return reasons


def _settle_by_median(table: pd.DataFrame, contradicted: pd.DataFrame, groups: pd.Series) -> None:
    for _, group in contradicted.groupby(groups[contradicted.index]):
        first = group.index[0]
        table.loc[first, "age_years"] = group["age_years"].median()
        for column in ("gender", "ethnicity"):
            votes = group[column].value_counts()
            is_clear = len(votes) == 1 or (len(votes) > 1 and votes.iloc[0] > votes.iloc[1])
            table.loc[first, column] = votes.index[0] if is_clear else None


def _list_conflicts(contradicted: pd.DataFrame, groups: pd.Series) -> list[dict[str, Any]]:
    members: dict[int, list[dict[str, Any]]] = defaultdict(list)
    files: dict[int, set[str]] = defaultdict(set)
    for group, digest, path, *labels in zip(
        groups[contradicted.index],
        contradicted["file_sha512"],
        contradicted["path"],
        *(contradicted[column].astype(object).where(contradicted[column].notna(), None) for column in LABELS),
        strict=True,
    ):
        members[group].append({"path": path, **dict(zip(LABELS, labels, strict=True))})
        files[group].add(digest)
    return [
        {"kind": "exact" if len(files[group]) == 1 else "near", "photos": photos} for group, photos in members.items()
    ]


def _count(
    table: pd.DataFrame, photos: pd.DataFrame, twins: Twins, unreadable: int, conflicts: list[dict[str, Any]]
) -> CleaningCounts:
    files = pd.Series(twins.file_group, index=photos.index)
    variety = photos[list(LABELS)].groupby(files).nunique()
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
