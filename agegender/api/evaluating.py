"""From a model and a faces table to a predictions table, its calibration and its metrics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agegender.audit.calibration import fit_temperature
from agegender.audit.conformal import fit_age_intervals
from agegender.data.faces_table import FacesTable
from agegender.errors import FolderError
from agegender.model.photo_files import outputs_of_files, place_columns
from agegender.model.predictor import Model
from agegender.progress import say

LEAST_CALIBRATION_PHOTOS = 30  # with fewer, a 90 % interval would rest on three photos


def evaluate_faces(model: Model, faces: FacesTable, *, split: str = "all", calibrates: bool = False) -> pd.DataFrame:
    """Return the predictions table of the kept faces.

    Parameters
    ----------
    model : Model
    faces : FacesTable
    split : str
        "all", or one of train, valid, test.
    calibrates : bool
        Fit intervals and temperature on the validation rows first, and put them on the model's card.

    Returns
    -------
    DataFrame
        The columns of the faces table and of `predictions.PREDICTION_COLUMNS`; rows whose photo could not be read are
        left out and counted on stderr.

    Raises
    ------
    FolderError
        No photo of that split is there, or none can be read.
    """
    rows = faces.kept() if split == "all" else faces.kept().query("split == @split")
    if rows.empty:
        raise FolderError(f"the faces table has no photo in the split {split!r}. Use --split all.")
    rows = rows.reset_index(drop=True)
    paths = [faces.photo_path(path) for path in rows["path"]]
    # A table of crops holds faces as the model knows them; any other's photos are cut as training cut them.
    outputs = outputs_of_files(model, paths, crops=faces.notes.get("crop", "none") == "none")
    first_problem = next(iter(outputs.problems.values()), "")
    if not outputs.raw:
        raise FolderError(f"none of the {len(paths)} photos in {faces.root} can be read: {first_problem}")
    if outputs.problems:
        say(f"left out {len(outputs.problems)} unreadable photos, first: {first_problem}")
    if calibrates:
        uncalibrated = pd.concat([rows, place_columns(model, outputs, len(rows))], axis=1)
        model.card["calibration"] = calibration_of(uncalibrated[uncalibrated["split"] == "valid"])
    predictions = pd.concat([rows, place_columns(model, outputs, len(rows))], axis=1)
    return predictions.loc[outputs.places].reset_index(drop=True)


def calibration_of(predictions: pd.DataFrame) -> dict[str, Any]:
    """Return what validation rows teach: age intervals and the gender temperature, for the card.

    A head without enough labels, or of one class only, is not calibrated.
    """
    calibration: dict[str, Any] = {}
    ages = predictions[["age_years", "predicted_age_years"]].dropna()
    if len(ages) >= LEAST_CALIBRATION_PHOTOS:
        calibration["age"] = fit_age_intervals(ages["age_years"], ages["predicted_age_years"]).to_dict()
    genders = predictions[["gender", "female_probability"]].dropna()
    if len(genders) >= LEAST_CALIBRATION_PHOTOS and genders["gender"].nunique() == 2:
        probability = genders["female_probability"].clip(1e-7, 1 - 1e-7)
        is_female = (genders["gender"] == "female").to_numpy()
        calibration["gender"] = {"temperature": fit_temperature(np.log(probability / (1 - probability)), is_female)}
    return calibration


def moved(faces: FacesTable, root: Path | None) -> FacesTable:
    """Return the faces with their photos looked for in `root`, when one is given."""
    return faces if root is None else replace(faces, root=root)
