"""Which photo goes to train, valid or test, so that nothing leaks from one side to another.

Photos that belong together stay together: byte-identical ones (`file_sha512`), near twins (`twin_cluster`) and those
of one person (`subject_id`). As far as that allows, every side gets its share of each stratum: age decade × gender ×
ethnicity, where an unknown label is a stratum of its own. The result depends on the photos and the seed, not on the
order of the rows.

A split that a dataset was published with is kept as it is, leaks included, because it is what other people's figures
were measured on; the leakage table shows what stands on both sides. Where it has no validation part, one is set apart
from train.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.data.faces_table import SPLITS, FacesTable
from agegender.data.twins import cluster
from agegender.errors import UsageError
from agegender.settings import LEAST_FOLDS, MOST_FOLDS

NOT_IN_SPLIT = "not in the official split"
VALID_SHARE_OF_TRAIN = 0.15
_HALVING_SEED = 0  # of no setting: the halves are a rule
# Columns whose equal values bind photos together, and whether the values are only meant within one source.
GROUPING_COLUMNS = {"file_sha512": False, "twin_cluster": False, "subject_id": True}


def split_faces(faces: FacesTable, *, shares: Sequence[float] = (70, 15, 15), seed: int = 7) -> FacesTable:
    """Return the faces with `split` set for every kept row; rows that were left out get none.

    The shares are parts of train, valid and test; only their proportion counts. The same photos, shares and seed give
    the same split, in whatever order the rows stand.
    """
    if len(shares) != len(SPLITS) or min(shares) < 0 or not 0 < sum(shares) < float("inf"):
        raise UsageError(
            f"the split {'/'.join(f'{share:g}' for share in shares)} is not three parts of train, valid and test; "
            "write for example 70/15/15."
        )
    kept = faces.kept()
    sides = assign_sides(kept, np.asarray(shares, float) / sum(shares), seed)
    table = faces.table.copy()
    table["split"] = pd.Series(None, index=table.index, dtype=object)
    table.loc[kept.index, "split"] = np.asarray(SPLITS, object)[sides]
    note = {"kind": "drawn", "shares": [float(share) for share in shares], "seed": seed}
    return replace(faces, table=table, notes={**faces.notes, "split": note})


def fold_faces(faces: FacesTable, *, folds: int = 5, seed: int = 7) -> FacesTable:
    """Return the faces with `fold` 0..folds-1 set for every kept row, by the rules of `split_faces`.

    `split` follows from it, so that the table can be trained on as it is: fold 0 is test, fold 1 valid, the rest train.
    """
    kept = faces.kept()
    if not LEAST_FOLDS <= folds <= min(MOST_FOLDS, max(len(kept), LEAST_FOLDS)):
        raise UsageError(
            f"{folds} folds cannot be made of {len(kept)} photos; ask for 3 to 20, and no more than photos."
        )
    numbers = assign_sides(kept, np.full(folds, 1 / folds), seed)
    table = faces.table.copy()
    table["fold"] = pd.Series(pd.NA, index=table.index, dtype="Int64")
    table.loc[kept.index, "fold"] = numbers
    table["split"] = pd.Series(None, index=table.index, dtype=object)
    table.loc[kept.index, "split"] = np.choose(np.minimum(numbers, 2), ["test", "valid", "train"])
    return replace(faces, table=table, notes={**faces.notes, "split": {"kind": "folds", "folds": folds, "seed": seed}})


def has_official_split(faces: FacesTable) -> bool:
    """Return whether every kept photo came with a side."""
    kept = faces.kept()
    return bool(len(kept)) and bool(kept["split"].notna().all())


def keep_official_split(faces: FacesTable, *, seed: int = 7) -> FacesTable:
    """Return the faces with the published split; photos outside it are left out with that reason.

    Without a published validation part, a stratified 15 % of train becomes one, twins and persons kept whole.
    """
    kept = faces.kept()
    without = [str(name) for name, sides in kept.groupby("source")["split"] if sides.isna().all()]
    if without:
        raise UsageError(
            f"{', '.join(without)} has no official split here. Write --split 70/15/15, or leave that source out."
        )
    table = faces.table.copy()
    outside = kept.index[kept["split"].isna()]
    table.loc[outside, "dropped_because"] = NOT_IN_SPLIT
    kept = kept.drop(outside)
    made_valid = not (kept["split"] == "valid").any()
    if made_valid:
        train = kept[kept["split"] == "train"]
        sides = assign_sides(train, np.array([1 - VALID_SHARE_OF_TRAIN, VALID_SHARE_OF_TRAIN]), seed)
        table.loc[train.index[sides == 1], "split"] = "valid"
    note = {"kind": "official", "valid_was_set_apart_from_train": made_valid, "seed": seed}
    return replace(faces, table=table, notes={**faces.notes, "split": note})


def calibration_rows(valid: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which validation rows calibrate; the others choose the model, its best epoch for one.

    Half of the photos, persons and twins whole, strata balanced; it depends on the photos alone, so that whoever has
    the table knows the halves again. Rows of one person, or of one photo, all choose.
    """
    if valid.empty:
        return np.zeros(0, dtype=bool)
    return assign_sides(valid, np.array([0.5, 0.5]), _HALVING_SEED) == 1


