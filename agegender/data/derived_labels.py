"""Labels that are made of other labels: classes of age, and several label columns as one.

They are stored in the faces table like any other label, so that a head can learn them and a page can group by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd

from agegender.data.faces_table import BOOKKEEPING, FacesTable, label_columns
from agegender.errors import UsageError, did_you_mean
from agegender.heads import AGE

AGE_CLASS = "age_class"
JOINT = " / "


def parse_age_edges(text: str) -> tuple[float, ...]:
    """Return the edges in a text such as "30,60".

    >>> parse_age_edges("30,60")
    (30.0, 60.0)
    """
    try:
        edges = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--age-classes {text} is not a list of ages; write for example 30,60.") from error
    _check_edges(edges)
    return edges


def age_class_names(edges: Sequence[float]) -> tuple[str, ...]:
    """Return what the classes between rising edges are called, the youngest first.

    >>> age_class_names((30, 60)), age_class_names((2.5, 3, 4))
    (('<30', '30–59', '≥60'), ('<2.5', '2.5–<3', '3', '≥4'))
    """
    _check_edges(edges)
    between = [_between(low, high) for low, high in pairwise(edges)]
    return (f"<{edges[0]:g}", *between, f"≥{edges[-1]:g}")


def age_classes(age_years: pd.Series, edges: Sequence[float]) -> pd.Series:
    """Return the class of each age in years, missing where the age is.

    >>> age_classes(pd.Series([29.9, 30.0, 80.0, None]), (30, 60)).tolist()
    ['<30', '30–59', '≥60', None]
    """
    years = pd.to_numeric(age_years).to_numpy(dtype=np.float64, na_value=np.nan)
    names = np.array([*age_class_names(edges), None], dtype=object)
    places = np.where(np.isnan(years), len(names) - 1, np.digitize(years, edges))
    return pd.Series(names[places], index=age_years.index, dtype=object)


def add_age_class(faces: FacesTable, edges: Sequence[float]) -> FacesTable:
    """Return the faces with the column `age_class`.

    Where no age is known, a class that a source gave stays if it is one of these.
    """
    table = faces.table.copy()
    made = age_classes(table[AGE.column], edges)
    if AGE_CLASS in table:
        given = table[AGE_CLASS].where(table[AGE_CLASS].isin(age_class_names(edges)) & table[AGE.column].isna(), None)
        made = made.where(made.notna(), given)
    table[AGE_CLASS] = made.astype(object).where(made.notna(), None)
    return replace(faces, table=table, notes={**faces.notes, "age_classes": [float(edge) for edge in edges]})


def combined_name(columns: Sequence[str]) -> str:
    """Return the name of the column that several label columns become.

    >>> combined_name(["mask", "age_class", "gender"]), combined_name(["gender", "ethnicity"])
    ('mask_age_gender', 'gender_ethnicity')
    """
    return "_".join("age" if column == AGE_CLASS else column for column in columns)


def combine_labels(faces: FacesTable, columns: Sequence[str]) -> FacesTable:
    """Return the faces with one text column of several label columns, missing where any of them is."""
    known = label_columns(faces.table)
    absent = [column for column in columns if column not in known]
    if absent:
        is_to_be_made = absent[0] == AGE_CLASS
        hint = " Make it with --age-classes 30,60." if is_to_be_made else did_you_mean(absent[0], known)
        raise UsageError(
            f"--combine {' '.join(columns)}: these faces have no labels {', '.join(absent)}; they have "
            f"{', '.join(known)}.{hint}"
        )
    name = combined_name(columns)
    if len(set(columns)) < max(len(columns), 2):
        raise UsageError(f"--combine {' '.join(columns)} needs two or more different columns.")
    if name in BOOKKEEPING or name in known:
        raise UsageError(f"--combine {' '.join(columns)} would replace the column {name}. Give another order.")
    texts = faces.table[list(columns)].map(_text, na_action="ignore")
    joined = texts.where(texts.notna(), "").agg(JOINT.join, axis=1)
    table = faces.table.assign(**{name: joined.astype(object).where(texts.notna().all(axis=1), None)})
    combined = {**faces.notes.get("combined", {}), name: list(columns)}
    return replace(faces, table=table, notes={**faces.notes, "combined": combined})


def _check_edges(edges: Sequence[float]) -> None:
    is_rising = all(low < high for low, high in pairwise(edges))
    if not len(edges) or not is_rising or not 0 < edges[0] <= edges[-1] < float("inf"):
        raise UsageError(
            f"--age-classes {','.join(f'{edge:g}' for edge in edges)}: the edges of the classes must be rising "
            "numbers of years above 0; write for example 30,60."
        )


def _between(low: float, high: float) -> str:
    if low % 1 or high % 1:
        return f"{low:g}–<{high:g}"
    return f"{low:g}" if high - low == 1 else f"{low:g}–{high - 1:g}"


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)
