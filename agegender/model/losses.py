"""The combined loss: one part per head, normalised and weighted, all of them visible.

fastai calls it as `loss(predictions, *targets)` while training, and asks its `activation` and `decodes` when it shows
or predicts; without the latter `Learner.predict` is silently wrong for more heads than one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agegender.errors import UsageError
from agegender.heads import CLASSIFICATION_LOSSES, REGRESSION_LOSSES, Classification, Head, Regression
from agegender.model.network import decode, grid_values

SOFT_LABEL_SIGMA = 2.0  # whole units of the grid
SMOOTH_L1_BETA = 0.2  # of the unit: quadratic below some four years, so that it minds small errors too
HUBER_DELTA = 0.5  # of the unit
FOCAL_GAMMA = 2.0  # Lin et al., Focal Loss for Dense Object Detection, ICCV 2017


class CombinedLoss(nn.Module):
    """The weighted sum of one loss per head.

    Parameters
    ----------
    heads : sequence of Head
        Their kinds, losses and weights.
    units : mapping of str to float
        For each regression what its errors are counted in, its training standard deviation, so that all heads start
        alike.

    Attributes
    ----------
    parts : dict of str to Tensor
        The unweighted parts of the last call, by head name, detached, each a scalar.
    y_int : bool
        Tells fastai's mixing callbacks to mix losses and not labels.
    """

    y_int = True

    def __init__(self, heads: Sequence[Head], units: Mapping[str, float]) -> None:
        super().__init__()
        self.heads, self.units = tuple(heads), dict(units)
        for head in self.heads:
            if isinstance(head, Regression) and not self.units.get(head.name, 0.0) > 0:
                raise UsageError(
                    f"the unit of the loss of the head {head.name!r} must be above 0: are all training labels equal?"
                )
        self.parts: dict[str, Tensor] = {}

    def forward(self, predictions: Sequence[Tensor], *targets: Tensor, reduction: str = "mean") -> Tensor:
        """Return the loss: a scalar, or with the reduction "none" one for each photo, shape (N,).

        Parameters
        ----------
        predictions : sequence of Tensor
            Raw outputs of the network, one per head.
        targets : Tensor
            One per head, each of shape (N,): numbers as float, NaN where unknown; classes as int, -1 where unknown. A
            photo without a label for a head does not count in that head's mean.
        """
        losses = [self._per_photo(*parts) for parts in zip(self.heads, predictions, targets, strict=True)]
        means = [loss.sum() / known.sum().clamp(min=1) for loss, known in losses]
        self.parts = {head.name: mean.detach() for head, mean in zip(self.heads, means, strict=True)}
        parts = means if reduction == "mean" else [loss for loss, _ in losses]
        return torch.stack([part * head.weight for head, part in zip(self.heads, parts, strict=True)]).sum(dim=0)

    def activation(self, predictions: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return numbers, shape (N,), and class probabilities, shape (N, classes)."""
        return tuple(decode(head, raw) for head, raw in zip(self.heads, predictions, strict=True))

    def decodes(self, activations: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return numbers, shape (N,), and class numbers, shape (N,), from `activation`'s output."""
        return tuple(
            values.argmax(dim=-1) if isinstance(head, Classification) else values
            for head, values in zip(self.heads, activations, strict=True)
        )

    def _per_photo(self, head: Head, raw: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        target = torch.as_tensor(target).reshape(-1)
        if isinstance(head, Regression):
            known = ~target.isnan()
            loss = regression_loss(head, raw, torch.where(known, target, 0.0), unit=self.units[head.name])
        else:
            known = target >= 0
            loss = classification_loss(head, raw, target.clamp(min=0))
        return loss * known, known


def regression_loss(head: Regression, raw: Tensor, target: Tensor, *, unit: float) -> Tensor:
    """Return a loss per photo, shape (N,), in units of `unit`.

    Examples
    --------
    >>> height = Regression("height", "height_cm", "cm", loss="l1")
    >>> regression_loss(height, torch.tensor([170.0]), torch.tensor([180.0]), unit=20.0).tolist()
    [0.5]
    """
    predicted, wanted = decode(head, raw) / unit, target.float() / unit
    match head.loss:
        case "l1":
            return (predicted - wanted).abs()
        case "mse":
            return (predicted - wanted) ** 2
        case "smooth-l1":
            return F.smooth_l1_loss(predicted, wanted, reduction="none", beta=SMOOTH_L1_BETA)
        case "huber":
            return F.huber_loss(predicted, wanted, reduction="none", delta=HUBER_DELTA)
        case "soft-labels" if head.grid is not None:
            nearness = F.smooth_l1_loss(predicted, wanted, reduction="none", beta=SMOOTH_L1_BETA)
            return soft_label_loss(raw, target, head.grid) + nearness
        case _:
            raise UsageError(
                f"the head {head.name!r} cannot be trained with {head.loss!r}; there are {', '.join(REGRESSION_LOSSES)}"
                f", and soft labels need a grid."
            )


def soft_label_loss(scores: Tensor, target: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return the divergence of the predicted from a normal distribution over the grid around the label, (N,), nats.

    References
    ----------
    Gao et al.: Deep Label Distribution Learning with Label Ambiguity, IEEE TIP 2017 (the loss); Gao et al.: Age
    Estimation Using Expectation of Label Distribution Learning, IJCAI 2018 (the expectation beside it).
    """
    distance = (grid_values(grid, scores.device)[None] - target.float()[:, None]) / SOFT_LABEL_SIGMA
    wanted = (-0.5 * distance**2).softmax(dim=1)
    return F.kl_div(scores.float().log_softmax(dim=1), wanted, reduction="none").sum(dim=1)


def classification_loss(head: Classification, logits: Tensor, target: Tensor) -> Tensor:
    """Return a loss per photo, shape (N,), in nats."""
    entropy = F.cross_entropy(logits.float(), target.long(), reduction="none")
    match head.loss:
        case "cross-entropy":
            return entropy
        case "focal":
            return (1 - (-entropy).exp()) ** FOCAL_GAMMA * entropy
        case _:
            raise UsageError(
                f"the head {head.name!r} cannot be trained with {head.loss!r}; there are "
                f"{', '.join(CLASSIFICATION_LOSSES)}."
            )