def without_calibration_rows(faces: FacesTable) -> FacesTable:
    """Return the faces as a fit may see them: the rows that calibrate are on no side."""
    table, valid = faces.table.copy(), _valid_rows(faces)
    table.loc[valid.index[calibration_rows(valid)], "split"] = None
    return replace(faces, table=table)


def validation_halves(faces: FacesTable) -> dict[str, int]:
    """Return how many validation photos choose the model, and how many calibrate, for the card."""
    is_calibrating = calibration_rows(_valid_rows(faces))
    return {"selecting": int((~is_calibrating).sum()), "calibrating": int(is_calibrating.sum())}


def _valid_rows(faces: FacesTable) -> pd.DataFrame:
    kept = faces.kept()
    return kept[kept["split"] == "valid"]


def use_fold(faces: FacesTable, fold: int) -> FacesTable:
    """Return a table of folds with `fold` as test, the next one as valid, and the rest as train."""
    if "fold" not in faces.table or faces.table["fold"].isna().all():
        raise UsageError("this faces table has no folds. `agegender prepare --folds 5` makes one that has.")
    count = int(faces.table["fold"].max()) + 1
    if not 0 <= fold < count:
        raise UsageError(f"there is no fold {fold}; this table has the folds 0 to {count - 1}.")
    table = faces.table.copy()
    kept = faces.kept().index
    turned = (table.loc[kept, "fold"].to_numpy(dtype=np.int64) - fold) % count
    table.loc[kept, "split"] = np.choose(np.minimum(turned, 2), ["test", "valid", "train"])
    return replace(faces, table=table, notes={**faces.notes, "fold": fold})


