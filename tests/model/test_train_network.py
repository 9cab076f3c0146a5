"""A whole training in memory: which heads are trained, what the card says, and that nothing is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from coded_faces import TINY, store
from PIL import Image

from agegender.api.training_plan import plan_of
from agegender.data.faces_table import FacesTable, make_table
from agegender.data.splitting import calibration_rows
from agegender.errors import DataError, UsageError
from agegender.heads import AGE, GENDER
from agegender.model.face_rows import Looking, face_rows
from agegender.model.learner import learner_of
from agegender.model.model_folder import heads_of
from agegender.model.predictor import Predictor
from agegender.model.training import heads_to_train, train_network
from agegender.settings import ImageSettings
from agegender.training_settings import Plan, TrainingSettings

PLAN = Plan(
    "small", TINY, image=ImageSettings(size=32), training=TrainingSettings(epochs=1, batch_size=32, device="cpu")
)
MOODS = ("happy", "neutral", "sad")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> FacesTable:
    """320 photos, enough to calibrate on, with four labels each."""
    root = tmp_path_factory.mktemp("labelled")
    rows = []
    for number in range(320):
        Image.fromarray(np.full((32, 32, 3), number % 256, np.uint8)).save(root / f"{number}.png")
        row = {"path": f"{number}.png", "source": "coded", "age_years": number / 4, "height_cm": 100.0 + number}
        row |= {"gender": ("male", "female")[number // 4 % 2], "expression": MOODS[number % 3]}
        rows.append(row | {"split": ("train", "train", "train", "valid")[number % 4] if number % 13 else "test"})
    return FacesTable(make_table(rows), root)


def without(faces: FacesTable, column: str, split: str = "train") -> FacesTable:
    table = faces.table.copy()
    table.loc[table["split"] == split, column] = None
    return replace(faces, table=table)


def test_four_heads_arrive_everywhere_and_nothing_is_written(
    faces: FacesTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trained = train_network(faces, replace(PLAN, heads=("age", "gender", "height", "expression")))
    assert list(tmp_path.iterdir()) == []
    names = ["age", "gender", "height", "expression"]
    card = trained.predictor.card
    assert [head.name for head in trained.predictor.heads] == names
    assert [head["name"] for head in card["heads"]] == names
    assert list(card["statistics"]) == ["age", "height"]
    training = faces.table[faces.table["split"] == "train"]["height_cm"]
    assert card["statistics"]["height"] == pytest.approx({"mean": training.mean(), "std": training.std(ddof=0)})
    assert {"valid_height_mae", "valid_expression_accuracy"} <= set(trained.history.columns)
    wanted = [name for head in trained.predictor.heads for name in head.prediction_columns]
    assert set(wanted) <= set(trained.predictions.columns)
    assert {"height_low_cm", "height_spread_cm", "expression_probability_happy"} <= set(wanted)
    assert {"age_label_low_years", "height_label_high_cm"} <= set(trained.predictions.columns)
    assert trained.predictions["age_spread_years"].between(0.1, 60).all()
    assert trained.predictions["height_spread_cm"].isna().all()  # it learns one number
    assert len(trained.predictions) == 320
    assert set(card["calibration"]) == set(names)
    assert set(names) <= set(card["metrics"]["test"])


def test_the_rows_that_calibrate_choose_no_epoch(faces: FacesTable, capsys: pytest.CaptureFixture[str]) -> None:
    trained = train_network(faces, PLAN)
    valid = faces.table[faces.table["split"] == "valid"]
    calibrating = calibration_rows(valid)
    halves = trained.predictor.card["validation"]
    assert halves == {"selecting": int((~calibrating).sum()), "calibrating": int(calibrating.sum())}
    said = f"{halves['selecting']} validation photos judged the epochs, {halves['calibrating']} others calibrate"
    assert said in capsys.readouterr().err
    chosen_on = {str(item.photo.name) for item in trained.learner.dls.valid.dataset.items}
    assert chosen_on == set(valid["path"][~calibrating])
    assert trained.predictor.card["calibration"]["age"]["calibration_count"] == halves["calibrating"]


def test_few_validation_photos_train_all_the_same_and_it_is_said(
    faces: FacesTable, capsys: pytest.CaptureFixture[str]
) -> None:
    table = faces.table.copy()
    valid = table.index[table["split"] == "valid"]
    table.loc[valid[5:], "split"] = None
    trained = train_network(replace(faces, table=table), PLAN)
    assert trained.predictor.card["calibration"] == {}
    assert "too few" in capsys.readouterr().err
    assert trained.predictions["age_low_years"].isna().all()
    assert "age_label_low_years" not in trained.predictions


def test_a_head_without_training_labels_is_left_out_with_a_sentence(
    faces: FacesTable, capsys: pytest.CaptureFixture[str]
) -> None:
    # Labels of the validation photos alone teach nothing.
    trained = train_network(without(faces, "gender"), PLAN)
    assert "no head for gender" in capsys.readouterr().err
    assert trained.predictor.heads == (AGE,)
    assert "predicted_gender" not in trained.predictions
    assert set(trained.predictor.card["calibration"]) == {"age"}


def test_data_without_ages_train_a_classification_alone(faces: FacesTable, tmp_path: Path) -> None:
    trained = train_network(without(faces, "age_years"), PLAN)
    assert trained.predictor.heads == (GENDER,)
    store(trained, faces, tmp_path / "gender")
    again = Predictor.load(tmp_path / "gender", device="cpu")
    table = next(face_rows(again, [faces.photo_path("3.png")], Looking()))
    assert list(table.columns)[-len(GENDER.prediction_columns) :] == list(GENDER.prediction_columns)


def test_a_class_that_no_training_photo_shows_is_no_obstacle_and_counts_as_a_mistake(
    faces: FacesTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = faces.table.copy()
    table.loc[table.index[table["split"] != "train"][:6], "expression"] = "angry"
    faces = replace(faces, table=table)
    trained = train_network(faces, replace(PLAN, heads=("expression",)))
    assert "labelled angry in expression" in capsys.readouterr().err
    (head,) = trained.predictor.heads
    assert head.classes == MOODS
    assert (trained.predictions["expression"] == "angry").sum() == 6
    assert np.nansum(head.is_right(trained.predictions)[trained.predictions["expression"] == "angry"]) == 0
    assert len(learner_of(store(trained, faces, tmp_path / "m")).dls.train) == len(trained.learner.dls.train)


def test_a_head_of_no_weight_is_not_trained_and_never_speaks(
    faces: FacesTable, capsys: pytest.CaptureFixture[str]
) -> None:
    assert heads_to_train(faces, replace(PLAN, head_weights={"gender": 0.0})) == (AGE,)
    assert "weight is 0" in capsys.readouterr().err
    with pytest.raises(UsageError, match="nothing to train"):
        heads_to_train(faces, replace(PLAN, head_weights={"gender": 0.0, "age": 0.0}))


@pytest.mark.parametrize(
    ("body", "weights"),
    [("resnet18", "imagenet"), ("resnet18-narrow", "none"), ("resnet50-small-stem", "none"), (None, "imagenet")],
)
def test_training_on_real_photos_begins_where_imagenet_ends_if_anybody_trained_the_body_on_it(
    faces: FacesTable, body: str | None, weights: str
) -> None:
    assert plan_of(faces, (), body=body).weights == weights
    assert plan_of(faces, (), body=body, weights="none").weights == "none"


def test_losses_and_weights_go_to_the_head_that_is_named(faces: FacesTable) -> None:
    age, gender = heads_to_train(faces, replace(PLAN, losses={"age": "l1"}, head_weights={"gender": 0.5}))
    assert (age.loss, age.weight, gender.weight) == ("l1", 4.0, 0.5)
    with pytest.raises(UsageError, match="'beauty'"):
        heads_to_train(faces, replace(PLAN, losses={"beauty": "l1"}))
    # Age has no labels here, and no head: what was said of it is no mistake.
    assert heads_to_train(without(faces, "age_years"), replace(PLAN, losses={"age": "l1"})) == (GENDER,)


def test_too_few_photos_are_an_error_that_counts_them(faces: FacesTable) -> None:
    table = faces.table.assign(split=None)
    with pytest.raises(DataError, match="0 training and 0 validation"):
        train_network(replace(faces, table=table), PLAN)


def test_a_stored_model_predicts_as_the_trained_one_and_tells_its_heads(faces: FacesTable, tmp_path: Path) -> None:
    trained = train_network(faces, replace(PLAN, heads=("height", "gender")))
    store(trained, faces, tmp_path / "m")
    again = Predictor.load(tmp_path / "m", device="cpu")
    card = json.loads((tmp_path / "m" / "model.json").read_text())
    assert heads_of(card) == trained.predictor.heads == again.heads
    pd.testing.assert_frame_equal(again.predict_faces(faces), trained.predictions)
    assert str(tmp_path) not in (tmp_path / "m" / "model.json").read_text()


def test_a_training_goes_on_from_a_model_folder_with_one_head_more(faces: FacesTable, tmp_path: Path) -> None:
    first = train_network(faces, replace(PLAN, heads=("age",)))
    store(first, faces, tmp_path / "m")
    plan = replace(
        PLAN,
        heads=("age", "expression"),
        weights=str(tmp_path / "m"),
        training=replace(PLAN.training, learning_rate=1e-9),
    )
    second = train_network(faces, plan)
    name = "heads.age.2.weight"
    weights = [trained.learner.model.state_dict()[name] for trained in (first, second)]
    np.testing.assert_allclose(weights[0], weights[1], atol=1e-5)
    assert second.predictor.card["weights"] == "m"  # whoever is handed the card learns nothing of this disk


def test_one_row_per_photo_whatever_its_kind(faces: FacesTable) -> None:
    predictor = train_network(faces, PLAN).predictor
    path = faces.photo_path("64.png")
    with Image.open(path) as image:
        kinds = [path, str(path), path.read_bytes(), np.asarray(image), image.copy(), faces.root / "absent.png", 3]
    (table,) = face_rows(predictor, kinds, Looking())
    assert np.ptp(table["predicted_age_years"][:5]) < 1e-3
    assert table.drop(columns=["path", "error"]).iloc[5:].isna().all().all()
    reasons = table["error"].dropna().str.partition(":")[0]
    assert reasons.to_dict() == {5: "absent.png", 6: "a value of the type int is no photo"}
    (nothing,) = face_rows(predictor, [3], Looking())
    assert (list(nothing.columns), len(nothing)) == (list(table.columns), 1)
