"""A folded network says what the whole one says, and what cannot be folded is left alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from agegender.heads import AGE, GENDER
from agegender.model.folding import folded_copy
from agegender.model.model_folder import network_entries
from agegender.model.network import FaceNetwork, Statistics, make_network
from agegender.model.predictor import Predictor
from agegender.settings import ImageSettings

HEADS, STATISTICS = (AGE, GENDER), {"age": Statistics(33.0, 19.0)}


def seen_network(body: str, size: int = 64) -> FaceNetwork:
    """Return a network whose norms have seen photos, so that folding them matters."""
    torch.manual_seed(0)
    network = make_network(body, HEADS, STATISTICS, image_size=size)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return network.eval()


def predictor_of(network: nn.Module, size: int = 64) -> Predictor:
    card = {"name": "folded", **network_entries(HEADS, ImageSettings(size=size), STATISTICS, "resnet18")}
    return Predictor.of_network(network, card, device="cpu", precision="fp32")


@pytest.mark.parametrize("body", ["resnet18", "resnet50", "mobilenetv3_small_050"])
def test_a_folded_network_answers_the_same(body: str) -> None:
    network = seen_network(body)
    folded = folded_copy(network, 64)
    assert isinstance(folded, FaceNetwork)
    assert folded is not network
    assert not any(type(module) is nn.BatchNorm2d for module in folded.body.modules())
    photos = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        for whole, ours in zip(network(photos), folded(photos), strict=True):
            torch.testing.assert_close(ours, whole, rtol=2e-4, atol=2e-4 * float(whole.abs().max()))


def test_a_network_without_norms_of_that_kind_is_left_as_it_is() -> None:
    assert folded_copy(seen_network("vit_tiny_patch16_224"), 64) is None


def test_a_network_that_uses_its_layers_in_another_order_is_not_folded() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)
            nn.init.constant_(self.norm.running_mean, 2.0)

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (self.convolution(self.norm(images)),)

    assert folded_copy(Backwards().eval(), 16) is None


def test_a_predictor_whose_network_is_trained_further_says_what_it_learned() -> None:
    network = seen_network("resnet18")
    predictor = predictor_of(network)
    photos = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)
    before = predictor.predict_images(photos)["predicted_age_years"]
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.05, fused=True)
    network(torch.randn(2, 3, 64, 64))[0].sum().backward()
    optimiser.step()
    after = predictor.predict_images(photos)["predicted_age_years"]
    fresh = predictor_of(network).predict_images(photos)["predicted_age_years"]
    assert (before != after).all()
    assert after.tolist() == fresh.tolist()


def test_a_predictor_folds_for_bf16_too() -> None:
    network = seen_network("resnet18", 32)
    card = {"name": "folded", **network_entries(HEADS, ImageSettings(size=32), STATISTICS, "resnet18")}
    predictor, asked = Predictor.of_network(network, card, device="cpu", precision="bf16"), []
    for module in network.body.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda *_: asked.append(True))
    predictor.score_images(torch.zeros(16, 3, 32, 32, dtype=torch.uint8))
    asked.clear()  # the network itself is asked once, to be compared with its copy
    predictor.score_images(torch.zeros(16, 3, 32, 32, dtype=torch.uint8))
    assert not asked
