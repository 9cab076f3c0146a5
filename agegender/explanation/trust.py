"""Whether a map can be believed: figures beside every map, and a verdict in two parts.

*Is the map right?* Thresholds, each a check that a map passes or fails:

- it predicts at least a third of the variance over fresh perturbations (`LEAST_HELD_OUT_R2`);
- deletion by its order lowers the answer more, and insertion raises it more, than random orders do on average, where
  the map itself expects them to (`LEAST_EXPECTED_GAIN`);
- the maps of independent halves of the samples are alike (`LEAST_AGREEMENT`);
- on the photo itself, covering its strongest regions one by one moves the answer as the map says, by a quarter at
  least (`LEAST_PHOTO_SHARE`);
- its ranks are no copy of the untrained network's (`LARGEST_UNTRAINED_CORRELATION`).

*Does the model look where it should?* That is a finding about the model and no fault of the map: more than 0.4 of the
weight outside the head (`LARGEST_BACKGROUND_SHARE`), and more than these pixels would have of a map without preference,
where it is known where the head is.
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
from agegender.explanation.face_parts import FaceParts
from agegender.explanation.perturbing import Design, Evaluator, independent_design
from agegender.explanation.superpixels import Regions
from agegender.explanation.surrogate import (
    TOP_COUNT,
    Numbers,
    Surrogate,
    likeness,
    r_squared,
    rank_correlation,
    top_overlap,
)

HELD_OUT_COUNT = 64
RANDOM_ORDER_COUNT = 5
CURVE_STEPS = 9
LEAST_HELD_OUT_R2 = 1 / 3
LEAST_EXPECTED_GAIN = 0.1  # of the scaled height; regions of one weight promise none
LEAST_AGREEMENT = 1 / 2
LEAST_PHOTO_SHARE = 1 / 4
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
    """Return curves, held-out R² and the check on the photo itself, one `Trust` per target, from one call.

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
    strongest = [np.argsort(-np.abs(one.weights), kind="stable")[:TOP_COUNT] for one in surrogates]
    alone = np.unique(np.concatenate(strongest))
    designs = [held_out, _covering_alone(alone, count), *(_deletion_design(order) for order in orders)]
    truth, without, *answers = _ask(evaluator, designs)
    trusts = []
    for i, surrogate in enumerate(surrogates):
        curves = [
            _curve(order, given[:, i], evaluator.regions, ends[:, i])
            for order, given in zip(orders, answers, strict=True)
        ]
        expected = [
            _curve(order, surrogate.predict(design), evaluator.regions, surrogate.predict(_ends(count)))
            for order, design in zip(orders, designs[2:], strict=True)
        ]
        own = [RANDOM_ORDER_COUNT + i, RANDOM_ORDER_COUNT + len(surrogates) + i]
        trust = _with_areas(curves, own, signs[i])
        promised = _with_areas(expected, own, signs[i])
        drops = ends[0, i] - without[np.searchsorted(alone, strongest[i]), i]
        trusts.append(
            replace(
                trust,
                expects_gain=_expects_gain(promised),
                held_out_r2=r_squared(truth[:, i], surrogate.predict(held_out)),
                held_out_count=HELD_OUT_COUNT,
                photo_share=photo_share(drops, surrogate.weights[strongest[i]]),
            )
        )
    return trusts


def photo_share(drops: Numbers, weights: Numbers) -> float:
    """Return what the answer loses when strong regions are covered alone, as a share of their weights; NaN of none.

    >>> photo_share(np.array([2.0, -1.0]), np.array([2.0, -1.0])), photo_share(np.array([0.0]), np.array([3.0]))
    (1.0, 0.0)
    """
    total = float(np.abs(weights).sum())
    return float(drops @ np.sign(weights) / total) if total > 0 else NAN


def with_agreement(
    trust: Trust,
    surrogate: Surrogate,
    halves: tuple[Surrogate, Surrogate] | None,
    *,
    regions: Regions,
    parts: FaceParts | None,
    untrained: Numbers | None,
) -> Trust:
    """Add the figures that need no further evaluations.

    Parameters
    ----------
    halves : (Surrogate, Surrogate) or None
        Fitted to independent halves of the samples; None where these are too few to be compared.
    parts : FaceParts or None
        Where the head is; None where that is not known.
    untrained : array, shape (regions,), or None
        Weights of the untrained network's map.
    """
    weights, count = surrogate.weights, surrogate.strongest_count()
    is_comparable = halves is not None and np.abs(weights).sum() > 0
    first, second = halves or (surrogate, surrogate)
    outside = None if parts is None else parts.outside()
    return replace(
        trust,
        in_sample_r2=surrogate.in_sample_r2,
        top_jaccard=top_overlap(first.weights, second.weights, count) if is_comparable else NAN,
        top_count=count,
        agreement=NAN if halves is None else likeness(first.weights, second.weights),
        background_share=NAN if outside is None else background_share(weights, regions, outside),
        background_pixel_share=NAN if outside is None else float(outside.mean()),
        untrained_correlation=NAN if untrained is None else rank_correlation(weights, untrained),
    )


