from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from toy_models import TARGETS

from agegender.errors import MissingExtraError, UsageError
from agegender.explanation.lime_explainer import LimeExplainer, LimeSettings
from agegender.explanation.second_opinions import SecondOpinions, last_spatial_layer
from agegender.explanation.trust import untrained_copy

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


class Corners(nn.Module):
    """A map of two channels: the brightness of the upper left quarter, and that of the lower right."""

    def forward(self, images):
        pooled = nn.functional.avg_pool2d(images.mean(1, keepdim=True) + 2, 8)
        side = pooled.shape[2] // 2
        mask = torch.zeros(2, *pooled.shape[2:])
        mask[0, :side, :side] = 1
        mask[1, side:, side:] = 1
        return pooled * mask


class CornerNetwork(nn.Module):
    """Age is the first channel, gender the second."""

    def __init__(self) -> None:
        super().__init__()
        self.features = Corners()

    def forward(self, images):
        means = self.features(images).mean((2, 3))
        return means[:, 0], means[:, 1]


def opinions(network: nn.Module) -> SecondOpinions:
    def score(images):
        return torch.stack(network((images.float() / 255 - 0.5) / 0.25), dim=1)

    return SecondOpinions(
        score,
        lambda images: [column[:, None] for column in network(images)],
        last_spatial_layer(network, 64),
        MEAN,
        STD,
    )


@pytest.mark.filterwarnings("ignore:Setting backward hooks")
def test_grad_cam_and_occlusion_point_where_the_model_looks(photo):
    network = CornerNetwork()
    asked = opinions(network)
    settings = LimeSettings(128, fill="blur", has_trust=False)
    face = asked(LimeExplainer(asked.score_images, TARGETS, settings).explain(photo))
    upper_left = np.zeros((64, 64), dtype=bool)
    upper_left[:32, :32] = True
    for i, quarter in enumerate((upper_left, upper_left[::-1, ::-1])):
        assert [opinion.method for opinion in face.maps[i].second_opinions] == ["Grad-CAM", "occlusion"]
        for opinion in face.maps[i].second_opinions:
            weights = np.abs(opinion.weights)[face.region_map]
            assert weights[quarter].mean() > 5 * weights[~quarter].mean()
            assert -1 <= opinion.rank_correlation <= 1


def test_last_layer_with_a_map_is_found():
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    assert last_spatial_layer(layers, 16) is layers[1]
    with pytest.raises(UsageError, match="no layer with a map"):
        last_spatial_layer(nn.Sequential(nn.Flatten(), nn.Linear(768, 2)), 16)


def test_missing_captum_names_the_remedy(monkeypatch):
    monkeypatch.setattr("agegender.explanation.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r'pip install "agegender\[explain\]"'):
        opinions(CornerNetwork())


def test_untrained_copy_forgets_and_leaves_the_network_alone():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(5, 5)
            self.scale = nn.Parameter(torch.arange(50.0))

    network = Scaled()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.random.get_rng_state()
    copies = [untrained_copy(network) for _ in range(2)]
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
        assert not torch.equal(copies[0].state_dict()[name], before[name])
        assert torch.equal(copies[0].state_dict()[name], copies[1].state_dict()[name])
    assert sorted(copies[0].scale.tolist()) == list(range(50))
