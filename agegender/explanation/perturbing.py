"""The perturbed photos: which regions are covered in each, how many are asked for, and what the model says of them.

A design is a table of zeros (covered) and ones (visible), one row per perturbed photo. Ours comes in antithetic pairs
(z, 1 - z), drawn from randomised Hadamard blocks: each region is visible in half of the photos, independently of every
other, so that effects of two regions together cancel and no weight is mistaken for another. Effects of three together
do not cancel. The blocks are Paley's, which spread such an effect thinly over many regions, by chance in each block;
Sylvester's would lay all of it on a single one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agegender.errors import UsageError
from agegender.explanation.superpixels import Regions
from agegender.explanation.surrogate import (
    PALEY_SIZE,
    Numbers,
    Surrogate,
    fit_targets,
    least_pairs,
    likeness,
    pair_block_size,
    top_overlap,
)

ScoreImages = Callable[[Tensor], Tensor | NDArray[np.floating]]
Design = NDArray[np.uint8]

LARGEST_AUTO_SAMPLES = 768
# Two sets of six that share five have a Jaccard index of 5/7: one change is let pass, for near-ties flip for ever.
SETTLED_JACCARD = 5 / 7
SETTLED_LIKENESS = 0.998


def photo_generator(photo: NDArray[np.uint8], seed: int, purpose: str = "fit") -> np.random.Generator:
    """Return a generator that depends on the photo, the seed and the purpose alone, not on what came before it."""
    digest = hashlib.sha256(np.ascontiguousarray(photo).tobytes() + f"{photo.shape}{seed}{purpose}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


def antithetic_design(region_count: int, pair_count: int, generator: np.random.Generator) -> Design:
    """Return `pair_count` antithetic pairs, shape (2 * pair_count, region_count): rows 2i and 2i + 1 are opposites.

    Whole blocks of `pair_block_size` pairs are orthogonal: the regions' columns, coded ±1, have no correlation at all.
    A block is a Hadamard matrix with its columns drawn at random, each with a random sign, and its rows shuffled, so
    that an effect of three regions together falls on other columns in each block.

    References
    ----------
    Plackett, Burman: The design of optimum multifactorial experiments, Biometrika 1946 (folded over).
    Paley: On orthogonal matrices, Journal of Mathematics and Physics 1933.
    """
    size = pair_block_size(region_count)
    if pair_count < size:
        size = least_pairs(region_count)
    halves = [_hadamard_block(region_count, size, generator) for _ in range(-(-pair_count // size))]
    half = np.concatenate(halves)[:pair_count]
    design = np.empty((2 * len(half), region_count), dtype=np.uint8)
    design[0::2] = half
    design[1::2] = 1 - half
    return design


def independent_design(region_count: int, row_count: int, generator: np.random.Generator) -> Design:
    """Return rows of fair coin tosses, shape (row_count, region_count)."""
    return generator.integers(0, 2, size=(row_count, region_count), dtype=np.uint8)


def _hadamard_block(region_count: int, size: int, generator: np.random.Generator) -> Design:
    matrix = _hadamard(size, generator)
    # The first column is constant, and constant columns belong to the intercept.
    columns = generator.permutation(size - 1)[:region_count] + 1
    signs = generator.choice((-1, 1), size=region_count)
    block = matrix[generator.permutation(size)][:, columns] * signs
    return ((block + 1) // 2).astype(np.uint8)


def _hadamard(size: int, generator: np.random.Generator) -> NDArray[np.int8]:
    """Return a Hadamard matrix whose first column is constant: Paley's, doubled with shuffled rows until large enough.

    Doubled twice without the shuffling, it would have products of three columns that are columns.
    """
    if size == PALEY_SIZE:
        return _paley(size)
    first, second = _hadamard(size // 2, generator), _hadamard(size // 2, generator)
    second = second[generator.permutation(size // 2)]
    return np.block([[first, second], [first, -second]])


@lru_cache(maxsize=1)
def _paley(size: int) -> NDArray[np.int8]:
    """Return Paley's first Hadamard matrix, for a size whose predecessor is a prime of the form 4k + 3."""
    prime = size - 1
    numbers = np.arange(prime)
    character = np.where(np.isin(numbers, numbers[1:] ** 2 % prime), 1, -1)
    character[0] = 0
    matrix = np.ones((size, size), dtype=np.int8)
    matrix[1:, 0] = -1
    matrix[1:, 1:] = character[(numbers[None, :] - numbers[:, None]) % prime] + np.eye(prime, dtype=np.int8)
    return matrix * matrix[:, :1]


