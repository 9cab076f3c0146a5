"""From a model folder to its pages: choose the faces worth explaining, explain them, write the reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from agegender.api.choosing import Wanted, wanted_rows
from agegender.api.explaining import explain_wanted
from agegender.api.report_content import read_report_content
from agegender.audit.predictions_table import with_errors
from agegender.data.faces_table import FacesTable
from agegender.explanation.results import FaceExplanation
from agegender.explanation.settings import LimeSettings
from agegender.explanation.storing import EXPLANATIONS_FOLDER
from agegender.model.predictor import Model
from agegender.pages.report_set import write_report_set

WORST_FACES = 5


def report_model(
    model: Model, faces: FacesTable, predictions: pd.DataFrame, model_folder: Path, folder: Path
) -> dict[str, Path]:
    """Explain the faces worth a look, and write every page of a model to `folder`; return page name -> file.

    Raises
    ------
    OutputError
        The folder cannot be written to.
    """
    settings = LimeSettings(seed=int(model.card.get("seed", 0)), device=str(model.device))
    wanted = faces_to_explain(faces, predictions)
    explained = explain_wanted(model, wanted, settings, folder / EXPLANATIONS_FOLDER).faces if wanted else []
    return write_model_pages(model_folder, folder, explained)


def write_model_pages(model_folder: Path, folder: Path, explanations: Sequence[FaceExplanation]) -> dict[str, Path]:
    """Write the pages of a model from its folder, these explanations among them; return page name -> file.

    Raises
    ------
    TableError
        The model folder holds no predictions.
    """
    content = replace(read_report_content(model_folder), explanations=list(explanations) or None)
    return write_report_set(folder, content).pages


def faces_to_explain(faces: FacesTable, predictions: pd.DataFrame, *, worst: int = WORST_FACES) -> list[Wanted]:
    """Return the photos worth a look, each once: the worst errors both ways, and a typical face of each gender label.

    The test split is looked at, or everything where no split is known. Typical is the face whose error is nearest to
    the median error of its gender, among those whose gender is right.
    """
    table = with_errors(predictions).reset_index(drop=True)
    if "split" in table and (table["split"] == "test").any():
        table = table[table["split"] == "test"]
    errors = table["age_error_years"].dropna().sort_values()
    chosen = {place: "worst over-estimate" for place in errors.index[::-1][:worst] if errors[place] > 0}
    chosen |= {place: "worst under-estimate" for place in errors.index[:worst] if errors[place] < 0}
    for gender in ("female", "male"):
        right = table[(table["gender"] == gender) & (table["is_gender_right"] == 1)]["age_error_years"].dropna()
        right = right.drop(index=[place for place in chosen if place in right.index])
        if len(right):
            chosen[(right - right.median()).abs().idxmin()] = f"typical face labelled {gender}"
    return wanted_rows(faces, table.loc[list(chosen)].assign(reason=list(chosen.values())))
