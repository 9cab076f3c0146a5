"""Batch norm folded into the convolutions before it, for networks that only score: fewer passes over the features.

A norm that is not being trained multiplies and adds one number per channel, and so can the convolution. What follows a
convolution is told by the order in which a module names its layers, which is right for ResNets and timm's networks and
not by law, so every folded network is tried before it is used.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

LARGEST_DIFFERENCE = 2e-4  # of an output, as a share of the largest one of its tensor (or of 1, if that is less)
_TRIED_PHOTOS = 1


def folded_copy(network: nn.Module, image_size: int) -> nn.Module | None:
    """Return a copy in evaluation mode with its norms folded; None where nothing folds or it answers otherwise."""
    copied = deepcopy(network).eval()
    if not _fold(copied):
        return None
    place = next(network.parameters()).device
    photos = torch.randn(_TRIED_PHOTOS, 3, image_size, image_size, generator=torch.Generator().manual_seed(0)).to(place)
    with torch.inference_mode():
        pairs = zip(network(photos), copied(photos), strict=True)
        is_same = all(_difference(ours, whole) <= LARGEST_DIFFERENCE for whole, ours in pairs)
    return copied.to(memory_format=torch.channels_last) if is_same else None


def state_of(network: nn.Module) -> tuple[float, ...]:
    """Return numbers that differ once the network has been trained further, loaded or replaced in part.

    The first weight of each tensor beside its version, which torch's fused optimisers do not count up.
    """
    tensors = (*network.parameters(), *network.buffers())
    with torch.no_grad():
        firsts = torch.stack([tensor[(0,) * tensor.ndim].float() for tensor in tensors if tensor.numel()])
    return *firsts.tolist(), *(tensor._version for tensor in tensors)


def _fold(module: nn.Module) -> int:
    """Fold every norm that is named right after a convolution as wide as itself; return how many there were."""
    count = 0
    before: tuple[str, nn.Module] | None = None
    for name, child in list(module.named_children()):
        if before is not None and _fits(before[1], child):
            setattr(module, before[0], fuse_conv_bn_eval(before[1], child))  # type: ignore[type-var,arg-type]
            setattr(module, name, _what_is_left(child))
            count += 1
            before = None
            continue
        count += _fold(child)
        before = (name, child)
    return count


def _fits(convolution: nn.Module, norm: nn.Module) -> bool:
    return (
        type(convolution) is nn.Conv2d
        and isinstance(norm, nn.BatchNorm2d)
        and norm.running_mean is not None
        and convolution.out_channels == norm.num_features
    )


def _what_is_left(norm: Any) -> nn.Module:
    """Return what a norm does besides: timm's carry their activation."""
    return norm.act if isinstance(getattr(norm, "act", None), nn.Module) else nn.Identity()


def _difference(ours: Tensor, whole: Tensor) -> float:
    return float((ours - whole).abs().max() / whole.abs().max().clamp(min=1))
