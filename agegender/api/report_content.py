"""From a model folder, or anybody's predictions table, to what a report is made of; the weights are never read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agegender.audit.assessment import BY_DEFAULT, assess
from agegender.audit.predictions_table import read_predictions
from agegender.data.faces_table import read_faces
from agegender.heads.age_bands import FINE_EDGES
from agegender.model.model_folder import (
    CARD_FILE,
    FACES_FILE,
    PREDICTIONS_FILE,
    cards_beside,
    ensemble_words,
    read_card,
    read_history,
)
from agegender.pages.page_writing import ReportContent
from agegender.settings import AGE_CHECK_RATE, AGE_CHECKS


def read_report_content(  # noqa: PLR0913 (what is read, and how it is judged)
    folder: Path,
    *,
    images: Path | None = None,
    title: str | None = None,
    explanations: Path | None = None,
    adjust_for: str | Sequence[str] | None = BY_DEFAULT,
    age_bands: Sequence[float] = FINE_EDGES,
    age_checks: Sequence[str] = AGE_CHECKS,
    age_check_rate: float = AGE_CHECK_RATE,
) -> ReportContent:
    """Return what is to be reported on a model folder; its faces table and history may be absent.

    Parameters
    ----------
    images : Path, optional
        Where the photos are now, when they have moved since training.
    explanations : Path, optional
        The folder where `train` or `explain` left explanations; nothing is read where there is none.
    adjust_for, age_bands, age_checks, age_check_rate
        See `assess`.

    Raises
    ------
    CardError
        There is no model folder, or its card is broken.
    TableError
        It holds no predictions, or a table in it can't be read or judged.
    """
    card = read_card(folder)
    predictions = read_predictions(folder / PREDICTIONS_FILE)
    photos_root, is_drawn = images.absolute() if images else None, False
    if (folder / FACES_FILE).is_file():
        faces = read_faces(folder / FACES_FILE, root=photos_root)
        photos_root, is_drawn = faces.root, faces.is_drawn()
    judged = assess(
        predictions, title=title or str(card["name"]), adjust_for=adjust_for, is_drawn=is_drawn,
        age_bands=age_bands, age_checks=age_checks, age_check_rate=age_check_rate,
    )  # fmt: skip
    run_id, of_table = card.get("run_id"), predictions.attrs.get("run_id")
    if run_id and of_table and run_id != of_table:
        mixed = f"{PREDICTIONS_FILE} is of the training run {of_table}, and {CARD_FILE} beside it of {run_id}."
        judged = replace(judged, notices=(*judged.notices, mixed))
    judged = replace(judged, notices=(*judged.notices, *ensemble_words(card)))
    explained = _explanations(explanations, run_id)
    return ReportContent(
        judged, photos_root, card, read_history(folder), explained, model_folder=folder, runs=cards_beside(folder)
    )


def _explanations(folder: Path | None, run_id: str | None) -> list | None:
    if folder is None or not folder.is_dir():
        return None
    from agegender.explanation.explanation_files import read_explanations

    return read_explanations(folder, run_id=run_id) or None
