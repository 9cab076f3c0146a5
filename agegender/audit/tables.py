"""Owns what the metrics ask of a predictions table that anybody may have made: its columns, and ages as numbers."""

from __future__ import annotations

import pandas as pd

from agegender.errors import TableError

_PAIRS = (("age_years", "predicted_age_years"), ("gender", "predicted_gender"))
_NUMBERS = ("age_years", "predicted_age_years", "female_probability", "age_low_years", "age_high_years")


def completed(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the table with missing values in those columns of ages and genders that it lacks, and ages as numbers.

    Raises
    ------
    TableError
        Neither ages nor genders are there with their predictions, or a column of numbers holds text.
    """
    if not any(all(name in predictions for name in pair) for pair in _PAIRS):
        raise TableError(
            "the predictions table has neither age_years and predicted_age_years nor gender and predicted_gender; "
            f"it has {', '.join(map(str, predictions.columns)) or 'no columns'}. Name its columns with the options of "
            "report."
        )
    table = predictions.copy()
    for name in [column for pair in _PAIRS for column in pair if column not in predictions]:
        table[name] = pd.Series(float("nan") if name in _NUMBERS else None, index=table.index, dtype=_dtype(name))
    for name in [column for column in _NUMBERS if column in table]:
        table[name] = _numbers(table[name])
    return table


def _dtype(name: str) -> str:
    return "float64" if name in _NUMBERS else "object"


def _numbers(cells: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(cells, errors="coerce").astype("float64")
    wrong = (cells.notna() & numbers.isna()).to_numpy()
    if wrong.any():
        raise TableError(
            f"{int(wrong.sum())} values of {cells.name} are no numbers, first {cells[wrong].iloc[0]!r}; "
            "leave an unknown one empty."
        )
    return numbers
