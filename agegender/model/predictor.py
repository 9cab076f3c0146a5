"""A trained model in use: photos in, predictions out, as training saw photos and calibrated as the card says.

What runs the network is a runtime, torch's or onnxruntime's; everything around it is here, once, and imports neither.
Threads read and fit photos while the network works on others. One bad photo never stops a run: its row stays empty, and
the reason is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.data.faces_table import FacesTable
from agegender.errors import FolderError, PhotoError, TableError, UsageError
from agegender.heads import Classification, Regression, head_to_dict
from agegender.heads.label_intervals import LABELLED_GROUPS
from agegender.memory import kept_memory
from agegender.model.familiarity import Familiarity, familiarity_of, margins_in
from agegender.model.model_folder import heads_of, image_of, is_exported
from agegender.model.onnx_runtime import OnnxRuntime
from agegender.photos.face_crops import Margins, crop_largest_face, margins_of
from agegender.photos.face_detection import SECOND_LOOK, FaceDetector, make_detectors
from agegender.photos.reading import as_photo
from agegender.photos.reading_ahead import read_ahead
from agegender.photos.warping import fit_square
from agegender.progress import say, track
from agegender.settings import OUT_OF_FOLD

if TYPE_CHECKING:
    import torch

    from agegender.model.torch_runtime import TorchRuntime

BATCH_SIZE = 64
LARGEST_FULL_BATCH_PIXELS = 320
READING_THREADS = 2


class Predictor:
    """A network that is ready to run, and its card.

    Parameters
    ----------
    runtime : TorchRuntime or OnnxRuntime
        `answers` returns what each head's `columns` takes of fitted photos, uint8 (N, S, S, 3).
    card : dict
        As in `model.json`; it needs `heads` and `image`, and `calibration` where there is one.
    detector_file : Path, optional
        YuNet's, for a model whose training photos it cropped.

    Attributes
    ----------
    heads : tuple of Head
    image : ImageSettings
        How photos are brought to the network.
    place : Path or None
        What it was loaded from: a folder, or an .onnx file.
    detector_file : Path or None
    torch_folder : Path or None
        Where torch finds the network that onnxruntime runs, for what onnxruntime cannot do.
    """

    torch_folder: Path | None = None
    place: Path | None = None

    def __init__(
        self, runtime: TorchRuntime | OnnxRuntime, card: dict[str, Any], *, detector_file: Path | None = None
    ) -> None:
        self.runtime, self.card, self.detector_file = runtime, card, detector_file
        self.image, self.heads = image_of(card), heads_of(card)

    @classmethod
    def of_network(
        cls,
        network: torch.nn.Module,
        card: dict[str, Any],
        *,
        device: str | torch.device = "auto",
        precision: str = "auto",
        detector_file: Path | None = None,
    ) -> Self:
        """Take a network in torch; see `TorchRuntime`."""
        from agegender.model.torch_runtime import TorchRuntime

        runtime = TorchRuntime(network, heads_of(card), image_of(card), device=device, precision=precision)
        return cls(runtime, card, detector_file=detector_file)

    @classmethod
    def load(
        cls, folder: Path, *, device: str = "auto", precision: str = "auto", detector_file: Path | None = None
    ) -> Self:
        """Load a model folder, or the .onnx file that a model was exported to, which torch is not imported for.

        Raises
        ------
        CardError, WeightsError
            The folder lacks a file, or its weights do not fit its card.
        UsageError
            There is no such device, or it cannot do that precision, or the detector's file is missing.
        """
        if is_exported(folder):
            runtime, card = OnnxRuntime.load(folder, device=device, precision=precision)
            predictor = cls(runtime, card, detector_file=detector_file)
        else:
            from agegender.model.ensembles import load_any

            network, card = load_any(folder)
            predictor = cls.of_network(network, card, device=device, precision=precision, detector_file=detector_file)
        predictor.place = folder
        # What is missing or wrong is said now, and not at the first photo.
        _ = predictor.detector, predictor.familiarity, predictor.margins
        return predictor

    @property
    def in_torch(self) -> TorchRuntime:
        """The network in torch.

        Raises
        ------
        UsageError
            The model was loaded from an .onnx file.
        """
        if not isinstance(self.runtime, OnnxRuntime):
            return self.runtime
        if not self.torch_folder:
            raise UsageError(
                f"{self.runtime.place} is an ONNX file, which predicts, evaluates and is explained, and nothing else. "
                f"Load the model folder that it was exported from."
            )
        return self._beside_onnx

    @cached_property
    def _beside_onnx(self) -> TorchRuntime:
        from agegender.model.ensembles import load_any
        from agegender.model.torch_runtime import TorchRuntime

        network, _ = load_any(Path(self.torch_folder or ""))
        return TorchRuntime(network, self.heads, self.image, device="cpu")

    @property
    def network(self) -> torch.nn.Module:
        """The network in torch, on its device."""
        return self.in_torch.network

    @property
    def device(self) -> torch.device | str:
        """What the network runs on."""
        return self.runtime.device

    def score_images(self, images: torch.Tensor) -> torch.Tensor | NDArray[np.float32]:
        """Return what explanations explain, uncalibrated.

        Parameters
        ----------
        images : Tensor, uint8 (N, 3, S, S)

        Returns
        -------
        Tensor or array, float32 (N, K), on the model's device
            A column for each of the heads' `targets`: a number in the head's unit; the log-odds of the second of two
            classes (for gender: female); of more classes the log-odds of each.
        """
        return self.runtime.score_images(images)

    @cached_property
    def detector(self) -> FaceDetector | None:
        """What finds faces as it did in the training photos; None where these were taken as they came."""
        image = self.image
        if image.crop == "none":
            return None
        return make_detectors(image.crop, image.crop_then, smallest=image.crop_smallest, model_file=self.detector_file)

    def detector_for(self, faces: str | None, *, is_cropped: bool) -> FaceDetector | None:
        """Return what finds the faces that are to be predicted, see `Looking`; None where photos are taken whole."""
        if is_cropped:
            return None
        return self.detector or (None if faces is None else make_detectors("haar", SECOND_LOOK))

    @cached_property
    def margins(self) -> Margins:
        """What was left around the faces of training photos, or lay around them where they were taken as they came."""
        return (self.image.crop == "none" and margins_in(self.card)) or margins_of(self.image)

    @cached_property
    def familiarity(self) -> Familiarity | None:
        """What tells photos from those of the training, where the card knows it."""
        return familiarity_of(self.card)

    def fit_photo(self, photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a photo, uint8 (H, W, 3) RGB, as the network sees it: uint8 (S, S, 3)."""
        return fit_square(photo, self.image.size)

    def crop_photo(self, photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the largest face of an uncropped photo, uint8 (H, W, 3) RGB, cut out as the training photos were.

        A model that was trained on photos as they came returns the photo as it is.
        """
        if self.detector is None:
            return photo
        return crop_largest_face(photo, self.detector, self.margins, aligns=self.image.crop_aligned)

    def predict_images(self, images: NDArray[np.uint8]) -> pd.DataFrame:
        """Predict fitted photos, uint8 (N, S, S, 3) as `fit_photo` returns them; see `columns`."""
        return self.columns(self.answers(images))

    def predict_faces(self, faces: FacesTable, *, split: str = "all", calibrates: bool = False) -> pd.DataFrame:
        """Return the predictions table of the kept faces.

        Parameters
        ----------
        split : str
            "all", or one of train, valid, test.
        calibrates : bool
            First fit intervals and temperatures on the calibrating half of the validation rows, and put them on the
            card.

        Returns
        -------
        DataFrame
            The columns of the faces table and those of `columns`, and where there are labels each regression's
            `label_interval_columns`; rows whose photo could not be read are left out and counted on stderr.

        Raises
        ------
        FolderError
            No photo of that split is there, or none can be read.
        """
        rows = faces.kept() if split == "all" else faces.kept().query("split == @split")
        if rows.empty:
            raise FolderError(f"the faces table has no photo in the split {split!r}. Use --split all.")
        if self.is_of_folds(faces.notes):
            return self._out_of_fold(replace(faces, table=rows))
        rows = rows.reset_index(drop=True)
        paths = [faces.photo_path(path) for path in rows["path"]]
        # A table of crops holds faces as the model knows them; any other's photos are cut as training cut them.
        answers, problems = self._answers_of_photos(paths, crops=faces.notes.get("crop", "none") == "none")
        read = [place for place in range(len(rows)) if place not in problems]
        first_problem = next(iter(problems.values()), "")
        if not answers:
            raise FolderError(f"none of the {len(paths)} photos in {faces.root} can be read: {first_problem}")
        if problems:
            say(f"left out {len(problems)} unreadable photos, first: {first_problem}")
        if calibrates:
            self.card["calibration"] = {}
            uncalibrated = pd.concat([rows, self.placed(answers, read, len(rows))], axis=1)
            self.card["calibration"] = self._calibration(uncalibrated[uncalibrated["split"] == "valid"])
        predictions = self._with_label_intervals(pd.concat([rows, self.placed(answers, read, len(rows))], axis=1))
        return self.as_ours(predictions.drop(index=list(problems)))

    def as_ours(self, predictions: pd.DataFrame) -> pd.DataFrame:
        """Return a predictions table with what columns alone do not tell: the heads, and which run it is of."""
        predictions = predictions.reset_index(drop=True)
        predictions.attrs["heads"] = [head_to_dict(head) for head in self.heads]
        if self.card.get("run_id"):
            predictions.attrs["run_id"] = str(self.card["run_id"])
        return predictions

    def is_of_folds(self, notes: Mapping[str, Any]) -> bool:
        """Return whether faces with these notes are those that this ensemble was trained on in folds."""
        split = notes.get("split")
        run_id = self.card.get("run_id")
        is_ours = isinstance(split, dict) and split.get("kind") == OUT_OF_FOLD and split.get("run_id") == run_id
        return is_ours and run_id is not None and "members" in self.card

    def member(self, number: int) -> Predictor:
        """Return a member of an ensemble by itself: of folds, the one that was tested on the fold of this number."""
        network: Any = self.network
        runtime = self.in_torch
        precision = "auto" if runtime.precision == "fp32" else runtime.precision
        card = network.cards[number]
        return Predictor.of_network(network.members[number], card, device=self.device, precision=precision)

    def _out_of_fold(self, faces: FacesTable) -> pd.DataFrame:
        """Return the predictions of faces that the ensemble was trained on, each by the member that never saw it."""
        if isinstance(self.runtime, OnnxRuntime):
            raise UsageError(
                f"the ensemble {self.runtime.place} was trained on these photos, and only its model folder has the "
                f"network that never saw each: name the folder."
            )
        folds, parts = faces.table["fold"], []
        for number in sorted(map(int, folds.dropna().unique())):
            if not 0 <= number < len(self.card["members"]):
                raise TableError(f"the faces table has a fold {number}, of which the ensemble has no member.")
            part = replace(faces, table=faces.table[folds == number], notes={**faces.notes, "split": {}})
            parts.append(self.member(number).predict_faces(part))
        place = {path: number for number, path in enumerate(faces.table["path"])}
        return self.as_ours(pd.concat(parts).sort_values("path", key=lambda paths: paths.map(place), kind="stable"))

    def columns(self, answers: Sequence[NDArray[np.float32]]) -> pd.DataFrame:
        """Return answers, one array per head, as the `prediction_columns` of each, calibrated by the card."""
        calibration = self.card.get("calibration") or {}
        filled: dict[str, Any] = {}
        for head, values in zip(self.heads, answers, strict=True):
            filled |= head.columns(values, calibration.get(head.name))
        table = pd.DataFrame(filled)
        for head in self.heads:
            if isinstance(head, Regression):  # an interval rests on what the other heads say as well
                table = table.assign(**head.intervals(table, calibration.get(head.name)))
        return table

    def _calibration(self, valid: pd.DataFrame) -> dict[str, Any]:
        """Return what the calibrating half of validation rows teaches; a head without enough labels has no entry."""
        from agegender.data.splitting import calibration_rows  # scipy, which no prediction needs

        return self.calibration_by(valid[calibration_rows(valid)])

    def calibration_by(self, rows: pd.DataFrame) -> dict[str, Any]:
        """Return what rows that the model has never seen teach, for the card."""
        from agegender.data.splitting import group_numbers

        classes = [head for head in self.heads if isinstance(head, Classification) and not head.is_sensitive]
        known = [head.predicted for head in classes]
        labelled = list(dict.fromkeys([*(head.column for head in classes), *LABELLED_GROUPS]))
        entries: dict[str, Any] = {}
        for head in self.heads:
            if head.column not in rows:
                continue
            if isinstance(head, Classification):
                entries[head.name] = head.calibrate(rows)
            else:
                entries[head.name] = head.calibrate(rows, known=known, labelled=labelled, clusters=group_numbers(rows))
        return {name: entry for name, entry in entries.items() if entry}

    def _with_label_intervals(self, predictions: pd.DataFrame) -> pd.DataFrame:
        """Return a labelled table with the columns of the intervals that know its labels."""
        calibration = self.card.get("calibration") or {}
        for head in self.heads:
            if isinstance(head, Regression):
                predictions = predictions.assign(**head.label_intervals(predictions, calibration.get(head.name)))
        return predictions

    @kept_memory()
    def _answers_of_photos(
        self, photos: Sequence[Any], *, crops: bool
    ) -> tuple[tuple[NDArray[np.float32], ...], dict[int, str]]:
        """Return answers to the photos that can be read, and why each other one cannot."""
        answers: list[tuple[NDArray[np.float32], ...]] = []
        problems: dict[int, str] = {}
        images: list[NDArray[np.uint8]] = []
        fitted = read_ahead(partial(self._fitted, crops=crops), photos, threads=READING_THREADS)
        for place, image in enumerate(track(fitted, "predicting", total=len(photos))):
            if isinstance(image, PhotoError):
                problems[place] = str(image)
            else:
                images.append(image)
            if len(images) == BATCH_SIZE or (images and place == len(photos) - 1):
                answers.append(self.answers(np.stack(images)))
                images = []
        return tuple(np.concatenate(parts) for parts in zip(*answers, strict=True)), problems

    def _fitted(self, item: Any, *, crops: bool) -> NDArray[np.uint8] | PhotoError:
        try:
            photo = as_photo(item)
            return self.fit_photo(self.crop_photo(photo) if crops else photo)
        except PhotoError as error:
            return error

    def answers(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """Return answers, one array per head, to any number of fitted photos, uint8 (N, S, S, 3)."""
        # Large photos in small batches: 64 of 2048 pixels would take gigabytes.
        size = max(1, round(BATCH_SIZE * min(1.0, (LARGEST_FULL_BATCH_PIXELS / self.image.size) ** 2)))
        batches = [self.runtime.answers(images[start : start + size]) for start in range(0, len(images), size)]
        return tuple(np.concatenate(parts) for parts in zip(*batches, strict=True))

    def placed(self, answers: Sequence[NDArray[np.float32]], places: Sequence[int], row_count: int) -> pd.DataFrame:
        """Return the columns with `row_count` rows, filled at these places; the others are missing."""
        given = answers or [np.zeros((0, *head.answer_shape), np.float32) for head in self.heads]
        columns = self.columns(given)
        columns.index = pd.Index(places)
        return columns.reindex(range(row_count))
