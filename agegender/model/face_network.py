"""Owns the network: one body, and one head for each thing to predict.

Called by learning, which trains it, and by inference, which runs it. It takes normalised images and returns one raw
tensor per head, in the order of the heads; `decode` turns raw age scores into years.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agegender.model.bodies import make_body
from agegender.settings import Head

# Dropping features shakes a regression's output, which then learns to keep to the mean: children seem old, old people
# young. Classes, whose scores only have to be in order, gain by fastai's usual share.
HEAD_DROPOUT = {"years": 0.1, "classes": 0.5}
OLDEST_YEAR = 120  # soft labels spread over the whole years 0..120; UTKFace reaches 116


@dataclass(frozen=True)
class AgeStatistics:
    """Mean and standard deviation of the training ages, in years: where the age head starts and what its unit is."""

    mean_years: float
    std_years: float


class YearsLinear(nn.Linear):
    """A last layer that speaks years: its bias is in years and starts at the mean training age.

    The weights are in units of the training standard deviation, so that the optimiser's steps, sized for weights near
    one, move the output by years and not by hundredths of a year.
    """

    std_years: Tensor

    def __init__(self, in_features: int, ages: AgeStatistics) -> None:
        super().__init__(in_features, 1)
        self.register_buffer("std_years", torch.tensor(float(ages.std_years)))
        nn.init.normal_(self.weight, std=0.01)  # a few years of spread around the mean to begin with
        nn.init.constant_(self.bias, ages.mean_years)

    def forward(self, features: Tensor) -> Tensor:
        """Return ages in years, shape (N,), of features, shape (N, in_features)."""
        return F.linear(features, self.weight * self.std_years, self.bias).squeeze(1)


class FaceNetwork(nn.Module):
    """One body, several heads.

    Parameters
    ----------
    body : nn.Module
        Images (N, 3, S, S) to a feature map (N, C, h, w), or to vectors (N, C).
    channels : int
        C.
    heads : sequence of Head
    ages : AgeStatistics
    """

    def __init__(self, body: nn.Module, channels: int, heads: Sequence[Head], ages: AgeStatistics) -> None:
        super().__init__()
        self.body = body
        is_pooled = getattr(body, "is_pooled", False)
        self.heads = nn.ModuleDict({head.name: _make_head(head, channels, ages, is_pooled=is_pooled) for head in heads})

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return one raw tensor per head.

        Parameters
        ----------
        images : Tensor, shape (N, 3, S, S), float
            Normalised with the mean and standard deviation of the settings.

        Returns
        -------
        tuple of Tensor
            For a head in years: ages, shape (N,), or scores of the years 0..120, shape (N, 121), with soft labels. For
            a head in classes: logits, shape (N, classes).
        """
        features = self.body(images)
        # The heads stay out of autocast: a bf16 number near 40 years moves in steps of a quarter of a year.
        with torch.autocast(features.device.type, enabled=False):
            return tuple(head(features.float()) for head in self.heads.values())


def make_network(
    body_name: str, heads: Sequence[Head], ages: AgeStatistics, *, weights: str = "none", image_size: int = 128
) -> FaceNetwork:
    """Build a network by name; see `bodies.make_body` for names, weights and errors."""
    body, channels = make_body(body_name, weights=weights, image_size=image_size)
    return FaceNetwork(body, channels, heads, ages)


def decode_years(raw: Tensor) -> Tensor:
    """Turn a years head's raw output into years, shape (N,): itself, or the mean of the distribution over years.

    References
    ----------
    Rothe, Timofte, Van Gool: DEX, ICCV Workshops 2015 (the expectation over years).

    Examples
    --------
    >>> decode_years(torch.tensor([30.0])).tolist()
    [30.0]
    >>> scores = torch.full((1, 121), -100.0)
    >>> scores[0, 40] = 100.0
    >>> decode_years(scores).tolist()
    [40.0]
    """
    if raw.ndim == 1:
        return raw.float()
    years = torch.arange(raw.shape[1], dtype=torch.float32, device=raw.device)
    return raw.float().softmax(dim=1) @ years


def _make_head(head: Head, channels: int, ages: AgeStatistics, *, is_pooled: bool) -> nn.Sequential:
    from fastai.vision.learner import create_head

    years = OLDEST_YEAR + 1 if head.loss == "soft-labels" else 1
    outputs = years if head.kind == "years" else len(head.classes)
    layers = create_head(channels, outputs, ps=HEAD_DROPOUT[head.kind], pool=not is_pooled)
    if head.kind == "years":
        layers[-1] = _last_age_layer(layers[-1], ages, outputs)
    return layers


def _last_age_layer(layer: nn.Linear, ages: AgeStatistics, outputs: int) -> nn.Linear:
    if outputs == 1:
        return YearsLinear(layer.in_features, ages)
    # A normal density over the years: its expectation is the mean training age.
    years = torch.arange(outputs, dtype=torch.float32)
    last = nn.Linear(layer.in_features, outputs)
    with torch.no_grad():
        last.bias.copy_(-((years - ages.mean_years) ** 2) / (2 * max(ages.std_years, math.sqrt(0.5)) ** 2))
    return last
