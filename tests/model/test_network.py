from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from agegender.errors import CardError, DataError, UsageError, WeightsError
from agegender.heads import AGE, GENDER, Classification, Head, Regression, head_from_dict, head_to_dict, with_settings
from agegender.model.bodies import make_body, read_weights
from agegender.model.checkpoint import continue_from, load_network, save_weights
from agegender.model.model_folder import CARD_FILE, WEIGHTS_FILE, network_entries
from agegender.model.network import FaceNetwork, Statistics, decode, make_network
from agegender.settings import ImageSettings
from agegender.writing import write_json

STATISTICS = {"age": Statistics(33.0, 19.0), "height": Statistics(170.0, 9.0)}
HEADS = (with_settings(AGE, loss="smooth-l1"), GENDER)
TINY = "mobilenetv3_small_050"
MASKS = Classification("mask", "mask", ("wear", "incorrect", "normal"))
HEIGHT = Regression("height", "height_cm", "cm")


def tiny_network(heads: tuple[Head, ...] = HEADS) -> FaceNetwork:
    torch.manual_seed(0)
    return make_network(TINY, heads, STATISTICS, image_size=32).eval()


def test_every_head_answers_for_every_photo() -> None:
    age, gender, mask = tiny_network((*HEADS, MASKS))(torch.zeros(2, 3, 32, 32))
    assert (age.shape, gender.shape, mask.shape) == ((2,), (2, 2), (2, 3))


@pytest.mark.parametrize("loss", ["smooth-l1", "soft-labels"])
def test_age_starts_at_the_training_mean(loss: str) -> None:
    network = make_network(TINY, (with_settings(AGE, loss=loss),), STATISTICS, image_size=32).train()
    (raw,) = network(torch.randn(8, 3, 32, 32))
    assert decode(AGE, raw).mean().item() == pytest.approx(33.0, abs=6.0)


def test_every_regression_starts_at_its_own_mean() -> None:
    network = tiny_network((*HEADS, HEIGHT))
    assert {name: network.heads[name][-1].bias.item() for name in ("age", "height")} == {"age": 33.0, "height": 170.0}
    assert network.heads["height"][-1].std.item() == 9.0


def test_a_regression_whose_labels_are_not_known_is_refused() -> None:
    with pytest.raises(DataError, match="weight"):
        tiny_network((Regression("weight", "weight_kg", "kg"),))


def test_the_heads_of_a_grid_and_of_one_number_differ_in_outputs_and_dropout() -> None:
    network = tiny_network((AGE, HEIGHT, GENDER))
    assert [network.heads[name][-1].out_features for name in ("age", "height", "gender")] == [121, 1, 2]
    dropout = {
        name: max(m.p for m in network.heads[name].modules() if isinstance(m, nn.Dropout)) for name in network.heads
    }
    assert dropout == {"age": 0.1, "height": 0.1, "gender": 0.5}


def test_a_grid_need_not_begin_at_zero() -> None:
    head = Regression("size", "size_cm", "cm", grid=(140, 200), loss="soft-labels")
    scores = torch.full((1, 61), -100.0)
    scores[0, 20] = 100.0
    assert decode(head, scores).tolist() == [160.0]


