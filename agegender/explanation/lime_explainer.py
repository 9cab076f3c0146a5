"""Owns the explanation of one photo: regions, perturbations, surrogate and trust, all outputs at once.

It gets a function from photos to scores and knows no network; commands and benchmarks call it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from lime.lime_image import ImageExplanation
from numpy.typing import NDArray

from agegender.errors import UsageError
from agegender.explanation.problems import problems_of_answers, problems_of_photo, problems_of_sample
from agegender.explanation.results import AGE_AND_GENDER, FaceExplanation, Output, OutputMap, RegionWeight, Trust
from agegender.explanation.sampling import Evaluator, ScoreImages, photo_generator, stock_design
from agegender.explanation.settings import LimeSettings
from agegender.explanation.stopping import Sample, draw_pairs, draw_until_settled
from agegender.explanation.superpixels import Regions, cover, find_regions
from agegender.explanation.surrogate import Numbers, Surrogate, fit_pairs, fit_rows, stock_kernel
from agegender.explanation.trust import Evidence, assess, failures, verdict


@dataclass(frozen=True)
class Explained:
    """Our result, and lime's own: one `ImageExplanation` per output, its label the output's index."""

    face: FaceExplanation
    lime: tuple[ImageExplanation, ...]


@dataclass
class LimeExplainer:
    """Explains photos, every output from the same evaluations.

    Attributes
    ----------
    score_images : callable
        Photos uint8 (N, 3, S, S) to float (N, outputs).
    outputs : tuple of Output
        What the columns mean.
    untrained_scores : callable or None
        The same network with random weights: with it, each map is compared with the untrained one's.
    """

    score_images: ScoreImages
    outputs: tuple[Output, ...] = AGE_AND_GENDER
    settings: LimeSettings = field(default_factory=LimeSettings)
    untrained_scores: ScoreImages | None = None

    def explain(
        self, photo: NDArray[np.uint8], path: str = "", *, known_problems: Sequence[str] = (), reason: str = ""
    ) -> Explained:
        """Explain one photo.

        Parameters
        ----------
        photo : array, shape (S, S, 3), uint8, RGB
            Already fitted to the model's size.
        path : str
            Its name, for the result.
        known_problems : sequence of str
            What the caller knows to be wrong with it, in words.
        reason : str
            Why it was chosen.

        Raises
        ------
        UsageError
            The photo is no such array, or the model gives another number of outputs.
        """
        started = time.perf_counter()
        _check_photo(photo)
        regions = find_regions(photo, self.settings.segments, self.settings.region_count)
        evaluator = self._evaluator(self.score_images, photo, regions)
        ends = self._ends(evaluator, regions)
        sample = self._sample(evaluator, photo, regions, ends)
        surrogates = self._fit(sample, ends)
        photo_problems = (
            *known_problems,
            *problems_of_photo(photo, evaluator.covered, regions),
            *problems_of_sample(regions.count, len(sample.design) // 2),
        )
        answer_problems = problems_of_answers(sample.scores, ends[0], self.outputs)
        trusts = self._trusts(evaluator, photo, regions, sample, surrogates, ends)
        maps = tuple(
            _output_map(output, ends[0, i], surrogates[i], regions, trusts[i], (*photo_problems, *answer_problems[i]))
            for i, output in enumerate(self.outputs)
        )
        face = FaceExplanation(
            path=path,
            photo=photo,
            region_map=regions.region_map,
            region_names=regions.names,
            outputs=maps,
            segments=self.settings.segments,
            fill=self.settings.fill,
            seed=self.settings.seed,
            sample_count=len(sample.design),
            evaluation_count=evaluator.evaluation_count,
            stopped_because=sample.stopped_because,
            problems=(*photo_problems, *(words for one in answer_problems for words in one)),
            reason=reason,
            duration_seconds=time.perf_counter() - started,
        )
        return Explained(face, _lime_explanations(photo, regions, surrogates))

    def _evaluator(self, score_images: ScoreImages, photo: NDArray[np.uint8], regions: Regions) -> Evaluator:
        covered = cover(photo, regions.region_map, self.settings.fill)
        settings = self.settings
        return Evaluator(score_images, photo, covered, regions.region_map, settings.device, settings.photos_per_call)

    def _ends(self, evaluator: Evaluator, regions: Regions) -> Numbers:
        """Return the outputs on the photo and on the photo all covered, shape (2, outputs)."""
        design = np.repeat(np.array([[1], [0]], dtype=np.uint8), regions.count, axis=1)
        ends = evaluator.scores(design)
        if ends.shape[1] != len(self.outputs):
            raise UsageError(
                f"the model gives {ends.shape[1]} numbers a photo, but {len(self.outputs)} outputs are named: "
                f"{', '.join(output.name for output in self.outputs)}."
            )
        return ends

    def _sample(self, evaluator: Evaluator, photo: NDArray[np.uint8], regions: Regions, ends: Numbers) -> Sample:
        if self.settings.sampling == "stock":
            count = 1000 if self.settings.samples == "auto" else int(self.settings.samples)
            design = stock_design(regions.count, count, np.random.RandomState(self.settings.seed))
            return Sample(design, evaluator.scores(design), f"{count} samples were asked for")
        generator = photo_generator(photo, self.settings.seed)
        if self.settings.samples != "auto":
            pairs = int(self.settings.samples) // 2
            sample = draw_pairs(evaluator, regions.count, pairs, generator)
            return sample.stopped(f"{len(sample.design)} samples were asked for")
        return draw_until_settled(evaluator, regions.count, generator, lambda sample: self._fit(sample, ends))

    def _fit(self, sample: Sample, ends: Numbers) -> list[Surrogate]:
        if self.settings.sampling == "stock":
            row_weights = stock_kernel(sample.design)
            return [fit_rows(sample.design, scores, row_weights=row_weights) for scores in sample.scores.T]
        return [fit_pairs(sample.design, scores, ends[0, i]) for i, scores in enumerate(sample.scores.T)]

    def _trusts(
        self,
        evaluator: Evaluator,
        photo: NDArray[np.uint8],
        regions: Regions,
        sample: Sample,
        surrogates: list[Surrogate],
        ends: Numbers,
    ) -> tuple[Trust | None, ...]:
        if not self.settings.has_trust:
            return (None,) * len(self.outputs)
        first, second = (_weights(self._fit(half, ends)) for half in sample.halves())
        untrained = self._untrained_weights(photo, regions, ends)
        evidence = Evidence(surrogates, ends, first, second, untrained)
        generator = photo_generator(photo, self.settings.seed, "trust")
        return assess(evaluator, regions, self.outputs, evidence, generator)

    def _untrained_weights(self, photo: NDArray[np.uint8], regions: Regions, ends: Numbers) -> Numbers | None:
        if self.untrained_scores is None:
            return None
        evaluator = self._evaluator(self.untrained_scores, photo, regions)
        generator = photo_generator(photo, self.settings.seed, "untrained")
        sample = draw_pairs(evaluator, regions.count, 64, generator)
        return _weights([fit_pairs(sample.design, scores, ends[0, i]) for i, scores in enumerate(sample.scores.T)])


def _check_photo(photo: NDArray[np.uint8]) -> None:
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or not photo.size:
        raise UsageError(
            f"a photo of shape {photo.shape} and type {photo.dtype}: expected (height, width, 3) and uint8, RGB."
        )


def _weights(surrogates: Sequence[Surrogate]) -> Numbers:
    return np.stack([surrogate.weights for surrogate in surrogates])


def _output_map(
    output: Output,
    value: float,
    surrogate: Surrogate,
    regions: Regions,
    trust: Trust | None,
    problems: Sequence[str],
) -> OutputMap:
    shares = regions.pixel_shares
    columns = zip(regions.names, surrogate.weights, surrogate.low, surrogate.high, shares, strict=True)
    weighted = tuple(
        RegionWeight(number, name, float(weight), float(low), float(high), float(share))
        for number, (name, weight, low, high, share) in enumerate(columns)
    )
    if trust is not None:
        trust = replace(trust, failures=(*problems, *failures(trust)))
    return OutputMap(output, float(value), surrogate.intercept, weighted, trust, verdict(trust, problems))


def _lime_explanations(
    photo: NDArray[np.uint8], regions: Regions, surrogates: Sequence[Surrogate]
) -> tuple[ImageExplanation, ...]:
    explanations = []
    for i, surrogate in enumerate(surrogates):
        explanation = ImageExplanation(photo, regions.region_map)
        explanation.intercept[i], explanation.local_exp[i], explanation.score, explanation.local_pred = surrogate.lime
        explanations.append(explanation)
    return tuple(explanations)
