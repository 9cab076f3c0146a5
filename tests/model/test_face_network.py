from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from agegender.errors import CardError, UsageError, WeightsError
from agegender.model.bodies import make_body, read_weights
from agegender.model.checkpoint import load_network, network_entries, save_weights
from agegender.model.face_network import AgeStatistics, FaceNetwork, decode_years, make_network
from agegender.model.model_folder import CARD_FILE, WEIGHTS_FILE
from agegender.settings import Head, ImageSettings, age_head, gender_head
from agegender.writing import write_json

AGES = AgeStatistics(33.0, 19.0)
HEADS = (age_head("smooth-l1"), gender_head())
TINY = "mobilenetv3_small_050"
MASKS = Head("mask", "mask", "classes", ("wear", "incorrect", "normal"))


def tiny_network(heads: tuple[Head, ...] = HEADS) -> FaceNetwork:
    torch.manual_seed(0)
    return make_network(TINY, heads, AGES, image_size=32).eval()


def test_every_head_answers_for_every_photo() -> None:
    age, gender, mask = tiny_network((*HEADS, MASKS))(torch.zeros(2, 3, 32, 32))
    assert (age.shape, gender.shape, mask.shape) == ((2,), (2, 2), (2, 3))


@pytest.mark.parametrize("loss", ["smooth-l1", "soft-labels"])
def test_age_starts_at_the_training_mean(loss: str) -> None:
    network = make_network(TINY, (age_head(loss),), AGES, image_size=32).train()
    (raw,) = network(torch.randn(8, 3, 32, 32))
    assert decode_years(raw).mean().item() == pytest.approx(AGES.mean_years, abs=6.0)


def test_last_age_bias_is_the_mean_training_age() -> None:
    assert tiny_network().heads["age"][-1].bias.item() == AGES.mean_years


@pytest.mark.parametrize("body", ["resnet18", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_resnets_and_any_timm_body_can_carry_the_heads(body: str) -> None:
    network = make_network(body, HEADS, AGES, image_size=64).eval()
    age, gender = network(torch.zeros(2, 3, 64, 64))
    assert (age.shape, gender.shape) == ((2,), (2, 2))


def test_an_unknown_body_is_refused_with_names_near_it() -> None:
    with pytest.raises(UsageError, match="resnet34"):
        make_body("resnet34_of_mine")


def test_imagenet_weights_that_cannot_be_had_name_the_remedies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", no_network)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", no_network)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=r"checkpoints/resnet18-.*--weights none"):
        make_body("resnet18", weights="imagenet")


def test_imagenet_weights_are_found_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import torchvision

    donor = torchvision.models.resnet18()
    monkeypatch.setattr(
        "torchvision.models._api.WeightsEnum.get_state_dict", lambda *_, **__: donor.state_dict(), raising=True
    )
    body, _ = make_body("resnet18", weights="imagenet")
    assert torch.equal(body[0].weight, donor.conv1.weight)


def test_weights_from_a_file_are_loaded_and_others_refused(tmp_path: Path) -> None:
    import torchvision

    donor = torchvision.models.resnet18()
    save_file(donor.state_dict(), tmp_path / "donor.safetensors")
    torch.save(donor.state_dict(), tmp_path / "donor.pth")
    for name in ("donor.safetensors", "donor.pth"):
        body, channels = make_body("resnet18", weights=str(tmp_path / name))
        assert channels == 512
        assert torch.equal(body[0].weight, donor.conv1.weight)
    with pytest.raises(WeightsError, match="does not fit"):
        make_body("resnet50", weights=str(tmp_path / "donor.pth"))


def test_weights_files_are_never_run(tmp_path: Path) -> None:
    torch.save(nn.Linear(1, 1), tmp_path / "pickle.pth")
    (tmp_path / "text.safetensors").write_text("no weights")
    for name in ("pickle.pth", "text.safetensors", "absent.pth"):
        with pytest.raises(WeightsError):
            read_weights(tmp_path / name)


def store(folder: Path, network: FaceNetwork, heads: tuple[Head, ...] = HEADS) -> Path:
    folder.mkdir(exist_ok=True)
    save_weights(network, folder / WEIGHTS_FILE)
    entries = network_entries(heads, ImageSettings(size=32), AGES, TINY)
    write_json(folder / CARD_FILE, {"name": folder.name, **entries})
    return folder


def test_a_stored_network_answers_the_same(tmp_path: Path) -> None:
    network = tiny_network().to(memory_format=torch.channels_last)
    again, card = load_network(store(tmp_path / "m", network))
    images = torch.randn(4, 3, 32, 32)
    assert card["body"] == TINY
    for before, after in zip(network(images), again(images), strict=True):
        torch.testing.assert_close(before, after)


def test_a_model_folder_that_lacks_a_file_says_which(tmp_path: Path) -> None:
    folder = store(tmp_path / "m", tiny_network())
    (folder / WEIGHTS_FILE).unlink()
    with pytest.raises(WeightsError, match=WEIGHTS_FILE):
        load_network(folder)
    (folder / CARD_FILE).unlink()
    with pytest.raises(CardError, match=CARD_FILE):
        load_network(folder)
    with pytest.raises(CardError, match="no model folder"):
        load_network(tmp_path / "absent")


def test_weights_that_do_not_fit_their_card_are_refused(tmp_path: Path) -> None:
    folder = store(tmp_path / "m", tiny_network((*HEADS, MASKS)))
    with pytest.raises(WeightsError, match="do not fit its card"):
        load_network(folder)
    (folder / WEIGHTS_FILE).write_bytes(b"\x00" * 100)
    with pytest.raises(WeightsError, match="damaged"):
        load_network(folder)


@pytest.mark.parametrize("card", ["[]", "{", '{"name": "m", "body": "resnet18", "heads": [1], "image": {}}'])
def test_a_broken_card_is_a_one_line_error(tmp_path: Path, card: str) -> None:
    folder = store(tmp_path / "m", tiny_network())
    (folder / CARD_FILE).write_text(card)
    with pytest.raises(CardError) as caught:
        load_network(folder)
    assert "\n" not in str(caught.value)
