"""Scores the photos of a faces table, as columns `<check>_score` and `is_<check>`; no photo is dropped for a score."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agegender.data.faces_table import FacesTable
from agegender.errors import PhotoError
from agegender.photos.face_detection import FaceDetector, HaarDetector
from agegender.photos.quality import (
    CHECKS,
    THRESHOLDS,
    brisque_value,
    brisque_version,
    has_face,
    is_brisque_installed,
    quality_scores,
)
from agegender.photos.reading import read_photo
from agegender.photos.reading_ahead import read_ahead
from agegender.progress import track

_FEWEST_RANKED = 100


def assess_quality(
    faces: FacesTable, *, detector: FaceDetector | None = None, brisque: bool | None = None
) -> FacesTable:
    """Add `<check>_score` and `is_<check>` for every check to the kept rows; nothing is dropped.

    Scores are missing for rows that were left out and photos that cannot be read; `brisque_value` is the library's own
    value, by default where its package is installed, at about 30 ms a photo. The notes say under "quality" which
    thresholds, detector and library were used, and how many photos each check suspects.
    """
    detector = detector or HaarDetector()
    with_brisque = is_brisque_installed() if brisque is None else brisque
    table = faces.table.copy()
    kept = table.index[table["dropped_because"].isna()]
    paths = [faces.photo_path(path) for path in table.loc[kept, "path"]]
    found = read_ahead(lambda path: _scores(path, detector, with_brisque), paths)
    rows = list(track(found, "scoring quality", total=len(paths)))
    scores = pd.DataFrame(rows, index=kept, columns=[*(set(CHECKS) - {"brisque"}), "brisque_value"], dtype="float64")
    scores["brisque"] = _rank(scores["brisque_value"])
    for check in CHECKS:
        table[f"{check}_score"] = scores[check].reindex(table.index)
        suspicious = (scores[check] < THRESHOLDS[check]).astype("boolean").where(scores[check].notna())
        table[f"is_{check}"] = suspicious.reindex(table.index)
    table["brisque_value"] = scores["brisque_value"].reindex(table.index)
    counts = {check: int(table[f"is_{check}"].sum()) for check in CHECKS}
    library = brisque_version() if with_brisque else "not scored: the package brisque is not installed"
    facts: dict[str, Any] = {"thresholds": THRESHOLDS, "detector": detector.name, "brisque": library, "counts": counts}
    return replace(faces, table=table, notes={**faces.notes, "quality": facts})


def _scores(path: Path, detector: FaceDetector, with_brisque: bool) -> dict[str, float]:
    try:
        photo = read_photo(path)
    except PhotoError:
        return {}
    scores = {**quality_scores(photo), "no_face": float(has_face(photo, detector))}
    return {**scores, "brisque_value": brisque_value(photo)} if with_brisque else scores


def _rank(values: pd.Series) -> pd.Series:
    """Return 0 for the worst BRISQUE value and 1 for the best; missing where there are too few to rank."""
    count = int(values.notna().sum())
    if count < _FEWEST_RANKED:
        return pd.Series(np.nan, index=values.index)
    return (values.rank(ascending=False) - 1) / (count - 1)
