"""Owns taking over the split that a dataset was published with.

A published split is kept as it is, leaks included, because it is what other people's figures were measured on; the
leakage table shows what stands on both sides. Where it has no validation part, one is set apart from train.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agegender.data.faces_table import FacesTable
from agegender.data.splitting import assign_sides
from agegender.errors import UsageError

NOT_IN_SPLIT = "not in the official split"
VALID_SHARE_OF_TRAIN = 0.15


def has_official_split(faces: FacesTable) -> bool:
    """Return whether every kept photo came with a side."""
    kept = faces.kept()
    return bool(len(kept)) and bool(kept["split"].notna().all())


def keep_official_split(faces: FacesTable, *, seed: int = 7) -> FacesTable:
    """Return the faces with the published split; photos outside it are left out with that reason.

    Without a published validation part, a stratified 15 % of train becomes one, twins and persons kept whole.

    Raises
    ------
    UsageError
        A source among them was published without a split.
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