def background_share(weights: Numbers, regions: Regions, outside: NDArray[np.bool_]) -> float:
    """Return the share of the absolute weights outside the head, in [0, 1]; NaN when all weights are zero.

    `outside`, shape (S, S), is true where a pixel lies outside head and hair.
    """
    total = float(np.abs(weights).sum())
    return float(np.abs(weights) @ regions.share_inside(outside) / total) if total > 0 else NAN


def failures(trust: Trust) -> tuple[str, ...]:
    """Say in words which checks a map fails; a figure that is NaN is a check that was not made."""
    checks = (
        (
            trust.held_out_r2 < LEAST_HELD_OUT_R2,
            f"it predicts only {100 * max(trust.held_out_r2, 0):.0f} % of the variance over fresh perturbations",
        ),
        (
            trust.expects_gain and trust.deletion_auc >= trust.random_deletion_auc,
            "covering regions by its order lowers the output no more than random orders do",
        ),
        (
            trust.expects_gain and trust.insertion_auc <= trust.random_insertion_auc,
            "showing regions by its order raises the output no more than random orders do",
        ),
        (
            trust.agreement < LEAST_AGREEMENT,
            f"independent halves of the samples give maps that are not alike (likeness {trust.agreement:.2f})",
        ),
        (
            trust.photo_share < LEAST_PHOTO_SHARE,
            f"on the photo itself its strongest regions, each covered alone, move the answer by only "
            f"{100 * max(trust.photo_share, 0):.0f} % of what it says",
        ),
        (
            abs(trust.untrained_correlation) > LARGEST_UNTRAINED_CORRELATION,
            f"an untrained network's map looks alike (rank correlation {trust.untrained_correlation:.2f})",
        ),
    )
    return tuple(words for has_failed, words in checks if has_failed)


def looks_outside(trust: Trust) -> bool:
    """Return whether a map that holds has much of its weight outside the head, and more than pixels there."""
    least = max(LARGEST_BACKGROUND_SHARE, trust.background_pixel_share)
    return not trust.failures and trust.background_share > least


def finding(trust: Trust) -> str:
    """Return one sentence: whether the model looks where it should, as far as a map that holds can tell."""
    if trust.failures:
        return ""
    if not np.isfinite(trust.background_share):
        return "Where the head is in this photo is not known, so that nothing is said of the background."
    share, pixels = f"{100 * trust.background_share:.0f} %", f"{100 * trust.background_pixel_share:.0f} %"
    if looks_outside(trust):
        return f"The model looks outside the head: {share} of its weight lies there, on {pixels} of the pixels."
    if trust.background_share > LARGEST_BACKGROUND_SHARE:
        return f"The model looks at the head in part: {share} of its weight lies outside, on {pixels} of the pixels."
    return f"The model looks at the head: {share} of its weight lies outside, on {pixels} of the pixels."


def verdict(trust: Trust | None, problems: Sequence[str]) -> str:
    """Return one sentence: whether to believe the map, and why not. What it finds is another matter: `finding`."""
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


def _ask(evaluator: Evaluator, designs: Sequence[Design]) -> list[Numbers]:
    answers = evaluator.scores(np.concatenate(designs))
    return np.split(answers, np.cumsum([len(design) for design in designs])[:-1])


def _covering_alone(chosen: Order, region_count: int) -> Design:
    """Return the rows in which one region is covered and everything else visible."""
    return (1 - np.eye(region_count, dtype=np.uint8))[chosen]


def _ends(region_count: int) -> Design:
    """Return the rows of the photo as it is, and of the photo all covered."""
    return np.repeat(np.array([[1], [0]], dtype=np.uint8), region_count, axis=1)


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


def _with_areas(curves: Sequence[Curve], own: Sequence[int], sign: float) -> Trust:
    """Return the curves with their mean heights: the first ones of random orders, `own` the map's two.

    A random order read backwards is as random, so that random deletions and random insertions have the same height.
    """
    random_curves = tuple(curves[:RANDOM_ORDER_COUNT])
    deletion, insertion = curves[own[0]], _reversed(curves[own[1]])
    trust = Trust(deletion=deletion, insertion=insertion, random_deletions=random_curves)
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


def _expects_gain(promised: Trust) -> bool:
    """Return whether a map's own answers along the curves say that its order beats random ones."""
    gains = (
        promised.random_deletion_auc - promised.deletion_auc,
        promised.insertion_auc - promised.random_insertion_auc,
    )
    return min(gains) >= LEAST_EXPECTED_GAIN


def _forget(module: nn.Module) -> None:
    reset = getattr(module, "reset_parameters", None)
    if callable(reset):
        reset()
        return
    with torch.no_grad():
        for parameter in module.parameters(recurse=False):
            shuffled = parameter.flatten()[torch.randperm(parameter.numel(), device="cpu").to(parameter.device)]
            parameter.copy_(shuffled.view_as(parameter))
