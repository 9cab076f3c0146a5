"""From a model folder to its pages: choose the faces worth explaining, explain them, write the reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from agegender.api.explaining import PhotoToExplain, explain_photos, photos_of_rows
from agegender.api.report_content import read_report_content
from agegender.data.faces_table import FacesTable
from agegender.explanation import EXPLANATIONS_FOLDER
from agegender.explanation.choosing_faces import REPORT_CHOICE, choose_faces
from agegender.explanation.face_explanation import FaceExplanation
from agegender.explanation.lime_explainer import LimeSettings
from agegender.heads import Head
from agegender.model.predictor import Predictor
from agegender.pages.report_set import write_report_set


def report_model(
    model: Predictor, faces: FacesTable, predictions: pd.DataFrame, model_folder: Path, folder: Path
) -> dict[str, Path]:
    """Explain the faces worth a look, and write every page of a model to `folder`; return page name -> file.

    Raises
    ------
    OutputError
        The folder cannot be written to.
    """
    settings = LimeSettings(seed=int(model.card.get("seed", 0)), device=str(model.device))
    photos = faces_to_explain(faces, predictions, model.heads)
    explained = explain_photos(model, photos, settings, folder / EXPLANATIONS_FOLDER).faces if photos else []
    return write_model_pages(model_folder, folder, explained)


def write_model_pages(
    model_folder: Path,
    folder: Path,
    explanations: Sequence[FaceExplanation],
    *,
    hide_faces: bool | None = None,
    only: Sequence[str] | None = None,
) -> dict[str, Path]:
    """Write the pages of a model from its folder, these explanations among them; return page name -> file.

    Raises
    ------
    TableError
        The model folder holds no predictions.
    """
    content = replace(read_report_content(model_folder), explanations=list(explanations) or None)
    return write_report_set(folder, content, hide_faces=hide_faces, only=only).pages


def faces_to_explain(faces: FacesTable, predictions: pd.DataFrame, heads: Sequence[Head]) -> list[PhotoToExplain]:
    """Return the photos of the test split that are worth a look, or of everything where no split is known."""
    tested = predictions[predictions["split"] == "test"] if "split" in predictions else predictions
    rows = predictions if tested.empty else tested
    return photos_of_rows(faces, choose_faces(rows, REPORT_CHOICE, heads), heads)
