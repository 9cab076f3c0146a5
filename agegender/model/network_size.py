"""How large a model is and what an answer costs: parameters, megabytes, multiplications, milliseconds."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agegender.model.model_folder import WEIGHTS_FILE, heads_of, image_of, read_card

if TYPE_CHECKING:
    from torch import Tensor, nn

    from agegender.model.predictor import Predictor

_TIMED_PHOTOS, _REPEATS = 32, 5


def network_size(folder: Path) -> dict[str, float]:
    """Return `parameters`, `megabytes` of weights and `macs`, those of an ensemble's members added up.

    MACs are multiplications with an addition for one photo, in convolutions and linear layers; the network is made
    without memory for its weights, so this takes no photo and nothing of the weights but their file's size. A model
    that answers by the mean over mirror images computes twice.
    """
    card = read_card(folder)
    if card.get("members") is not None:
        parts = [network_size(folder / str(member["folder"])) for member in card["members"]]
        return {name: sum(part[name] for part in parts) for name in parts[0]}
    network = _unfilled(card)
    macs = _multiplications(network, image_of(card).size) * (2 if image_of(card).mirrored else 1)
    weights = folder / WEIGHTS_FILE
    return {
        "parameters": sum(one.numel() for one in network.parameters()),
        "megabytes": weights.stat().st_size / 1e6 if weights.is_file() else float("nan"),
        "macs": macs,
    }


def milliseconds_per_photo(model: Predictor) -> float:
    """Return how long a photo of 32 takes by the model's runtime, reading and cropping aside: median of five times."""
    import numpy as np

    size = model.image.size
    images = np.random.default_rng(0).integers(0, 256, (_TIMED_PHOTOS, size, size, 3), dtype=np.uint8)
    model.answers(images)
    taken = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        model.answers(images)
        taken.append(time.perf_counter() - start)
    return 1000.0 * statistics.median(taken) / _TIMED_PHOTOS


def _unfilled(card: dict[str, Any]) -> Any:
    import torch

    from agegender.model.checkpoint import Undrawn, card_statistics
    from agegender.model.network import make_network

    heads = heads_of(card)
    with Undrawn(), torch.device("meta"):
        return make_network(card["body"], heads, card_statistics(card, heads), image_size=image_of(card).size).eval()


def _multiplications(network: Any, size: int) -> int:
    import torch

    counted = [0]

    def count(layer: nn.Module, _: Any, output: Tensor) -> None:
        if isinstance(layer, torch.nn.Conv2d):
            taps = layer.kernel_size[0] * layer.kernel_size[1]
            counted[0] += output.numel() * taps * layer.in_channels // layer.groups
        elif isinstance(layer, torch.nn.Linear):
            counted[0] += output.numel() * layer.in_features

    handles = [layer.register_forward_hook(count) for layer in network.modules()]
    with torch.inference_mode(), torch.device("meta"):
        features = network.body(torch.empty(1, 3, size, size))
        for head in network.heads.values():
            head(features)
    for handle in handles:
        handle.remove()
    return counted[0]
