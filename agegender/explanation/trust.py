"""Owns whether a map can be believed: figures beside every map, and a verdict in words.

Thresholds, each a check that a map passes or fails:

- it predicts at least a third of the variance over fresh perturbations (`LEAST_HELD_OUT_R2`);
- deletion by its order lowers the output more, and insertion raises it more, than random orders do on average;
- of its strongest regions, independent halves of the samples share at least half (`LEAST_JACCARD`, 4 of 6 shared);
- at most 0.4 of its weight lies outside the head (`LARGEST_BACKGROUND_SHARE`);
- its ranks are no copy of the untrained network's (`LARGEST_UNTRAINED_CORRELATION`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from agegender.explanation.results import NAN, Curve, Output, Trust
from agegender.explanation.sampling import Design, Evaluator, independent_design
from agegender.explanation.stopping import strongest_count, top_overlap
from agegender.explanation.superpixels import Regions, background_mask
from agegender.explanation.surrogate import Numbers, Surrogate, r_squared

HELD_OUT_COUNT = 64
RANDOM_ORDER_COUNT = 5
CURVE_STEPS = 9
LEAST_HELD_OUT_R2 = 1 / 3
LEAST_JACCARD = 1 / 2
LARGEST_BACKGROUND_SHARE = 0.4
LARGEST_UNTRAINED_CORRELATION = 0.7


@dataclass(frozen=True)
class Evidence:
    """What the trust figures are computed from; weights have the shape (outputs, regions).

    Attributes
    ----------
    ends : array, shape (2, outputs)
        The outputs with everything visible, and with everything covered.
    first_half, second_half : array
        Weights fitted to independent halves of the samples.
    untrained : array or None
        Weights of the untrained network's map.
    """

    surrogates: Sequence[Surrogate]
    ends: Numbers
    first_half: Numbers
    second_half: Numbers
    untrained: Numbers | None = None


def assess(
    evaluator: Evaluator,
    regions: Regions,
    outputs: Sequence[Output],
    evidence: Evidence,
    generator: np.random.Generator,
) -> tuple[Trust, ...]:
    """Compute every trust figure, one `Trust` per output, from one call of the evaluator.

    The held-out photos and the random orders come from `generator`, which must not be the one that the map was fitted
    with.
    """
    held_out = independent_design(regions.count, HELD_OUT_COUNT, generator)
    random_orders = [generator.permutation(regions.count) for _ in range(RANDOM_ORDER_COUNT)]
    directions = [_direction(output, evidence.ends[0, i]) for i, output in enumerate(outputs)]
    own_orders = [np.argsort(-d * s.weights) for d, s in zip(directions, evidence.surrogates, strict=True)]
    # Inserting in an order shows the same photos as deleting in the reverse one.
    orders = [*random_orders, *own_orders, *(order[::-1] for order in own_orders)]
    answers = _ask(evaluator, held_out, orders)
    trusts = []
    for i in range(len(outputs)):
        curves = [_curve(order, answers[k + 1][:, i], regions, evidence.ends[:, i]) for k, order in enumerate(orders)]
        deletion, insertion = curves[RANDOM_ORDER_COUNT + i], curves[RANDOM_ORDER_COUNT + len(outputs) + i]
        areas = _areas(curves[:RANDOM_ORDER_COUNT], deletion, insertion, directions[i])
        held_out_r2 = r_squared(answers[0][:, i], evidence.surrogates[i].predict(held_out))
        trusts.append(
            replace(
                _agreement(evidence, regions, i),
                held_out_r2=held_out_r2,
                held_out_count=HELD_OUT_COUNT,
                deletion_auc=areas[0],
                insertion_auc=areas[1],
                random_deletion_auc=areas[2],
                random_insertion_auc=areas[2],
                deletion=deletion,
                insertion=_reversed(insertion),
                random_deletions=tuple(curves[:RANDOM_ORDER_COUNT]),
            )
        )
    return tuple(trusts)


def background_share(weights: Numbers, regions: Regions) -> float:
    """Return the share of the absolute weights outside the head, in [0, 1]; NaN when all weights are zero."""
    outside = regions.share_inside(background_mask(*regions.region_map.shape))
    total = float(np.abs(weights).sum())
    return float(np.abs(weights) @ outside / total) if total > 0 else NAN


def rank_correlation(first: Numbers, second: Numbers) -> float:
    """Return Spearman's rank correlation in [-1, 1]; NaN when either is constant or has fewer than three values."""
    known = np.isfinite(first) & np.isfinite(second)
    first, second = first[known], second[known]
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return NAN
    return float(spearmanr(first, second).statistic)


