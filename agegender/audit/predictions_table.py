"""Owns the predictions table: what was predicted beside what is labelled, for any model, ours or somebody else's.

It has the label columns of the faces table and the columns below. Errors are derived, never stored apart from what they
derive from: `with_errors` computes them each time. Evaluation writes it; metrics, reports and comparisons read it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from agegender.errors import TableError
from agegender.writing import replaced_file

PREDICTION_COLUMNS = (
    "predicted_age_years",  # float64, years
    "age_low_years",  # float64, lower end of the 90 % interval, missing without calibration
    "age_high_years",  # float64, upper end
    "predicted_gender",  # male / female
    "female_probability",  # float64 in [0, 1], calibrated where the model is
)


def with_errors(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the predictions with their errors beside them.

    Adds `age_error_years` (predicted minus labelled: above 0 is an over-estimate), `absolute_age_error_years` and
    `is_gender_right` (1.0, 0.0, or missing where the label or the prediction is).
    """
    table = predictions.copy()
    table["age_error_years"] = table["predicted_age_years"] - table["age_years"]
    table["absolute_age_error_years"] = table["age_error_years"].abs()
    known = table["gender"].notna() & table["predicted_gender"].notna()
    table["is_gender_right"] = np.where(known, (table["gender"] == table["predicted_gender"]).astype(float), np.nan)
    return table


def write_predictions(predictions: pd.DataFrame, path: Path) -> None:
    """Write the table as Parquet, or as CSV when the name ends in .csv; whole or not at all."""
    with replaced_file(path) as temporary:
        if path.suffix.lower() == ".csv":
            predictions.to_csv(temporary, index=False)
        else:
            predictions.to_parquet(temporary, index=False)


def read_predictions(path: Path) -> pd.DataFrame:
    """Read a predictions table from Parquet or CSV, without judging its columns yet.

    Raises
    ------
    TableError
        The file is missing or cannot be read as a table.
    """
    if not path.is_file():
        raise TableError(f"there is no predictions table at {path}. `agegender evaluate --out {path}` makes one.")
    try:
        if path.suffix.lower() == ".csv":
            return pd.read_csv(path, keep_default_na=True)
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's and pandas' parse errors are ValueErrors
        raise TableError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}") from error
