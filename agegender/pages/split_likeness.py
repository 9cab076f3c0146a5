"""Whether the splits are alike: one test per label, by dealing the photos to the splits again at random.

The omnibus statistic is chi-squared over the values of a label (fifths, of numbers). Photos that hang together (twins,
persons) are dealt together. Splits that were drawn stratified lie closer together than chance, so a p-value near 1 is
usual and says that the stratification worked.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.data.faces_table import SPLITS, label_columns
from agegender.pages.tables import Column, Row, Table

DEALS = 199
_MOST_ROWS = 20_000
_MOST_VALUES = 24
_FIFTHS = 5
Codes = NDArray[np.int64]


def likeness_table(kept: pd.DataFrame, *, seed: int = 7) -> Table | None:
    """Return one row per label, or None with fewer than two splits."""
    rows = kept[kept["split"].isin(SPLITS)]
    if rows["split"].nunique() < 2:
        return None
    note = (
        "The largest difference is that of the share of one value (of numbers: one fifth) between two splits, beside "
        f"the level that 95 % of {DEALS} random deals stay under. p is of one test over all values of that label "
        "alone: among 20 labels one falls below 0.05 by chance. Splits drawn alike on purpose have a p near 1. "
        "Nothing is said of what isn't labelled."
    )
    if len(rows) > _MOST_ROWS:
        rows = rows.sample(_MOST_ROWS, random_state=seed)
        note += f" Told from a random {_MOST_ROWS:,} of the photos."
    generator = np.random.default_rng(seed)
    sides = pd.Categorical(rows["split"], [side for side in SPLITS if (rows["split"] == side).any()]).codes
    found = [
        Row(_likeness(name, codes, np.asarray(sides, np.int64), _clusters(rows), generator))
        for name in label_columns(rows)
        if (codes := _codes(rows[name])) is not None
    ]
    columns = (
        Column("label", "Label"),
        Column("photos", "Photos", 0),
        Column("difference", "Largest difference, points", 1),
        Column("chance", "By chance, points", 1, hint="95 % of random deals stay under it"),
        Column("p", "p", 3, is_p_value=True),
    )
    return Table("likeness", "Are the splits alike?", columns, found, note) if found else None


def _codes(values: pd.Series) -> Codes | None:
    """Return the value of each row as a number, -1 where it is unknown; None where there is nothing to tell apart."""
    if pd.api.types.is_float_dtype(values) and values.nunique() > _FIFTHS:
        values = pd.qcut(values, _FIFTHS, duplicates="drop")
    codes, names = pd.factorize(values)
    return np.asarray(codes, np.int64) if 1 < len(names) <= _MOST_VALUES else None


def _clusters(rows: pd.DataFrame) -> Codes:
    """Return which photos hang together: a person's or else twins, by the column that names them."""
    names = rows["subject_id"].where(
        rows["subject_id"].isna(), rows["source"].astype(str) + "\0" + rows["subject_id"].astype(str)
    )
    if "twin_cluster" in rows:
        names = names.where(names.notna(), rows["twin_cluster"])
    alone = pd.Series([f"\1{place}" for place in range(len(rows))], index=rows.index, dtype=object)
    return np.asarray(pd.factorize(names.where(names.notna(), alone))[0], np.int64)


def _likeness(
    name: str, codes: Codes, sides: Codes, clusters: Codes, generator: np.random.Generator
) -> dict[str, object]:
    known = codes >= 0
    codes, sides, clusters = codes[known], sides[known], np.unique(clusters[known], return_inverse=True)[1]
    observed = _statistics(codes, sides)
    first = np.unique(clusters, return_index=True)[1]  # a cluster is dealt as the side of its first photo
    dealt = np.array([
        _statistics(codes, generator.permutation(sides[first])[clusters]) for _ in range(DEALS)
    ])  # fmt: skip
    above = int((dealt[:, 0] >= observed[0] - 1e-9).sum())
    return {
        "label": name.replace("_", " "), "photos": len(codes), "difference": 100 * observed[1],
        "chance": float(100 * np.quantile(dealt[:, 1], 0.95)), "p": (above + 1) / (DEALS + 1),
    }  # fmt: skip


def _statistics(codes: Codes, sides: Codes) -> tuple[float, float]:
    """Return chi-squared and the largest difference of a value's share between two splits."""
    values, count = int(codes.max()) + 1, int(sides.max()) + 1
    counts = np.bincount(sides * values + codes, minlength=count * values).reshape(count, values).astype(float)
    counts = counts[counts.sum(axis=1) > 0]
    totals = counts.sum(axis=1, keepdims=True)
    expected = totals * counts.sum(axis=0) / counts.sum()
    squares = np.divide((counts - expected) ** 2, expected, out=np.zeros_like(counts), where=expected > 0)
    shares = counts / totals
    return float(squares.sum()), float((shares.max(axis=0) - shares.min(axis=0)).max())
