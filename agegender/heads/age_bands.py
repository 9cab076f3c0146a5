"""Ages as bands: the four groups of the ChaLearn course, and decades."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

AGE_GROUPS = ("<20", "20–39", "40–59", "≥60")
AGE_EDGES = (20.0, 40.0, 60.0)
DECADES = (*(f"{ten}0–{ten}9" if ten else "0–9" for ten in range(9)), "90+")


def age_group(age_years: ArrayLike) -> NDArray[np.object_]:
    """Return the band of each age, None where it is unknown.

    >>> age_group([19.9, 20, 60, float("nan")]).tolist()
    ['<20', '20–39', '≥60', None]
    """
    years = np.asarray(age_years, dtype=np.float64).ravel()
    names = np.array([*AGE_GROUPS, None], dtype=object)
    return names[np.where(np.isfinite(years), np.digitize(years, AGE_EDGES), len(AGE_GROUPS))]


def age_decade(age_years: ArrayLike) -> NDArray[np.object_]:
    """Return the decade of each age, "0–9" to "80–89" and "90+", None where it is unknown.

    >>> age_decade([5, 40, 101]).tolist()
    ['0–9', '40–49', '90+']
    """
    years = np.asarray(age_years, dtype=np.float64).ravel()
    known = np.isfinite(years)
    tens = np.clip(np.floor(np.where(known, years, 0.0) / 10.0), 0, len(DECADES) - 1).astype(int)
    return np.array([*DECADES, None], dtype=object)[np.where(known, tens, len(DECADES))]


def with_age_group(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with `age_group` made of `age_years`, where it has ages and not the group already."""
    if "age_group" in table or "age_years" not in table:
        return table
    ages = pd.to_numeric(table["age_years"], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return table.assign(age_group=pd.Series(age_group(ages), index=table.index, dtype=object))
