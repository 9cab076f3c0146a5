"""Models that answer as one: what they say together, what does not fit together, and what is not whole."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import agegender as ag
from agegender import ensemble
from agegender.errors import CardError, UsageError, WeightsError
from agegender.heads import AGE, GENDER, Classification, Head, head_to_dict, with_settings
from agegender.model.ensembles import EnsembleNetwork, common_heads
from agegender.model.model_folder import heads_of, network_entries
from agegender.model.network import Statistics, make_network
from agegender.model.predictor import Predictor
from agegender.model.training import write_model
from agegender.settings import VOTES, ImageSettings
from agegender.swapping import replaced_folder

TINY, STATISTICS = "mobilenetv3_small_050", {"age": Statistics(30.0, 17.0)}
MOOD = Classification("mood", "mood", ("calm", "cross", "glad"))


class Says(nn.Module):
    """A network that says the same of every photo."""

    def __init__(self, *raw: Any) -> None:
        super().__init__()
        self.raw = [torch.as_tensor(one, dtype=torch.float32) for one in raw]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(one.expand(len(images), *one.shape) for one in self.raw)


def card_of(heads: tuple[Head, ...], name: str = "m", **image: Any) -> dict[str, Any]:
    return {"name": name, **network_entries(heads, ImageSettings(size=32, **image), STATISTICS, TINY)}


def together(heads: tuple[Head, ...], *said: tuple[Any, ...], vote: str = "soft", **cards: Any) -> tuple[Tensor, ...]:
    network = EnsembleNetwork([Says(*raw) for raw in said], [card_of(heads) | cards for _ in said], vote=vote)
    return network(torch.zeros(1, 3, 32, 32))


def chances(*values: float) -> np.ndarray:
    return np.log(np.array(values))


def ages(centre: int, reach: int = 0) -> np.ndarray:
    scores = np.full(121, -100.0)
    scores[[centre - reach, centre + reach]] = 0.0
    return scores


def store(folder: Path, seed: int, heads: tuple[Head, ...] = (AGE, GENDER), **image: Any) -> Path:
    torch.manual_seed(seed)
    settings = replace(ImageSettings(size=32), **image)
    network = make_network(TINY, heads, STATISTICS, image_size=settings.size).eval()
    card = {"name": folder.name, **network_entries(heads, settings, STATISTICS, TINY), "calibration": {}}
    with replaced_folder(folder) as new:
        write_model(new, Predictor.of_network(network, card, device="cpu"))
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("models")
    return [store(root / name, seed) for seed, name in enumerate(("a", "b", "c"))]


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


def test_a_soft_vote_averages_probabilities_and_a_hard_one_counts_classes() -> None:
    said = (chances(0.5, 0.3, 0.2),), (chances(0.5, 0.3, 0.2),), (chances(0.001, 0.998, 0.001),)
    (soft,), (hard,) = together((MOOD,), *said), together((MOOD,), *said, vote="hard")
    assert torch.allclose(soft.softmax(dim=1)[0], torch.tensor([1.001 / 3, 1.598 / 3, 0.401 / 3]), atol=1e-5)
    assert MOOD.classes[int(soft.argmax())] == "cross"
    assert MOOD.classes[int(hard.argmax())] == "calm"
    # Two of three votes, and the mean probabilities as a fourth one.
    assert float(hard.softmax(dim=1)[0, 0]) == pytest.approx((2 + 1.001 / 3) / 4, abs=1e-5)


def test_a_tie_of_votes_is_settled_by_the_surer_member() -> None:
    (raw,) = together((MOOD,), (chances(0.6, 0.2, 0.2),), (chances(0.05, 0.9, 0.05),), vote="hard")
    assert MOOD.classes[int(raw.argmax())] == "cross"


def test_each_members_own_temperature_counts_before_the_mean() -> None:
    cool = {"calibration": {"mood": {"temperature": 2.0}}}
    (raw,) = together((MOOD,), ([2.0, 0.0, 0.0],), ([2.0, 0.0, 0.0],), **cool)
    assert torch.allclose(raw.softmax(dim=1), torch.tensor([[1.0, 0.0, 0.0]]).softmax(dim=1), atol=1e-6)


def test_the_spread_of_a_number_holds_the_members_disagreement() -> None:
    raw = together((AGE,), (ages(30, 4),), (ages(50, 4),))
    network = EnsembleNetwork([Says(ages(30, 4)), Says(ages(50, 4))], [card_of((AGE,))] * 2)
    predictor = Predictor.of_network(network, card_of((AGE,)), device="cpu")
    row = predictor.predict_images(np.zeros((1, 32, 32, 3), np.uint8)).iloc[0]
    assert raw[0].shape == (1, 121)
    assert row["predicted_age_years"] == pytest.approx(40.0, abs=1e-3)
    assert row["age_spread_years"] == pytest.approx(np.sqrt(4**2 + 10**2), abs=1e-3)


@pytest.mark.parametrize(("vote", "expected"), [("soft", 40.0), ("hard", 30.0)])
def test_numbers_are_averaged_or_their_median_taken(vote: str, expected: float) -> None:
    plain = replace(AGE, loss="l1")
    (raw,) = together((plain,), (20.0,), (30.0,), (70.0,), vote=vote)
    assert raw.tolist() == [expected]


def test_a_distribution_beside_a_number_gives_a_number() -> None:
    cards = [card_of((AGE,)), card_of((replace(AGE, loss="l1"),))]
    network = EnsembleNetwork([Says(ages(30)), Says(50.0)], cards)
    assert network(torch.zeros(1, 3, 32, 32))[0].tolist() == [pytest.approx(40.0, abs=1e-3)]
    assert network.heads[0].answer_shape == ()


@pytest.mark.parametrize("vote", VOTES)
def test_members_may_have_learnt_by_other_losses_and_the_card_of_the_ensemble_can_be_read(vote: str) -> None:
    others = (with_settings(AGE, loss="soft-labels:sigma=3"), with_settings(GENDER, loss="focal:gamma=1"))
    heads = common_heads([card_of(others), card_of((AGE, GENDER))], vote)
    assert heads_of({"heads": [head_to_dict(head) for head in heads]}) == heads
    assert heads[0].answer_shape == ((2,) if vote == "soft" else ())


def test_an_ensemble_is_saved_loaded_and_predicts_the_members_mean(
    folders: list[Path], photos: np.ndarray, tmp_path: Path
) -> None:
    model = ag.Model.ensemble(folders, name="abc", device="cpu")
    place = model.save(tmp_path / "abc")
    again = ag.Model.load(place, device="cpu")
    members = [ag.Model.load(folder, device="cpu").predict_images(photos) for folder in folders]
    for name in ("predicted_age_years", "gender_probability_female"):
        mean = np.mean([one[name] for one in members], axis=0)
        assert np.abs(again.predict_images(photos)[name] - mean).max() < 1e-4
    assert sorted(path.name for path in place.iterdir()) == ["a", "b", "c", "card.toml", "model.json"]
    resaved = again.save(place)  # over itself
    assert np.abs(ag.Model.load(resaved).predict_images(photos)["predicted_age_years"] - mean_age(members)).max() < 1e-3
    with pytest.raises(UsageError, match="no Learner"):
        _ = again.learner


def mean_age(members: list[Any]) -> np.ndarray:
    return np.mean([one["predicted_age_years"] for one in members], axis=0)


def test_image_sizes_and_normalisations_may_differ(folders: list[Path], tmp_path: Path) -> None:
    large = store(tmp_path / "large", 7, size=48, mean=(0.5, 0.5, 0.5))
    model = ag.Model.ensemble([folders[0], large], device="cpu")
    grey = np.full((2, 48, 48, 3), 90, np.uint8)  # the same at every size
    alone = [ag.Model.load(folders[0], device="cpu").predict_images(grey[:, :32, :32])]
    alone += [ag.Model.load(large, device="cpu").predict_images(grey)]
    assert model.image.size == 48
    assert np.abs(model.predict_images(grey)["predicted_age_years"] - mean_age(alone)).max() < 1e-3


def test_an_ensemble_is_exported_as_one_graph(folders: list[Path], photos: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    model = ag.Model.ensemble(folders, vote="hard", device="cpu")
    assert max(model.export(tmp_path / "abc.onnx").values()) < 1e-4
    exported = ag.Model.load(tmp_path / "abc.onnx")
    ours, theirs = model.predict_images(photos), exported.predict_images(photos)
    assert np.abs(ours["gender_probability_female"] - theirs["gender_probability_female"]).max() < 1e-4


@pytest.mark.parametrize(
    ("heads", "image", "said"),
    [
        ((GENDER,), {}, "one has the heads age, gender, the other gender"),
        ((AGE, replace(GENDER, classes=("female", "male"))), {}, "the head gender is gender as one of male, female in"),
        ((replace(AGE, low=-5.0), GENDER), {}, "the head age is age_years as a number of 0 to 122 years in"),
        ((replace(AGE, point="median"), GENDER), {}, "in one, age_years as a number of 0 to 122 years by its median"),
        ((AGE, GENDER), {"crop": "haar"}, "cut out otherwise (crop none in one, haar in the other)"),
        ((AGE, GENDER), {"crop_margins": (0.3, 0.3, 0.2)}, "(crop_margins None in one, (0.3, 0.3, 0.2) in the other)"),
        ((AGE, GENDER), {"crop_then": "yunet"}, "(crop_then none in one, yunet in the other)"),
        ((AGE, GENDER), {"crop_smallest": 0.2}, "(crop_smallest 0.0 in one, 0.2 in the other)"),
        ((AGE, GENDER), {"crop_aligned": True}, "(crop_aligned False in one, True in the other)"),
    ],
)
def test_models_that_do_not_fit_together_are_refused_in_one_line(
    heads: tuple[Head, ...], image: dict[str, Any], said: str, folders: list[Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    other = store(tmp_path / "other", 5, heads, **image)
    assert ensemble.main([str(folders[0]), str(other), "--name", "x", "--models-dir", str(tmp_path)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert said in lines[0]
    assert not (tmp_path / "x").exists()


def test_one_model_or_one_twice_is_no_ensemble(folders: list[Path]) -> None:
    with pytest.raises(UsageError, match="1 given"):
        ag.Model.ensemble(folders[:1])
    with pytest.raises(UsageError, match="named twice"):
        ag.Model.ensemble([folders[0], folders[0]])


@pytest.fixture
def stored(folders: list[Path], tmp_path: Path) -> Path:
    copies = [shutil.copytree(folder, tmp_path / folder.name) for folder in folders]
    return ag.Model.ensemble(copies, name="abc", device="cpu").save(tmp_path / "abc")


def test_a_missing_or_damaged_member_is_named(stored: Path) -> None:
    weights = stored / "b" / "weights.safetensors"
    whole = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(whole[:-50])
    with pytest.raises(WeightsError, match="cannot answer without its member b"):
        ag.Model.load(stored)
    shutil.rmtree(stored / "b")
    with pytest.raises(CardError, match="cannot answer without its member b: there is no model folder"):
        ag.Model.load(stored)


def test_another_model_in_a_members_place_is_refused(stored: Path) -> None:
    shutil.rmtree(stored / "b")
    shutil.copytree(stored / "a", stored / "b")
    with pytest.raises(WeightsError, match="the member b of the ensemble"):
        ag.Model.load(stored)


@pytest.mark.parametrize(
    "members",
    [[], [{"folder": "../a"}], [{"folder": "/etc"}], [{"folder": "a"}, {"folder": "a"}], [{}], ["a"], 7],
)
def test_members_that_are_no_folders_inside_are_refused(members: Any, stored: Path) -> None:
    card = json.loads((stored / "model.json").read_text(encoding="utf-8"))
    (stored / "model.json").write_text(json.dumps(card | {"members": members}), encoding="utf-8")
    with pytest.raises(CardError, match="members"):
        ag.Model.load(stored)


def test_an_ensemble_is_no_member_of_another(stored: Path, folders: list[Path]) -> None:
    with pytest.raises(CardError, match="is an ensemble and no single network"):
        ag.Model.ensemble([stored, folders[0]])


def test_an_ensemble_is_explained_but_has_no_second_opinions(stored: Path, tmp_path: Path, photos: np.ndarray) -> None:
    from PIL import Image

    Image.fromarray(photos[0]).resize((64, 64)).save(tmp_path / "face.png")
    model = ag.Model.load(stored, device="cpu")
    found = model.explain(tmp_path / "face.png", samples=64)
    assert {one.target.name for one in found.maps} >= {"age"}
    with pytest.raises(UsageError, match="ensemble of 3"):
        model.explain(tmp_path / "face.png", samples=64, second_opinions=True)
