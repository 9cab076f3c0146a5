"""Models that are there as one: put together, calibrated and judged where photos are new to all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from agegender.audit.metrics_document import card_metrics
from agegender.data.faces_table import FacesTable
from agegender.errors import FolderError
from agegender.model.predictor import Predictor
from agegender.progress import say


def answer_as_one(
    folders: Sequence[Path], name: str, vote: str, *, device: str, precision: str, images: Path | None
) -> tuple[Predictor, FacesTable | None, pd.DataFrame | None]:
    """Return the ensemble of model folders, and the faces table that all share with the ensemble's predictions."""
    from agegender.model.ensembles import combined, shared_faces

    network, card = combined(folders, name, vote)
    predictor = Predictor.of_network(network, card, device=device, precision=precision)
    faces = shared_faces(folders, images)
    if faces is None:
        say(
            "the members were trained with different faces tables or splits, or began with what knew the test photos: "
            "no photo is known to be new to all, and the ensemble has no intervals, and nothing to report on."
        )
        return predictor, None, None
    try:
        faces.check_photos()
        predictions = predictor.predict_faces(faces, calibrates=True)
    except FolderError as error:
        say(f"the ensemble is not calibrated: {error}")
        return predictor, None, None
    card["metrics"] = card_metrics(predictions, predictor.heads)
    card["faces_fingerprint"] = faces.fingerprint()
    return predictor, faces, predictions
