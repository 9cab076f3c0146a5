"""The file that the ChaLearn course's scorer takes: one predicted age a line."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import pandas as pd

from agegender.errors import TableError
from agegender.heads import Regression, heads_of_predictions
from agegender.writing import replaced_file


def write_submission(predictions: pd.DataFrame, path: Path, *, expected: int | None = None) -> int:
    """Write the ChaLearn course's file: `predictions.csv` inside a zip, one age in years a line, no header, CRLF.

    It is refused where there are not as many ages as `expected`: the scorer goes by the order of the lines alone.
    """
    column = _head_with_ages(predictions).predicted
    ages = pd.to_numeric(predictions.sort_values("path")[column], errors="coerce")
    if ages.isna().any():
        raise TableError(f"{int(ages.isna().sum())} photos have no predicted age, and a submission needs all of them.")
    if expected is not None and len(ages) != expected:
        raise TableError(
            f"the submission would have {len(ages)} ages, and {expected} photos are to be judged, so that lines would "
            f"stand for the wrong photos. Where `prepare` has dropped some, predict the photos themselves (`agegender "
            f"predict`) and compare that table; --submission-rows says how many there are."
        )
    text = io.StringIO()
    csv.writer(text).writerows([[age] for age in ages])
    with replaced_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("predictions.csv", text.getvalue())
    return len(ages)


def _head_with_ages(predictions: pd.DataFrame) -> Regression:
    heads = [head for head in heads_of_predictions(predictions) if isinstance(head, Regression) and head.has_bands]
    if not heads:
        raise TableError("the first model predicts no ages, and a submission is made of them.")
    return heads[0]
