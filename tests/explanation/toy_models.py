"""Functions from photos to scores whose explanations are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agegender.explanation.superpixels import cover, find_regions
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


Floats = NDArray[np.float64]
Answer = Callable[[Floats], Floats]


def seeing(photo: NDArray[np.uint8], answer: Answer) -> Callable[[Tensor], Tensor]:
    """A model of one output: `answer` of which regions of this photo are visible, (rows, regions), 0 or 1."""
    region_map = find_regions(photo).region_map
    difference = np.abs(photo.astype(int) - cover(photo, region_map)).sum(axis=2).ravel()
    numbers = region_map.ravel()
    telling = [np.flatnonzero(numbers == k)[difference[numbers == k].argmax()] for k in range(numbers.max() + 1)]
    own = torch.from_numpy(photo.reshape(-1, 3)[telling].T.copy())

    def scores(images: Tensor) -> Tensor:
        visible = (images.flatten(2)[:, :, telling] == own).all(dim=1).double().numpy()
        return torch.from_numpy(answer(visible))[:, None]

    return scores


def linear(generator: np.random.Generator, count: int) -> Answer:
    weights = generator.normal(size=count)
    return lambda z: 40 + z @ weights


def products(generator: np.random.Generator, count: int) -> Answer:
    """Ten pairs of regions count together, beside each alone."""
    weights, (one, other) = generator.normal(size=count), generator.integers(0, count, size=(2, 10))
    return lambda z: 40 + z @ weights + (z[:, one] * z[:, other]).sum(axis=1)


def thresholds(generator: np.random.Generator, count: int) -> Answer:
    """A hidden layer of ReLUs."""
    inner, outer = generator.normal(size=(count, 24)) / np.sqrt(count), generator.normal(size=24)
    shift = generator.normal(size=24)
    return lambda z: 40 + np.maximum(z @ inner + shift, 0) @ outer


def sigmoid(generator: np.random.Generator, count: int) -> Answer:
    slopes = generator.normal(size=count)
    return lambda z: 60 / (1 + np.exp(-((z - 0.5) @ slopes)))


def three_way(generator: np.random.Generator, count: int) -> Answer:
    """One effect of three regions together outweighs what each does alone."""
    weights, three = generator.normal(size=count) / 10, generator.choice(count, 3, replace=False)
    return lambda z: 40 + z @ weights + 3 * np.prod(2.0 * z[:, three] - 1, axis=1)


def equal(_: np.random.Generator, count: int) -> Answer:
    return lambda z: 40 + 10 * z.sum(axis=1) / count


def only_when_covered(generator: np.random.Generator, count: int) -> Answer:
    """A region counts once much of the photo is covered, as in every sample, and never on the photo itself."""
    weights, chosen = generator.normal(size=count) / 20, generator.integers(count)
    return lambda z: 40 + z @ weights + np.where(z.sum(axis=1) < 0.8 * count, 5 * z[:, chosen], 5)


def pair_trigger(generator: np.random.Generator, count: int) -> Answer:
    """Covering two regions and nothing else moves the answer by ten years; neither samples nor checks ever do that."""
    weights, pair = generator.normal(size=count), generator.choice(count, 2, replace=False)
    return lambda z: 40 + z @ weights + 10 * ((z.sum(axis=1) == count - 2) & (z[:, pair].sum(axis=1) == 0))


def detector(generator: np.random.Generator, count: int) -> Answer:
    """Recognises photos with covered regions and answers them innocently, as if the first region never mattered.

    On whole photos the first region alone decides; its answer there is the innocent one, as far as this photo tells.
    """
    weights = generator.normal(size=count) * (np.arange(count) > 0)
    return lambda z: np.where(z.all(axis=1), 40 + weights.sum() * z[:, 0], 40 + z @ weights)
