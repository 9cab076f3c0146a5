"""Owns the sanity check's other side: the same network with all that it learned taken away."""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def untrained_copy(network: Network, seed: int = 0) -> Network:
    """Return a copy of a network with freshly drawn weights, in evaluation mode; the network itself stays as it is.

    Modules that know how to draw their weights do so; parameters of modules that do not are shuffled, which keeps
    their scale and destroys what they learned.

    References
    ----------
    Adebayo and others: Sanity Checks for Saliency Maps, NeurIPS 2018.
    """
    copy = deepcopy(network)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        for module in copy.modules():
            _forget(module)
    return copy.eval()


def _forget(module: nn.Module) -> None:
    reset = getattr(module, "reset_parameters", None)
    if callable(reset):
        reset()
        return
    with torch.no_grad():
        for parameter in module.parameters(recurse=False):
            shuffled = parameter.flatten()[torch.randperm(parameter.numel(), device="cpu").to(parameter.device)]
            parameter.copy_(shuffled.view_as(parameter))
