"""Owns what an epoch leaves behind: one row of history, the validation outputs, and the best weights."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

import numpy as np
import torch
from fastai.callback.core import Callback, CancelFitException
from torch import Tensor

from agegender.model.face_network import decode_years
from agegender.model.losses import CombinedLoss


class EpochRecorder(Callback):
    """Gather losses and validation errors of each epoch into `rows`.

    Attributes
    ----------
    rows : list of dict
        Per epoch: `epoch` (from 1), `train_loss`, `valid_loss`, `train_loss_<head>`, `valid_loss_<head>`,
        `valid_<head>_mae` in years or `valid_<head>_accuracy`, `learning_rate`, `seconds`.
    valid_outputs : list of ndarray
        Per head, decoded validation outputs of the last epoch in the order of the validation photos: years, shape (N,),
        or class probabilities, shape (N, classes).
    """

    order = 20  # after the precision callbacks have made the outputs fp32

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []
        self.valid_outputs: list[np.ndarray] = []

    def before_epoch(self) -> None:
        """Start an epoch's clock and sums."""
        self._started = time.perf_counter()
        self._sums: dict[str, float] = defaultdict(float)
        self._counts = {"train": 0, "valid": 0}
        self._outputs: list[list[Tensor]] = [[] for _ in self._loss.heads]
        self._targets: list[list[Tensor]] = [[] for _ in self._loss.heads]

    def after_batch(self) -> None:
        """Add one batch."""
        side, count = ("train" if self.training else "valid"), len(self.yb[0])
        self._counts[side] += count
        self._sums[f"{side}_loss"] += float(self.loss.detach()) * count
        for name, part in self._loss.parts.items():
            self._sums[f"{side}_loss_{name}"] += float(part) * count
        if self.training and not torch.isfinite(self.loss.detach()):
            raise CancelFitException
        if not self.training:
            for place, (raw, target) in enumerate(zip(self.pred, self.yb, strict=True)):
                self._outputs[place].append(_decode(self._loss, place, raw))
                self._targets[place].append(torch.as_tensor(target).reshape(-1).cpu())

    def after_epoch(self) -> None:
        """Close the epoch's row."""
        row: dict[str, Any] = {"epoch": self.epoch + 1}
        row |= {name: total / max(1, self._counts[name.split("_")[0]]) for name, total in self._sums.items()}
        if self._counts["valid"]:
            self.valid_outputs = [torch.cat(parts).numpy() for parts in self._outputs]
            targets = [torch.cat(parts).numpy() for parts in self._targets]
            row |= _valid_metrics(self._loss, self.valid_outputs, targets)
        row |= {"learning_rate": self.opt.hypers[-1]["lr"], "seconds": time.perf_counter() - self._started}
        self.rows.append(row)

    @property
    def _loss(self) -> CombinedLoss:
        return self.learn.loss_func


class KeepBest(Callback):
    """Keep the weights of the epoch with the lowest validation loss, and put them back when the fit ends."""

    order = 30  # after EpochRecorder closed its row
    best_epoch = 0
    best_loss = float("inf")
    _state: dict[str, Tensor] | None = None

    def after_epoch(self) -> None:
        """Copy the weights when they are the best so far."""
        row = self.learn.epoch_recorder.rows[-1]
        loss = row.get("valid_loss", row.get("train_loss", float("inf")))
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, row["epoch"]
            self._state = {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}

    def after_fit(self) -> None:
        """Put the best weights back."""
        if self._state is not None:
            self.model.load_state_dict(self._state)
            self._state = None


def _decode(loss: CombinedLoss, place: int, raw: Tensor) -> Tensor:
    is_years = loss.heads[place].kind == "years"
    return (decode_years(raw) if is_years else raw.float().softmax(dim=-1)).detach().cpu()


def _valid_metrics(loss: CombinedLoss, outputs: list[np.ndarray], targets: list[np.ndarray]) -> dict[str, float]:
    metrics = {}
    for head, output, target in zip(loss.heads, outputs, targets, strict=True):
        if head.kind == "years":
            errors = np.abs(output - target)[~np.isnan(target)]
            metrics[f"valid_{head.name}_mae"] = float(errors.mean()) if len(errors) else float("nan")
        else:
            right = (output.argmax(axis=1) == target)[target >= 0]
            metrics[f"valid_{head.name}_accuracy"] = float(right.mean()) if len(right) else float("nan")
    return metrics
