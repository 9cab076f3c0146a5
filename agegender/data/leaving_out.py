"""Leaves out photos that quality checks suspect, and says which groups lose most by it.

A check is a hint and no verdict: dark skin makes a photo darker, and soft focus is common in childhood portraits. So
nothing is left out unless it is asked for, and a loss that falls on some groups more than on others is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import pandas as pd

from agegender.data.faces_table import FacesTable
from agegender.errors import UsageError, did_you_mean
from agegender.heads import AGE, GENDER
from agegender.heads.age_bands import age_group
from agegender.settings import QUALITY_CHECKS, SMALL_GROUP

POOR = "poor quality: "  # and the check: how the reason begins
_UNEVEN_RATIO, _UNEVEN_POINTS = 2.0, 0.02  # of the share that everybody loses, and of photos


class GroupLoss(NamedTuple):
    """What one group lost: `before` counts its photos with those that were left out."""

    grouping: str
    group: str
    before: int
    lost: int
    share: float


def check_names(text: str) -> tuple[str, ...]:
    """Return the checks in a text such as "no_face,blurry".

    Raises
    ------
    UsageError
        There is no check of a name, or none is named.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    strange = [name for name in names if name not in QUALITY_CHECKS]
    if strange or not names:
        what = f"there is no quality check {strange[0]!r}" if strange else "it names no quality check"
        near = did_you_mean(strange[0], QUALITY_CHECKS) if strange else ""
        raise UsageError(f"--leave-out {text}: {what}.{near} There are {', '.join(QUALITY_CHECKS)}.")
    return names


def leave_out(faces: FacesTable, checks: Sequence[str]) -> FacesTable:
    """Return the faces with the kept photos marked that a check suspects; the first check in order is the reason."""
    table = faces.table.copy()
    for check in checks:
        flag = f"is_{check}"
        if flag not in table or table[flag].isna().all():
            raise UsageError(
                f"--leave-out {check}: no photo has a score of it"
                + (": that needs the package brisque and 100 photos." if check == QUALITY_CHECKS[-1] else ".")
            )
        poor = table[flag].eq(True).fillna(False)
        table.loc[poor & table["dropped_because"].isna(), "dropped_because"] = f"{POOR}{check.replace('_', ' ')}"
    return replace(faces, table=table, notes={**faces.notes, "left_out": list(checks)})


def losses_by_group(faces: FacesTable) -> list[GroupLoss]:
    """Return what each group lost to poor quality, everybody first; nothing where no photo was left out for it."""
    table = faces.table
    poor = table["dropped_because"].astype(object).fillna("").astype(str).str.startswith(POOR)
    if not poor.any():
        return []
    before = table["dropped_because"].isna() | poor
    bands = pd.Series(age_group(table[AGE.column]), index=table.index, dtype=object)
    groupings = {"ethnicity": table["ethnicity"], GENDER.name: table[GENDER.column], AGE.name: bands}
    found = [GroupLoss("all", "everybody", int(before.sum()), int(poor.sum()), float(poor.sum() / before.sum()))]
    for grouping, names in groupings.items():
        for name in sorted(names[before].dropna().unique()):
            size, lost = int((before & (names == name)).sum()), int((poor & (names == name)).sum())
            found.append(GroupLoss(grouping, str(name), size, lost, lost / size))
    return found


def left_out_words(faces: FacesTable, *, least: int = 0) -> list[str]:
    """Return what was left out, and a warning for each group of 30 or more that lost far more than everybody.

    Numbers under `least` are not told.
    """
    losses = losses_by_group(faces)
    if not losses:
        return []
    everybody, *groups = losses
    said = f"{everybody.lost:,}" if everybody.lost >= least else f"under {least}"
    checks = ", ".join(str(check).replace("_", " ") for check in faces.notes.get("left_out", ()))
    lines = [
        f"{said} of {everybody.before:,} photos ({everybody.share:.1%}) were left out for poor quality ({checks})."
    ]
    for one in sorted(groups, key=lambda group: -group.share):
        is_uneven = one.share > max(_UNEVEN_RATIO * everybody.share, everybody.share + _UNEVEN_POINTS)
        if is_uneven and one.before >= SMALL_GROUP and one.lost >= least:
            lines.append(
                f"Uneven: {one.share:.1%} of the photos with {one.grouping} {one.group} were left out ({one.lost:,} of "
                f"{one.before:,}), against {everybody.share:.1%} of all. What is left shows this group at its best."
            )
    return lines
