"""Owns how many perturbed photos are asked for: a fixed number, or until the strongest regions no longer change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from agegender.explanation.problems import is_constant
from agegender.explanation.sampling import Design, Evaluator, antithetic_design, pair_block_size
from agegender.explanation.surrogate import Numbers, Surrogate

TOP_COUNT = 6
LARGEST_AUTO_SAMPLES = 768
SMALLEST_STEP_PAIRS = 64
# Two sets of six that share five have a Jaccard index of 5/7: one change is let pass, for near-ties flip for ever.
SETTLED_JACCARD = 5 / 7
LEAST_RELATIVE_WEIGHT = 1 / 20


@dataclass(frozen=True)
class Sample:
    """Perturbed photos and what the model said: (rows, regions) and (rows, outputs)."""

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

    def stopped(self, because: str) -> Sample:
        """Return the sample with the reason for its end."""
        return Sample(self.design, self.scores, because)


Fit = Callable[[Sample], Sequence[Surrogate]]  # one per output


def draw_pairs(evaluator: Evaluator, region_count: int, pair_count: int, generator: np.random.Generator) -> Sample:
    """Ask the model about `pair_count` antithetic pairs."""
    design = antithetic_design(region_count, pair_count, generator)
    return Sample(design, evaluator.scores(design))


def draw_until_settled(evaluator: Evaluator, region_count: int, generator: np.random.Generator, fit: Fit) -> Sample:
    """Ask block by block until the strongest regions of every output hold still.

    Starts with two steps, each of whole orthogonal blocks, so that intervals and independent halves can be had; ends
    when a further step changes at most one of the strongest six, or at `LARGEST_AUTO_SAMPLES`, or at once where an
    output never moves.
    """
    block = max(SMALLEST_STEP_PAIRS, pair_block_size(region_count))
    sample = draw_pairs(evaluator, region_count, 2 * block, generator)
    if all(is_constant(scores) for scores in sample.scores.T):
        return sample.stopped("no output moved, so that more samples could tell nothing")
    largest = max(LARGEST_AUTO_SAMPLES, len(sample.design))
    before = fit(sample)
    while len(sample.design) + 2 * block <= largest:
        sample = sample.joined(draw_pairs(evaluator, region_count, block, generator))
        after = fit(sample)
        overlaps = [
            top_overlap(old.weights, new.weights, strongest_count(new)) for old, new in zip(before, after, strict=True)
        ]
        if min(overlaps) >= SETTLED_JACCARD:
            return sample.stopped(f"the strongest regions no longer changed after {len(sample.design)} samples")
        before = after
    return sample.stopped(f"the strongest regions still changed at the limit of {len(sample.design)} samples")


def top_overlap(first: Numbers, second: Numbers, count: int = TOP_COUNT) -> float:
    """Return the Jaccard index of the `count` strongest regions of two maps: shared / all, in [0, 1].

    >>> top_overlap(np.array([3.0, -2, 0, 0]), np.array([-9.0, 0, 1, 0]), count=2)
    0.3333333333333333
    """
    one, other = (set(np.argsort(-abs(weights), kind="stable")[:count].tolist()) for weights in (first, second))
    return len(one & other) / len(one | other)


def strongest_count(surrogate: Surrogate) -> int:
    """Return how many regions of a map count as its strongest, to be compared between samples.

    Six, or a third of the regions where there are few, lest overlap be trivial; fewer where fewer have an interval
    that leaves out zero and at least a twentieth of the strongest's weight, for what lies below is noise by chance.
    """
    weights = np.abs(surrogate.weights)
    most = max(1, min(TOP_COUNT, len(weights) // 3))
    with np.errstate(invalid="ignore"):
        is_clear = (surrogate.low > 0) | (surrogate.high < 0)
    clear_count = int((is_clear & (weights >= LEAST_RELATIVE_WEIGHT * weights.max())).sum())
    return min(most, clear_count) or most
