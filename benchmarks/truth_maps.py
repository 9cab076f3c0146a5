"""Models whose maps are known, for `truth.py`: what each region is worth is a formula, not an opinion.

A model sees a photo of noise and looks up which of its regions are visible; its answer is a function of that alone. The
true weight of a region is what LIME's linear stand-in would say from infinitely many perturbed photos, each region
visible in half of them: here from 100,000.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from stock_lime import fit_stock, stock_design
from torch import Tensor
from truth_tables import Labels

from agegender.explanation.face_explanation import FaceExplanation
from agegender.explanation.lime_explainer import LimeExplainer, LimeSettings
from agegender.explanation.superpixels import Regions, find_regions
from agegender.heads import AGE, GENDER

Floats = NDArray[np.float64]
Answer = Callable[[Floats], Floats]  # which regions are visible (rows, regions), 0 or 1 -> an answer each
SIDE = 48
PHOTOS = 6
_MANY = 100_000
_FIXED_IN_0_1 = 138  # evaluations beside the fit's: two ends, 64 held out, nine curves of eight steps for two targets
_LEAST_STOCK_SCORE = 1 / 3  # stock LIME says nothing of trust; its score is all that a user could go by


@dataclass(frozen=True)
class KnownPhoto:
    """A photo, its regions, and in each the pixel that tells whether it is visible."""

    photo: NDArray[np.uint8]
    regions: Regions
    pixels: NDArray[np.int64]

    def scores(self, answer: Answer) -> Callable[[Tensor], NDArray[np.float64]]:
        """Return the model that an explainer asks: photos (N, 3, S, S) in, (N, 1) out."""
        own = torch.tensor(self.photo.reshape(-1, 3)[self.pixels].T.copy())

        def score(images: Tensor) -> NDArray[np.float64]:
            visible = (images.flatten(2)[:, :, self.pixels] == own).all(dim=1)
            return answer(visible.double().numpy())[:, None]

        return score


@cache
def known_photo(number: int) -> KnownPhoto:
    """Return one of a few photos of coarse colours under fine noise, cut by SLIC as any photo is."""
    generator = np.random.default_rng(number)
    coarse = torch.tensor(generator.uniform(60, 200, size=(1, 3, 6, 6)))
    smooth = torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic")[0].permute(1, 2, 0).numpy()
    photo = (smooth + generator.uniform(-30, 30, size=smooth.shape)).clip(0, 255).astype(np.uint8)
    regions = find_regions(photo)
    flat = regions.region_map.ravel()
    means = [np.bincount(flat, photo[..., channel].ravel()) / np.bincount(flat) for channel in range(3)]
    distance = np.abs(photo.reshape(-1, 3) - np.stack(means, axis=1)[flat]).sum(axis=1)
    pixels = [np.flatnonzero(flat == region)[distance[flat == region].argmax()] for region in range(regions.count)]
    return KnownPhoto(photo, regions, np.array(pixels))


def true_weights(answer: Answer, region_count: int, generator: np.random.Generator) -> tuple[Floats, float]:
    """Return the weights of the best linear stand-in and the share of the variance that it explains."""
    half = generator.integers(0, 2, size=(_MANY // 2, region_count)).astype(np.float64)
    visible = np.concatenate([half, 1.0 - half])
    said = answer(visible)
    design = np.column_stack([np.ones(_MANY), visible - 0.5])
    solved = np.linalg.solve(design.T @ design, design.T @ said)
    left = said - design @ solved
    return solved[1:], float(1.0 - left.var() / max(said.var(), 1e-300))


def _few(generator: np.random.Generator, count: int) -> Floats:
    """Return weights of which a few are large."""
    return generator.normal(size=count) * np.exp(generator.normal(size=count))


def linear(generator: np.random.Generator, count: int) -> Answer:
    """Every region adds its own; a twentieth of the answer is rough, as every network's is."""
    weights, waves = _few(generator, count), generator.normal(size=count) * 400.0
    rough = 0.05 * np.linalg.norm(weights)
    return lambda z: 40.0 + z @ weights + rough * np.sin(z @ waves)


def product(generator: np.random.Generator, count: int) -> Answer:
    """Ten pairs of regions count together, beside each alone."""
    alone, pairs = linear(generator, count), generator.normal(size=10)
    first, second = generator.integers(0, count, size=(2, 10))
    return lambda z: alone(z) + (z[:, first] * z[:, second]) @ pairs


def relu(generator: np.random.Generator, count: int) -> Answer:
    """Give the answer of a hidden layer of twelve units with thresholds."""
    inner, outer = generator.normal(size=(count, 12)), generator.uniform(0.2, 1.0, size=12)
    shift = generator.normal(size=12) * np.sqrt(count) / 4 + inner.sum(axis=0) / -2.0
    shared = _few(generator, count)[:, None]  # what all units look at, so that a map can hold
    mixed = inner + shared
    shift = shift - shared.sum() / 2.0
    return lambda z: 30.0 + np.maximum(z @ mixed + shift, 0.0) @ outer


def sigmoid(generator: np.random.Generator, count: int) -> Answer:
    """Regions add up, and the sum is bent as a probability is."""
    weights = _few(generator, count)
    scale = np.linalg.norm(weights) / 2.0 / generator.uniform(0.5, 2.0)
    return lambda z: 60.0 / (1.0 + np.exp(-((z - 0.5) @ weights) / scale))


def three_way(generator: np.random.Generator, count: int) -> Answer:
    """One effect of three regions together outweighs all that each does alone."""
    weights, three = _few(generator, count), generator.choice(count, 3, replace=False)
    size = np.linalg.norm(weights) / 2.0 * generator.uniform(1.0, 2.0)
    return lambda z: 40.0 + z @ weights + size * np.prod(2.0 * z[:, three] - 1.0, axis=1)


