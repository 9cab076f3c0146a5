"""Owns a trained model in use: photos in, predictions out, as training saw photos and calibrated as the card says.

Commands load it; explanation gets its `score_images` and nothing else of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from agegender.model.checkpoint import heads_of, image_of, load_network
from agegender.model.face_network import FaceNetwork
from agegender.model.outputs import head_columns, head_scores
from agegender.model.precision import autocast, choose_device, choose_precision
from agegender.photos.face_detection import FaceDetector, crop_largest_face, make_detector
from agegender.photos.warping import fit_square

BATCH_SIZE = 64


class Model:
    """A network, its card, and the device that it runs on.

    Attributes
    ----------
    card : dict
        As in `model.json`.
    image : ImageSettings
        How photos are brought to the network.
    heads : tuple of Head
    network : FaceNetwork
        In evaluation mode, on `device`.
    device : torch.device
    precision, scoring_precision : str
        "fp32", "fp16" or "bf16", for predictions and for `score_images`.
    """

    def __init__(
        self,
        network: FaceNetwork,
        card: dict[str, Any],
        *,
        device: torch.device,
        precision: str,
        detector: FaceDetector | None = None,
    ) -> None:
        self.card, self.device, self.detector = card, device, detector
        # A prediction should not depend on the batch it came in, so it is made in fp32 unless another precision is
        # asked for; explanations average over hundreds of runs and may take the fastest.
        self.precision = "fp32" if precision == "auto" else precision
        self.scoring_precision = choose_precision(precision, device)
        self.image, self.heads = image_of(card), heads_of(card)
        self.network = network.to(device).to(memory_format=torch.channels_last).eval()
        self._mean = torch.tensor(self.image.mean, device=device).view(1, 3, 1, 1) * 255
        self._std = torch.tensor(self.image.std, device=device).view(1, 3, 1, 1) * 255

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
            normalised = (images.to(self.device).float() - self._mean) / self._std
            raw = self.network(normalised.contiguous(memory_format=torch.channels_last))
        return tuple(values.float() for values in raw)

    def score_images(self, images: Tensor) -> Tensor:
        """Return what explanations explain.

        Parameters
        ----------
        images : Tensor, uint8 (N, 3, S, S)

        Returns
        -------
        Tensor, float32 (N, K), on the model's device
            A column in years for each years head; for two classes the log-odds of the second (for gender: female); for
            more classes one column of log-odds per class. Uncalibrated.
        """
        outputs = self.raw_outputs(images, self.scoring_precision)
        return torch.cat([head_scores(head, raw) for head, raw in zip(self.heads, outputs, strict=True)], dim=1)

    def predict_images(self, images: NDArray[np.uint8]) -> pd.DataFrame:
        """Predict fitted photos.

        Parameters
        ----------
        images : ndarray, uint8 (N, S, S, 3)
            As `fit_photo` returns them.

        Returns
        -------
        DataFrame
            N rows; see `columns`.
        """
        return self.columns(self.raw_outputs_in_batches(images))

    def raw_outputs_in_batches(self, images: NDArray[np.uint8]) -> tuple[Tensor, ...]:
        """Return raw outputs on the CPU, one tensor per head, of any number of fitted photos, uint8 (N, S, S, 3)."""
        channels_first = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
        batches = [self.raw_outputs(batch, self.precision) for batch in channels_first.split(BATCH_SIZE)]
        return tuple(torch.cat(parts).cpu() for parts in zip(*batches, strict=True))

    def columns(self, raw: Sequence[Tensor]) -> pd.DataFrame:
        """Return raw outputs, one per head, as columns of the predictions table, calibrated as the card says.

        Returns
        -------
        DataFrame
            N rows, the columns of `predictions.PREDICTION_COLUMNS` (those whose heads the model has), and
            `predicted_<head>`, `<head>_probability` for further heads.
        """
        calibration = self.card.get("calibration") or {}
        filled = [head_columns(head, values, calibration) for head, values in zip(self.heads, raw, strict=True)]
        return pd.DataFrame({name: values for columns in filled for name, values in columns.items()})

    def predict_photos(self, photos: Sequence[NDArray[np.uint8]]) -> pd.DataFrame:
        """Predict photos of any size, each uint8 (H, W, 3) RGB; see `predict_images` for the columns."""
        return self.predict_images(np.stack([self.fit_photo(photo) for photo in photos])) if photos else pd.DataFrame()


def load_model(
    folder: Path, *, device: str = "auto", precision: str = "auto", detector_file: Path | None = None
) -> Model:
    """Load a model folder; `detector_file` is YuNet's, for a model whose training photos it cropped.

    Raises
    ------
    CardError, WeightsError
        The folder lacks a file, or its weights do not fit its card.
    UsageError
        There is no such device, or it cannot do that precision, or the detector's file is missing.
    """
    network, card = load_network(folder)
    crop = image_of(card).crop
    detector = None if crop == "none" else make_detector(crop, model_file=detector_file)
    return Model(network, card, device=choose_device(device), precision=precision, detector=detector)
