"""A trained model in use: photos in, predictions out, as training saw photos and calibrated as the card says.

Threads read and fit photos while the network works on others. One bad photo never stops a run: its row stays empty, and
the reason is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agegender.data.faces_table import FacesTable
from agegender.data.normalisation import Normalisation
from agegender.errors import FolderError, PhotoError
from agegender.heads import Classification, Head, head_to_dict
from agegender.model.checkpoint import load_network
from agegender.model.folding import folded_copy, state_of
from agegender.model.model_folder import heads_of, image_of
from agegender.model.network import decode
from agegender.model.precision import autocast, choose_device, choose_precision
from agegender.photos.face_detection import FaceDetector, crop_largest_face, make_detector
from agegender.photos.reading import as_photo
from agegender.photos.reading_ahead import read_ahead
from agegender.photos.warping import fit_square
from agegender.progress import say, track

BATCH_SIZE = 64
LARGEST_FULL_BATCH_PIXELS = 320
READING_THREADS = 2
FOLDED_FROM = 16  # photos in a call; for fewer, folding takes longer than it saves


class Predictor:
    """A network, its card, and the device that it runs on.

    Parameters
    ----------
    network : nn.Module
        Normalised images, float (N, 3, S, S), to a tuple of raw tensors, one per head of the card.
    card : dict
        As in `model.json`; it needs `heads` and `image`, and `calibration` where there is one.
    device, precision : str
        As the commands take them.
    detector_file : Path, optional
        YuNet's, for a model whose training photos it cropped.

    Attributes
    ----------
    heads : tuple of Head
    image : ImageSettings
        How photos are brought to the network.
    precision, scoring_precision : str
        "fp32", "fp16" or "bf16", for predictions and for `score_images`.
    """

    def __init__(
        self,
        network: nn.Module,
        card: dict[str, Any],
        *,
        device: str | torch.device = "auto",
        precision: str = "auto",
        detector_file: Path | None = None,
    ) -> None:
        self.card, self.device, self._detector_file = card, choose_device(str(device)), detector_file
        # A prediction should not depend on the batch it came in, so it is made in fp32 unless another precision is
        # asked for; explanations average over hundreds of runs and may take the fastest.
        self.precision = "fp32" if precision == "auto" else precision
        self.scoring_precision = choose_precision(precision, self.device)
        self.image, self.heads = image_of(card), heads_of(card)
        self.network = network.to(self.device).to(memory_format=torch.channels_last).eval()
        self._folded: tuple[tuple[float, ...], nn.Module] | None = None
        self._normalisation = Normalisation(self.image.mean, self.image.std).to(self.device)

    @classmethod
    def load(
        cls, folder: Path, *, device: str = "auto", precision: str = "auto", detector_file: Path | None = None
    ) -> Self:
        """Load a model folder.

        Raises
        ------
        CardError, WeightsError
            The folder lacks a file, or its weights do not fit its card.
        UsageError
            There is no such device, or it cannot do that precision, or the detector's file is missing.
        """
        network, card = load_network(folder)
        predictor = cls(network, card, device=device, precision=precision, detector_file=detector_file)
        _ = predictor.detector  # that its file is missing is said now, and not at the first photo
        return predictor

    @cached_property
    def detector(self) -> FaceDetector | None:
        """What finds faces as it did in the training photos; None where these were taken as they came."""
        crop = self.image.crop
        return None if crop == "none" else make_detector(crop, model_file=self._detector_file)

    def fit_photo(self, photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a photo, uint8 (H, W, 3) RGB, as the network sees it: uint8 (S, S, 3)."""
        return fit_square(photo, self.image.size)

    def crop_photo(self, photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the largest face of an uncropped photo, uint8 (H, W, 3) RGB, cut out as the training photos were.

        A model that was trained on photos as they came returns the photo as it is.
        """
        if self.detector is None:
            return photo
        return crop_largest_face(photo, self.detector, self.image.crop_margin)

    def raw_outputs(self, images: Tensor, precision: str) -> tuple[Tensor, ...]:
        """Return the network's raw outputs, one float32 tensor per head, of images, uint8 (N, 3, S, S)."""
        with torch.inference_mode(), autocast(precision, self.device):
            network = self._scoring_network() if len(images) >= FOLDED_FROM else self.network
            raw = network(self._normalisation.normalise(images.to(self.device)))
        return tuple(values.float() for values in raw)

    def _scoring_network(self) -> nn.Module:
        """Return the network with its norms folded, made anew when somebody has trained it further."""
        if self.network.training:
            return self.network
        state = state_of(self.network)
        if self._folded is None or self._folded[0] != state:
            self._folded = state, folded_copy(self.network, self.image.size) or self.network
        return self._folded[1]

    def score_images(self, images: Tensor) -> Tensor:
        """Return what explanations explain, uncalibrated.

        Parameters
        ----------
        images : Tensor, uint8 (N, 3, S, S)

        Returns
        -------
        Tensor, float32 (N, K), on the model's device
            A column for each of the heads' `targets`: a number in the head's unit; the log-odds of the second of two
            classes (for gender: female); of more classes the log-odds of each.
        """
        outputs = self.raw_outputs(images, self.scoring_precision)
        return torch.cat([head_scores(head, raw) for head, raw in zip(self.heads, outputs, strict=True)], dim=1)

    def predict_images(self, images: NDArray[np.uint8]) -> pd.DataFrame:
        """Predict fitted photos, uint8 (N, S, S, 3) as `fit_photo` returns them; see `columns`."""
        return self.columns(self._raw_in_batches(images))

    def predict_photos(
        self, photos: Sequence[Any], *, crops: bool = False, label: str = "predicting"
    ) -> tuple[pd.DataFrame, dict[int, str]]:
        """Predict photos of any kind and size, showing progress.

        Parameters
        ----------
        photos : sequence
            Paths, the bytes of files, arrays uint8 (H, W, 3) RGB, Pillow images.
        crops : bool
            Cut the faces out first, as training did.

        Returns
        -------
        predictions : DataFrame
            One row per photo, in their order; see `columns`. Missing values where the photo could not be read.
        problems : dict of int to str
            The row numbers of those photos, and why.
        """
        raw, problems = self._raw_of_photos(photos, crops=crops, label=label)
        return self._placed(raw, problems, len(photos)), problems

    def predict_faces(self, faces: FacesTable, *, split: str = "all", calibrates: bool = False) -> pd.DataFrame:
        """Return the predictions table of the kept faces.

        Parameters
        ----------
        split : str
            "all", or one of train, valid, test.
        calibrates : bool
            Fit intervals and temperatures on the validation rows first, and put them on the card.

        Returns
        -------
        DataFrame
            The columns of the faces table and those of `columns`; rows whose photo could not be read are left out and
            counted on stderr.

        Raises
        ------
        FolderError
            No photo of that split is there, or none can be read.
        """
        rows = faces.kept() if split == "all" else faces.kept().query("split == @split")
        if rows.empty:
            raise FolderError(f"the faces table has no photo in the split {split!r}. Use --split all.")
        rows = rows.reset_index(drop=True)
        paths = [faces.photo_path(path) for path in rows["path"]]
        # A table of crops holds faces as the model knows them; any other's photos are cut as training cut them.
        raw, problems = self._raw_of_photos(paths, crops=faces.notes.get("crop", "none") == "none")
        first_problem = next(iter(problems.values()), "")
        if not raw:
            raise FolderError(f"none of the {len(paths)} photos in {faces.root} can be read: {first_problem}")
        if problems:
            say(f"left out {len(problems)} unreadable photos, first: {first_problem}")
        if calibrates:
            self.card["calibration"] = {}
            uncalibrated = pd.concat([rows, self._placed(raw, problems, len(rows))], axis=1)
            self.card["calibration"] = self._calibration(uncalibrated[uncalibrated["split"] == "valid"])
        predictions = pd.concat([rows, self._placed(raw, problems, len(rows))], axis=1)
        predictions = predictions.drop(index=list(problems)).reset_index(drop=True)
        predictions.attrs["heads"] = [head_to_dict(head) for head in self.heads]  # what columns alone do not tell
        if self.card.get("run_id"):
            predictions.attrs["run_id"] = str(self.card["run_id"])
        return predictions

    def columns(self, raw: Sequence[Tensor]) -> pd.DataFrame:
        """Return raw outputs on the CPU, one per head, as the `prediction_columns` of each, calibrated by the card."""
        calibration = self.card.get("calibration") or {}
        filled: dict[str, Any] = {}
        for head, values in zip(self.heads, raw, strict=True):
            outputs = values if isinstance(head, Classification) else decode(head, values)
            filled |= head.columns(outputs.numpy(), calibration.get(head.name))
        return pd.DataFrame(filled)

    def _calibration(self, rows: pd.DataFrame) -> dict[str, Any]:
        """Return what validation rows teach; a head without enough labels, or of one class only, has no entry."""
        entries = {head.name: head.calibrate(rows) for head in self.heads if head.column in rows}
        return {name: entry for name, entry in entries.items() if entry}

    def _raw_of_photos(
        self, photos: Sequence[Any], *, crops: bool, label: str = "predicting"
    ) -> tuple[tuple[Tensor, ...], dict[int, str]]:
        """Return raw outputs of the photos that can be read, and why each other one cannot."""
        raw: list[tuple[Tensor, ...]] = []
        problems: dict[int, str] = {}
        images: list[NDArray[np.uint8]] = []
        fitted = read_ahead(partial(self._fitted, crops=crops), photos, threads=READING_THREADS)
        for place, image in enumerate(track(fitted, label, total=len(photos))):
            if isinstance(image, PhotoError):
                problems[place] = str(image)
            else:
                images.append(image)
            if len(images) == BATCH_SIZE or (images and place == len(photos) - 1):
                raw.append(self._raw_in_batches(np.stack(images)))
                images = []
        return tuple(torch.cat(parts) for parts in zip(*raw, strict=True)), problems

    def _fitted(self, item: Any, *, crops: bool) -> NDArray[np.uint8] | PhotoError:
        try:
            photo = as_photo(item)
            return self.fit_photo(self.crop_photo(photo) if crops else photo)
        except PhotoError as error:
            return error

    def _raw_in_batches(self, images: NDArray[np.uint8]) -> tuple[Tensor, ...]:
        """Return raw outputs on the CPU, one tensor per head, of any number of fitted photos, uint8 (N, S, S, 3)."""
        channels_first = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
        # Large photos in small batches: 64 of 2048 pixels would take gigabytes.
        size = max(1, round(BATCH_SIZE * min(1.0, (LARGEST_FULL_BATCH_PIXELS / self.image.size) ** 2)))
        batches = [self.raw_outputs(batch, self.precision) for batch in channels_first.split(size)]
        return tuple(torch.cat(parts).cpu() for parts in zip(*batches, strict=True))

    def _placed(self, raw: Sequence[Tensor], problems: dict[int, str], row_count: int) -> pd.DataFrame:
        """Return the columns with `row_count` rows, those of unread photos missing."""
        if not raw:
            names = [name for head in self.heads for name in head.prediction_columns]
            return pd.DataFrame(np.nan, index=range(row_count), columns=names)
        columns = self.columns(raw)
        columns.index = pd.Index([place for place in range(row_count) if place not in problems])
        return columns.reindex(range(row_count))


def head_scores(head: Head, raw: Tensor) -> Tensor:
    """Return one head's scores, float32 (N, k), one column for each of its `targets`."""
    if not isinstance(head, Classification):
        return decode(head, raw)[:, None]
    if head.is_binary:
        return raw[:, 1:2] - raw[:, 0:1]
    log_probabilities = raw.log_softmax(dim=1)
    return log_probabilities - torch.log1p(-log_probabilities.exp().clamp(max=1 - 1e-6))
