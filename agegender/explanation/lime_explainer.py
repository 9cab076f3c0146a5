"""The explanation of one photo: regions, perturbations, surrogate and trust, all targets at once.

It gets a function from photos to scores and knows no network.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from agegender.errors import UsageError
from agegender.explanation import FILLS, SEGMENTS
from agegender.explanation.face_explanation import FaceExplanation, RegionWeight, TargetMap, Trust, direction
from agegender.explanation.face_parts import FACE_PARTS, FaceParts
from agegender.explanation.perturbing import (
    Evaluator,
    Sample,
    ScoreImages,
    draw_pairs,
    draw_until_settled,
    is_constant,
    photo_generator,
)
from agegender.explanation.superpixels import Regions, cover, find_regions
from agegender.explanation.surrogate import Numbers, Surrogate, fit_targets, least_pairs
from agegender.explanation.trust import failures, faithfulness, finding, verdict, with_agreement
from agegender.heads import Target
from agegender.memory import kept_memory

HARDLY_CHANGES = 1e-3  # of the answer: of 40 years half a month, which a map would only dress up
SMALLEST_SIDE_PIXELS = 32
SAMPLES_FOR_AVERAGING = 128  # one block of pairs
LEAST_HALF_PAIRS = 1.25  # for each region: with hardly more pairs than regions, halves are unlike by their noise alone


@dataclass(frozen=True)
class LimeSettings:
    """How photos are explained.

    Attributes
    ----------
    samples : int or "auto"
        Perturbed photos to fit to; "auto" goes on until the strongest regions no longer change.
    segments, region_count, fill
        See `superpixels.find_regions` and `superpixels.cover`.
    has_trust : bool
        Whether to spend further evaluations, about 150 a photo, on the trust figures.
    device : str
        Where perturbed photos are composed: the model's device.
    batch_size : int
        Perturbed photos per call of the model; 0 chooses by the device.

    Raises
    ------
    UsageError
        A choice that does not exist.
    """

    samples: int | str = "auto"
    segments: str = "slic"
    region_count: int = 30
    fill: str = "mean"
    seed: int = 0
    has_trust: bool = True
    device: str = "cpu"
    batch_size: int = 0

    def __post_init__(self) -> None:
        for what, given, choices in (("regions", self.segments, SEGMENTS), ("fill", self.fill, FILLS)):
            if given not in choices:
                raise UsageError(f"{what}: {given!r} is none of {', '.join(choices)}.")
        if self.samples != "auto" and (not isinstance(self.samples, int) or self.samples < 4):
            raise UsageError(f"{self.samples!r} is no number of samples: expected auto, or a number from 4.")

    def for_averaging(self, parts: FaceParts | None) -> LimeSettings:
        """Return these settings for a photo whose maps are averaged with many others.

        Where the face grid lies on its face, the parts are the regions, unless others than the usual were chosen: no
        weight has to be divided then. What few samples leave open is little beside how photos differ.
        """
        is_grid = parts is not None and parts.names == FACE_PARTS and self.segments in ("slic", "face-grid")
        samples = SAMPLES_FOR_AVERAGING if self.samples == "auto" else self.samples
        return replace(self, samples=samples, segments="face-grid" if is_grid else self.segments)

    @property
    def photos_per_call(self) -> int:
        """How many perturbed photos the model gets at once: what fits a CPU's cache, or fills a GPU."""
        return self.batch_size or (64 if self.device.startswith("cpu") else 512)


