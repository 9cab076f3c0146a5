"""What a training does about rare groups, hard heads and doubtful labels, in real trainings of a small network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from coded_faces import TINY, coded_faces, store
from PIL import Image

from agegender.data.faces_table import FacesTable, make_table
from agegender.errors import UsageError
from agegender.heads import head_from_dict
from agegender.model.checkpoint import load_network
from agegender.model.learner import MixPhotos, learner_of
from agegender.model.training import Trained, train_network
from agegender.settings import ImageSettings
from agegender.training_settings import Plan, TrainingSettings


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> FacesTable:
    """32 photos of ages 0 to 62; one in eight is Black, and bands of twenty years are classes."""
    coded = coded_faces(tmp_path_factory.mktemp("coded"))
    table = coded.table.assign(
        ethnicity=["Black" if number % 8 == 1 else "Asian" for number in range(32)],
        band=[("young", "grown", "old")[number * 2 // 21] for number in range(32)],
    )
    return replace(coded, table=make_table(table.to_dict("records")))


def trained(faces: FacesTable, *, plan: dict[str, Any] | None = None, **settings: Any) -> Trained:
    training = TrainingSettings(epochs=2, batch_size=8, device="cpu", precision="fp32", **settings)
    whole = {"image": ImageSettings(size=32), "training": training, "heads": ("age", "gender"), **(plan or {})}
    return train_network(faces, Plan("small", TINY, **whole))


@pytest.mark.parametrize(
    "age", ["cross-entropy", "dldl-v2:sigma=3", "mean-variance:variance=0.1", "soft-labels:sigma=1"]
)
def test_every_loss_of_a_distribution_trains_and_predicts_years(faces: FacesTable, age: str) -> None:
    made = trained(faces, plan={"losses": {"age": age, "gender": "focal:balanced=1,smoothing=0.1"}})
    card = made.predictor.card
    settings = {head["name"]: head["loss_settings"] for head in card["heads"]}
    assert settings["gender"] == {"gamma": 2.0, "balanced": 1.0, "smoothing": 0.1}
    assert f"{age}:".split(":")[0] == card["heads"][0]["loss"]
    assert card["class_counts"]["gender"] == [8, 16]
    assert np.isfinite(made.history["train_loss"]).all()
    assert made.predictions["predicted_age_years"].between(0, 120).all()
    assert made.predictions["age_spread_years"].gt(0).all()


def test_a_model_trained_to_answer_by_the_median_differs_in_its_answers_alone(faces: FacesTable) -> None:
    by_mean, by_median = trained(faces), trained(faces, point="median")
    assert by_mean.history["train_loss"].tolist() == by_median.history["train_loss"].tolist()
    heads = {head["name"]: head for head in by_median.predictor.card["heads"]}
    assert (heads["age"]["point"], "point" in heads["gender"]) == ("median", False)
    answers = [made.predictions["predicted_age_years"] for made in (by_mean, by_median)]
    assert 0.05 < (answers[0] - answers[1]).abs().mean() < 20
    for column in ("age_spread_years", "gender_probability_female"):
        assert by_mean.predictions[column].tolist() == by_median.predictions[column].tolist()


def test_learned_weights_move_are_told_and_are_not_stored(faces: FacesTable, tmp_path: Path) -> None:
    made = trained(faces, weighting="uncertainty")
    told = made.history[["log_variance_age", "log_variance_gender"]]
    assert told.notna().all(axis=None)
    assert (told.iloc[0] != told.iloc[1]).all()
    card = made.predictor.card
    best = made.history.set_index("epoch").loc[card["best_epoch"]]
    assert card["log_variances"] == {name: round(float(best[f"log_variance_{name}"]), 4) for name in ("age", "gender")}
    folder = store(made, faces, tmp_path / "weighted")
    network, _ = load_network(folder)
    assert not [name for name in network.state_dict() if "variance" in name]
    assert not learner_of(folder).combined_loss.has_learned_weights
    # What validates has fixed weights, of 1 here.
    assert best["valid_loss"] == pytest.approx(best["valid_loss_age"] + best["valid_loss_gender"], rel=1e-5)


def test_auxiliary_heads_help_and_leave_nothing_but_a_note(faces: FacesTable, tmp_path: Path) -> None:
    made = trained(faces, plan={"losses": {"band": "focal"}, "head_weights": {"band": 0.5}}, auxiliary=("band",))
    assert {"train_loss_band", "valid_loss_band", "valid_band_accuracy"} <= set(made.history)
    last = made.history.iloc[-1]
    assert last["train_loss"] == pytest.approx(
        last["train_loss_age"] + last["train_loss_gender"] + 0.5 * last["train_loss_band"], rel=1e-5
    )
    assert last["valid_loss"] == pytest.approx(last["valid_loss_age"] + last["valid_loss_gender"], rel=1e-5)
    assert not [name for name in made.predictions if name != "band" and "band" in name.replace("_band_", "")]
    folder = store(made, faces, tmp_path / "helped")
    network, card = load_network(folder)
    assert list(network.heads) == ["age", "gender"] == [head["name"] for head in card["heads"]]
    assert not [name for name in network.state_dict() if "band" in name]
    (helped,) = map(head_from_dict, card["auxiliary_heads"])
    assert (helped.name, helped.loss, helped.weight, helped.column) == ("band", "focal", 0.5, "band")
    # What is left is a whole Learner of two heads: it shows, validates and trains on.
    assert [len(part) for part in made.learner.get_preds()] == [2, 2]
    made.learner.fit(1, 1e-4)
    assert len(made.learner.dls.one_batch()) == 3


def test_photos_of_rare_groups_count_for_more_in_training_alone(faces: FacesTable) -> None:
    made = trained(faces, weigh=("ethnicity",), weigh_cap=3.0)
    loader = made.learner.dls.train
    rows = faces.table[faces.table["split"] == "train"]["ethnicity"].to_numpy()
    weights = loader.photo_weights
    assert weights.mean() == pytest.approx(1)
    assert weights[rows == "Black"].tolist() == pytest.approx([3.0] * 4)
    for photos, ages, genders, given in loader:
        # The weights stand beside the labels that they belong to: each photo says its age by its light.
        wanted = {
            float(age): weight
            for age, weight in zip(faces.table[faces.table["split"] == "train"]["age_years"], weights, strict=True)
        }
        assert given.tolist() == pytest.approx([wanted[age] for age in ages.tolist()])
        assert len(photos) == len(genders) == len(given)
    assert len(made.learner.dls.valid.one_batch()) == 3
    assert len(loader.new(shuffle=False).one_batch()) == 3  # who reads in order is evaluating
    assert made.predictor.card["training"]["weigh"] == ("ethnicity",)


def test_weighed_photos_are_shown_mixed_and_validated(faces: FacesTable, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    mpl.use("Agg")
    made = trained(faces, weigh=("ethnicity", "gender"))
    made.learner.dls.show_batch(max_n=4)
    made.learner.dls.train.show_batch(max_n=4)
    titles = [axis.get_title() for axis in plt.gcf().axes]
    assert all("y, " in title for title in titles if title)
    made.learner.show_results(max_n=2)
    plt.close("all")
    seen = []
    loss = made.learner.combined_loss
    forward = type(loss).forward

    def recorded(self: Any, predictions: Any, *targets: Any, **options: Any) -> Any:
        seen.append((self.training, len(targets)))
        return forward(self, predictions, *targets, **options)

    monkeypatch.setattr(type(loss), "forward", recorded)
    made.learner.fit(1, 1e-4, cbs=MixPhotos())
    assert set(seen) == {(True, 3), (False, 2)}


def test_rare_groups_are_drawn_more_often_and_repeats_change_more(
    faces: FacesTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agegender.data import loading

    asked: list[float] = []
    draw = loading.draw_changes

    def recorded(generator: Any, count: int, settings: Any, **options: Any) -> Any:
        asked.extend([settings.rotation_degrees] * count)
        return draw(generator, count, settings, **options)

    monkeypatch.setattr(loading, "draw_changes", recorded)
    made = trained(faces, oversample=("ethnicity",))
    loader = made.learner.dls.train
    numbers = [
        number
        for _ in range(40)
        for number in loader.shuffle_fn(range(24))
        if not setattr(loader, "epoch", loader.epoch + 1)
    ]
    rows = faces.table[faces.table["split"] == "train"]["ethnicity"].to_numpy()
    assert np.mean(rows[numbers] == "Black") == pytest.approx(0.5, abs=0.06)
    usual = loader.augmentation.rotation_degrees
    assert set(asked) == {usual, 1.5 * usual, 2 * usual}
    asked.clear()
    monkeypatch.setattr(loading, "_with_repeats", lambda numbers: ((number, 0) for number in numbers))
    list(loader)
    assert set(asked) == {usual}


def test_training_labels_are_learnt_as_others_and_no_other_labels(
    faces: FacesTable, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = ("age:58-61=60", "age:2=0", "gender:female=male", "band:old=grown")
    heads = {"heads": ("age", "gender", "band")}
    with pytest.raises(UsageError, match="leaves one label of gender"):
        trained(faces, plan=heads, relabel=rules)
    made = trained(faces, plan=heads, relabel=(rules[0], rules[1], rules[3]))
    training = faces.table[faces.table["split"] == "train"]
    card = made.predictor.card
    expected = {
        "age:58-61=60": int(training["age_years"].between(58, 61).sum()),
        "age:2=0": 1,
        "band:old=grown": int((training["band"] == "old").sum()),
    }
    assert card["relabelled"] == expected
    assert f"--relabel age:58-61=60: {expected['age:58-61=60']} training photos" in capsys.readouterr().err
    learnt = [item.labels[0] for item in made.learner.dls.train.dataset.items]
    assert sorted(learnt) == sorted({58: 60, 2: 0}.get(age, age) for age in training["age_years"])
    assert card["statistics"]["age"]["mean"] == pytest.approx(np.mean(learnt))
    assert card["class_counts"]["band"][1] == 0  # grown, old, young
    # What judges is untouched.
    valid = faces.table[faces.table["split"] == "valid"]["age_years"]
    assert {item.labels[0] for item in made.learner.dls.valid.dataset.items} <= set(valid)
    assert made.predictions["age_years"].tolist() == faces.table["age_years"].tolist()


def test_a_rebuilt_learner_draws_weighs_and_relabels_as_the_training_did(faces: FacesTable, tmp_path: Path) -> None:
    made = trained(
        faces, weigh=("gender",), oversample=("ethnicity",), relabel=("age:58-61=60", "band:old=grown"),
        auxiliary=("band",), weighting="uncertainty", plan={"losses": {"gender": "cross-entropy:balanced=1"}},
    )  # fmt: skip
    folder = store(made, faces, tmp_path / "all")
    json.loads((folder / "model.json").read_text())
    again = learner_of(folder)
    one, other = made.learner.dls.train, again.dls.train
    assert other.strengthens_repeats
    for name in ("weights", "photo_weights"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist()
    assert [item.labels[:2] for item in one.dataset.items] == [item.labels for item in other.dataset.items]
    assert (
        again.combined_loss.class_weights["gender"].tolist()
        == made.learner.combined_loss.class_weights["gender"].tolist()
    )


@pytest.fixture(scope="module")
def rare_women(tmp_path_factory: pytest.TempPathFactory) -> FacesTable:
    """Of 96 photos to learn from, one in four is of a woman; women are 40, men 0, 10 and 20."""
    root = tmp_path_factory.mktemp("rare")
    rows = []
    for number in range(104):
        gender = "female" if number % 4 == 0 else "male"
        row = {"path": f"{number}.png", "source": "coded", "age_years": 40 if gender == "female" else number % 3 * 10}
        rows.append(row | {"gender": gender, "split": "train" if number < 96 else "valid"})
        Image.fromarray(np.full((32, 32, 3), number * 2, np.uint8)).save(root / f"{number}.png")
    return FacesTable(make_table(rows), root)


@pytest.mark.parametrize(
    ("loss", "settings", "share", "age"),
    [
        ("cross-entropy", {}, 0.25, 17.5),
        ("cross-entropy:balanced=1", {}, 0.5, 17.5),
        ("cross-entropy:balanced=0.5", {}, 1 / (1 + 3**0.5), 17.5),
        ("cross-entropy", {"weigh": "gender"}, 0.5, 25.0),
        ("cross-entropy", {"oversample": "gender"}, 0.5, 25.0),
        ("cross-entropy", {"relabel": ["age:40=100"]}, 0.25, 32.5),
    ],
)
def test_who_sees_nothing_learns_the_share_that_was_asked_for(
    rare_women: FacesTable, loss: str, settings: dict[str, Any], share: float, age: float
) -> None:
    training = TrainingSettings.of_keywords({"epochs": 1, "batch_size": 32, "device": "cpu", **settings}, {})
    losses = {"gender": loss, "age": "mse"}
    plan = Plan("rare", TINY, image=ImageSettings(size=32), training=training, losses=losses)
    learner = train_network(rare_women, plan).learner
    combined = learner.combined_loss.train()
    # Two constants in the place of the network, on the batches and the loss of the training.
    ages, genders = torch.zeros(1, requires_grad=True), torch.zeros(1, 2, requires_grad=True)
    steps = torch.optim.SGD([{"params": ages, "lr": 15.0}, {"params": genders, "lr": 0.3}])
    seen = []
    for epoch in range(32):
        for photos, *targets in learner.dls.train:
            steps.zero_grad()
            combined((ages.expand(len(photos)), genders.expand(len(photos), 2)), *targets).backward()
            steps.step()
            if epoch >= 12:
                seen.append((ages.item(), genders.softmax(dim=1)[0, 1].item()))
    found_age, found_share = np.mean(seen, axis=0)
    assert found_share == pytest.approx(share, abs=0.04)
    assert found_age == pytest.approx(age, abs=1.5)
