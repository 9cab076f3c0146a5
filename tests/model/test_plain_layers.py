"""Layers made here without fastai and torchvision are theirs: same names, same first weights, same sums."""

from __future__ import annotations

import pytest
import torch
from fastai.vision.learner import create_body, create_head
from torch import nn

from agegender.errors import UsageError, WeightsError
from agegender.heads import AGE, GENDER
from agegender.model.bodies import make_body
from agegender.model.network import FaceNetwork, Statistics, make_network
from agegender.model.resnet import make_resnet
from agegender.settings import TORCHVISION_BODIES


def assert_same(ours: nn.Module, theirs: nn.Module) -> None:
    mine, others = ours.state_dict(), theirs.state_dict()
    assert list(mine) == list(others)
    assert all(torch.equal(value, others[name]) for name, value in mine.items())


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_a_resnet_is_torchvisions_cut_by_fastai(name: str) -> None:
    import torchvision

    torch.manual_seed(3)
    theirs = torchvision.models.get_model(name, weights=None)
    channels = theirs.fc.in_features
    cut = create_body(theirs, pretrained=False).eval()
    torch.manual_seed(3)
    ours, our_channels = make_body(name)
    assert_same(ours, cut)
    assert our_channels == channels
    photos = torch.randn(2, 3, 64, 64)
    assert torch.equal(ours.eval()(photos), cut(photos))


@pytest.mark.parametrize("name", TORCHVISION_BODIES)
def test_every_resnet_has_torchvisions_layers(name: str) -> None:
    import torchvision

    with torch.device("meta"):
        theirs = torchvision.models.get_model(name, weights=None).state_dict()
        ours = make_resnet(name)[0].state_dict()
    shapes = {key: value.shape for key, value in theirs.items() if not key.startswith("fc.")}
    assert {key: value.shape for key, value in ours.items()} == shapes


def test_a_small_stem_keeps_twice_the_height_and_all_stages() -> None:
    usual, small = make_body("resnet18")[0].eval(), make_body("resnet18-small-stem")[0].eval()
    photos = torch.randn(1, 3, 64, 64)
    assert usual(photos).shape == (1, 512, 2, 2)
    assert small(photos).shape == (1, 512, 4, 4)
    assert [type(layer) for layer in small] == [type(layer) for layer in usual if not isinstance(layer, nn.MaxPool2d)]
    with pytest.raises(WeightsError, match="made for the usual stem"):
        make_body("resnet18-small-stem", weights="imagenet")


def test_a_narrow_network_with_its_heads_fits_in_six_megabytes_of_half_floats() -> None:
    network = make_network("resnet18-narrow-small-stem", (AGE, GENDER), {"age": Statistics(33.0, 20.0)}).eval()
    assert 2 * sum(value.numel() for value in network.state_dict().values()) < 5.8e6
    assert network.body(torch.randn(1, 3, 96, 96)).shape == (1, 224, 6, 6)
    with pytest.raises(WeightsError, match="usual stem and width"):
        make_body("resnet18-narrow", weights="imagenet")


def test_a_bottleneck_network_has_no_narrow_form() -> None:
    with pytest.raises(UsageError, match="no body called 'resnet50-narrow'"):
        make_body("resnet50-narrow")


@pytest.mark.parametrize("is_pooled", [False, True])
def test_a_head_is_the_one_that_fastai_creates(is_pooled: bool) -> None:
    body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1))
    body.is_pooled = is_pooled
    torch.manual_seed(5)
    theirs = create_head(8, 2, ps=0.5, pool=not is_pooled).eval()
    torch.manual_seed(5)
    ours = FaceNetwork("mine", body, 8, (GENDER,), {}).heads["gender"].eval()
    assert_same(ours, theirs)
    features = torch.randn((2, 8) if is_pooled else (2, 8, 4, 4))
    assert torch.equal(ours(features), theirs(features))


def test_first_weights_of_a_seed_are_those_of_earlier_versions() -> None:
    torch.manual_seed(7)
    network = make_network("resnet18", (GENDER,), {})
    torch.manual_seed(7)
    body, channels = make_body("resnet18")
    head = create_head(channels, 2, ps=0.5)
    assert_same(network.body, body)
    assert_same(network.heads["gender"], head)
