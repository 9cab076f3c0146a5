"""From a model folder to its pages: choose the faces worth explaining, explain them, write the reports."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.errors import PhotoError
from agegender.explanation.faces_in_turn import explain_faces
from agegender.explanation.results import FaceExplanation
from agegender.faces import Faces
from agegender.images.reading import read_photo
from agegender.inference.model import Model
from agegender.model_folder import HISTORY_FILE
from agegender.predictions import PREDICTION_COLUMNS, with_errors
from agegender.progress import say
from agegender.reporting.reports import write_reports

WORST_FACES = 5
LABEL_COLUMNS = ("age_years", "gender", "ethnicity", "expression")


def report_model(
    model: Model,
    faces: Faces,
    predictions: pd.DataFrame,
    model_folder: Path,
    folder: Path,
    *,
    explains: bool = True,
    hide_faces: bool = False,
) -> dict[str, Path]:
    """Write every page of a model to `folder`; return page name -> file.

    Raises
    ------
    OutputError
        The folder cannot be written to.
    """
    history = model_folder / HISTORY_FILE
    explanations = explain_chosen(model, faces, faces_to_explain(predictions)) if explains else None
    return write_reports(
        folder,
        predictions=predictions,
        title=model.card["name"],
        faces=faces,
        card=model.card,
        history=pd.read_csv(history) if history.is_file() else None,
        explanations=explanations,
        hide_faces=hide_faces,
    )


def faces_to_explain(predictions: pd.DataFrame, *, worst: int = WORST_FACES) -> pd.DataFrame:
    """Return the rows worth a look, each once, with a column `reason`: the worst errors and a typical face per gender.

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
    rows = table.loc[list(chosen)]
    return rows.assign(reason=list(chosen.values()))


def explain_chosen(model: Model, faces: Faces, rows: pd.DataFrame) -> list[FaceExplanation]:
    """Explain the photos of `rows`; one that cannot be read is left out and said."""
    explained = explain_faces(
        model.score_images,
        _fitted(model, faces, rows),
        seed=int(model.card.get("seed", 0)),
        device=str(model.device),
    )
    known = {str(row["path"]): row for row in rows.to_dict("records")}
    return [_with_facts(face, known[face.path]) for face in explained]


def _with_facts(face: FaceExplanation, row: Mapping[Hashable, Any]) -> FaceExplanation:
    facts = {str(name): value for name, value in row.items()}
    predicted = {name: value for name, value in facts.items() if name in PREDICTION_COLUMNS}
    labels = {name: facts[name] for name in LABEL_COLUMNS if name in facts}
    return replace(face, reason=str(facts["reason"]), labels=labels, predictions=predicted)


def _fitted(model: Model, faces: Faces, rows: pd.DataFrame) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    for path in rows["path"]:
        fitted = _fitted_photo(model, faces.photo_path(path))
        if fitted is not None:
            yield path, fitted


def _fitted_photo(model: Model, path: Path) -> NDArray[np.uint8] | None:
    try:
        return model.fit_photo(read_photo(path))
    except PhotoError as error:
        say(f"not explained: {error}")
        return None