@pytest.mark.parametrize("body", ["resnet18", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_resnets_and_any_timm_body_can_carry_the_heads(body: str) -> None:
    network = make_network(body, HEADS, STATISTICS, image_size=64).eval()
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
    entries = network_entries(heads, ImageSettings(size=32), {"age": STATISTICS["age"]}, TINY)
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


IMAGE_ENTRIES = {"size": 32, "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}


@pytest.mark.parametrize(
    "card",
    [
        "[]",
        "{",
        {"heads": [1]},
        {"heads": []},
        {"heads": "age"},
        {"heads": [{"kind": "sequence", "name": "age", "column": "age_years"}]},
        {"heads": [{"kind": "classes", "name": "gender", "column": "gender", "classes": ["male"]}]},
        {"heads": [{"kind": "classes", "name": "gender", "column": "gender", "classes": ["male", "female"]}] * 2},
        {"statistics": {}},
        {"statistics": {"age": [1, 2]}},
        {"statistics": None},
        {"body": 18},
        {"image": {}},
        {"image": {**IMAGE_ENTRIES, "size": 0}},
        {"image": {**IMAGE_ENTRIES, "size": "32"}},
        {"image": {**IMAGE_ENTRIES, "size": 10**9}},
        {"image": {**IMAGE_ENTRIES, "std": [0.0, 1.0, 1.0]}},
        {"image": {**IMAGE_ENTRIES, "colours": 3}},
    ],
)
def test_a_broken_card_is_a_one_line_error(tmp_path: Path, card: str | dict) -> None:
    folder = store(tmp_path / "m", tiny_network())
    whole = json.loads((folder / CARD_FILE).read_text())
    (folder / CARD_FILE).write_text(card if isinstance(card, str) else json.dumps(whole | card))
    with pytest.raises(CardError) as caught:
        load_network(folder)
    assert "\n" not in str(caught.value)


def test_a_card_for_other_outputs_is_refused_before_a_body_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = store(tmp_path / "m", tiny_network())
    card = json.loads((folder / CARD_FILE).read_text())
    card["heads"][1]["classes"] = ["a", "b", "c"]
    (folder / CARD_FILE).write_text(json.dumps(card))
    monkeypatch.setattr("agegender.model.checkpoint.make_network", lambda *_, **__: pytest.fail("a body was built"))
    with pytest.raises(WeightsError, match="'gender': 2"):
        load_network(folder)


def test_a_network_goes_on_from_the_heads_that_say_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hats = Classification("mask", "mask", ("cap", "hood", "none"))  # as many as there are of masks
    first = tiny_network((*HEADS, MASKS))
    folder = store(tmp_path / "m", first, (*HEADS, MASKS))
    torch.manual_seed(1)
    second = make_network(TINY, (*HEADS, hats), STATISTICS, image_size=32)
    before = {name: value.clone() for name, value in second.heads["mask"].state_dict().items()}
    continue_from(second, (*HEADS, hats), folder)
    for part in ("body", "heads.age", "heads.gender"):
        theirs = first.get_submodule(part).state_dict()
        assert all(torch.equal(one, theirs[name]) for name, one in second.get_submodule(part).state_dict().items())
    assert all(torch.equal(one, before[name]) for name, one in second.heads["mask"].state_dict().items())
    assert "the head mask of" in capsys.readouterr().err


def test_a_stored_number_keeps_its_own_unit(tmp_path: Path) -> None:
    heads = (HEIGHT, with_settings(AGE, loss="l1"))
    network = tiny_network(heads)
    folder = store(tmp_path / "m", network, heads)
    write_json(folder / CARD_FILE, {"name": "m", **network_entries(heads, ImageSettings(size=32), STATISTICS, TINY)})
    again, _ = load_network(folder)
    assert again.statistics == STATISTICS
    images = torch.randn(2, 3, 32, 32)
    for before, after in zip(network(images), again(images), strict=True):
        torch.testing.assert_close(before, after)


def test_a_mirrored_network_answers_alike_for_a_photo_and_its_mirror_image_and_trains_as_any_other(
    tmp_path: Path,
) -> None:
    folder = store(tmp_path / "model", tiny_network())
    card = json.loads((folder / CARD_FILE).read_text())
    write_json(folder / CARD_FILE, card | {"image": card["image"] | {"mirrored": True}})
    plain, (mirrored, _) = tiny_network(), load_network(folder)
    photos = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        answers, turned = mirrored(photos), mirrored(photos.flip(3))
        both = plain(photos), plain(photos.flip(3))
        for one, other, first, second in zip(answers, turned, *both, strict=True):
            torch.testing.assert_close(one, other)
            torch.testing.assert_close(one, (first + second) / 2)
            assert not torch.equal(first, second)
        torch.manual_seed(1)
        in_training = mirrored.train()(photos)
        torch.manual_seed(1)
        assert all(torch.equal(one, other) for one, other in zip(in_training, plain.train()(photos), strict=True))
    write_json(folder / CARD_FILE, card | {"image": card["image"] | {"mirrored": "yes"}})
    with pytest.raises(CardError, match="makes no sense"):
        load_network(folder)


def test_a_head_may_answer_by_the_median_of_its_distribution() -> None:
    ages = torch.arange(AGE.grid[0], AGE.grid[1] + 1).float()
    scores = torch.log_softmax(torch.stack([-((ages - 40) ** 2) / 50, -(ages - 20).abs() / 3]), dim=1)
    scores[1] = torch.where(ages < 20, -100.0, scores[1])  # a tail on one side
    by_median = replace(AGE, point="median")
    assert decode(by_median, scores).tolist() == pytest.approx([40.0, 21.5], abs=0.3)
    assert decode(AGE, scores)[1] > decode(by_median, scores)[1] + 0.5
    drawn = torch.multinomial(scores[1].exp(), 100_000, replacement=True, generator=torch.Generator().manual_seed(1))
    assert decode(by_median, scores)[1].item() == pytest.approx(drawn.float().median().item(), abs=0.6)
    assert head_from_dict(head_to_dict(by_median)) == by_median
    with pytest.raises(CardError, match="answers by the 'mode'"):
        head_from_dict(head_to_dict(AGE) | {"point": "mode"})
