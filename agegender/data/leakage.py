"""The proof that a split does not leak: what stands on more than one side of it.

It works on any table with a `split` column, also one that was split elsewhere, and checks whatever the table lets it
check. Where cleaning has not named the twin clusters but perceptual hashes are known, near twins are searched here.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from agegender.data.faces_table import CONFLICTING_LABELS, EXACT_DUPLICATE, NEAR_DUPLICATE, SPLITS
from agegender.data.twins import cluster, near_pairs
from agegender.photos.hashing import hash_numbers
from agegender.settings import NEAR_RADIUS_BITS

TWIN_REASONS = (EXACT_DUPLICATE, NEAR_DUPLICATE, CONFLICTING_LABELS)
# Column -> what equal values in it are. Subjects are persons of one source.
CHECKS = {"file_sha512": "byte-identical photos", "twin_cluster": "exact and near twins", "subject_id": "persons"}


def leakage_table(rows: pd.DataFrame, *, as_published: bool = False) -> pd.DataFrame:
    """Return what is shared between every two sides of the split; zeros everywhere prove that nothing leaks.

    Rows that were left out or have no side are not looked at; `as_published` counts twins that cleaning left out too:
    what a split leaked before anybody cleaned it. Columns: `check`, `split_a`, `split_b`, `known_photo_count` (photos
    on the two sides for which the check knows something; 0 means that nothing could be checked), `shared_count` (twins
    or persons on both sides) and `photo_count` (photos on the two sides that belong to them).
    """
    used = rows[rows["split"].notna()]
    if "dropped_because" in used:
        reasons = used["dropped_because"]
        used = used[reasons.isna() | (reasons.isin(TWIN_REASONS) & as_published)]
    used = _with_twin_clusters(used)
    records = []
    for column, check in CHECKS.items():
        known = used[used[column].notna()] if column in used else used.iloc[:0]
        for side_a, side_b in combinations(SPLITS, 2):
            facts = _shared(known[known["split"].isin([side_a, side_b])], column)
            records.append({"check": check, "split_a": side_a, "split_b": side_b, **facts})
    return pd.DataFrame(records)


def has_published_twins(rows: pd.DataFrame) -> bool:
    """Return whether twins that were left out had a side, so that a split as published may have leaked more."""
    return bool((rows["split"].notna() & rows["dropped_because"].isin(TWIN_REASONS)).any())


def leak_count(table: pd.DataFrame) -> int:
    """Return how many twins and persons stand on two sides, over all pairs of sides.

    Byte-identical photos are twins too, and are not counted again where the twins are known.
    """
    shared = table.pivot_table(index=["split_a", "split_b"], columns="check", values="shared_count")
    twins = shared[[CHECKS["file_sha512"], CHECKS["twin_cluster"]]].max(axis=1)
    return int((twins + shared[CHECKS["subject_id"]]).sum())


def _with_twin_clusters(rows: pd.DataFrame) -> pd.DataFrame:
    is_named = "twin_cluster" in rows
    if is_named or "phash" not in rows or rows["phash"].isna().all():
        return rows
    hashed = rows[rows["phash"].notna()]
    pairs = near_pairs(hash_numbers(hashed["phash"].tolist()), NEAR_RADIUS_BITS)
    clusters = cluster(len(hashed), np.asarray(pairs, np.int64))
    return rows.assign(twin_cluster=pd.Series(clusters, index=hashed.index).astype(str).reindex(rows.index))


def _shared(photos: pd.DataFrame, column: str) -> dict[str, int]:
    if photos.empty:
        return {"known_photo_count": 0, "shared_count": 0, "photo_count": 0}
    key = photos[column].astype(str)
    if column == "subject_id":
        key = photos["source"].astype(str) + "\0" + key
    side_counts = photos["split"].groupby(key).nunique()
    shared = side_counts.index[side_counts > 1]
    return {
        "known_photo_count": len(photos),
        "shared_count": len(shared),
        "photo_count": int(key.isin(shared).sum()),
    }
