"""A teacher's answers to the training photos, which a network learns beside the labels (`train --teacher`).

They are given once, before the first epoch, and kept with the run, so that a run that goes on learns from the same
numbers. A predictions table teaches as a model does: what is learnt from is what a predictions table has of each head.

References
----------
Hinton, Vinyals, Dean: Distilling the knowledge in a neural network, arXiv 1503.02531 (2015).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from agegender.audit.predictions_table import read_predictions
from agegender.data.faces_table import FacesTable
from agegender.errors import CardError, TableError, UsageError
from agegender.heads import Head, Regression
from agegender.model.checkpoint import digest_of, write_tensors
from agegender.model.losses import Teaching
from agegender.model.model_folder import CARD_FILE, LEARNT_ENTRY, is_exported, judging_photos_learnt
from agegender.model.predictor import Predictor
from agegender.model.unfinished import TEACHER_FILE
from agegender.progress import say
from agegender.training_settings import TrainingSettings
from agegender.writing import replaced_file


@dataclass(frozen=True)
class Lessons:
    """What a teacher says of each training photo.

    Attributes
    ----------
    answers : ndarray, shape (training photos, K), float32
        Of each taught head, in the order of the heads, its `taught_columns`; NaN where the teacher says nothing.
    facts : dict
        For the card: who taught which heads, and how many photos.
    """

    answers: NDArray[np.float32]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def teaching(self, heads: Sequence[Head], settings: TrainingSettings) -> Teaching:
        """Return how a loss is to use them."""
        places: dict[str, slice] = {}
        start = 0
        for head in heads:
            if head.name in self.facts["heads"]:
                places[head.name] = slice(start, start + len(taught_columns(head)))
                start = places[head.name].stop
        if start != self.answers.shape[1]:
            raise CardError(f"the answers of the teacher have {self.answers.shape[1]} columns; expected {start}.")
        return Teaching(places, settings.teacher_weight, settings.teacher_temperature)


def taught_columns(head: Head) -> tuple[str, ...]:
    """Return what a head is taught by: a number and the spread of its distribution, or all probabilities."""
    if isinstance(head, Regression):
        return (head.predicted, head.spread_column)
    return tuple(head.probability_columns.values())


def lessons_for(
    faces: FacesTable, heads: Sequence[Head], settings: TrainingSettings, run_folder: Path | None = None
) -> Lessons | None:
    """Return the teacher's answers to the training rows, those that the run keeps where it has some.

    Raises
    ------
    UsageError
        The teacher knows no head of the student's.
    TableError, CardError, WeightsError
        It cannot be read.
    """
    if settings.teacher is None:
        return None
    kept = None if run_folder is None else run_folder / TEACHER_FILE
    if kept is not None and kept.is_file():
        return _read(kept)
    place = Path(settings.teacher)
    rows = faces.kept()
    training = rows[rows["split"] == "train"].reset_index(drop=True)
    answers, facts = _answers(place, replace(faces, table=training), settings.device)
    known = judging_photos_learnt(place, rows, "its teacher")
    facts |= {} if known is None else {LEARNT_ENTRY: known}
    lessons = _lessons(answers, training, heads, facts)
    if kept is not None:
        tensors = {"answers": torch.from_numpy(lessons.answers)}
        with replaced_file(kept) as temporary:
            write_tensors(tensors, temporary, {"facts": json.dumps(dict(lessons.facts))})
    return lessons


def _answers(place: Path, training: FacesTable, device: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the teacher's predictions table, and who it is."""
    if not (place.is_dir() or is_exported(place)):
        return read_predictions(place), {"name": place.stem, "kind": "table", "sha256": digest_of(place)}
    teacher = Predictor.load(place, device="auto" if is_exported(place) else device)
    say(f"the teacher, {teacher.card['name']}, answers for {len(training.table):,} training photos, once")
    weights = teacher.card.get("weights_sha256") or digest_of(place if place.is_file() else place / CARD_FILE)
    return teacher.predict_faces(training), {"name": teacher.card["name"], "kind": "model", "sha256": weights}


def _lessons(answers: pd.DataFrame, training: pd.DataFrame, heads: Sequence[Head], facts: dict[str, Any]) -> Lessons:
    taught = [head for head in heads if _is_known(head, answers)]
    if not taught:
        wanted = ", ".join(column for head in heads for column in _needed(head))
        raise UsageError(
            f"--teacher {facts['name']} teaches none of the heads {', '.join(head.name for head in heads)}: its "
            f"answers would be in {wanted}."
        )
    if "path" not in answers or answers["path"].duplicated().any():
        raise TableError(f"the answers of --teacher {facts['name']} have no column path with each photo once.")
    by_photo = answers.set_index("path").reindex(training["path"])
    columns = [name for head in taught for name in taught_columns(head)]
    values = by_photo.reindex(columns=columns).apply(pd.to_numeric, errors="coerce").to_numpy(np.float32, copy=True)
    known = int(np.isfinite(values[:, [columns.index(_needed(head)[0]) for head in taught]]).any(axis=1).sum())
    if not known:
        raise UsageError(
            f"--teacher {facts['name']} says nothing of any of the {len(training):,} training photos: its paths are "
            f"{answers['path'].iloc[0]} and the like, and theirs {training['path'].iloc[0]}."
        )
    names = [head.name for head in taught]
    say(f"{facts['name']} teaches {', '.join(names)} on {known:,} of {len(training):,} training photos")
    return Lessons(values, facts | {"heads": names, "photos": known})


def _needed(head: Head) -> tuple[str, ...]:
    return taught_columns(head)[:1] if isinstance(head, Regression) else taught_columns(head)


def _is_known(head: Head, answers: pd.DataFrame) -> bool:
    return all(name in answers for name in _needed(head))


def _read(path: Path) -> Lessons:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return Lessons(file.get_tensor("answers"), json.loads(file.metadata()["facts"]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise CardError(f"{path} is damaged: {error}. Restore it, or delete {path.parent} and train anew.") from error
