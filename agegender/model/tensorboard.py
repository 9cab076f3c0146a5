"""Owns what TensorBoard shows of a run. fastai's own callback fails on tuples of predictions, so this is ours.

Training and validation write the same tags into two sub-runs, so that TensorBoard draws them in one chart.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from fastai.callback.core import Callback

from agegender.settings import ImageSettings

SHOWN_PHOTOS = 32
SMALLEST_GROUP = 10  # photos; a gap of fewer is noise and is not drawn


class TensorBoardRun(Callback):
    """Write losses, metrics, group gaps, learning rate, settings and a grid of inputs.

    Parameters
    ----------
    folder : Path
        `runs/<name>`; `train` and `valid` are made inside.
    hyper_parameters : mapping
        Settings, shown in the HPARAMS tab.
    image : ImageSettings
        To show the inputs as photos again.
    valid_faces : DataFrame
        The validation rows in the order of the validation DataLoader, for gaps by gender and ethnicity.
    """

    order = 70

    def __init__(
        self, folder: Path, *, hyper_parameters: Mapping[str, Any], image: ImageSettings, valid_faces: pd.DataFrame
    ) -> None:
        super().__init__()
        self.folder, self.image, self.valid_faces = folder, image, valid_faces
        self.hyper_parameters = {
            key: value if isinstance(value, (int, float, str, bool)) else str(value)
            for key, value in hyper_parameters.items()
        }

    def before_fit(self) -> None:
        """Open the sub-runs."""
        from torch.utils.tensorboard import SummaryWriter

        # A new run of an old name replaces it; TensorBoard would draw both as one zigzag line.
        shutil.rmtree(self.folder, ignore_errors=True)
        self._train = SummaryWriter(str(self.folder / "train"))
        self._valid = SummaryWriter(str(self.folder / "valid"))
        self._batches_seen, self._has_shown_photos = 0, False

    def before_batch(self) -> None:
        """Show the first training batch as the network sees it."""
        if self.training and not self._has_shown_photos:
            self._has_shown_photos = True
            self._train.add_image("inputs", self._photo_grid(self.xb[0]), self._batches_seen)

    def after_batch(self) -> None:
        """Write the training losses and the learning rate of this step."""
        if self.training:
            self._batches_seen += 1
            self._train.add_scalar("loss/total", float(self.loss.detach()), self._batches_seen)
            for name, part in self.learn.loss_func.parts.items():
                self._train.add_scalar(f"loss/{name}", float(part), self._batches_seen)
            self._train.add_scalar("learning_rate", self.opt.hypers[-1]["lr"], self._batches_seen)

    def after_epoch(self) -> None:
        """Write the validation losses, metrics and group gaps of this epoch."""
        row = self.learn.epoch_recorder.rows[-1]
        for name, value in row.items():
            if name == "valid_loss":
                self._valid.add_scalar("loss/total", value, self._batches_seen)
            elif name.startswith("valid_loss_"):
                self._valid.add_scalar(f"loss/{name.removeprefix('valid_loss_')}", value, self._batches_seen)
            elif name.startswith("valid_"):
                self._valid.add_scalar(f"metrics/{name.removeprefix('valid_')}", value, self._batches_seen)
        for name, gap in self._group_gaps().items():
            self._valid.add_scalar(f"gap_to_the_rest_years/{name}", gap, self._batches_seen)
        self._train.flush()
        self._valid.flush()

    def after_fit(self) -> None:
        """Write the settings beside the last figures, and close."""
        rows = self.learn.epoch_recorder.rows
        last = {f"final/{key}": float(value) for key, value in (rows[-1] if rows else {}).items() if key != "epoch"}
        self._valid.add_hparams(self.hyper_parameters, last, run_name=".")
        self.close()

    def close(self) -> None:
        """Write out what is waiting; closing twice does nothing."""
        self._train.close()
        self._valid.close()

    def _photo_grid(self, images: torch.Tensor) -> torch.Tensor:
        from torchvision.utils import make_grid

        shown = images[:SHOWN_PHOTOS].detach().float().cpu().as_subclass(torch.Tensor).contiguous()
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.image.mean, self.image.std))
        return make_grid((shown * std + mean).clamp(0, 1), nrow=8)

    def _group_gaps(self) -> dict[str, float]:
        """Return MAE of each group minus MAE of all others, in years, on the validation photos."""
        outputs = self.learn.epoch_recorder.valid_outputs
        years = [
            output for head, output in zip(self.learn.loss_func.heads, outputs, strict=False) if head.kind == "years"
        ]
        if not years or len(years[0]) != len(self.valid_faces):
            return {}
        errors = np.abs(years[0] - self.valid_faces["age_years"].to_numpy(dtype=float))
        gaps = {}
        for column in ("gender", "ethnicity"):
            values = self.valid_faces[column].to_numpy(dtype=object)
            for group in sorted({value for value in values if isinstance(value, str)}):
                inside = (values == group) & np.isfinite(errors)
                outside = (values != group) & np.isfinite(errors)
                if min(inside.sum(), outside.sum()) >= SMALLEST_GROUP:
                    gaps[f"{column}/{group}"] = float(errors[inside].mean() - errors[outside].mean())
        return gaps
