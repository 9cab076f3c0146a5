"""Owns the perturbed photos: which regions are covered in each, and what the model says of them.

A design is a table of zeros (covered) and ones (visible), one row per perturbed photo. Ours comes in antithetic pairs
(z, 1 - z), drawn from randomised Hadamard blocks: each region is visible in half of the photos, independently of every
other, so that effects of two regions together cancel and no weight is mistaken for another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import hadamard
from torch import Tensor

from agegender.errors import UsageError

ScoreImages = Callable[[Tensor], Tensor]
Design = NDArray[np.uint8]


def photo_generator(photo: NDArray[np.uint8], seed: int, purpose: str = "fit") -> np.random.Generator:
    """Return a generator that depends on the photo, the seed and the purpose alone, not on what came before it."""
    digest = hashlib.sha256(np.ascontiguousarray(photo).tobytes() + f"{photo.shape}{seed}{purpose}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


def pair_block_size(region_count: int) -> int:
    """Return how many pairs an orthogonal block has: the smallest power of two above the regions, at least 16.

    >>> [pair_block_size(count) for count in (1, 27, 32, 40)]
    [16, 32, 64, 64]
    """
    return int(max(16, 2 ** int(np.ceil(np.log2(region_count + 1)))))


def antithetic_design(region_count: int, pair_count: int, generator: np.random.Generator) -> Design:
    """Return `pair_count` antithetic pairs, shape (2 * pair_count, region_count): rows 2i and 2i + 1 are opposites.

    Whole blocks of `pair_block_size` pairs are orthogonal: the regions' columns, coded ±1, have no correlation at all.
    A block is a Hadamard matrix with its columns drawn at random, each with a random sign, and its rows shuffled, so
    that an effect of three regions together falls on a random column instead of always the same.

    References
    ----------
    Plackett, Burman: The design of optimum multifactorial experiments, Biometrika 1946 (folded over).
    """
    size = pair_block_size(region_count)
    halves = [_hadamard_block(region_count, size, generator) for _ in range(-(-pair_count // size))]
    half = np.concatenate(halves)[:pair_count]
    design = np.empty((2 * len(half), region_count), dtype=np.uint8)
    design[0::2] = half
    design[1::2] = 1 - half
    return design


def independent_design(region_count: int, row_count: int, generator: np.random.Generator) -> Design:
    """Return rows of fair coin tosses, shape (row_count, region_count)."""
    return generator.integers(0, 2, size=(row_count, region_count), dtype=np.uint8)


def stock_design(region_count: int, row_count: int, random_state: np.random.RandomState) -> Design:
    """Return the very rows that `lime.lime_image` draws from this state: the first is the photo as it is."""
    data = random_state.randint(0, 2, row_count * region_count).reshape((row_count, region_count))
    data[0, :] = 1
    return data.astype(np.uint8)


def _hadamard_block(region_count: int, size: int, generator: np.random.Generator) -> Design:
    matrix = hadamard(size)
    # The first column is constant, and constant columns belong to the intercept.
    columns = generator.permutation(size - 1)[:region_count] + 1
    signs = generator.choice((-1, 1), size=region_count)
    block = matrix[generator.permutation(size)][:, columns] * signs
    return ((block + 1) // 2).astype(np.uint8)


@dataclass
class Evaluator:
    """Composes perturbed photos on the model's device and asks the model about them, counting how often.

    Attributes
    ----------
    score_images : callable
        uint8 (N, 3, S, S) to float (N, outputs).
    photo, covered : array, shape (S, S, 3), uint8
        What is seen of a visible and of a covered region.
    region_map : array, shape (S, S), int64
    device : str
        Where the photos are composed: the model's device.
    batch_size : int
        Photos per call of the model.
    """

    score_images: ScoreImages
    photo: NDArray[np.uint8]
    covered: NDArray[np.uint8]
    region_map: NDArray[np.int64]
    device: str = "cpu"
    batch_size: int = 64
    evaluation_count: int = 0
    _tensors: tuple[Tensor, Tensor, Tensor] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        photo, covered = (torch.tensor(image, device=self.device).permute(2, 0, 1) for image in self._images())
        self._tensors = (photo, covered, torch.tensor(self.region_map, device=self.device))

    def scores(self, design: Design) -> NDArray[np.float64]:
        """Return the model's answers, shape (rows, outputs), in the outputs' units.

        Raises
        ------
        UsageError
            The model gives something else than one row of numbers per photo.
        """
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
        scores = self.score_images(self.compose(visible))
        if scores.ndim != 2 or len(scores) != len(visible):
            raise UsageError(
                f"the model answered {len(visible)} photos with an array of shape {tuple(scores.shape)}; "
                f"an explainer needs (photos, outputs)."
            )
        return scores.float()

    def _images(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        return np.ascontiguousarray(self.photo), np.ascontiguousarray(self.covered)
