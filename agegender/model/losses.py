"""The combined loss: one part per head, normalised and weighted, all of them visible.

fastai calls it as `loss(predictions, *targets)` while training, and asks its `activation` and `decodes` when it shows
or predicts; without the latter `Learner.predict` is silently wrong for more heads than one.

References
----------
Kendall, Gal, Cipolla: Multi-task learning using uncertainty to weigh losses, CVPR 2018.
Lin et al.: Focal loss for dense object detection, ICCV 2017.
Szegedy et al.: Rethinking the Inception architecture, CVPR 2016 (label smoothing).
Rothe, Timofte, Van Gool: DEX, ICCV Workshops 2015 (years as classes).
Gao et al.: Deep label distribution learning with label ambiguity, IEEE TIP 2017 (soft labels).
Gao et al.: Age estimation using expectation of label distribution learning, IJCAI 2018 (DLDL-v2).
Pan et al.: Mean-variance loss for deep age estimation from a face, CVPR 2018.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agegender.errors import UsageError
from agegender.heads import Classification, Head, Regression, losses_of
from agegender.loss_choices import all_settings
from agegender.model.network import decode, grid_values, mean_of
from agegender.settings import WEIGHTINGS

_LEAST_DOUBT = 1e-7  # a power of 0 has no slope
_LEAST_CHANCE = 1e-6  # of a class, as a teacher sees it: one that is sure says nothing of the others
_LEAST_SPREAD, _TAUGHT_SIGMA = 0.5, 2.0  # whole units
_NO_FORMULA = "the loss {} is in `loss_choices.py` and has no formula in `model/losses.py`."
_NEARNESS_BETA = 0.2  # of the unit: quadratic below some four years, so that soft labels mind small errors too
_FIXED, _UNCERTAINTY = WEIGHTINGS


@dataclass(frozen=True)
class Teaching:
    """How a teacher's answers are used.

    Attributes
    ----------
    places : mapping of str to slice
        Head name -> its columns of the answers: the number and its spread, or the probability of each class.
    weight : float
        Share of the teacher in the loss of a photo that has a label as well.
    temperature : float
        Of classes.
    """

    places: Mapping[str, slice]
    weight: float
    temperature: float


class CombinedLoss(nn.Module):
    """The weighted sum of one loss per head.

    While it trains (`train()`, `eval()`, as a `FaceLearner` says) it may learn the weights; what validates always has
    the fixed weights of the heads, and no auxiliary ones, so that epochs and models can be compared.

    Parameters
    ----------
    heads : sequence of Head
        Their kinds, losses and weights.
    units : mapping of str to float
        For each regression what its errors are counted in, its training standard deviation, so that all heads start
        alike.
    class_counts : mapping of str to sequence of int, optional
        Training photos of each class, by head name; needed where a loss is balanced.
    auxiliary : sequence of str
        Names of the heads that only help to train.
    weighting : str
        "fixed", or "uncertainty" for learned weights: `log_variances`, one per head, are then parameters.
    teaching : Teaching, optional
        How the answers of a teacher are used, which a training batch then has.

    Attributes
    ----------
    parts : dict of str to Tensor
        The unweighted parts of the last call, by head name, detached, each a scalar.
    labelled : dict of str to int
        How many photos of that call have a label for the head, over which the part is a mean.
    y_int : bool
        Tells fastai's mixing callbacks to mix losses and not labels.
    """

    y_int = True

    def __init__(
        self,
        heads: Sequence[Head],
        units: Mapping[str, float],
        *,
        class_counts: Mapping[str, Sequence[int]] | None = None,
        auxiliary: Sequence[str] = (),
        weighting: str = _FIXED,
        teaching: Teaching | None = None,
    ) -> None:
        super().__init__()
        self.teaching = teaching
        self.heads, self.units, self.auxiliary = tuple(heads), dict(units), tuple(auxiliary)
        self.settings = {head.name: loss_settings(head) for head in self.heads}
        for head in self.heads:
            if isinstance(head, Regression) and not self.units.get(head.name, 0.0) > 0:
                raise UsageError(
                    f"the unit of the loss of the head {head.name!r} must be above 0: are all training labels equal?"
                )
        counts = class_counts or {}
        self.class_weights = {
            head.name: class_weights(head, counts.get(head.name), self.settings[head.name]["balanced"])
            for head in self.heads
            if isinstance(head, Classification)
        }
        if weighting == _UNCERTAINTY:
            self.log_variances = nn.Parameter(torch.tensor([_first_log_variance(head) for head in self.heads]))
        self.parts: dict[str, Tensor] = {}
        self.labelled: dict[str, int] = {}

    def forward(self, predictions: Sequence[Tensor], *targets: Tensor, reduction: str = "mean") -> Tensor:
        """Return the loss: a scalar, or with the reduction "none" one for each photo, shape (N,).

        Parameters
        ----------
        predictions : sequence of Tensor
            Raw outputs of the network, one per head.
        targets : Tensor
            One per head, each of shape (N,): numbers as float, NaN where unknown; classes as int, -1 where unknown. A
            photo without a label for a head does not count in that head's mean. Two more may follow: a weight for each
            photo, of the mean 1 over all training photos, and a teacher's answers, shape (N, K).
        """
        targets, others = targets[: len(self.heads)], targets[len(self.heads) :]
        losses = [self._per_photo(*parts) for parts in zip(self.heads, predictions, targets, strict=True)]
        for answers in (one for one in others if one.ndim == 2):
            losses = self._taught(losses, predictions, torch.as_tensor(answers))
        for weights in (one for one in others if one.ndim == 1):
            losses = [(loss * torch.as_tensor(weights), known) for loss, known in losses]
        means = [loss.sum() / known.sum().clamp(min=1) for loss, known in losses]
        self.parts = {head.name: mean.detach() for head, mean in zip(self.heads, means, strict=True)}
        self.labelled = {head.name: int(known.sum()) for head, (_, known) in zip(self.heads, losses, strict=True)}
        parts = means if reduction == "mean" else [loss for loss, _ in losses]
        return torch.stack(self._weighted(parts)).sum(dim=0)

    def _weighted(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """Return the parts times their weights, those that count on this side."""
        if self.training and self.has_learned_weights:
            variances = self.log_variances.to(parts[0].device).unbind()
            return [_learned(*one) for one in zip(self.heads, parts, variances, strict=True)]
        counted = [
            (head, part)
            for head, part in zip(self.heads, parts, strict=True)
            if self.training or head.name not in self.auxiliary
        ]
        return [part * head.weight for head, part in counted]

    def of_parts(self, parts: Mapping[str, float]) -> float:
        """Return the loss that judges a network whose parts these are, by head name."""
        return sum(parts[head.name] * head.weight for head in self.heads if head.name not in self.auxiliary)

    @property
    def has_learned_weights(self) -> bool:
        """Whether the weights of the heads are learned with the network."""
        return hasattr(self, "log_variances")

    @property
    def learned(self) -> dict[str, float]:
        """The log variance of each head, where they are learned."""
        if not self.has_learned_weights:
            return {}
        return {head.name: float(one) for head, one in zip(self.heads, self.log_variances.detach(), strict=True)}

    def begin(self) -> None:
        """Put the learned weights back to where they start."""
        if self.has_learned_weights:
            with torch.no_grad():
                self.log_variances.copy_(torch.tensor([_first_log_variance(head) for head in self.heads]))

    def activation(self, predictions: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return numbers, shape (N,), and class probabilities, shape (N, classes)."""
        return tuple(decode(head, raw) for head, raw in zip(self.heads, predictions, strict=True))

    def decodes(self, activations: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return numbers, shape (N,), and class numbers, shape (N,), from `activation`'s output."""
        return tuple(
            values.argmax(dim=-1) if isinstance(head, Classification) else values
            for head, values in zip(self.heads, activations, strict=True)
        )

    def _taught(
        self, losses: Sequence[tuple[Tensor, Tensor]], predictions: Sequence[Tensor], answers: Tensor
    ) -> list[tuple[Tensor, Tensor]]:
        """Return the losses mixed with those to a teacher's answers; a photo without a label has the latter alone."""
        if self.teaching is None:
            raise UsageError("a batch has a teacher's answers, and the loss was not told what they mean.")
        mixed = []
        for head, (loss, has_label), raw in zip(self.heads, losses, predictions, strict=True):
            if head.name not in self.teaching.places:
                mixed.append((loss, has_label))
                continue
            mine = answers[:, self.teaching.places[head.name]]
            is_taught = ~mine[:, 0].isnan()
            known = torch.where(is_taught[:, None], mine, 0.0)
            to_teacher = teacher_loss(
                head, raw, known, unit=self.units.get(head.name, 1.0), temperature=self.teaching.temperature
            )
            share = torch.where(has_label, self.teaching.weight, 1.0) * is_taught
            mixed.append(((1 - share) * loss + share * to_teacher, has_label | is_taught))
        return mixed

    def _per_photo(self, head: Head, raw: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        target = torch.as_tensor(target).reshape(-1)
        if isinstance(head, Regression):
            known = ~target.isnan()
            loss = regression_loss(head, raw, torch.where(known, target, 0.0), unit=self.units[head.name])
        else:
            known = target >= 0
            loss = classification_loss(head, raw, target.clamp(min=0), weights=self.class_weights[head.name])
        return torch.where(known, loss, 0.0), known


def loss_settings(head: Head) -> dict[str, float]:
    """Return every setting of a head's loss."""
    losses = losses_of(head)
    if head.loss not in losses:
        raise UsageError(f"the head {head.name!r} cannot be trained with {head.loss!r}; there are {', '.join(losses)}.")
    return all_settings(losses[head.loss], head.loss_settings)


def teacher_loss(head: Head, raw: Tensor, answers: Tensor, *, unit: float, temperature: float = 1.0) -> Tensor:
    """Return how far outputs are from a teacher's answers, shape (N,).

    Classes: the divergence from the teacher's probabilities, both softened by the temperature, times its square, so
    that slopes keep their size (Hinton et al. 2015). Numbers with a grid: the divergence from a normal distribution
    with the teacher's mean and spread, of the width of the head's own soft labels where it gives no spread. Other
    numbers: the squared error in units of `unit`.

    Parameters
    ----------
    answers : Tensor, shape (N, 2) or (N, classes)
        A number and its spread (NaN where there is none), or probabilities.

    Examples
    --------
    >>> height = Regression("height", "height_cm", "cm", loss="l1")
    >>> teacher_loss(height, torch.tensor([170.0]), torch.tensor([[180.0, float("nan")]]), unit=20.0).tolist()
    [0.25]
    """
    if isinstance(head, Classification):
        wanted = (answers.clamp(min=_LEAST_CHANCE).log() / temperature).log_softmax(dim=1)
        said = (raw.float() / temperature).log_softmax(dim=1)
        return temperature**2 * F.kl_div(said, wanted, reduction="none", log_target=True).sum(dim=1)
    number, spread = answers.unbind(dim=1)
    if raw.ndim == 1 or head.grid is None:
        return ((decode(head, raw) - number) / unit) ** 2
    width = torch.where(spread > 0, spread, loss_settings(head).get("sigma", _TAUGHT_SIGMA)).clamp(min=_LEAST_SPREAD)
    return soft_label_loss(raw, number, head.grid, sigma=width[:, None])


def class_counts(heads: Sequence[Head], training_rows: pd.DataFrame) -> dict[str, list[int]]:
    """Return how many training photos each class of each classification has."""
    counts = {}
    for head in heads:
        if isinstance(head, Classification):
            labels = head.labels(training_rows[head.column])
            counts[head.name] = np.bincount(labels[labels >= 0], minlength=len(head.classes)).tolist()
    return counts


def class_weights(head: Classification, counts: Sequence[int] | None, exponent: float) -> Tensor | None:
    """Return a weight per class, its inverse frequency to the power `exponent`, of the mean 1 over the photos.

    Examples
    --------
    >>> from agegender.heads import GENDER
    >>> class_weights(GENDER, [30, 10], 1.0).tolist()
    [0.6666666865348816, 2.0]
    """
    if not exponent:
        return None
    if counts is None or len(counts) != len(head.classes):
        raise UsageError(
            f"the loss of the head {head.name!r} is balanced, and nothing says how many training photos each class "
            f"has: give class_counts to CombinedLoss."
        )
    numbers = torch.as_tensor(counts, dtype=torch.float64)
    weights = torch.where(numbers > 0, numbers.clamp(min=1) ** -exponent, 0.0)  # 0: it is not learnt at all
    return (weights * numbers.sum() / (weights * numbers).sum()).float()


def _first_log_variance(head: Head) -> float:
    """Return with which log variance a head's learned weight begins at the fixed one."""
    return math.log(_likelihood_share(head) / head.weight)


def _likelihood_share(head: Head) -> float:
    """Return what stands before a loss over its variance: 1/2 of numbers, 1 of what is a softmax."""
    return 0.5 if head.output_count == 1 else 1.0


def _learned(head: Head, part: Tensor, log_variance: Tensor) -> Tensor:
    """Return a part over its variance, with what keeps that small (Kendall et al., equations 7 and 10)."""
    return _likelihood_share(head) * torch.exp(-log_variance) * part + 0.5 * log_variance


def regression_loss(head: Regression, raw: Tensor, target: Tensor, *, unit: float) -> Tensor:
    """Return a loss per photo, shape (N,): of one number in units of `unit`, of distributions in nats.

    DLDL-v2 and mean-variance are as published: what they add to the nats is in the head's own unit.

    Examples
    --------
    >>> height = Regression("height", "height_cm", "cm", loss="l1")
    >>> regression_loss(height, torch.tensor([170.0]), torch.tensor([180.0]), unit=20.0).tolist()
    [0.5]
    """
    settings, target = loss_settings(head), target.float()
    if losses_of(head)[head.loss].has_grid:
        return _distribution_loss(head, raw, target, settings, unit)
    predicted, wanted = decode(head, raw) / unit, target / unit
    match head.loss:
        case "l1":
            return (predicted - wanted).abs()
        case "mse":
            return (predicted - wanted) ** 2
        case "smooth-l1":
            return F.smooth_l1_loss(predicted, wanted, reduction="none", beta=settings["beta"])
        case "huber":
            return F.huber_loss(predicted, wanted, reduction="none", delta=settings["delta"])
        case _:
            raise UsageError(_NO_FORMULA.format(head.loss))


def _distribution_loss(
    head: Regression, raw: Tensor, target: Tensor, settings: Mapping[str, float], unit: float
) -> Tensor:
    if head.grid is None:
        raise UsageError(f"the head {head.name!r} cannot be trained with {head.loss!r}: it has no grid of whole units.")
    expected = mean_of(raw, head.grid)
    match head.loss:
        case "soft-labels":
            nearness = F.smooth_l1_loss(expected / unit, target / unit, reduction="none", beta=_NEARNESS_BETA)
            return soft_label_loss(raw, target, head.grid, sigma=settings["sigma"]) + nearness
        case "cross-entropy":
            return unit_cross_entropy(raw, target, head.grid)
        case "dldl-v2":
            divergence = soft_label_loss(raw, target, head.grid, sigma=settings["sigma"])
            return divergence + settings["lambda"] * (expected - target).abs()
        case "mean-variance":
            chances, values = raw.float().softmax(dim=1), grid_values(head.grid, raw.device)
            variance = (chances * (values[None] - expected[:, None]) ** 2).sum(dim=1)
            entropy = unit_cross_entropy(raw, target, head.grid)
            mean_loss = 0.5 * (expected - target) ** 2
            return entropy + settings["mean"] * mean_loss + settings["variance"] * variance
        case _:
            raise UsageError(_NO_FORMULA.format(head.loss))


def soft_label_loss(scores: Tensor, target: Tensor, grid: tuple[int, int], *, sigma: float | Tensor = 2.0) -> Tensor:
    """Return the divergence of the predicted from a normal distribution over the grid around the label, (N,), nats.

    `sigma` may differ from photo to photo, shape (N, 1).
    """
    distance = (grid_values(grid, scores.device)[None] - target.float()[:, None]) / sigma
    wanted = (-0.5 * distance**2).softmax(dim=1)
    return F.kl_div(scores.float().log_softmax(dim=1), wanted, reduction="none").sum(dim=1)


def unit_cross_entropy(scores: Tensor, target: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return the cross-entropy of the grid's whole units as classes, (N,), nats; labels go to the nearest of them."""
    nearest = (target + 0.5).floor().clamp(*grid).long() - grid[0]
    return F.cross_entropy(scores.float(), nearest, reduction="none")


def classification_loss(
    head: Classification, logits: Tensor, target: Tensor, *, weights: Tensor | None = None
) -> Tensor:
    """Return a loss per photo, shape (N,), in nats; `weights` has one for each class."""
    settings, target = loss_settings(head), target.long()
    loss = F.cross_entropy(logits.float(), target, reduction="none", label_smoothing=settings["smoothing"])
    if head.loss == "focal":
        certainty = -F.cross_entropy(logits.float(), target, reduction="none")
        loss = (-torch.expm1(certainty)).clamp(min=_LEAST_DOUBT) ** settings["gamma"] * loss
    elif head.loss != "cross-entropy":
        raise UsageError(_NO_FORMULA.format(head.loss))
    return loss if weights is None else loss * weights.to(loss.device)[target]
