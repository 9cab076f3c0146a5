"""The recipe of a fit: which fastai callbacks the settings of a training ask for, and how its rates go."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastai.callback.core import Callback
from fastai.callback.schedule import ParamScheduler, combined_cos

from agegender.model.learner import MixPhotos
from agegender.settings import TrainingSettings

# What fastai's one-cycle is made of.
CYCLE_WARMUP, CYCLE_DIV, CYCLE_DIV_FINAL = 0.25, 25.0, 1e5
CYCLE_MOMENTUM = (0.95, 0.85, 0.95)


def recipe_callbacks(settings: TrainingSettings, learner: Any) -> list[Callback]:
    """Return the callbacks of a fit that its settings ask for; the learner has its optimiser by now."""
    mixing = [MixPhotos(settings.mixup)] if settings.mixup else []
    return [_schedule(settings, learner), *mixing]


def _schedule(settings: TrainingSettings, learner: Any) -> ParamScheduler:
    learner.opt.set_hyper("lr", settings.learning_rate)
    peak = np.array([group["lr"] for group in learner.opt.hypers])
    rate = combined_cos(CYCLE_WARMUP, peak / CYCLE_DIV, peak, peak / CYCLE_DIV_FINAL)
    return ParamScheduler({"lr": rate, "mom": combined_cos(CYCLE_WARMUP, *CYCLE_MOMENTUM)})
