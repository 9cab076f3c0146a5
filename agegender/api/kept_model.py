"""What a model keeps beside its network: the faces it was trained on, its predictions, its history, its Learner."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pandas as pd

from agegender.api.faces import Faces
from agegender.api.predicting import PredictingModel
from agegender.audit.predictions_table import read_predictions
from agegender.data.faces_table import FacesTable
from agegender.errors import UsageError
from agegender.model.model_folder import FACES_FILE, PREDICTIONS_FILE, read_history
from agegender.model.predictor import Predictor
from agegender.model.unfinished import UnfinishedRun

if TYPE_CHECKING:
    from agegender.model.learner import FaceLearner

Place = str | Path


class KeptModel(PredictingModel):
    """The part of `agegender.Model` that remembers: from its folder, or from the training that made it."""

    _folder: Path | None = None
    _images: Place | None = None
    _run: UnfinishedRun | None = None
    _home: object = None  # what keeps the members of an ensemble that is not saved yet

    @classmethod
    def _of_parts(cls, made: Predictor, faces: FacesTable | None, predictions: pd.DataFrame | None) -> Self:
        model = cls(made.runtime, made.card)
        model.faces = None if faces is None else Faces._of(faces)
        model.predictions, model.history = predictions, None
        return model

    @property
    def name(self) -> str:
        """What the model is called."""
        return str(self.card["name"])

    @cached_property
    def faces(self) -> Faces | None:
        """What it was trained on, from its folder."""
        path = None if self._folder is None else self._folder / FACES_FILE
        return Faces.load(path, root=self._images) if path is not None and path.is_file() else None

    @cached_property
    def predictions(self) -> pd.DataFrame | None:
        """Its predictions of every kept photo of `faces`, from its folder."""
        path = None if self._folder is None else self._folder / PREDICTIONS_FILE
        return read_predictions(path) if path is not None and path.is_file() else None

    @cached_property
    def history(self) -> pd.DataFrame | None:
        """One row per epoch, from its folder."""
        return None if self._folder is None else read_history(self._folder)

    @cached_property
    def learner(self) -> FaceLearner:
        """The fastai Learner: `show_results`, `lr_find`, …; of a loaded model it is rebuilt from the folder."""
        from agegender.model.learner import learner_of

        if "members" in self.card:
            raise UsageError(f"the ensemble {self.name} has no Learner; each of its members, a model folder, has one.")
        if self._folder is None:
            raise UsageError("this model has no Learner: it was neither trained here nor loaded from a folder.")
        return learner_of(self._folder, photos_root=None if self._images is None else Path(self._images).absolute())
