"""Owns the combined loss: one part per head, normalised and weighted, all of them visible.

fastai calls it as `loss(predictions, *targets)` while training, and asks its `activation` and `decodes` when it shows
or predicts; without the latter `Learner.predict` is silently wrong for two heads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agegender.errors import UsageError
from agegender.model.face_network import decode_years
from agegender.settings import AGE_LOSSES, Head

SOFT_LABEL_SIGMA_YEARS = 2.0
SMOOTH_L1_BETA = 0.2  # in units of the normaliser: quadratic below some four years, so that it minds small errors too
HUBER_DELTA = 0.5  # in units of the normaliser
FOCAL_GAMMA = 2.0  # Lin et al., Focal Loss for Dense Object Detection, ICCV 2017


class CombinedLoss(nn.Module):
    """The weighted sum of one loss per head.

    Parameters
    ----------
    heads : sequence of Head
        Their kinds, losses and weights.
    age_unit_years : float
        Ages are compared in this unit, by default the training standard deviation, so that age and gender start alike.
    class_unit : float
        Cross-entropies are divided by it.

    Attributes
    ----------
    parts : dict of str to Tensor
        The unweighted parts of the last call, by head name, detached, each a scalar.
    """

    def __init__(self, heads: Sequence[Head], *, age_unit_years: float, class_unit: float = 1.0) -> None:
        super().__init__()
        if age_unit_years <= 0 or class_unit <= 0:
            raise UsageError("the units of the losses must be above 0: are all training ages equal?")
        self.heads = tuple(heads)
        self.age_unit_years = age_unit_years
        self.class_unit = class_unit
        self.parts: dict[str, Tensor] = {}

    def forward(self, predictions: Sequence[Tensor], *targets: Tensor, reduction: str = "mean") -> Tensor:
        """Return the loss.

        Parameters
        ----------
        predictions : sequence of Tensor
            Raw outputs of the network, one per head.
        targets : Tensor
            One per head, each of shape (N,): years as float, NaN where unknown; classes as int, -1 where unknown.
        reduction : str
            "mean" gives a scalar, "none" a loss per photo, shape (N,).

        Notes
        -----
        A photo without a label for a head does not count in that head's mean.
        """
        losses = [
            self._per_photo(head, raw, target)
            for head, raw, target in zip(self.heads, predictions, targets, strict=True)
        ]
        if reduction == "none":
            weighted = [loss * head.weight for head, (loss, _) in zip(self.heads, losses, strict=True)]
            return torch.stack(weighted).sum(dim=0)
        means = [loss.sum() / known.sum().clamp(min=1) for loss, known in losses]
        self.parts = {head.name: mean.detach() for head, mean in zip(self.heads, means, strict=True)}
        return torch.stack([mean * head.weight for head, mean in zip(self.heads, means, strict=True)]).sum()

    def activation(self, predictions: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return years, shape (N,), and class probabilities, shape (N, classes)."""
        return tuple(
            decode_years(raw) if head.kind == "years" else raw.float().softmax(dim=-1)
            for head, raw in zip(self.heads, predictions, strict=True)
        )

    def decodes(self, activations: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return years, shape (N,), and class numbers, shape (N,), from `activation`'s output."""
        return tuple(
            values if head.kind == "years" else values.argmax(dim=-1)
            for head, values in zip(self.heads, activations, strict=True)
        )

    def _per_photo(self, head: Head, raw: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        target = torch.as_tensor(target).reshape(-1)
        known = ~target.isnan() if head.kind == "years" else target >= 0
        if head.kind == "years":
            loss = age_loss(raw, torch.where(known, target, 0.0), kind=head.loss, unit_years=self.age_unit_years)
        else:
            loss = class_loss(raw, target.clamp(min=0), kind=head.loss) / self.class_unit
        return loss * known, known


def age_loss(raw: Tensor, target_years: Tensor, *, kind: str, unit_years: float) -> Tensor:
    """Return a loss per photo, shape (N,), in units of `unit_years`.

    Raises
    ------
    UsageError
        `kind` is none of `AGE_LOSSES`.

    Examples
    --------
    >>> age_loss(torch.tensor([30.0]), torch.tensor([40.0]), kind="l1", unit_years=20.0).tolist()
    [0.5]
    """
    predicted = decode_years(raw) / unit_years
    wanted = target_years.float() / unit_years
    match kind:
        case "l1":
            return (predicted - wanted).abs()
        case "mse":
            return (predicted - wanted) ** 2
        case "smooth-l1":
            return F.smooth_l1_loss(predicted, wanted, reduction="none", beta=SMOOTH_L1_BETA)
        case "huber":
            return F.huber_loss(predicted, wanted, reduction="none", delta=HUBER_DELTA)
        case "soft-labels":
            nearness = F.smooth_l1_loss(predicted, wanted, reduction="none", beta=SMOOTH_L1_BETA)
            return soft_label_loss(raw, target_years) + nearness
        case _:
            raise UsageError(f"there is no age loss {kind!r}; there are {', '.join(AGE_LOSSES)}.")


def soft_label_loss(scores: Tensor, target_years: Tensor) -> Tensor:
    """Return the divergence of the predicted from a normal distribution over years around the label, shape (N,), nats.

    References
    ----------
    Gao et al.: Deep Label Distribution Learning with Label Ambiguity, IEEE TIP 2017 (the loss); Gao et al.: Age
    Estimation Using Expectation of Label Distribution Learning, IJCAI 2018 (the expectation beside it).
    """
    years = torch.arange(scores.shape[1], dtype=torch.float32, device=scores.device)
    distance = (years[None] - target_years.float()[:, None]) / SOFT_LABEL_SIGMA_YEARS
    wanted = (-0.5 * distance**2).softmax(dim=1)
    return F.kl_div(scores.float().log_softmax(dim=1), wanted, reduction="none").sum(dim=1)


def class_loss(logits: Tensor, target: Tensor, *, kind: str) -> Tensor:
    """Return a loss per photo, shape (N,), in nats: "cross-entropy" or "focal".

    Raises
    ------
    UsageError
        `kind` is neither.
    """
    entropy = F.cross_entropy(logits.float(), target.long(), reduction="none")
    if kind == "cross-entropy":
        return entropy
    if kind == "focal":
        return (1 - (-entropy).exp()) ** FOCAL_GAMMA * entropy
    raise UsageError(f"there is no class loss {kind!r}; there are cross-entropy, focal.")
