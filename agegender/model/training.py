"""Owns the fit: a Learner over given DataLoaders, one-cycle with AdamW, and what comes out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from fastai.callback.core import Callback
from fastai.callback.progress import ProgressCallback
from fastai.callback.schedule import fit_one_cycle as _fit_one_cycle  # noqa: F401 (adds the method to Learner)
from fastai.learner import Learner, Recorder
from fastai.optimizer import OptimWrapper
from fastai.torch_core import params
from torch import nn

from agegender.errors import ModelError
from agegender.model.face_learner import FaceLearner
from agegender.model.face_network import FaceNetwork
from agegender.model.losses import CombinedLoss
from agegender.model.precision import set_seed
from agegender.model.precision_callbacks import precision_callbacks
from agegender.model.progress_bar import TrainingBar
from agegender.model.recording import EpochRecorder, KeepBest
from agegender.settings import TrainingSettings
from agegender.writing import replaced_file

# A child with more than this share of the body's weights wraps the blocks; one with less than that is no block but a
# closing norm.
WRAPPER_SHARE, BLOCK_SHARE = 0.75, 0.01


@dataclass(frozen=True)
class Fit:
    """What a fit leaves: the Learner with its best weights, one row per epoch, and which epoch was best."""

    learner: Learner
    history: pd.DataFrame
    best_epoch: int


def body_and_heads(network: FaceNetwork) -> list[list[nn.Parameter]]:
    """Split parameters into those of the body's early blocks, of its last block, and of the heads."""
    last = _last_block(network.body)
    in_last = {id(parameter) for parameter in last.parameters()}
    early = [parameter for parameter in params(network.body) if id(parameter) not in in_last]
    return [early, params(last), params(network.heads)]


def fused_adamw(groups: Any, lr: float = 1e-3) -> OptimWrapper:
    """Return torch's fused AdamW with fastai's constants: one pass over the weights instead of some ten per tensor.

    fastai's own Adam took 0.37 s a step for a ResNet-34 on one core, more than the forward pass of its batch of 32.
    """
    return OptimWrapper(groups, torch.optim.AdamW, fused=True, lr=lr, betas=(0.9, 0.99), eps=1e-5)


def _last_block(body: nn.Module) -> nn.Module:
    """Return the last block that matters, also where the blocks are wrapped in one stage as timm does."""
    whole = _size(body)
    block = body
    while _size(block) > WRAPPER_SHARE * whole:
        inner = [child for child in block.children() if _size(child) >= BLOCK_SHARE * whole]
        if not inner:
            break
        block = inner[-1]
    return block


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def make_learner(dataloaders: Any, network: FaceNetwork, loss: CombinedLoss) -> Learner:
    """Return a fastai Learner for the network, quiet (our own bar replaces fastai's) and with AdamW."""
    learner = FaceLearner(
        dataloaders,
        network,
        loss_func=loss,
        opt_func=fused_adamw,
        splitter=body_and_heads,
    )
    learner.remove_cbs([ProgressCallback, Recorder])
    return learner


def fit(
    learner: Learner,
    settings: TrainingSettings,
    *,
    precision: str,
    device: torch.device,
    callbacks: Sequence[Callback] = (),
) -> Fit:
    """Train with one-cycle and return the result, the best epoch's weights in place.

    Parameters
    ----------
    learner : Learner
        From `make_learner`.
    settings : TrainingSettings
    precision : str
        What `choose_precision` chose.
    device : torch.device
    callbacks : sequence of Callback
        TensorBoard and the like, for this fit alone.

    Raises
    ------
    ModelError
        The loss stopped being a number.
    """
    set_seed(settings.seed, is_reproducible=device.type == "cuda")
    learner.model.to(device)
    frozen_groups = {"all": 0, "last-block": 1, "heads": 2}[settings.trainable]
    learner.freeze_to(frozen_groups)
    recorder, best = EpochRecorder(), KeepBest()
    # Callbacks of the fit alone: predicting and showing are no epochs.
    during = [*precision_callbacks(precision, device), recorder, best, TrainingBar(), *callbacks]
    try:
        learner.fit_one_cycle(settings.epochs, lr_max=settings.learning_rate, wd=settings.weight_decay, cbs=during)
    finally:
        # fastai tells callbacks nothing of Ctrl-C.
        for callback in during:
            getattr(callback, "close", lambda: None)()
    _check_finite(recorder.rows, settings)
    return Fit(learner, pd.DataFrame(recorder.rows), best.best_epoch)


def export_learner(learner: Learner, path: Path) -> None:
    """Write the fastai export through dill, whole or not at all."""
    import dill

    with replaced_file(path) as temporary:
        place, learner.path = learner.path, temporary.parent
        try:
            learner.export(temporary.name, pickle_module=dill)
        finally:
            learner.path = place


def _check_finite(rows: list[dict[str, Any]], settings: TrainingSettings) -> None:
    if len(rows) == settings.epochs and all(np.isfinite(row["train_loss"]) for row in rows):
        return
    raise ModelError(
        f"the loss stopped being a number in epoch {len(rows) or 1} of {settings.epochs}; nothing was stored. "
        f"Lower --learning-rate (it was {settings.learning_rate:g}), or use --precision fp32."
    )
