"""Owns confusion matrices and the decade matrix, as tables whose cells are shaded by their share of the row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from agegender.audit.bias import age_decade
from agegender.data.faces_table import GENDERS
from agegender.pages.tables import Column, Row, Table
from agegender.pages.words import count

_DECADES = [*(f"{ten}0–{ten}9" if ten else "0–9" for ten in range(9)), "90+"]


@dataclass(frozen=True)
class Cell:
    """One cell: its text, its share of the row for the shade, and whether label and prediction agree."""

    text: str
    share: float
    is_diagonal: bool
    photo_count: int = 0


@dataclass(frozen=True)
class MatrixRow:
    """One labelled class and how it was predicted."""

    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Matrix:
    """A table of labels (rows) against predictions (columns)."""

    caption: str
    column_names: tuple[str, ...]
    rows: tuple[MatrixRow, ...]
    note: str = ""
    corner: str = "label ↓ guess →"


def confusion_matrix(rows: pd.DataFrame, caption: str) -> Matrix | None:
    """Return gender labels against predicted ones, or None when no row knows both."""
    known = rows.dropna(subset=["gender", "predicted_gender"])
    if not len(known):
        return None
    counts = pd.crosstab(known["gender"], known["predicted_gender"])
    return _matrix(counts, GENDERS, caption, f"{count(len(known))} photos", with_counts=True)


def matrix_table(identifier: str, matrices: Sequence[Matrix]) -> Table:
    """Return matrices as one table of counts, for the downloads."""
    names = list(dict.fromkeys(name for matrix in matrices for name in matrix.column_names))
    columns = [Column("matrix", "Matrix"), Column("labelled", "Labelled")]
    columns += [Column(f"predicted {name}", f"Predicted {name}", 0) for name in names]
    rows = [
        Row(
            {"matrix": matrix.caption, "labelled": label}
            | {f"predicted {name}": cell.photo_count for name, cell in zip(names, row.cells, strict=False)}
        )
        for matrix in matrices
        for label, row in zip(matrix.column_names, matrix.rows, strict=True)
    ]
    return Table(identifier, "Labels against predictions", columns, rows)


def decade_matrix(rows: pd.DataFrame) -> Matrix | None:
    """Return labelled decades against predicted ones in % of the row, or None when no row knows both."""
    known = rows.dropna(subset=["age_years", "predicted_age_years"])
    if not len(known):
        return None
    labelled = pd.Series(age_decade(known["age_years"]), name="labelled")
    predicted = pd.Series(age_decade(known["predicted_age_years"]), name="predicted")
    counts = pd.crosstab(labelled, predicted)
    last = max(_DECADES.index(name) for name in {*counts.index, *counts.columns})
    note = "% of each labelled decade; outlined: the right decade. Shades left of the outline: judged too young."
    return _matrix(counts, _DECADES[: last + 1], "Labelled against predicted decade", note, with_counts=False)


def _matrix(counts: pd.DataFrame, names: Sequence[str], caption: str, note: str, *, with_counts: bool) -> Matrix:
    full = counts.reindex(index=list(names), columns=list(names), fill_value=0).to_numpy(dtype=int)
    rows = []
    for place, name in enumerate(names):
        total = int(full[place].sum())
        cells = tuple(
            _cell(int(photo_count), total, place == other, with_counts) for other, photo_count in enumerate(full[place])
        )
        rows.append(MatrixRow(name if with_counts else f"{name} ({count(total)})", cells))
    return Matrix(caption, tuple(names), tuple(rows), note)


def _cell(photo_count: int, total: int, is_diagonal: bool, with_counts: bool) -> Cell:
    share = photo_count / total if total else 0.0
    text = "" if not photo_count else "<1" if share < 0.005 else f"{100 * share:.0f}"
    return Cell(
        f"{count(photo_count)} ({text or 0} %)" if with_counts else text, round(share, 3), is_diagonal, photo_count
    )
