"""Optimisers as fastai takes them: torch's fused AdamW, or any of timm's by its name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from fastai.optimizer import OptimWrapper
from torch import nn

from agegender.errors import UsageError, did_you_mean

USUAL = "adamw"


def optimiser_function(name: str) -> Callable[..., OptimWrapper]:
    """Return what a Learner makes its optimiser with."""
    return fused_adamw if name == USUAL else partial(timm_optimiser, name=name)


def fused_adamw(groups: Any, lr: float = 1e-3) -> OptimWrapper:
    """Return torch's fused AdamW with fastai's constants: one pass over the weights instead of some ten per tensor.

    fastai's own Adam took 0.37 s a step for a ResNet-34 on one core, more than the forward pass of its batch of 32.
    """
    return OptimWrapper(groups, torch.optim.AdamW, fused=True, lr=lr, betas=(0.9, 0.99), eps=1e-5)


def timm_optimiser(groups: Any, lr: float = 1e-3, *, name: str) -> OptimWrapper:
    """Return the optimiser that timm knows by a name, with timm's constants."""
    from timm.optim import create_optimizer_v2

    return OptimWrapper(groups, partial(create_optimizer_v2, opt=name), lr=lr)


def inner_optimiser(optimiser: OptimWrapper) -> Any:
    """Return torch's optimiser that holds the moments, the one inside where timm's Lookahead is around it."""
    return getattr(optimiser.opt, "_base_optimizer", optimiser.opt)


def check_optimiser(name: str) -> None:
    """Refuse a name that is no optimiser's, and one that cannot take a step as training does."""
    if name == USUAL:
        return
    from timm.optim import list_optimizers

    known = [str(one) for one in list_optimizers()]
    if name.removeprefix("lookahead_") not in known:
        alike = ", ".join(one for one in known if name[:4].lower() in one)[:120]
        listed = f" Others like it: {alike}." if alike else ""
        raise UsageError(f"there is no optimiser called {name[:60]!r}.{did_you_mean(name, known)}{listed}")
    weights = [nn.Parameter(torch.ones(4, 3, 3, 3)), nn.Parameter(torch.ones(4, 4)), nn.Parameter(torch.ones(4))]
    try:
        tried = timm_optimiser([weights], name=name)
        tried.set_hypers(lr=1e-3, wd=1e-2)
        torch.stack([(weight**2).sum() for weight in weights]).sum().backward()
        tried.step()
    except Exception as error:
        # Packages that are not installed, second derivatives, groups of another kind: each says so in its own way.
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise UsageError(f"the optimiser {name} cannot train here ({why}). Use another, such as {USUAL}.") from error
