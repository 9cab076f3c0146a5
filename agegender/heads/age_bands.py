"""Ages as bands: the four groups of the ChaLearn course, finer ones with free edges, and decades."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from agegender.errors import UsageError

AGE_GROUPS = ("<20", "20–39", "40–59", "≥60")
AGE_EDGES = (20.0, 40.0, 60.0)
# Where a year is a longer step of life, bands are finer: 15–19 is where checks of ages are made.
FINE_BANDS = ("0–4", "5–9", "10–14", "15–19", "20–29", "30–39", "40–49", "50–59", "60–69", "70–79", "80+")
FINE_EDGES = (5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0)
_OLDEST = 150
DECADES = (*(f"{ten}0–{ten}9" if ten else "0–9" for ten in range(9)), "90+")


def age_group(age_years: ArrayLike) -> NDArray[np.object_]:
    """Return the band of each age, None where it is unknown.

    >>> age_group([19.9, 20, 60, float("nan")]).tolist()
    ['<20', '20–39', '≥60', None]
    """
    return _banded(age_years, AGE_GROUPS, AGE_EDGES)


def fine_age_band(age_years: ArrayLike) -> NDArray[np.object_]:
    """Return the finer band of each age, None where it is unknown.

    >>> fine_age_band([4.9, 17, 80]).tolist()
    ['0–4', '15–19', '80+']
    """
    return _banded(age_years, FINE_BANDS, FINE_EDGES)


def band_names(edges: Sequence[float]) -> tuple[str, ...]:
    """Return what the bands are called that begin at 0 and at each edge.

    >>> band_names([5, 18, 19])
    ('0–4', '5–17', '18', '19+')
    """
    starts = (0, *(int(edge) for edge in edges))
    closed = (f"{low}–{high - 1}" if high - low > 1 else f"{low}" for low, high in itertools.pairwise(starts))
    return (*closed, f"{starts[-1]}+")


def checked_edges(edges: Sequence[float]) -> tuple[float, ...]:
    """Return the edges of age bands, or refuse them: rising whole years above 0.

    Raises
    ------
    UsageError
        They are none.
    """
    given = tuple(float(edge) for edge in edges)
    is_rising = all(low < high for low, high in itertools.pairwise((0.0, *given)))
    if not given or not is_rising or any(edge != int(edge) or edge > _OLDEST for edge in given):
        raise UsageError(
            f"age bands begin at rising whole years from 1 to {_OLDEST}, such as 5 10 15 20 30; "
            f"these are {' '.join(map('{:g}'.format, given)) or 'none'}."
        )
    return given


def _banded(age_years: ArrayLike, bands: tuple[str, ...], edges: tuple[float, ...]) -> NDArray[np.object_]:
    years = np.asarray(age_years, dtype=np.float64).ravel()
    names = np.array([*bands, None], dtype=object)
    return names[np.where(np.isfinite(years), np.digitize(years, edges), len(bands))]


def age_decade(age_years: ArrayLike) -> NDArray[np.object_]:
    """Return the decade of each age, "0–9" to "80–89" and "90+", None where it is unknown.

    >>> age_decade([5, 40, 101]).tolist()
    ['0–9', '40–49', '90+']
    """
    years = np.asarray(age_years, dtype=np.float64).ravel()
    known = np.isfinite(years)
    tens = np.clip(np.floor(np.where(known, years, 0.0) / 10.0), 0, len(DECADES) - 1).astype(int)
    return np.array([*DECADES, None], dtype=object)[np.where(known, tens, len(DECADES))]


def with_age_band(table: pd.DataFrame, edges: Sequence[float]) -> pd.DataFrame:
    """Return the table with `age_band` made of `age_years`: finer than `age_group`, where an age is known."""
    if "age_years" not in table:
        return table
    ages = pd.to_numeric(table["age_years"], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    bands = _banded(ages, band_names(edges), tuple(edges))
    return table.assign(age_band=pd.Series(bands, index=table.index, dtype=object))


def with_age_group(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with `age_group` made of `age_years`, where it has ages and not the group already."""
    if "age_group" in table or "age_years" not in table:
        return table
    ages = pd.to_numeric(table["age_years"], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return table.assign(age_group=pd.Series(age_group(ages), index=table.index, dtype=object))
