"""The recipe of a fit: what is trained when, how fast, and what is done to gradients and weights on the way.

fastai has the schedules, accumulation and clipping. What a stop may interrupt is read off the history of epochs, which
is kept anyway; the average of the weights keeps itself by `state_dict`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from fastai.callback.core import Callback, CancelBatchException, CancelFitException
from fastai.callback.schedule import ParamScheduler, SchedCos, combined_cos
from fastai.callback.training import GradientAccumulation, GradientClip
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from agegender.model.epochs import validation_loss
from agegender.model.learner import MixPhotos
from agegender.progress import say
from agegender.training_settings import Stage, TrainingSettings

Curve = Callable[[float], Any]

CYCLE_WARMUP = 0.25  # of one-cycle, fastai's
CYCLE_MOMENTUM = (0.95, 0.85, 0.95)
USUAL_MOMENTA = (0.9, 0.95)  # optimisers that begin with another one keep it
FROZEN_GROUPS = {"all": 0, "last-block": 1, "heads": 2}  # of `body_and_heads`
EARLY = 1e-6  # part of an epoch by which its beginning may seem to lie before it


def recipe_callbacks(settings: TrainingSettings, learner: Any) -> list[Callback]:
    """Return the callbacks of a fit that its settings ask for. A callback with a state of its own has `state_dict`."""
    if learner.opt is None:
        learner.create_opt()
    wanted: list[Callback] = [Stages(settings.parts()), make_schedule(settings, learner)]
    if settings.mixup:
        wanted.append(MixPhotos(settings.mixup))
    if settings.l1:
        wanted.append(AbsoluteWeights(settings.l1))
    if settings.accumulate > 1:
        photos = settings.accumulate * settings.batch_size
        say(f"{settings.accumulate} batches of {settings.batch_size} make one step: its batch is {photos} photos")
        wanted.append(WholeAccumulation(settings.accumulate))
    if settings.clip is not None:
        wanted.append(GradientClip(settings.clip))
    if settings.ema is not None:
        wanted.append(AveragedWeights(settings.ema))
    if settings.early_stopping is not None:
        wanted.append(EarlyStopping(settings.early_stopping, settings.parts()[-1].first_epoch))
    return wanted


class Stages(Callback):
    """Train the layers that the stage of an epoch names."""

    order = -5  # before whatever looks at which weights are trained

    def __init__(self, stages: Sequence[Stage]) -> None:
        super().__init__()
        self.stages = tuple(stages)

    def before_fit(self) -> None:
        """Begin with the layers of the first epoch that is to come."""
        self._free(self.learn.first_epoch)

    def before_epoch(self) -> None:
        """Say where a stage begins."""
        self._free(self.epoch)
        for number, stage in enumerate(self.stages):
            if len(self.stages) > 1 and stage.first_epoch == self.epoch:
                count = f"stage {number + 1} of {len(self.stages)}"
                say(f"{count}, epochs {stage.first_epoch + 1} to {stage.end}: trains {stage.trainable}")

    def _free(self, epoch: int) -> None:
        stage = next((one for one in self.stages if epoch < one.end), self.stages[-1])
        # The Learner's own `freeze_to` would forget the optimiser's moments as well.
        self.learn.opt.freeze_to(FROZEN_GROUPS[stage.trainable])


def make_schedule(settings: TrainingSettings, learner: Any) -> ParamScheduler:
    """Return fastai's scheduler with the curves of a run, one after the other where it has stages."""
    top = settings.learning_rate
    learner.opt.set_hyper("lr", top if settings.layer_rates == 1 else slice(top / settings.layer_rates, top))
    peak = np.array([group["lr"] for group in learner.opt.hypers])
    stages = settings.parts()
    curves = {"lr": one_after_another([_rate(settings, stage, peak, learner) for stage in stages], stages)}
    if settings.schedule == "one-cycle" and learner.opt.hypers[0].get("mom") in USUAL_MOMENTA:
        momentum = combined_cos(_warmup(settings), *CYCLE_MOMENTUM)
        curves["mom"] = one_after_another([momentum] * len(stages), stages)
    return ParamScheduler(curves)


def one_after_another(curves: Sequence[Curve], stages: Sequence[Stage]) -> Curve:
    """Return one curve over a run of several, each of which goes from 0 to 1 in its stage."""
    if len(stages) == 1:
        return curves[0]

    def joined(position: float) -> Any:
        epoch = position * stages[-1].end
        stage, curve = next(
            (pair for pair in zip(stages, curves, strict=True) if epoch < pair[0].end - EARLY), (stages[-1], curves[-1])
        )
        return curve(min(1.0, max(0.0, (epoch - stage.first_epoch) / stage.epochs)))

    return joined


def _warmup(settings: TrainingSettings) -> float:
    if settings.warmup is not None:
        return settings.warmup
    return CYCLE_WARMUP if settings.schedule == "one-cycle" else 0.0


