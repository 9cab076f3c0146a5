"""Photos by their quality: thirds of each score and flagged ones, from the columns that `prepare --quality` writes.

Thirds are made within the judged rows. Whether a group's gap is one between photos as well is told by holding the
scores equal beside what is held equal anyway.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.audit.adjusted_gaps import AdjustedGaps, adjusted_gaps
from agegender.audit.grouping import Grouping
from agegender.audit.held_equal import HeldEqual
from agegender.heads.row_metrics import numbers

Floats = NDArray[np.float64]
THIRDS = ("lowest third", "middle third", "highest third")
FLAGS = ("flagged", "not flagged")
MOST_ROWS = 100_000  # further rows are not looked at where the scores are held equal: each has values of its own
_SCORE = re.compile(r"(\w+)_score")


def quality_checks(rows: pd.DataFrame) -> list[str]:
    """Return the checks of quality that the table has scores of: columns `<check>_score` beside `is_<check>`."""
    found = [match[1] for name in map(str, rows.columns) if (match := _SCORE.fullmatch(name))]
    return [name for name in found if f"is_{name}" in rows and _scores(rows, name).notna().any()]


def scores_held(rows: pd.DataFrame) -> list[str]:
    """Return those of the checks whose scores take values enough to be held equal."""
    return [check for check in quality_checks(rows) if _scores(rows, check).nunique() > len(THIRDS)]


def quality_groupings(rows: pd.DataFrame) -> dict[str, tuple[Grouping, ...]]:
    """Return, for each check, its thirds where scores differ enough, and flagged photos where there are any."""
    made = {}
    for check in quality_checks(rows):
        parts = [part for part in (_thirds(rows, check), _flags(rows, check)) if part is not None]
        if parts:
            made[check] = tuple(parts)
    return made


def gaps_at_equal_quality(
    rows: pd.DataFrame,
    values: Floats,
    groups: Grouping,
    held: Sequence[str],
    *,
    is_rate: bool,
    clusters: NDArray[np.int64] | None = None,
    seed: int = 7,
) -> tuple[AdjustedGaps, AdjustedGaps]:
    """Return every group's gap to the rest at equal values of `held`, and with equal scores of quality besides.

    Both are of the same rows: those with every score.
    """
    scores = [f"{check}_score" for check in scores_held(rows)]
    known = np.isfinite(values) & rows[[*held, *scores]].notna().all(axis=1).to_numpy()
    places = np.flatnonzero(known)
    if places.size > MOST_ROWS:
        places = np.sort(np.random.default_rng(seed).choice(places, MOST_ROWS, replace=False))
    own, codes = rows.iloc[places], groups.codes[places]
    found = []
    for columns in (tuple(held), (*held, *scores)):
        support = HeldEqual.of_table(own, columns).support if places.size else None
        found.append(
            AdjustedGaps.unknown(groups.size)
            if support is None
            else adjusted_gaps(
                values[places], codes, groups.size, support,
                clusters=None if clusters is None else clusters[places], is_rate=is_rate,
            )
        )  # fmt: skip
    return found[0], found[1]


def _thirds(rows: pd.DataFrame, check: str) -> Grouping | None:
    """Return thirds of a score; None where so many are equal that there are none."""
    scores = _scores(rows, check)
    edges = np.nanquantile(scores, [1 / 3, 2 / 3]) if scores.notna().any() else np.zeros(2)
    known = scores.notna().to_numpy()
    codes = np.where(known, np.searchsorted(edges, scores.fillna(0.0).to_numpy(), side="left"), -1)
    sizes = np.bincount(codes[known], minlength=len(THIRDS))
    if sizes.min() < 0.2 * max(known.sum(), 1):
        return None
    return Grouping((f"{check}_score",), tuple((name,) for name in THIRDS), codes.astype(np.int64))


def _flags(rows: pd.DataFrame, check: str) -> Grouping | None:
    cells = rows[f"is_{check}"]
    known = cells.notna().to_numpy()
    is_it = cells.astype("boolean").fillna(False).to_numpy(dtype=bool) if known.any() else np.zeros(len(rows), bool)
    if not (known & is_it).any() or not (known & ~is_it).any():
        return None
    codes = np.where(known, np.where(is_it, 0, 1), -1)
    return Grouping((f"is_{check}",), tuple((name,) for name in FLAGS), codes.astype(np.int64))


def _scores(rows: pd.DataFrame, check: str) -> pd.Series:
    return pd.Series(numbers(rows, f"{check}_score"), index=rows.index)