@dataclass
class Evaluator:
    """Composes perturbed photos on the model's device and asks the model about them, counting how often.

    Attributes
    ----------
    score_images : callable
        uint8 (N, 3, S, S) to float (N, targets), a tensor or an array.
    photo, covered : array, shape (S, S, 3), uint8
        What is seen of a visible and of a covered region.
    regions : Regions
    device : str
        Where the photos are composed: the model's device.
    batch_size : int
        Photos per call of the model.
    """

    score_images: ScoreImages
    photo: NDArray[np.uint8]
    covered: NDArray[np.uint8]
    regions: Regions
    device: str = "cpu"
    batch_size: int = 64
    evaluation_count: int = 0
    _tensors: tuple[Tensor, Tensor, Tensor] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        images = (np.ascontiguousarray(image) for image in (self.photo, self.covered))
        photo, covered = (torch.tensor(image, device=self.device).permute(2, 0, 1) for image in images)
        self._tensors = (photo, covered, torch.tensor(self.regions.region_map, device=self.device))

    def scores(self, design: Design) -> Numbers:
        """Return the model's answers, shape (rows, targets), in the targets' units."""
        if not len(design):
            return np.empty((0, 0))
        visible = torch.tensor(design, device=self.device, dtype=torch.bool)
        with torch.inference_mode():
            parts = [self._score_batch(rows) for rows in visible.split(self.batch_size)]
        self.evaluation_count += len(design)
        return torch.cat(parts).double().cpu().numpy()

    def compose(self, visible: Tensor) -> Tensor:
        """Return the perturbed photos of a design's rows (N, K), bool: shape (N, 3, S, S), uint8."""
        photo, covered, region_map = self._tensors
        return torch.where(visible[:, region_map].unsqueeze(1), photo, covered)

    def _score_batch(self, visible: Tensor) -> Tensor:
        scores = torch.as_tensor(self.score_images(self.compose(visible)))  # somebody's model may answer in numpy
        if scores.ndim != 2 or len(scores) != len(visible):
            raise UsageError(
                f"the model answered {len(visible)} photos with an array of shape {tuple(scores.shape)}; "
                f"an explainer needs (photos, targets)."
            )
        return scores.float()


@dataclass(frozen=True)
class Sample:
    """Perturbed photos and what the model said: (rows, regions) and (rows, targets)."""

    design: Design
    scores: Numbers
    stopped_because: str = ""

    def joined(self, other: Sample) -> Sample:
        """Return both samples, one after the other."""
        return Sample(np.concatenate([self.design, other.design]), np.concatenate([self.scores, other.scores]))

    def halves(self) -> tuple[Sample, Sample]:
        """Return the first and the second half of the pairs: draws apart from each other."""
        middle = len(self.design) // 4 * 2
        return Sample(self.design[:middle], self.scores[:middle]), Sample(self.design[middle:], self.scores[middle:])


def draw_pairs(evaluator: Evaluator, pair_count: int, generator: np.random.Generator) -> Sample:
    """Ask the model about `pair_count` antithetic pairs."""
    design = antithetic_design(evaluator.regions.count, pair_count, generator)
    return Sample(design, evaluator.scores(design), f"{len(design)} samples were asked for")


def draw_until_settled(evaluator: Evaluator, generator: np.random.Generator) -> Sample:
    """Ask block by block until the strongest regions of every target hold still.

    Starts with two orthogonal blocks, so that intervals and independent halves can be had, and goes on one by one; ends
    when a further step changes at most one of the strongest six, or at `LARGEST_AUTO_SAMPLES`, or at once where no
    target ever moves.
    """
    block = pair_block_size(evaluator.regions.count)
    sample = draw_pairs(evaluator, 2 * block, generator)
    if all(is_constant(scores) for scores in sample.scores.T):
        return replace(sample, stopped_because="no output moved, so that more samples could tell nothing")
    largest = max(LARGEST_AUTO_SAMPLES, len(sample.design))
    before = fit_targets(sample.design, sample.scores)
    while len(sample.design) + 2 * block <= largest:
        sample = sample.joined(draw_pairs(evaluator, block, generator))
        after = fit_targets(sample.design, sample.scores)
        if all(_is_settled(old, new) for old, new in zip(before, after, strict=True)):
            why = f"the strongest regions no longer changed after {len(sample.design)} samples"
            return replace(sample, stopped_because=why)
        before = after
    why = f"the strongest regions still changed at the limit of {len(sample.design)} samples"
    return replace(sample, stopped_because=why)


def _is_settled(before: Surrogate, after: Surrogate) -> bool:
    """Return whether a step changed at most one of the strongest regions, or nothing but the order of near-ties."""
    overlap = top_overlap(before.weights, after.weights, after.strongest_count())
    return overlap >= SETTLED_JACCARD or likeness(before.weights, after.weights) >= SETTLED_LIKENESS


def is_constant(scores: Numbers) -> bool:
    """Return whether finite answers differ by no more than rounding, shape (rows,)."""
    finite = scores[np.isfinite(scores)]
    return len(finite) == 0 or float(np.ptp(finite)) <= 1e-6 * max(1.0, float(abs(finite).max()))
