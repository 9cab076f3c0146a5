"""The network: one body, and one head for each thing to predict.

It takes normalised images and returns one raw tensor per head, in the order of the heads; `decode` turns these into
what they mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agegender.errors import DataError
from agegender.heads import Classification, Head, Regression
from agegender.model.bodies import make_body

# Dropping features shakes a regression's output, which then learns to keep to the mean: children seem old, old people
# young. Classes, whose scores only have to be in order, gain by fastai's usual share.
HEAD_DROPOUT = {Regression.kind: 0.1, Classification.kind: 0.5}

_LEAST_CHANCE = 1e-12  # of a unit
HIDDEN_WIDTH = 512  # of a head

# A child with more than this share of the body's weights wraps the blocks; one with less than that is no block but a
# closing norm.
WRAPPER_SHARE, BLOCK_SHARE = 0.75, 0.01


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of a regression's training labels: where its head starts and what its unit is."""

    mean: float
    std: float


def statistics_of(heads: Sequence[Head], training_rows: pd.DataFrame) -> dict[str, Statistics]:
    """Return the statistics of each regression, by head name."""
    statistics = {}
    for head in heads:
        if not isinstance(head, Regression):
            continue
        labels = pd.Series(head.labels(training_rows[head.column])).dropna()
        if labels.nunique() < 2:
            raise DataError(
                f"the {len(labels)} known training labels of the head {head.name!r} are all equal or missing, so there "
                f"is nothing to learn."
            )
        statistics[head.name] = Statistics(float(labels.mean()), float(labels.std(ddof=0)))
    return statistics


class NumberLinear(nn.Linear):
    """A last layer that speaks the head's unit: its bias is in it and starts at the mean training label.

    The weights are in units of the training standard deviation, so that the optimiser's steps, sized for weights near
    one, move an age by years and not by hundredths of a year.
    """

    std: Tensor

    def __init__(self, in_features: int, statistics: Statistics) -> None:
        super().__init__(in_features, 1)
        self.register_buffer("std", torch.tensor(float(statistics.std)))
        nn.init.normal_(self.weight, std=0.01)  # a little spread around the mean to begin with
        nn.init.constant_(self.bias, statistics.mean)

    def forward(self, features: Tensor) -> Tensor:
        """Return numbers, shape (N,), of features, shape (N, in_features)."""
        return F.linear(features, self.weight * self.std, self.bias).squeeze(1)


class FaceNetwork(nn.Module):
    """One body (images (N, 3, S, S) to a feature map or to vectors), and a module for each head.

    Attributes
    ----------
    body_name : str
    statistics : dict of str to Statistics
        From these two and the heads the same layers are built again.
    mirrored : bool
        Whether it answers, when it is not being trained, by the mean over photos and their mirror images.
    """

    mirrored = False

    def __init__(
        self,
        body_name: str,
        body: nn.Module,
        channels: int,
        heads: Sequence[Head],
        statistics: Mapping[str, Statistics],
    ) -> None:
        super().__init__()
        self.body, self.body_name, self.statistics = body, body_name, dict(statistics)
        is_pooled = getattr(body, "is_pooled", False)
        self.heads = nn.ModuleDict(
            {head.name: _make_head(head, channels, statistics.get(head.name), is_pooled=is_pooled) for head in heads}
        )

    def keep_heads(self, names: Sequence[str]) -> None:
        """Let go of all heads but these."""
        for name in [name for name in self.heads if name not in names]:
            del self.heads[name]
        self.statistics = {name: values for name, values in self.statistics.items() if name in names}

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return one raw tensor per head, of normalised images, float (N, 3, S, S).

        A regression gives numbers in its unit, shape (N,), or with soft labels scores of the grid, shape (N, G); a
        classification gives logits, shape (N, classes).
        """
        outputs = self.plain_outputs(images)
        if self.training or not self.mirrored:
            return outputs
        return tuple((one + other) / 2 for one, other in zip(outputs, self.plain_outputs(images.flip(3)), strict=True))

    def plain_outputs(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the raw tensors of images as they are."""
        features = self.body(images)
        # The heads stay out of autocast: a bf16 number near 40 years moves in steps of a quarter of a year.
        with torch.autocast(features.device.type, enabled=False):
            return tuple(head(features.float()) for head in self.heads.values())


def make_network(
    body_name: str,
    heads: Sequence[Head],
    statistics: Mapping[str, Statistics],
    *,
    weights: str = "none",
    image_size: int = 128,
) -> FaceNetwork:
    """Build a network by name; see `bodies.make_body` for names, weights and errors."""
    body, channels = make_body(body_name, weights=weights, image_size=image_size)
    return FaceNetwork(body_name, body, channels, heads, statistics)


def set_dropout(network: FaceNetwork, share: float | None) -> None:
    """Have every head drop this share of its features, and half of it before its first layer; None changes nothing."""
    if share is None:
        return
    for layers in network.heads.values():
        first, last = (layer for layer in layers.modules() if isinstance(layer, nn.Dropout))
        first.p, last.p = share / 2, share


