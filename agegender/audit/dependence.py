"""Which rows hang together: photos of one person, twins, and one photo named twice.

Four photos of one person are less than four people: errors of one face repeat. Whatever deals rows, draws them anew or
counts them for an interval takes such a cluster whole. Only what the table says ties rows; rows that merely look alike
make a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.heads import Head, Regression

# Column -> whether equal values mean the same thing in every source; a person's number does not.
TIES = {"path": True, "file_sha512": True, "twin_cluster": True, "subject_id": False}
_ONE_LABEL_SHARE, _ONE_LABEL_ROWS = 0.25, 100  # with one label: in UTKFace the commonest age holds 9 %
_ONE_CLUSTER_SHARE = 0.2
_NEAR = 1e-3  # of the spread of the predictions
_WIDER = 11.0  # how far around that window chance is counted
_TOO_NARROW = "Each row counts, so intervals are too narrow: keep one row per photo."
_MANY_PAIRS, _MANY_SHARE = 3.0, 0.05  # times what chance makes, and of the rows


def clusters_of(rows: pd.DataFrame) -> NDArray[np.int64] | None:
    """Return the cluster of each row, 0.., in the order in which they appear; None where every row stands alone.

    Rows are tied by an equal photo, twin cluster or person, directly or through others; a missing value ties nothing.
    """
    tied, values, count = [], [], len(rows)
    for column in TIES:
        codes = _codes(rows, column)
        known = np.flatnonzero(codes >= 0)
        shared = known[np.bincount(codes[known])[codes[known]] > 1] if len(known) else known
        if len(shared):
            tied.append(shared)
            values.append(count + codes[shared])
            count += int(codes.max()) + 1
    if not tied:
        return None
    return pd.factorize(_connected(np.concatenate(tied), np.concatenate(values), count)[: len(rows)])[0]


def dependence_words(rows: pd.DataFrame, heads: Sequence[Head]) -> list[str]:
    """Return what to say about completed rows that hang together, and about rows that look as if they did."""
    clusters = clusters_of(rows)
    words = [word for head in heads if isinstance(head, Regression) for word in _one_label_words(rows, head)]
    if clusters is not None:
        return [*_photo_words(rows["path"]), *_cluster_words(clusters), *words]
    return [*words, *(_copy_words(rows, heads) or _near_words(rows, heads))]


def _codes(rows: pd.DataFrame, column: str) -> NDArray[np.int64]:
    """Return a number for each row, equal where the column ties rows, -1 where it says nothing."""
    if column not in rows:
        return np.full(len(rows), -1, dtype=np.int64)
    codes, values = pd.factorize(rows[column])
    counts = np.bincount(codes[codes >= 0], minlength=len(values))
    # Only values that stand twice tie anything; a table of a million paths has none.
    tying = [number for number in np.flatnonzero(counts > 1) if not _is_blank(values[number])]
    is_tying = np.zeros(len(values) + 1, dtype=bool)
    is_tying[tying] = True
    known = np.flatnonzero(is_tying[codes])
    made = np.full(len(rows), -1, dtype=np.int64)
    keys = codes[known].astype(np.int64)
    if not TIES[column] and "source" in rows:
        sources, names = pd.factorize(rows["source"].iloc[known])
        keys = keys * (len(names) + 1) + sources + 1
    made[known] = pd.factorize(keys)[0]
    return made


def _is_blank(value: object) -> bool:
    return isinstance(value, str) and not value.strip()


def _connected(things: NDArray[np.int64], ties: NDArray[np.int64], count: int) -> NDArray[np.int32]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(things), dtype=np.int8), (things, ties)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1])


def _photo_words(paths: pd.Series) -> list[str]:
    """Say how many rows are about a photo that another row is about too."""
    again = paths.dropna()
    again = again[again.duplicated(keep=False)]
    if again.empty:
        return []
    photos = again.value_counts()
    which = f"one photo, {photos.index[0]}" if len(photos) == 1 else f"only {len(photos):,} photos"
    most = "" if len(photos) == 1 else f" ({photos.index[0]}: {int(photos.iloc[0]):,} times)"
    return [f"{len(again):,} rows name {which}{most}."]


def _copy_words(rows: pd.DataFrame, heads: Sequence[Head]) -> list[str]:
    if rows["path"].notna().any() or not _finely(rows, heads):
        return []  # without paths, rows of round numbers may well be equal and about different people
    copies = int(rows.duplicated(keep="first").sum())
    return [f"{copies:,} rows are exact copies of other rows. {_TOO_NARROW}"] if copies else []


def _finely(rows: pd.DataFrame, heads: Sequence[Head]) -> list[str]:
    """Return the columns of predicted numbers that are not all whole."""
    names = [name for head in heads for name in head.number_columns if name != head.column]
    return [name for name in names if name in rows and (rows[name] % 1 > 0).any()]


def _cluster_words(clusters: NDArray[np.int64]) -> list[str]:
    sizes = np.bincount(clusters)
    if len(sizes) == 1:
        return [
            f"All {sizes[0]:,} rows are photos of one person, or one photo: nothing can be said about anybody else, "
            f"and no figure has an interval."
        ]
    words = [
        f"{int(sizes[sizes > 1].sum()):,} of {sizes.sum():,} rows share a person, a twin or a photo with another: "
        f"{len(sizes):,} clusters. Each is drawn and dealt whole, so intervals are as wide as the clusters make them."
    ]
    if sizes.max() > max(_ONE_CLUSTER_SHARE * sizes.sum(), 2):
        words.append(
            f"One cluster holds {sizes.max():,} of {sizes.sum():,} rows: if that is one person, figures speak of them; "
            f"if it stands for unknown ones, leave their subject_id empty."
        )
    return words


def _one_label_words(rows: pd.DataFrame, head: Regression) -> list[str]:
    counts = rows[head.column].value_counts()
    if counts.empty or counts.iloc[0] < max(_ONE_LABEL_SHARE * counts.sum(), _ONE_LABEL_ROWS):
        return []
    label = f"{counts.index[0]:g} {head.unit}".rstrip()
    share = f"{int(counts.iloc[0]):,} of {int(counts.sum()):,} rows"
    return [f"{share} have one and the same {head.title} label, {label}."]


def _near_words(rows: pd.DataFrame, heads: Sequence[Head]) -> list[str]:
    """Say how many rows have all labels in common and nearly the same prediction, far more than chance makes."""
    finely = _finely(rows, heads)
    if not finely:
        return []
    values = rows[finely[0]].to_numpy(dtype=np.float64)
    labels = rows.groupby([head.column for head in heads], sort=False, dropna=False).ngroup().to_numpy()
    known = np.isfinite(values)
    values, labels = values[known], labels[known]
    spread = float(values.std()) if values.size else 0.0
    if spread == 0.0:
        return []
    keys = np.sort(values / spread + labels * (2.0 * _WIDER * _NEAR + np.ptp(values) / spread))
    near, wider = (np.searchsorted(keys, keys + reach, "right") - np.arange(keys.size) - 1
                   for reach in (_NEAR, _WIDER * _NEAR))  # fmt: skip
    by_chance = float(wider.sum() - near.sum()) / (_WIDER - 1.0)
    is_followed = near > 0
    alike = int((is_followed | np.append(False, is_followed[:-1])).sum())
    if near.sum() <= _MANY_PAIRS * by_chance or alike < _MANY_SHARE * keys.size:
        return []
    return [
        f"{alike:,} rows have the labels of another row and nearly the same {finely[0]}: they may be photos of one "
        f"person, or copies. {_TOO_NARROW} Or name persons in subject_id."
    ]