def assign_sides(rows: pd.DataFrame, shares: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """Return the side 0..K-1 of each row: groups whole, strata balanced.

    Groups of several photos are placed first, the largest ones first, each where it disturbs the strata least. Single
    photos then fill up each stratum to its quota; what a quota lacks to a whole photo is carried to the next stratum,
    which differs in age alone, so that small strata share one remainder and the totals come out right.
    """
    if rows.empty:
        return np.zeros(0, np.int64)
    groups = group_numbers(rows)
    strata = strata_numbers(rows)
    keys = _random_keys(_identities(rows), seed)
    sizes = np.bincount(groups)
    counts = np.zeros((len(shares), strata.max() + 1))  # photos on each side, by stratum
    targets = shares[:, None] * np.bincount(strata)
    sides = np.full(len(rows), -1, np.int64)
    for members in _large_groups(groups, sizes, keys):
        mix = np.bincount(strata[members], minlength=counts.shape[1])
        side = _least_disturbed(counts, targets, mix, shares)
        counts[side] += mix
        sides[members] = side
    single = np.flatnonzero(sizes[groups] == 1)
    sides[single] = _fill_up(strata[single], keys[single], targets - counts)
    return sides


def group_numbers(rows: pd.DataFrame) -> NDArray[np.int64]:
    """Return a number per row, equal for rows that must stay on one side (connected through any grouping column)."""
    starts, ends = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for column, is_within_source in GROUPING_COLUMNS.items():
        if column not in rows:
            continue
        known = np.flatnonzero(rows[column].notna())
        values = rows[column].iloc[known].astype(str)
        if is_within_source:
            values = rows["source"].iloc[known].astype(str) + "\0" + values
        codes = pd.factorize(values)[0]
        first = np.full(codes.max(initial=-1) + 1, -1, np.int64)
        first[codes[::-1]] = known[::-1]  # the first row that has each value
        starts.append(known)
        ends.append(first[codes])
    return cluster(len(rows), np.stack([np.concatenate(starts), np.concatenate(ends)], axis=1))


def strata_numbers(rows: pd.DataFrame) -> NDArray[np.int64]:
    """Return a number per row for its gender × ethnicity × age decade; neighbours differ in age first."""
    decade = (rows["age_years"] // 10).fillna(-1).astype(int).map("{:03d}".format)
    keys = rows["gender"].fillna("").astype(str) + "\0" + rows["ethnicity"].fillna("").astype(str) + "\0" + decade
    return np.asarray(pd.factorize(keys, sort=True)[0], np.int64)


def _identities(rows: pd.DataFrame) -> list[str]:
    # The bytes of a photo stay the same when it is moved, cropped or combined with others; its path does not.
    known = rows["file_sha512"] if "file_sha512" in rows else rows["path"]
    return [str(identity) for identity in known.where(known.notna(), rows["path"])]


def _random_keys(identities: list[str], seed: int) -> NDArray[np.uint64]:
    # A number drawn from the photo itself does not care where its row stands in the table.
    prefix = f"{seed}\0".encode()
    digests = b"".join(hashlib.blake2b(prefix + name.encode(), digest_size=8).digest() for name in identities)
    return np.frombuffer(digests, np.uint64)


def _large_groups(
    groups: NDArray[np.int64], sizes: NDArray[np.int64], keys: NDArray[np.uint64]
) -> list[NDArray[np.int64]]:
    large = np.flatnonzero(sizes[groups] > 1)
    large = large[np.argsort(groups[large], kind="stable")]
    members = np.split(large, np.flatnonzero(np.diff(groups[large])) + 1) if len(large) else []
    return sorted(members, key=lambda rows: (-len(rows), keys[rows].min()))


def _least_disturbed(
    counts: NDArray[np.float64], targets: NDArray[np.float64], mix: NDArray[np.int64], shares: NDArray[np.float64]
) -> int:
    """Return the side on which a group of `mix` photos per stratum leaves the strata nearest to their targets."""
    touched = np.flatnonzero(mix)
    added = mix[touched]
    excess = counts[:, touched] - targets[:, touched]
    wanted = np.maximum(targets[:, touched], 1e-9)
    by_stratum = (added * (2 * excess + added) / wanted).sum(axis=1)
    total_excess = counts.sum(axis=1) - targets.sum(axis=1)
    total = added.sum() * (2 * total_excess + added.sum()) / np.maximum(targets.sum(axis=1), 1e-9)
    cost = np.where(shares > 0, by_stratum + total, np.inf)
    return int(np.argmin(cost))


def _fill_up(strata: NDArray[np.int64], keys: NDArray[np.uint64], lacking: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the sides of single photos, shape (photos,), so that each side gets what it lacks of each stratum."""
    sides = np.zeros(len(strata), np.int64)
    order = np.lexsort((keys, strata))
    carried = np.zeros(len(lacking))
    for stratum, members in _runs(strata, order):
        wanted = lacking[:, stratum] + carried
        quotas = _whole_quotas(wanted, len(members))
        carried = wanted - quotas
        sides[members] = np.repeat(np.arange(len(quotas)), quotas)
    return sides


def _runs(strata: NDArray[np.int64], order: NDArray[np.int64]) -> list[tuple[int, NDArray[np.int64]]]:
    if not len(order):
        return []
    pieces = np.split(order, np.flatnonzero(np.diff(strata[order])) + 1)
    return [(int(strata[piece[0]]), piece) for piece in pieces]


def _whole_quotas(wanted: NDArray[np.float64], total: int) -> NDArray[np.int64]:
    """Return whole numbers near `wanted`, none below 0, that sum to `total`."""
    positive = np.maximum(wanted, 0)
    scaled = positive * (total / positive.sum()) if positive.sum() > 0 else positive
    quotas = np.floor(scaled + 1e-9).astype(np.int64)
    order = np.argsort(-(scaled - quotas), kind="stable")
    quotas[order[: total - int(quotas.sum())]] += 1
    return quotas