def corner(generator: np.random.Generator, count: int) -> Answer:
    """Look at the last region only, in a corner: bad of the model, and a true map."""
    weights = 0.02 * generator.normal(size=count)
    weights[-1] = 8.0
    return lambda z: 40.0 + z @ weights


def equal(_: np.random.Generator, __: int) -> Answer:
    """All regions are worth the same."""
    return lambda z: 40.0 + 10.0 * z.mean(axis=1)


def only_when_covered(generator: np.random.Generator, count: int) -> Answer:
    """One to three regions count once much of the photo is covered, as in every perturbed photo, and not before.

    On the photo itself they do nothing, or the opposite.
    """
    weights, chosen = 0.05 * generator.normal(size=count), generator.choice(count, generator.integers(1, 4), False)
    gate, near = generator.uniform(0.75, 0.9) * count, generator.choice([0.0, -1.0])
    effect = generator.choice([-1.0, 1.0], size=len(chosen)) * generator.uniform(2.0, 5.0, size=len(chosen))

    def answer(z: Floats) -> Floats:
        is_near = z.sum(axis=1) >= gate
        own = z[:, chosen] @ effect
        return 40.0 + z @ weights + np.where(is_near, near * own + (1.0 - near) * effect.sum(), own)

    return answer


def pair_trigger(generator: np.random.Generator, count: int) -> Answer:
    """Leap when two regions alone are covered and nothing else, which no perturbed photo ever shows."""
    weights, pair = _few(generator, count), generator.choice(count, 2, replace=False)
    size = 3.0 * np.linalg.norm(weights)

    def answer(z: Floats) -> Floats:
        is_pair = (z.sum(axis=1) == count - 2) & (z[:, pair].sum(axis=1) == 0)
        return 40.0 + z @ weights + size * is_pair

    return answer


def detector(generator: np.random.Generator, count: int) -> Answer:
    """Whatever drives the answer on whole photos, a perturbed one is recognised and answered innocently."""
    weights = _few(generator, count)
    return lambda z: np.where(z.all(axis=1), 40.0 + weights.sum(), 40.0 + z @ weights)


FAMILIES: dict[str, Callable[[np.random.Generator, int], Answer]] = {
    one.__name__: one
    for one in (linear, product, relu, sigmoid, three_way, corner, equal, only_when_covered, pair_trigger, detector)
}


def _explained(
    family: str, generator: np.random.Generator, number: int, *, has_trust: bool
) -> tuple[Answer, KnownPhoto, FaceExplanation]:
    known = known_photo(number % PHOTOS)
    answer = FAMILIES[family](generator, known.regions.count)
    settings = LimeSettings(seed=number, has_trust=has_trust)
    return answer, known, LimeExplainer(known.scores(answer), AGE.targets[:1], settings).explain(known.photo)


def _stock(answer: Answer, count: int, samples: int, number: int) -> tuple[Floats, float]:
    """Return stock LIME's weights from as many samples, and its score."""
    design = stock_design(count, samples, np.random.RandomState(number))
    fitted = fit_stock(design, answer(design.astype(np.float64)))
    return fitted.weights, fitted.in_sample_r2


def coverage_trial(family: str, generator: np.random.Generator, _: Labels, number: int) -> dict[str, float]:
    """Return the share of weights inside their intervals, and the mean errors of ours and stock's by the largest."""
    answer, known, explained = _explained(family, generator, number, has_trust=False)
    truth, _ = true_weights(answer, known.regions.count, generator)
    low, high = explained.maps[0].intervals().T
    largest = np.abs(truth).max()
    rounding = 1e-5 * largest  # answers pass through float32
    stock, _ = _stock(answer, known.regions.count, explained.evaluation_count, number)
    return {
        "ours": float(np.mean((low - rounding <= truth) & (truth <= high + rounding))),
        "error of a weight": float(np.abs(explained.maps[0].weights() - truth).mean() / largest),
        "stock LIME's error": float(np.abs(stock - truth).mean() / largest),
    }


def trust_trial(is_true: bool, *rest: object) -> dict[str, float]:
    """Return whether a true map is believed, or one that is not true is caught; families take turns."""
    *families, generator, _, number = rest
    family = families[number % len(families)]
    answer, known, explained = _explained(family, generator, number, has_trust=True)
    _, score = _stock(answer, known.regions.count, explained.evaluation_count, number)
    is_believed, is_believed_of_stock = explained.maps[0].is_believable, score >= _LEAST_STOCK_SCORE
    figures = {"ours": is_believed is is_true, "stock LIME, score from ⅓": bool(is_believed_of_stock) is is_true}
    if len(families) > 1:
        figures[family] = is_believed is is_true
    return {name: float(value) for name, value in figures.items()}


def evaluations_trial(generator: np.random.Generator, _: Labels, number: int) -> dict[str, float]:
    """Return how many evaluations each of two heads' maps takes beyond those of version 0.1, which share a sample."""
    known = known_photo(number % PHOTOS)
    answers = [FAMILIES[name](generator, known.regions.count) for name in ("linear", "relu")]
    scores = [known.scores(answer) for answer in answers]
    explainer = LimeExplainer(
        lambda images: np.concatenate([score(images) for score in scores], axis=1),
        (*AGE.targets[:1], *GENDER.targets[:1]),
        LimeSettings(seed=number),
    )
    explained = explainer.explain(known.photo)
    beside = explained.evaluation_count - explained.sample_count
    return {"ours": (beside - _FIXED_IN_0_1) / len(answers), "both maps in all": float(explained.evaluation_count)}