def failures(trust: Trust) -> tuple[str, ...]:
    """Say in words which checks a map fails; a figure that is NaN is a check that was not made."""
    shared = f"{100 * trust.top_jaccard:.0f} %"
    checks = (
        (
            trust.held_out_r2 < LEAST_HELD_OUT_R2,
            f"it predicts only {100 * max(trust.held_out_r2, 0):.0f} % of the variance over fresh perturbations",
        ),
        (
            trust.deletion_auc >= trust.random_deletion_auc,
            "covering regions by its order lowers the output no more than random orders do",
        ),
        (
            trust.insertion_auc <= trust.random_insertion_auc,
            "showing regions by its order raises the output no more than random orders do",
        ),
        (
            trust.top_jaccard < LEAST_JACCARD,
            f"independent halves of the samples agree on only {shared} of the strongest regions",
        ),
        (
            trust.background_share > LARGEST_BACKGROUND_SHARE,
            f"{100 * trust.background_share:.0f} % of its weight lies outside the head",
        ),
        (
            abs(trust.untrained_correlation) > LARGEST_UNTRAINED_CORRELATION,
            f"an untrained network's map looks alike (rank correlation {trust.untrained_correlation:.2f})",
        ),
    )
    return tuple(words for has_failed, words in checks if has_failed)


def verdict(trust: Trust | None, problems: Sequence[str]) -> str:
    """Return one sentence: whether to believe the map, and why not."""
    if problems:
        return f"Not to be believed: {'; '.join(problems)}."
    if trust is None:
        return "Not checked: trust figures were not asked for."
    if trust.failures:
        return f"Not to be believed: {'; '.join(trust.failures)}."
    return (
        f"Holds: predicts {100 * trust.held_out_r2:.0f} % of the variance over fresh perturbations, and passes every "
        f"other check made."
    )


def _direction(output: Output, value: float) -> float:
    """Return 1 or -1: log-odds are followed towards the predicted class, everything else upwards."""
    return -1.0 if output.unit == "log-odds" and value < 0 else 1.0


def _ask(evaluator: Evaluator, held_out: Design, orders: Sequence[NDArray[np.intp]]) -> list[Numbers]:
    designs = [held_out, *(_deletion_design(order) for order in orders)]
    answers = evaluator.scores(np.concatenate(designs))
    return np.split(answers, np.cumsum([len(design) for design in designs])[:-1])


def _step_counts(region_count: int) -> NDArray[np.intp]:
    counts = np.unique(np.linspace(0, region_count, CURVE_STEPS + 1).round().astype(np.intp))
    return counts[(counts > 0) & (counts < region_count)]


def _deletion_design(order: NDArray[np.intp]) -> Design:
    """Return the rows of a deletion curve but for its ends: the first regions of the order covered."""
    ranks = np.argsort(order)
    return (ranks[None, :] >= _step_counts(len(order))[:, None]).astype(np.uint8)


def _curve(order: NDArray[np.intp], answers: Numbers, regions: Regions, ends: Numbers) -> Curve:
    covered = np.concatenate([[0.0], np.cumsum(regions.pixel_shares[order])])
    shares = covered[[0, *_step_counts(len(order)), len(order)]]
    return Curve(tuple(shares.tolist()), (float(ends[0]), *answers.tolist(), float(ends[1])))


def _reversed(curve: Curve) -> Curve:
    """Return a deletion curve read backwards: an insertion curve."""
    return Curve(tuple(1 - share for share in reversed(curve.pixel_share)), tuple(reversed(curve.values)))


def _areas(
    random_curves: Sequence[Curve], deletion: Curve, insertion: Curve, direction: float
) -> tuple[float, float, float]:
    """Return the mean heights of deletion, insertion and random curves.

    0 and 1 are the lowest and the highest value on any of the curves. A random order read backwards is as random, so
    that random deletions and random insertions have the same mean height.
    """
    values = direction * np.array([value for curve in (*random_curves, deletion, insertion) for value in curve.values])
    if not np.isfinite(values).all() or np.ptp(values) == 0:
        return NAN, NAN, NAN
    low, span = values.min(), np.ptp(values)

    def area(curve: Curve) -> float:
        return float(np.trapezoid((direction * np.array(curve.values) - low) / span, curve.pixel_share))

    return area(deletion), area(insertion), float(np.mean([area(curve) for curve in random_curves]))


def _agreement(evidence: Evidence, regions: Regions, i: int) -> Trust:
    """Return the figures that need no further evaluations."""
    surrogate = evidence.surrogates[i]
    weights, count = surrogate.weights, strongest_count(surrogate)
    is_flat = not np.abs(weights).sum() > 0
    return Trust(
        in_sample_r2=surrogate.in_sample_r2,
        top_jaccard=NAN if is_flat else top_overlap(evidence.first_half[i], evidence.second_half[i], count),
        top_count=count,
        background_share=background_share(weights, regions),
        background_pixel_share=float(background_mask(*regions.region_map.shape).mean()),
        untrained_correlation=NAN if evidence.untrained is None else rank_correlation(weights, evidence.untrained[i]),
    )
