"""Who is among the largest errors: each group's share of them against its share of all, and what chance would make.

A group of a tenth of the photos holds a tenth of any hundred by chance, give or take; the hypergeometric distribution
says how much. Of several photos of one person the worst alone counts, so that what is drawn stands alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agegender.audit.chance import FALSE_ALARM_RATE
from agegender.audit.grouping import Grouping

Floats = NDArray[np.float64]
MOST_WORST = 100
_FEWEST_TIMES = 5  # as many photos as are looked at: of 150 photos a hundred would be nearly all


@dataclass(frozen=True)
class WorstShare:
    """One group among the largest errors.

    Attributes
    ----------
    columns, values : tuple of str
    n : int
        Its photos among all that are looked at.
    worst_n : int
        Those among the worst.
    expected : float
        How many chance alone would put there, with the ends of the interval that holds 95 of 100 draws.
    low, high : int
    differs : str
        "more", "less" or "": beyond chance, corrected for all groups that were looked at.
    """

    columns: tuple[str, ...]
    values: tuple[str, ...]
    n: int
    worst_n: int
    expected: float
    low: int
    high: int
    differs: str


@dataclass(frozen=True)
class WorstErrors:
    """The largest errors and who is among them.

    Attributes
    ----------
    count, total : int
        How many are looked at, of how many photos (one of each person).
    smallest : float
        The least error among them.
    groups : tuple of WorstShare
    """

    count: int
    total: int
    smallest: float
    groups: tuple[WorstShare, ...]


def worst_errors(
    errors: Floats,
    groupings: Mapping[tuple[str, ...], Grouping],
    *,
    clusters: NDArray[np.int64] | None = None,
    count: int = MOST_WORST,
) -> WorstErrors | None:
    """Return who is among the `count` largest errors; None where photos are too few to look so.

    Parameters
    ----------
    errors : array, shape (rows,)
        Their sizes, NaN where unknown.
    groupings : mapping
        Columns -> groups of the same rows.
    clusters : array, shape (rows,), int, optional
        Which rows hang together.
    """
    order = np.argsort(-np.where(np.isfinite(errors), errors, -np.inf), kind="stable")
    order = order[: int(np.isfinite(errors).sum())]
    if clusters is not None:
        order = order[np.sort(np.unique(clusters[order], return_index=True)[1])]
    if len(order) < _FEWEST_TIMES * count:
        return None
    worst = order[:count]
    found = [share for columns, groups in groupings.items() for share in _shares(columns, groups, order, worst)]
    miss_rate = FALSE_ALARM_RATE / max(len(found), 1)
    made = tuple(
        WorstShare(columns, values, n, hits, count * n / total, *_ends(total, n, count), _side(hits, total, n, count,
                                                                                              miss_rate))
        for columns, values, n, hits, total in found
    )  # fmt: skip
    return WorstErrors(count, len(order), float(errors[worst[-1]]), made)


def _shares(
    columns: tuple[str, ...], groups: Grouping, order: NDArray[np.int64], worst: NDArray[np.int64]
) -> list[tuple[tuple[str, ...], tuple[str, ...], int, int, int]]:
    counts = np.bincount(groups.codes[order] + 1, minlength=len(groups.values) + 2)[1:]
    hits = np.bincount(groups.codes[worst] + 1, minlength=len(groups.values) + 2)[1:]
    return [
        (columns, values, int(counts[code]), int(hits[code]), len(order))
        for code, values in enumerate(groups.values)
        if counts[code]
    ]


def _ends(total: int, n: int, count: int) -> tuple[int, int]:
    from scipy.stats import hypergeom

    low, high = hypergeom.ppf([0.025, 0.975], total, n, count)
    return int(low), int(high)


def _side(hits: int, total: int, n: int, count: int, miss_rate: float) -> str:
    from scipy.stats import hypergeom

    if hypergeom.sf(hits - 1, total, n, count) <= miss_rate / 2:
        return "more"
    return "less" if hypergeom.cdf(hits, total, n, count) <= miss_rate / 2 else ""
