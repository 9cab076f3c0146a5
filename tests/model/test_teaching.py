"""A teacher's answers are learnt beside the labels, by the losses that are written down, also after a stop."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from photo_scenes import noisy_photos
from safetensors.torch import load_file

import agegender as ag
from agegender import train
from agegender.data.faces_table import make_table
from agegender.data.loading import TeacherAnswers
from agegender.errors import TrainingStopped, UsageError
from agegender.heads import AGE, GENDER, Regression
from agegender.model.losses import CombinedLoss, Teaching, soft_label_loss, teacher_loss
from agegender.model.model_folder import read_card

TINY = {"body": "test_resnet", "weights": "none", "image_size": 32, "batch_size": 16, "epochs": 3, "device": "cpu"}
TINY |= {"precision": "fp32", "heads": ["age", "gender"], "augmentation": "none", "seed": 5}
HEIGHT = Regression("height", "height_cm", "cm", loss="smooth-l1")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> ag.Faces:
    """96 photos, light for the old."""
    root = tmp_path_factory.mktemp("coded")
    rows = []
    for number, name in enumerate(noisy_photos(root, 96, brighter=2)):
        row = {"path": name, "source": "coded", "age_years": number // 2, "gender": ("male", "female")[number // 4 % 2]}
        rows.append(row | {"split": ("train", "train", "valid", "test")[number % 4], "file_sha512": f"{number:0128x}"})
    return ag.Faces.from_frame(make_table(rows), root=root)


def table_of(faces: ag.Faces, years: float) -> pd.DataFrame:
    """A teacher who says the same age of everybody, and that nobody is male."""
    paths = faces.kept()["path"]
    answers = {AGE.predicted: years, **dict(zip(GENDER.probability_columns.values(), (0.1, 0.9), strict=True))}
    return pd.DataFrame({"path": paths, **answers})


def test_classes_are_taught_by_the_divergence_of_softened_probabilities() -> None:
    logits, wanted = torch.tensor([[0.0, 2.0]]), torch.tensor([[0.25, 0.75]])
    plain = teacher_loss(GENDER, logits, wanted, unit=1.0)
    said = logits.softmax(dim=1)
    assert float(plain) == pytest.approx(float((wanted * (wanted.log() - said.log())).sum()), abs=1e-6)
    soft = wanted.sqrt() / wanted.sqrt().sum()
    at_one = (logits / 2).softmax(dim=1)
    assert float(teacher_loss(GENDER, logits, wanted, unit=1.0, temperature=2.0)) == pytest.approx(
        4 * float((soft * (soft.log() - at_one.log())).sum()), abs=1e-6
    )
    assert float(teacher_loss(GENDER, wanted.log(), wanted, unit=1.0, temperature=3.0)) == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(teacher_loss(GENDER, logits, torch.tensor([[0.0, 1.0]]), unit=1.0)).all()


def test_numbers_are_taught_by_a_distribution_where_they_have_one_and_else_by_the_square() -> None:
    answers = torch.tensor([[40.0, 5.0], [40.0, float("nan")]])
    values = torch.arange(AGE.grid[0], AGE.grid[1] + 1).float()
    perfect = -0.5 * ((values - 40) / torch.tensor([[5.0], [2.0]])) ** 2
    assert teacher_loss(AGE, perfect, answers, unit=20.0).tolist() == pytest.approx([0, 0], abs=1e-5)
    flat = torch.zeros(2, len(values))
    wide, narrow = teacher_loss(AGE, flat, answers, unit=20.0)
    assert float(wide) == pytest.approx(float(soft_label_loss(flat[:1], answers[:1, 0], AGE.grid, sigma=5.0)))
    assert narrow > wide
    assert teacher_loss(HEIGHT, torch.tensor([160.0, 180.0]), answers * 4.25, unit=10.0).tolist() == [1.0, 1.0]


def test_the_share_of_the_teacher_is_its_weight_and_all_of_it_where_there_is_no_label() -> None:
    teaching = Teaching({"gender": slice(0, 2)}, weight=0.25, temperature=1.0)
    combined = CombinedLoss((HEIGHT, GENDER), {"height": 10.0}, teaching=teaching)
    outputs = torch.tensor([170.0] * 4), torch.tensor([[0.0, 1.0]] * 4)
    labels = torch.tensor([180.0] * 4), torch.tensor([1, 1, -1, -1])
    unknown = float("nan")
    answers = torch.tensor([[0.5, 0.5], [unknown] * 2, [0.5, 0.5], [unknown] * 2])
    each = combined(outputs, *labels, answers.as_subclass(TeacherAnswers), reduction="none")
    alone = CombinedLoss((HEIGHT, GENDER), {"height": 10.0})(outputs, *labels, reduction="none")
    height = float(alone[2])  # of a photo without the other label
    by_label, by_teacher = float(alone[0]) - height, float(teacher_loss(GENDER, outputs[1], answers, unit=1.0)[0])
    expected = [0.75 * by_label + 0.25 * by_teacher, by_label, by_teacher, 0.0]
    assert (each - height).tolist() == pytest.approx(expected, abs=1e-6)
    mean = combined(outputs, *labels, answers.as_subclass(TeacherAnswers))
    assert float(mean) == pytest.approx(height + sum(expected) / 3, abs=1e-6)  # three photos have something to say


def test_a_teacher_helps_where_no_label_tells_and_the_card_says_who_it_was(
    faces: ag.Faces, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = faces.table
    is_hidden = (rows["split"] == "train") & ~rows["age_years"].between(20, 27)
    few = ag.Faces.from_frame(rows.assign(age_years=rows["age_years"].mask(is_hidden)), root=faces.root)
    place = tmp_path / "elder.parquet"
    answers = table_of(faces, 0.0).assign(**{AGE.predicted: rows["age_years"].astype(float)})
    answers.iloc[:4, 1:] = np.nan
    answers.to_parquet(place)
    settings = {**TINY, "epochs": 12, "learning_rate": 1e-2}
    alone = ag.Model.train(few, **settings)
    taught = ag.Model.train(few, teacher=str(place), **settings)
    errors = [(model.predictions[AGE.predicted] - rows["age_years"]).abs().mean() for model in (alone, taught)]
    assert errors[1] < 0.8 * errors[0]
    facts = taught.card["teacher"]
    assert facts["heads"] == ["age", "gender"]
    assert facts["name"] == "elder"
    assert facts["photos"] == 46  # two of the first four rows are training photos
    assert len(facts["sha256"]) == 64
    assert "elder teaches age, gender on 46 of 48 training photos" in capsys.readouterr().err
    assert "teacher" not in alone.card


def test_a_model_teaches_what_it_predicts(faces: ag.Faces, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    teacher = ag.Model.train(faces, name="teacher", **TINY)
    folder = teacher.save(tmp_path / "teacher")
    assert teacher.predictions is not None
    teacher.predictions.to_parquet(tmp_path / "table.parquet")
    settings = {**TINY, "epochs": 1, "teacher_weight": 1.0}
    by_model = ag.Model.train(faces, teacher=str(folder), **settings)
    said = capsys.readouterr().err
    by_table = ag.Model.train(faces, teacher=str(tmp_path / "table.parquet"), **settings)
    assert by_model.card["teacher"]["sha256"] == read_card(folder)["weights_sha256"]
    assert by_model.card["teacher"]["trained_on_judging_photos"] == 0
    assert by_model.card["training"]["teacher"] == folder.name  # without where it lies on this disk
    assert "careful" not in said
    np.testing.assert_allclose(by_model.predictions[AGE.predicted], by_table.predictions[AGE.predicted], atol=1e-3)


def test_a_teacher_that_was_trained_on_the_photos_that_judge_is_said(
    faces: ag.Faces, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    turned = {"train": "test", "test": "train", "valid": "valid"}
    table = faces.table.assign(split=faces.table["split"].map(turned))
    others = ag.Faces.from_frame(table, root=faces.root)
    folder = ag.Model.train(others, name="teacher", **{**TINY, "epochs": 1}).save(tmp_path / "teacher")
    taught = ag.Model.train(faces, teacher=str(folder), **{**TINY, "epochs": 1})
    assert "careful: 24 of the 48 photos that choose and judge this model have trained its teacher" in (
        capsys.readouterr().err
    )
    assert taught.card["teacher"]["trained_on_judging_photos"] == 24


def test_what_a_killed_run_of_the_name_was_taught_teaches_no_other(faces: ag.Faces, tmp_path: Path) -> None:
    tables = {name: tmp_path / f"{name}.parquet" for name in ("old", "young")}
    table_of(faces, 80.0).to_parquet(tables["old"])
    table_of(faces, 20.0).to_parquet(tables["young"])
    settings = {**TINY, "epochs": 2, "models_dir": tmp_path, "name": "first", "stop_after": 1}
    with pytest.raises(TrainingStopped):
        ag.Model.train(faces, teacher=str(tables["old"]), **settings)
    (tmp_path / "first.unfinished" / "state.safetensors").unlink()  # killed in its first epoch
    with pytest.raises(TrainingStopped):
        ag.Model.train(faces, teacher=str(tables["young"]), **settings)
    assert ag.Model.resume(tmp_path / "first").card["teacher"]["name"] == "young"


def test_a_run_that_goes_on_learns_from_the_same_answers_though_the_teacher_is_gone(
    faces: ag.Faces, tmp_path: Path
) -> None:
    place = tmp_path / "elder.parquet"
    table_of(faces, 80.0).to_parquet(place)
    whole = ag.Model.train(faces, name="first", teacher=str(place), **TINY).save(tmp_path / "whole")
    with pytest.raises(TrainingStopped):
        ag.Model.train(faces, name="first", teacher=str(place), models_dir=tmp_path, stop_after=1, **TINY)
    place.unlink()
    resumed = ag.Model.resume(tmp_path / "first.unfinished")
    resumed.save(tmp_path / "first")
    one, other = (load_file(folder / "weights.safetensors") for folder in (whole, tmp_path / "first"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert json.loads((tmp_path / "first" / "model.json").read_text())["teacher"]["name"] == "elder"


def test_what_contradicts_itself_is_refused(
    faces: ag.Faces, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="there is no such model or table"):
        ag.Model.train(faces, teacher=str(tmp_path / "nobody"), **TINY)
    with pytest.raises(UsageError, match="say how --teacher is followed"):
        ag.Model.train(faces, teacher_weight=0.9, **TINY)
    with pytest.raises(UsageError, match="teacher-weight 2 is too large"):
        ag.Model.train(faces, teacher_weight=2, **TINY)
    place = tmp_path / "t.parquet"
    table_of(faces, 30.0).to_parquet(place)
    with pytest.raises(UsageError, match="--folds and --teacher"):
        ag.Model.train(faces, teacher=str(place), folds=3, **TINY)
    table_of(faces, 30.0)[["path"]].to_parquet(place)
    with pytest.raises(
        UsageError, match="teaches none of the heads age, gender: its answers would be in predicted_age"
    ):
        ag.Model.train(faces, teacher=str(place), **TINY)
    table_of(faces, 30.0).assign(path="elsewhere/" + faces.kept()["path"]).to_parquet(place)
    with pytest.raises(UsageError, match="says nothing of any of the 48 training photos: its paths are elsewhere/"):
        ag.Model.train(faces, teacher=str(place), **TINY)
    assert train.main(["--teacher", str(tmp_path / "nobody"), "--faces", str(place)]) == 2
    assert "no such model or table" in capsys.readouterr().err