def _rate(settings: TrainingSettings, stage: Stage, peak: Any, learner: Any) -> Curve:
    """Return the learning rates of a stage, one per group of layers, over its share from 0 to 1."""
    warmup, start = _warmup(settings), peak / settings.div
    if settings.schedule in ("one-cycle", "cosine"):
        return combined_cos(warmup, start, peak, peak / settings.div_final)

    def factor(position: float) -> float:
        if settings.schedule == "constant":
            return 1.0
        if settings.schedule == "step":
            return settings.step_gamma ** int((position * stage.epochs + EARLY) // settings.step_size)
        rows = learner.epoch_recorder.rows[stage.first_epoch :]
        return settings.step_gamma ** plateaus([validation_loss(row) for row in rows], settings.plateau_patience)

    rise = SchedCos(start, peak)
    return lambda position: rise(position / warmup) if position < warmup else peak * factor(position)


def epochs_without_gain(losses: Sequence[float]) -> int:
    """Return how many epochs have gone by since the lowest loss.

    >>> epochs_without_gain([3.0, 2.0, 2.5, 2.0]), epochs_without_gain([])
    (2, 0)
    """
    return len(losses) - 1 - int(np.argmin(losses)) if len(losses) else 0


def plateaus(losses: Sequence[float], patience: int) -> int:
    """Return how often the loss was not undercut for `patience` epochs in a row, each time counted anew.

    >>> plateaus([3.0, 2.0, 2.5, 2.5, 2.5, 2.5], 2), plateaus([3.0, 2.0, 2.5, 1.0], 2)
    (2, 0)
    """
    best, waited, found = np.inf, 0, 0
    for loss in losses:
        best, waited = (loss, 0) if loss < best else (best, waited + 1)
        if waited == patience:
            waited, found = 0, found + 1
    return found


class EarlyStopping(Callback):
    """Stop after `patience` epochs without a lower validation loss, counted from the first epoch of the last stage.

    fastai's own counts from the start of a fit, also of one that goes on with a run.
    """

    order = 95  # after KeepRun has kept the epoch

    def __init__(self, patience: int, first_epoch: int) -> None:
        super().__init__()
        self.patience, self.first_epoch = patience, first_epoch

    @property
    def is_over(self) -> bool:
        """Whether the epochs so far are enough."""
        rows = self.learn.epoch_recorder.rows[self.first_epoch :]
        return epochs_without_gain([validation_loss(row) for row in rows]) >= self.patience

    def before_fit(self) -> None:
        """Do nothing more where a run goes on that was over."""
        self.after_epoch()

    def after_epoch(self) -> None:
        """Stop, and say so."""
        if self.is_over:
            losses = [validation_loss(row) for row in self.learn.epoch_recorder.rows]
            done, best = len(losses), 1 + int(np.argmin(losses))
            if done < self.learn.n_epoch:
                say(f"stopped early after epoch {done} of {self.learn.n_epoch}: epoch {best} is the best so far")
            raise CancelFitException


class AbsoluteWeights(Callback):
    """Add the sum of all absolute weights, times a factor, to the loss that is learnt from, not to the one shown."""

    order = 5  # before gradients are gathered over batches

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def after_loss(self) -> None:
        """Add it; biases and norms stay out."""
        if self.training:
            weights = [one for one in self.learn.model.parameters() if one.requires_grad and one.ndim > 1]
            self.learn.loss_grad = (
                self.loss_grad + self.factor * torch.stack([one.abs().sum() for one in weights]).sum()
            )


class WholeAccumulation(Callback):
    """Gather the gradients of several batches for a step, and of those that an epoch leaves over for one more.

    It counts batches, which are of one size: fastai's own counts photos, of which each of several processes has others.
    """

    order, run_valid = GradientAccumulation.order, False

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.batches = batches

    def before_fit(self) -> None:
        """Begin with nothing gathered, also after a fit that was broken off."""
        self.count = 0
        self.learn.opt.zero_grad()

    def after_loss(self) -> None:
        """Let a batch be a part of the mean."""
        self.learn.loss_grad = self.loss_grad / self.batches

    def before_step(self) -> None:
        """Step with batches enough, or with the last ones."""
        self.count += 1
        if self.count < self.batches and self.iter < self.n_iter - 1:
            raise CancelBatchException
        if self.count < self.batches:
            learnt = (one for group in self.opt.param_groups for one in group["params"])
            torch._foreach_mul_([one.grad for one in learnt if one.grad is not None], self.batches / self.count)
        self.count = 0


class AveragedWeights(Callback):
    """Keep a moving average of weights and running means, and validate, keep and store that instead of the weights.

    Running means of norms are averaged as the weights are: those of the last weights would not fit the averaged ones.
    The first steps count more, by the usual (1 + n) / (10 + n), so that the random start is soon forgotten.
    """

    order = 40  # KeepBest takes what was validated, KeepRun what training goes on with

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay, self.steps, self._is_swapped = decay, 0, False
        self.average: dict[str, Tensor] = {}

    def before_fit(self) -> None:
        """Begin with the weights as they are."""
        self.average = {name: value.detach().clone() for name, value in self._weights().items()}

    def after_step(self) -> None:
        """Take in a step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        pairs = [(self.average[name], value) for name, value in self._weights().items()]
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        get_ema_multi_avg_fn(decay)([mine for mine, _ in floats], [new for _, new in floats], self.steps)
        for mine, new in pairs:
            if not mine.is_floating_point():
                mine.copy_(new)

    def before_validate(self) -> None:
        """Let the average be judged."""
        self._swap()

    def after_epoch(self) -> None:
        """Go on with the weights."""
        if self._is_swapped:
            self._swap()

    def state_dict(self) -> dict[str, Any]:
        """Return what the next epoch needs."""
        return {"steps": self.steps, "average": dict(self.average)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it up again."""
        self.steps = int(state["steps"])
        for name, value in self.average.items():
            value.copy_(state["average"][name])

    def _weights(self) -> dict[str, Tensor]:
        weights: dict[str, Tensor] = self.learn.model.state_dict()
        return weights

    def _swap(self) -> None:
        for name, value in self._weights().items():
            held = value.clone()
            value.copy_(self.average[name])
            self.average[name].copy_(held)
        self._is_swapped = not self._is_swapped
