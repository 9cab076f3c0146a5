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
from agegender.explanation.sampling import Evaluator, ScoreImages, pair_block_size, photo_generator, stock_design
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


@dataclass(frozen=True)
class _Asked:
    """One photo, what the model was asked about it, and what it answered; `ends` has the shape (2, outputs)."""

    photo: NDArray[np.uint8]
    regions: Regions
    evaluator: Evaluator
    ends: Numbers
    sample: Sample
    surrogates: tuple[Surrogate, ...]


@dataclass(frozen=True)
class _Problems:
    of_photo: tuple[str, ...]
    of_answers: tuple[tuple[str, ...], ...]

    @classmethod
    def find(cls, asked: _Asked, outputs: Sequence[Output], known: Sequence[str]) -> _Problems:
        of_photo = (
            *known,
            *problems_of_photo(asked.photo, asked.evaluator.covered, asked.regions),
            *problems_of_sample(asked.regions.count, len(asked.sample.design) // 2),
        )
        return cls(of_photo, problems_of_answers(asked.sample.scores, asked.ends[0], outputs))

    def of_output(self, i: int) -> tuple[str, ...]:
        return (*self.of_photo, *self.of_answers[i])

    def all(self) -> tuple[str, ...]:
        return (*self.of_photo, *(words for one in self.of_answers for words in one))


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
        asked = self._ask(photo)
        problems = _Problems.find(asked, self.outputs, known_problems)
        trusts = self._trusts(asked)
        maps = tuple(
            _output_map(output, i, asked, trusts[i], problems.of_output(i)) for i, output in enumerate(self.outputs)
        )
        face = FaceExplanation(
            path=path,
            photo=photo,
            region_map=asked.regions.region_map,
            region_names=asked.regions.names,
            outputs=maps,
            segments=self.settings.segments,
            fill=self.settings.fill,
            seed=self.settings.seed,
            sample_count=len(asked.sample.design),
            evaluation_count=asked.evaluator.evaluation_count,
            stopped_because=asked.sample.stopped_because,
            problems=problems.all(),
            reason=reason,
            duration_seconds=time.perf_counter() - started,
        )
        return Explained(face, _lime_explanations(asked))

    def _ask(self, photo: NDArray[np.uint8]) -> _Asked:
        _check_photo(photo)
        regions = find_regions(photo, self.settings.segments, self.settings.region_count)
        evaluator = self._evaluator(self.score_images, photo, regions)
        ends = self._ends(evaluator, regions)
        sample = self._sample(evaluator, photo, regions, ends)
        return _Asked(photo, regions, evaluator, ends, sample, tuple(self._fit(sample, ends)))

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

    def _trusts(self, asked: _Asked) -> tuple[Trust | None, ...]:
        if not self.settings.has_trust:
            return (None,) * len(self.outputs)
        first, second = (_weights(self._fit(half, asked.ends)) for half in asked.sample.halves())
        untrained = self._untrained_weights(asked)
        evidence = Evidence(asked.surrogates, asked.ends, first, second, untrained)
        generator = photo_generator(asked.photo, self.settings.seed, "trust")
        return assess(asked.evaluator, asked.regions, self.outputs, evidence, generator)

    def _untrained_weights(self, asked: _Asked) -> Numbers | None:
        if self.untrained_scores is None:
            return None
        evaluator = self._evaluator(self.untrained_scores, asked.photo, asked.regions)
        generator = photo_generator(asked.photo, self.settings.seed, "untrained")
        count = asked.regions.count
        sample = draw_pairs(evaluator, count, pair_block_size(count), generator)
        asked.evaluator.evaluation_count += evaluator.evaluation_count
        return _weights([fit_pairs(sample.design, scores, 0.0) for scores in sample.scores.T])


def _check_photo(photo: NDArray[np.uint8]) -> None:
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or not photo.size:
        raise UsageError(
            f"a photo of shape {photo.shape} and type {photo.dtype}: expected (height, width, 3) and uint8, RGB."
        )


def _weights(surrogates: Sequence[Surrogate]) -> Numbers:
    return np.stack([surrogate.weights for surrogate in surrogates])


def _output_map(output: Output, i: int, asked: _Asked, trust: Trust | None, problems: Sequence[str]) -> OutputMap:
    regions, surrogate = asked.regions, asked.surrogates[i]
    columns = (surrogate.weights, surrogate.low, surrogate.high, regions.pixel_shares)
    weighted = tuple(
        RegionWeight(number, regions.names[number], *values)
        for number, values in enumerate(np.stack(columns, 1).tolist())
    )
    if trust is not None:
        trust = replace(trust, failures=(*problems, *failures(trust)))
    value = float(asked.ends[0, i])
    return OutputMap(output, value, surrogate.intercept, weighted, trust, verdict(trust, problems))


def _lime_explanations(asked: _Asked) -> tuple[ImageExplanation, ...]:
    explanations = []
    for i, surrogate in enumerate(asked.surrogates):
        explanation = ImageExplanation(asked.photo, asked.regions.region_map)
        explanation.intercept[i], explanation.local_exp[i], explanation.score, explanation.local_pred = surrogate.lime
        explanations.append(explanation)
    return tuple(explanations)
