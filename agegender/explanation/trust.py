"""Whether a map can be believed: figures beside every map, and a verdict in words.

Thresholds, each a check that a map passes or fails:

- it predicts at least a third of the variance over fresh perturbations (`LEAST_HELD_OUT_R2`);
- deletion by its order lowers the answer more, and insertion raises it more, than random orders do on average;
- of its strongest regions, independent halves of the samples share at least half (`LEAST_JACCARD`, 4 of 6 shared);
- at most 0.4 of its weight lies outside the head (`LARGEST_BACKGROUND_SHARE`);
- its ranks are no copy of the untrained network's (`LARGEST_UNTRAINED_CORRELATION`).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from agegender.explanation.face_explanation import NAN, Curve, Trust, scaled_curves
from agegender.explanation.perturbing import Design, Evaluator, independent_design
from agegender.explanation.superpixels import Regions, background_mask
from agegender.explanation.surrogate import Numbers, Surrogate, r_squared, rank_correlation, top_overlap

HELD_OUT_COUNT = 64
RANDOM_ORDER_COUNT = 5
CURVE_STEPS = 9
LEAST_HELD_OUT_R2 = 1 / 3
LEAST_JACCARD = 1 / 2
LARGEST_BACKGROUND_SHARE = 0.4
LARGEST_UNTRAINED_CORRELATION = 0.7

Order = NDArray[np.intp]
Network = TypeVar("Network", bound=nn.Module)


def faithfulness(
    evaluator: Evaluator,
    surrogates: Sequence[Surrogate],
    ends: Numbers,
    signs: Sequence[float],
    generator: np.random.Generator,
) -> list[Trust]:
    """Return curves and held-out R², one `Trust` per target, from one call of the evaluator.

    Parameters
    ----------
    ends : array, shape (2, targets)
        The answers with everything visible, and with everything covered.
    signs : sequence of float
        The `direction` of each target.
    generator : Generator
        For held-out photos and random orders; must not be the one that the map was fitted with.
    """
    count = evaluator.regions.count
    held_out = independent_design(count, HELD_OUT_COUNT, generator)
    random_orders = [generator.permutation(count) for _ in range(RANDOM_ORDER_COUNT)]
    own_orders = [np.argsort(-sign * one.weights) for sign, one in zip(signs, surrogates, strict=True)]
    # Inserting in an order shows the same photos as deleting in the reverse one.
    orders = [*random_orders, *own_orders, *(order[::-1] for order in own_orders)]
    truth, *answers = _ask(evaluator, held_out, orders)
    trusts = []
    for i, surrogate in enumerate(surrogates):
        curves = [
            _curve(order, given[:, i], evaluator.regions, ends[:, i])
            for order, given in zip(orders, answers, strict=True)
        ]
        deletion, insertion = curves[RANDOM_ORDER_COUNT + i :: len(surrogates)]
        trust = _with_areas(curves[:RANDOM_ORDER_COUNT], deletion, _reversed(insertion), signs[i])
        held_out_r2 = r_squared(truth[:, i], surrogate.predict(held_out))
        trusts.append(replace(trust, held_out_r2=held_out_r2, held_out_count=HELD_OUT_COUNT))
    return trusts


def with_agreement(
    trust: Trust, surrogate: Surrogate, halves: tuple[Surrogate, Surrogate], regions: Regions, untrained: Numbers | None
) -> Trust:
    """Add the figures that need no further evaluations.

    Parameters
    ----------
    halves : (Surrogate, Surrogate)
        Fitted to independent halves of the samples.
    untrained : array, shape (regions,), or None
        Weights of the untrained network's map.
    """
    weights, count = surrogate.weights, surrogate.strongest_count()
    is_flat = not np.abs(weights).sum() > 0
    return replace(
        trust,
        in_sample_r2=surrogate.in_sample_r2,
        top_jaccard=NAN if is_flat else top_overlap(halves[0].weights, halves[1].weights, count),
        top_count=count,
        background_share=background_share(weights, regions),
        background_pixel_share=float(background_mask(*regions.region_map.shape).mean()),
        untrained_correlation=NAN if untrained is None else rank_correlation(weights, untrained),
    )


def background_share(weights: Numbers, regions: Regions) -> float:
    """Return the share of the absolute weights outside the head, in [0, 1]; NaN when all weights are zero."""
    outside = regions.share_inside(background_mask(*regions.region_map.shape))
    total = float(np.abs(weights).sum())
    return float(np.abs(weights) @ outside / total) if total > 0 else NAN


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


def untrained_copy(network: Network, seed: int = 0) -> Network:
    """Return a copy of a network with freshly drawn weights, in evaluation mode; the network itself stays as it is.

    Modules that know how to draw their weights do so; parameters of modules that do not are shuffled, which keeps
    their scale and destroys what they learned.

    References
    ----------
    Adebayo and others: Sanity Checks for Saliency Maps, NeurIPS 2018.
    """
    copy = deepcopy(network)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        for module in copy.modules():
            _forget(module)
    return copy.eval()


def _ask(evaluator: Evaluator, held_out: Design, orders: Sequence[Order]) -> list[Numbers]:
    designs = [held_out, *(_deletion_design(order) for order in orders)]
    answers = evaluator.scores(np.concatenate(designs))
    return np.split(answers, np.cumsum([len(design) for design in designs])[:-1])


def _step_counts(region_count: int) -> NDArray[np.intp]:
    counts = np.unique(np.linspace(0, region_count, CURVE_STEPS + 1).round().astype(np.intp))
    return counts[(counts > 0) & (counts < region_count)]


def _deletion_design(order: Order) -> Design:
    """Return the rows of a deletion curve but for its ends: the first regions of the order covered."""
    ranks = np.argsort(order)
    return (ranks[None, :] >= _step_counts(len(order))[:, None]).astype(np.uint8)


def _curve(order: Order, answers: Numbers, regions: Regions, ends: Numbers) -> Curve:
    covered = np.concatenate([[0.0], np.cumsum(regions.pixel_shares[order])])
    shares = covered[[0, *_step_counts(len(order)), len(order)]]
    return Curve(tuple(shares.tolist()), (float(ends[0]), *answers.tolist(), float(ends[1])))


def _reversed(curve: Curve) -> Curve:
    """Return a deletion curve read backwards: an insertion curve."""
    return Curve(tuple(1 - share for share in reversed(curve.pixel_share)), tuple(reversed(curve.values)))


def _with_areas(random_curves: Sequence[Curve], deletion: Curve, insertion: Curve, sign: float) -> Trust:
    """Return the curves with their mean heights.

    A random order read backwards is as random, so that random deletions and random insertions have the same height.
    """
    trust = Trust(deletion=deletion, insertion=insertion, random_deletions=tuple(random_curves))
    scaled = scaled_curves((deletion, insertion, *random_curves), sign)
    if scaled is None:
        return trust
    areas = [curve.area() for curve in scaled]
    at_random = float(np.mean(areas[2:]))
    return replace(
        trust,
        deletion_auc=areas[0],
        insertion_auc=areas[1],
        random_deletion_auc=at_random,
        random_insertion_auc=at_random,
    )


def _forget(module: nn.Module) -> None:
    reset = getattr(module, "reset_parameters", None)
    if callable(reset):
        reset()
        return
    with torch.no_grad():
        for parameter in module.parameters(recurse=False):
            shuffled = parameter.flatten()[torch.randperm(parameter.numel(), device="cpu").to(parameter.device)]
            parameter.copy_(shuffled.view_as(parameter))
