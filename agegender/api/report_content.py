"""Owns what a report reads from a model folder: tables and the card, never the weights."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from agegender.audit.predictions_table import read_predictions
from agegender.data.faces_table import FacesTable, read_faces
from agegender.errors import TableError
from agegender.model.model_folder import FACES_FILE, HISTORY_FILE, PREDICTIONS_FILE, read_card
from agegender.pages.report_set import ReportInput


def read_report_content(folder: Path, *, images: Path | None = None, title: str | None = None) -> ReportInput:
    """Return what is to be reported on a model folder; its faces table and history may be absent.

    Parameters
    ----------
    images : Path, optional
        Where the photos are now, when they have moved since training.

    Raises
    ------
    CardError
        There is no model folder, or its card is broken.
    TableError
        It holds no predictions, or a table in it can't be read.
    """
    card = read_card(folder)
    predictions = read_predictions(folder / PREDICTIONS_FILE)
    faces: FacesTable | None = None
    if (folder / FACES_FILE).is_file():
        faces = read_faces(folder / FACES_FILE, root=images.absolute() if images else None)
    return ReportInput(predictions, title or str(card["name"]), faces, card, _history(folder / HISTORY_FILE))


def _history(path: Path) -> pd.DataFrame | None:
    if not path.is_file():
        return None
    try:
        history = pd.read_csv(path)
    except ValueError as error:
        raise TableError(f"{path} cannot be read as CSV: {error}. Delete it to go without learning curves.") from error
    return history if "epoch" in history else None
