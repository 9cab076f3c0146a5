"""Functions from photos to scores whose explanations are known."""

from __future__ import annotations

import torch
from torch import Tensor

from agegender.heads import AGE, GENDER

TARGETS = (*AGE.targets, *GENDER.targets)


def linear_scores(images: Tensor) -> Tensor:
    """Two outputs that are linear in the pixels, so that the surrogate can be exact."""
    pixels = images.double() / 255
    rows = torch.linspace(-1, 1, images.shape[-2], dtype=torch.float64)[:, None]
    columns = torch.linspace(-1, 1, images.shape[-1], dtype=torch.float64)[None, :]
    age = 40 + (pixels * rows * columns).sum((1, 2, 3)) / 10
    gender = (pixels[:, 0] * rows).sum((1, 2)) / 10
    return torch.stack([age, gender], dim=1)


def square_scores(images: Tensor) -> Tensor:
    """Age looks at the texture in one square alone, gender at another; neither is linear."""
    left = images[:, :, 16:28, 10:22].double().std((1, 2, 3)) / 10
    right = images[:, :, 40:52, 42:54].double().std((1, 2, 3)) / 10
    return torch.stack([30 + 20 * torch.tanh(left), 3 * torch.sin(right)], dim=1)


def curved_scores(images: Tensor) -> Tensor:
    """A fixed random network: products of regions and a sigmoid, as a real model has them."""
    generator = torch.Generator().manual_seed(5)
    pooled = torch.nn.functional.avg_pool2d(images.double() / 255 - 0.5, 8).flatten(1)
    first = torch.randn((pooled.shape[1], 24), generator=generator, dtype=torch.float64) / 2
    second = torch.randn((24, 2), generator=generator, dtype=torch.float64)
    hidden = torch.tanh(pooled @ first)
    return torch.sigmoid(hidden @ second) * torch.tensor([60.0, 4.0]).double()
