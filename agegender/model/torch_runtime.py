"""A network in torch at work: fitted photos in, each head's answers out, in one precision on one device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agegender.data.normalisation import Normalisation
from agegender.heads import Classification, Head
from agegender.model.folding import folded_copy, state_of
from agegender.model.network import decode, spread_of
from agegender.model.precision import autocast, choose_device, choose_precision
from agegender.settings import ImageSettings

FOLDED_FROM = 16  # photos in a call; for fewer, folding takes longer than it saves


class TorchRuntime:
    """A network and the device that it runs on.

    Parameters
    ----------
    network : nn.Module
        Normalised images, float (N, 3, S, S), to a tuple of raw tensors, one per head.
    device, precision : str
        As the commands take them.

    Attributes
    ----------
    precision, scoring_precision : str
        "fp32", "fp16" or "bf16", for predictions and for `score_images`.
    """

    def __init__(
        self,
        network: nn.Module,
        heads: Sequence[Head],
        image: ImageSettings,
        *,
        device: str | torch.device = "auto",
        precision: str = "auto",
    ) -> None:
        self.device = choose_device(str(device))
        # A prediction should not depend on the batch it came in, so it is made in fp32 unless another precision is
        # asked for; explanations average over hundreds of runs and may take the fastest.
        self.precision = "fp32" if precision == "auto" else precision
        self.scoring_precision = choose_precision(precision, self.device)
        self.network = network.to(self.device).to(memory_format=torch.channels_last).eval()
        self._heads, self._image_size = tuple(heads), image.size
        self._folded: tuple[tuple[float, ...], nn.Module] | None = None
        self._normalisation = Normalisation(image.mean, image.std).to(self.device)

    def answers(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """Return what each head's `columns` takes, shape (N, *head.answer_shape)."""
        channels_first = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
        raw = self.raw_outputs(channels_first, self.precision)
        return tuple(answer(head, values).cpu().numpy() for head, values in zip(self._heads, raw, strict=True))

    def raw_outputs(self, images: Tensor, precision: str) -> tuple[Tensor, ...]:
        """Return the network's raw outputs, one float32 tensor per head, of images, uint8 (N, 3, S, S)."""
        # Chosen outside of autocast: in bf16 a folded network differs from the whole one by rounding, and is refused.
        network = self._scoring_network() if len(images) >= FOLDED_FROM else self.network
        with torch.inference_mode(), autocast(precision, self.device):
            raw = network(self._normalisation.normalise(images.to(self.device)))
        return tuple(values.float() for values in raw)

    def score_images(self, images: Tensor) -> Tensor:
        """Return each head's scores of images, uint8 (N, 3, S, S): float32 (N, K) on the device."""
        outputs = self.raw_outputs(images, self.scoring_precision)
        return torch.cat([head_scores(head, raw) for head, raw in zip(self._heads, outputs, strict=True)], dim=1)

    def _scoring_network(self) -> nn.Module:
        """Return the network with its norms folded, made anew when somebody has trained it further."""
        if self.network.training:
            return self.network
        state = state_of(self.network)
        if self._folded is None or self._folded[0] != state:
            self._folded = state, folded_copy(self.network, self._image_size) or self.network
        return self._folded[1]


def answer(head: Head, raw: Tensor) -> Tensor:
    """Return what a head's `columns` takes of its raw output: numbers decoded, with a spread if any; logits."""
    if isinstance(head, Classification):
        return raw
    value, spread = decode(head, raw), spread_of(head, raw)
    return value if spread is None else torch.stack([value, spread], dim=1)


def head_scores(head: Head, raw: Tensor) -> Tensor:
    """Return one head's scores, float32 (N, k), one column for each of its `targets`."""
    if not isinstance(head, Classification):
        return decode(head, raw)[:, None]
    if head.is_binary:
        return raw[:, 1:2] - raw[:, 0:1]
    log_probabilities = raw.log_softmax(dim=1)
    return log_probabilities - torch.log1p(-log_probabilities.exp().clamp(max=1 - 1e-6))