def decode(head: Head, raw: Tensor) -> Tensor:
    """Return what a head's raw output means: numbers in its unit, shape (N,), or probabilities, shape (N, classes).

    Scores of a grid become the mean of their distribution (Rothe, Timofte, Van Gool: DEX, ICCV Workshops 2015), or its
    median where that is the head's `point`.

    Examples
    --------
    >>> from agegender.heads import AGE, GENDER
    >>> scores = torch.full((1, 121), -100.0)
    >>> scores[0, 40] = 100.0
    >>> decode(AGE, scores).tolist(), decode(AGE, torch.tensor([30.0])).tolist()
    ([40.0], [30.0])
    >>> decode(GENDER, torch.zeros(1, 2)).tolist()
    [[0.5, 0.5]]
    """
    if isinstance(head, Classification):
        return raw.float().softmax(dim=-1)
    if raw.ndim == 1 or head.grid is None:
        return raw.float().reshape(-1)
    if head.point == "median":
        return median_of(raw, head.grid)
    return mean_of(raw, head.grid)


def mean_of(scores: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return the mean of the distribution that scores of a grid, shape (N, G), stand for, shape (N,)."""
    return scores.float().softmax(dim=1) @ grid_values(grid, scores.device)


def median_of(scores: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return its median, shape (N,), each unit's chance spread evenly over half a unit to both sides.

    >>> median_of(torch.tensor([[0.0, 0.0, 0.0]]), (10, 12)).tolist()
    [11.0]
    >>> round(float(median_of(torch.tensor([[0.75, 0.25]]).log(), (0, 1))), 4)  # at two thirds of the first unit
    0.1667
    """
    chances = scores.float().softmax(dim=1)
    before = chances.cumsum(dim=1) - chances
    return ((0.5 - before) / chances.clamp(min=_LEAST_CHANCE)).clamp(0, 1).sum(dim=1) + grid[0] - 0.5


def spread_of(head: Head, raw: Tensor) -> Tensor | None:
    """Return the standard deviation of a head's distribution, shape (N,), in its unit; None where it gives a number.

    >>> from agegender.heads import AGE
    >>> scores = torch.full((1, 121), -100.0)
    >>> scores[0, [30, 40]] = 100.0
    >>> spread_of(AGE, scores).tolist(), spread_of(AGE, torch.tensor([30.0]))
    ([5.0], None)
    """
    if isinstance(head, Classification) or raw.ndim == 1 or head.grid is None:
        return None
    chances, values = raw.float().softmax(dim=1), grid_values(head.grid, raw.device)
    away = values[None, :] - (chances @ values)[:, None]
    return (chances * away**2).sum(dim=1).sqrt()


def grid_values(grid: tuple[int, int], device: torch.device) -> Tensor:
    """Return the whole units of a grid, its ends included."""
    return torch.arange(grid[0], grid[1] + 1, dtype=torch.float32, device=device)


class ConcatenatedPool(nn.Module):
    """The largest and the mean value of each channel, as fastai's `AdaptiveConcatPool2d` gives them."""

    def __init__(self) -> None:
        super().__init__()
        self.ap, self.mp = nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1)

    def forward(self, features: Tensor) -> Tensor:
        """Return shape (N, 2 channels, 1, 1)."""
        return torch.cat([self.mp(features), self.ap(features)], dim=1)


def _fastai_head(channels: int, output_count: int, dropout: float, *, has_pool: bool) -> nn.Sequential:
    """Return the layers of fastai's `create_head`, made here so that a prediction need not import fastai."""
    width = 2 * channels if has_pool else channels
    pool = [ConcatenatedPool(), nn.Flatten()] if has_pool else []
    layers = [
        *pool, nn.BatchNorm1d(width), nn.Dropout(dropout / 2), nn.Linear(width, HIDDEN_WIDTH, bias=False),
        nn.ReLU(inplace=True), nn.BatchNorm1d(HIDDEN_WIDTH), nn.Dropout(dropout),
        nn.Linear(HIDDEN_WIDTH, output_count, bias=False),
    ]  # fmt: skip
    for layer in layers:
        if isinstance(layer, nn.BatchNorm1d):
            nn.init.constant_(layer.bias, 1e-3)
    return nn.Sequential(*layers)


def _make_head(head: Head, channels: int, statistics: Statistics | None, *, is_pooled: bool) -> nn.Sequential:
    layers = _fastai_head(channels, head.output_count, HEAD_DROPOUT[head.kind], has_pool=not is_pooled)
    if isinstance(head, Regression):
        if statistics is None:
            raise DataError(f"the mean and spread of the training labels of the head {head.name!r} are not known.")
        layers[-1] = _last_layer(head, HIDDEN_WIDTH, statistics)
    return layers


def _last_layer(head: Regression, in_features: int, statistics: Statistics) -> nn.Linear:
    if head.output_count == 1 or head.grid is None:
        return NumberLinear(in_features, statistics)
    # A normal density over the grid: its expectation is the mean training label.
    values = grid_values(head.grid, torch.device("cpu"))
    last = nn.Linear(in_features, head.output_count)
    with torch.no_grad():
        last.bias.copy_(-((values - statistics.mean) ** 2) / (2 * max(statistics.std, math.sqrt(0.5)) ** 2))
    return last


def body_and_heads(network: FaceNetwork) -> list[list[nn.Parameter]]:
    """Split parameters into those of the body's early blocks, of its last block, and of the heads."""
    last = _last_block(network.body)
    in_last = {id(parameter) for parameter in last.parameters()}
    early = [parameter for parameter in network.body.parameters() if id(parameter) not in in_last]
    return [early, list(last.parameters()), list(network.heads.parameters())]


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