@dataclass
class LimeExplainer:
    """Explains photos, every target from the same evaluations.

    Attributes
    ----------
    score_images : callable
        Photos uint8 (N, 3, S, S) to float (N, targets).
    targets : sequence of Target
        What the columns mean.
    untrained_scores : callable or None
        The same network with random weights (`trust.untrained_copy`): with it, each map is compared with the untrained
        one's, for about 64 evaluations more.
    """

    score_images: ScoreImages
    targets: Sequence[Target]
    settings: LimeSettings = field(default_factory=LimeSettings)
    untrained_scores: ScoreImages | None = None

    @kept_memory()
    def explain(
        self,
        photo: NDArray[np.uint8],
        path: str = "",
        *,
        parts: FaceParts | None = None,
        known_problems: Sequence[str] = (),
        reason: str = "",
    ) -> FaceExplanation:
        """Explain one photo.

        Parameters
        ----------
        photo : array, shape (S, S, 3), uint8, RGB
            Already fitted to the model's size.
        path : str
            Its name, for the result.
        parts : FaceParts, optional
            Where the parts of the face are in it, where that is known: regions are called after them, and the share of
            the weight outside the head is told.
        known_problems : sequence of str
            What the caller knows to be wrong with it, in words.
        reason : str
            Why it was chosen.
        """
        started = time.perf_counter()
        _check_photo(photo)
        regions = find_regions(photo, self.settings.segments, self.settings.region_count, parts)
        evaluator = self._evaluator(self.score_images, photo, regions)
        ends = self._ends(evaluator)
        sample = self._sample(evaluator)
        problems = (
            *known_problems,
            *problems_of_photo(photo, evaluator.covered, regions),
            *problems_of_sample(regions.count, len(sample.design) // 2),
        )
        maps = self._maps(evaluator, sample, ends, problems, parts)
        return FaceExplanation(
            path=path,
            photo=photo,
            region_map=regions.region_map,
            maps=maps,
            segments=self.settings.segments,
            fill=self.settings.fill,
            seed=self.settings.seed,
            sample_count=len(sample.design),
            evaluation_count=evaluator.evaluation_count,
            stopped_because=sample.stopped_because,
            problems=problems,
            reason=reason,
            parts=parts,
            duration_seconds=time.perf_counter() - started,
        )

    def _evaluator(self, score_images: ScoreImages, photo: NDArray[np.uint8], regions: Regions) -> Evaluator:
        covered = cover(photo, regions.region_map, self.settings.fill)
        return Evaluator(score_images, photo, covered, regions, self.settings.device, self.settings.photos_per_call)

    def _ends(self, evaluator: Evaluator) -> Numbers:
        """Return the answers on the photo and on the photo all covered, shape (2, targets)."""
        design = np.repeat(np.array([[1], [0]], dtype=np.uint8), evaluator.regions.count, axis=1)
        ends = evaluator.scores(design)
        if ends.shape[1] != len(self.targets):
            raise UsageError(
                f"the model gives {ends.shape[1]} numbers a photo, but {len(self.targets)} targets are named: "
                f"{', '.join(target.name for target in self.targets)}."
            )
        return ends

    def _sample(self, evaluator: Evaluator) -> Sample:
        generator = photo_generator(evaluator.photo, self.settings.seed)
        if self.settings.samples == "auto":
            return draw_until_settled(evaluator, generator)
        return draw_pairs(evaluator, int(self.settings.samples) // 2, generator)

    def _maps(
        self,
        evaluator: Evaluator,
        sample: Sample,
        ends: Numbers,
        problems: Sequence[str],
        parts: FaceParts | None,
    ) -> tuple[TargetMap, ...]:
        surrogates = fit_targets(sample.design, sample.scores)
        trusts = self._trusts(evaluator, sample, surrogates, ends, parts)
        maps = []
        for i, (target, surrogate, figures) in enumerate(zip(self.targets, surrogates, trusts, strict=True)):
            value = float(ends[0, i])
            wrong = problems_of_answers(sample.scores[:, i], value, target)
            trust = figures and replace(figures, failures=(*problems, *wrong, *failures(figures)))
            said = verdict(trust, (*problems, *wrong))
            weights = region_weights(surrogate, evaluator.regions)
            found = "" if trust is None else finding(trust)
            covered_value = float(ends[1, i])
            maps.append(
                TargetMap(
                    target,
                    value,
                    surrogate.intercept,
                    weights,
                    trust,
                    said,
                    problems=wrong,
                    covered_value=covered_value,
                    finding=found,
                )
            )
        return tuple(maps)

    def _trusts(
        self,
        evaluator: Evaluator,
        sample: Sample,
        surrogates: Sequence[Surrogate],
        ends: Numbers,
        parts: FaceParts | None,
    ) -> Sequence[Trust | None]:
        if not self.settings.has_trust:
            return [None] * len(self.targets)
        first, second = (fit_targets(half.design, half.scores) for half in sample.halves())
        untrained = self._untrained_weights(evaluator)
        signs = [direction(target, value) for target, value in zip(self.targets, ends[0], strict=True)]
        generator = photo_generator(evaluator.photo, self.settings.seed, "trust")
        trusts = faithfulness(evaluator, surrogates, ends, signs, generator)
        is_enough = len(sample.design) / 4 >= LEAST_HALF_PAIRS * evaluator.regions.count
        return [
            with_agreement(
                trust,
                surrogates[i],
                (first[i], second[i]) if is_enough else None,
                regions=evaluator.regions,
                parts=parts,
                untrained=untrained[i],
            )
            for i, trust in enumerate(trusts)
        ]

    def _untrained_weights(self, evaluator: Evaluator) -> Sequence[Numbers | None]:
        if self.untrained_scores is None:
            return [None] * len(self.targets)
        other = self._evaluator(self.untrained_scores, evaluator.photo, evaluator.regions)
        generator = photo_generator(evaluator.photo, self.settings.seed, "untrained")
        sample = draw_pairs(other, least_pairs(evaluator.regions.count), generator)
        evaluator.evaluation_count += other.evaluation_count
        return [surrogate.weights for surrogate in fit_targets(sample.design, sample.scores)]


def region_weights(surrogate: Surrogate, regions: Regions) -> tuple[RegionWeight, ...]:
    """Return one target's weights with what is known of their regions."""
    columns = np.stack([surrogate.weights, surrogate.low, surrogate.high, regions.pixel_shares], axis=1)
    return tuple(RegionWeight(i, regions.names[i], *values) for i, values in enumerate(columns.tolist()))


def small_photo(width: int, height: int) -> str:
    """Say that a photo of this size in pixels was too small before it was fitted to the model."""
    return (
        f"the photo has only {width}×{height} pixels: below {SMALLEST_SIDE_PIXELS} a side, "
        f"what the model looks at is mostly interpolation"
    )


def problems_of_photo(photo: NDArray[np.uint8], covered: NDArray[np.uint8], regions: Regions) -> tuple[str, ...]:
    """Say what about the photo itself keeps it from being explained; empty when nothing does."""
    found = []
    if min(photo.shape[:2]) < SMALLEST_SIDE_PIXELS:
        found.append(small_photo(photo.shape[1], photo.shape[0]))
    if np.ptp(photo.reshape(-1, 3), axis=0).max() == 0:
        found.append("the photo has one colour: there is no face in it to explain")
    elif np.array_equal(photo, covered):
        found.append("covered regions look like visible ones: another fill would be needed")
    if regions.count == 1:
        found.append("the photo is one superpixel: there is nothing to compare it with")
    return tuple(found)


def problems_of_sample(region_count: int, pair_count: int) -> tuple[str, ...]:
    """Say whether there are too few samples for the regions."""
    if pair_count > region_count:
        return ()
    return (
        f"more superpixels ({region_count}) than independent samples ({pair_count}): the weights are shrunk guesses "
        f"without intervals; ask for at least {4 * region_count} samples",
    )


def problems_of_answers(scores: Numbers, value: float, target: Target) -> tuple[str, ...]:
    """Say what is wrong with the answers on the perturbed photos, shape (rows,), and with that on the photo itself."""
    finite = np.isfinite(scores)
    if not finite.any():
        return (f"{target.key}: the model gave no number for any perturbed photo (NaN or infinite)",)
    found = []
    if not np.isfinite(value):
        found.append(f"{target.key}: the model gave no number for the photo itself (NaN or infinite)")
    if not finite.all():
        found.append(
            f"{target.key}: the model gave no number for {int((~finite).sum())} of {len(scores)} perturbed photos; "
            f"they are left out"
        )
    if is_constant(scores):
        found.append(
            f"{target.key}: the model answers {scores[finite][0]:.3g} {target.unit} whatever is covered; "
            f"there is nothing to explain"
        )
    elif (span := float(np.ptp(scores[finite]))) <= HARDLY_CHANGES * max(1.0, float(abs(scores[finite]).max())):
        found.append(
            f"{target.key}: the model's answers differ by {span:.2g} {target.unit} at most, whatever is covered; there "
            f"is nothing to explain"
        )
    return tuple(found)


def _check_photo(photo: NDArray[np.uint8]) -> None:
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or not photo.size:
        raise UsageError(
            f"a photo of shape {photo.shape} and type {photo.dtype}: expected (height, width, 3) and uint8, RGB."
        )
