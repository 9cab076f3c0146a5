"""What TensorBoard shows of a run. fastai's own callback fails on tuples of predictions, so this is ours.

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

from agegender.writing import output_errors

SHOWN_PHOTOS = 32
SMALLEST_GROUP = 10  # photos; a gap of fewer is noise and is not drawn
GROUP_COLUMNS = ("gender", "ethnicity")


class TensorBoardRun(Callback):
    """Write losses, metrics, group gaps, learning rate, settings and a grid of inputs.

    Parameters
    ----------
    folder : Path
        `runs/<name>`; `train` and `valid` are made inside.
    hyper_parameters : mapping
        Settings, shown in the HPARAMS tab.
    valid_faces : DataFrame
        The validation rows in the order of the validation DataLoader, for gaps by `GROUP_COLUMNS`.
    batches_seen : int, optional
        By the epochs that are done; where nobody has counted, as many as there are in so many epochs today.
    """

    order = 70
    _train: Any = None
    _valid: Any = None

    def __init__(
        self, folder: Path, *, hyper_parameters: Mapping[str, Any], valid_faces: pd.DataFrame,
        batches_seen: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.folder, self.valid_faces, self.batches_seen = folder, valid_faces, batches_seen
        self.hyper_parameters = {
            key: value if isinstance(value, (int, float, str, bool)) else str(value)
            for key, value in hyper_parameters.items()
        }

    def before_fit(self) -> None:
        """Open the sub-runs."""
        from torch.utils.tensorboard import SummaryWriter

        known, today = self.batches_seen, self.learn.first_epoch * len(self.dls.train)
        self._batches_seen = today if known is None else known
        self._has_shown_photos = self._batches_seen > 0
        if not self._batches_seen:
            # A new run of an old name replaces it; TensorBoard would draw both as one zigzag line.
            shutil.rmtree(self.folder, ignore_errors=True)
        # What was written of an epoch that did not end is not shown again.
        purged = {"purge_step": self._batches_seen + 1} if self._batches_seen else {}
        with output_errors(self.folder):
            self._train = SummaryWriter(str(self.folder / "train"), **purged)
            self._valid = SummaryWriter(str(self.folder / "valid"), **purged)

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
            for name, part in self.learn.combined_loss.parts.items():
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
            elif name.startswith("log_variance_"):
                self._train.add_scalar(f"log_variance/{name.removeprefix('log_variance_')}", value, self._batches_seen)
        for name, measured in self.learn.epoch_recorder.valid_measures.items():
            for group, gap in group_gaps(measured, self.valid_faces).items():
                self._valid.add_scalar(f"gap_to_the_rest/{name}/{group}", gap, self._batches_seen)
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
        for writer in (self._train, self._valid):
            if writer is not None:  # the fit may end before they are opened
                writer.close()

    def _photo_grid(self, photos: torch.Tensor) -> torch.Tensor:
        from torchvision.utils import make_grid

        shown = self.dls.train.decode((photos[:SHOWN_PHOTOS].detach().float(),))[0]
        return make_grid(shown.as_subclass(torch.Tensor).contiguous(), nrow=8)


def group_gaps(measured: np.ndarray, rows: pd.DataFrame) -> dict[str, float]:
    """Return the mean of a measure, one value per row, in each group minus its mean in all others."""
    if len(measured) != len(rows):
        return {}
    gaps = {}
    for column in [name for name in GROUP_COLUMNS if name in rows]:
        values = rows[column].to_numpy(dtype=object)
        for group in sorted({value for value in values if isinstance(value, str)}):
            inside = (values == group) & np.isfinite(measured)
            outside = (values != group) & np.isfinite(measured)
            if min(inside.sum(), outside.sum()) >= SMALLEST_GROUP:
                gaps[f"{column}/{group}"] = float(measured[inside].mean() - measured[outside].mean())
    return gaps
