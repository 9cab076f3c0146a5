"""A training in folds: each photo judged by who never saw it, one ensemble at the end, and nothing lost on the way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from photo_scenes import noisy_photos
from safetensors.torch import load_file

import agegender as ag
from agegender import swapping, train
from agegender.data.faces_table import make_table
from agegender.data.splitting import fold_faces
from agegender.errors import CardError, DataError, DivergedError, TrainingStopped, UsageError, WeightsError
from agegender.model.epochs import EpochRecorder
from agegender.model.model_folder import newest_model

TINY = {"body": "test_resnet", "weights": "none", "image_size": 32, "batch_size": 16, "epochs": 2, "device": "cpu"}
TINY |= {"precision": "fp32", "heads": ["age", "gender"]}


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> ag.Faces:
    """96 photos of 48 persons, light for the old."""
    root = tmp_path_factory.mktemp("coded")
    rows = []
    for number, name in enumerate(noisy_photos(root, 96, brighter=2)):
        row = {"path": name, "source": "coded", "age_years": number // 2, "subject_id": f"p{number // 2}"}
        row |= {"gender": ("male", "female")[number // 4 % 2], "ethnicity": ("Asian", "Black")[number % 2]}
        rows.append(row | {"split": "train"})
    return ag.Faces.from_frame(make_table(rows), root=root)


@pytest.fixture(scope="module")
def whole(faces: ag.Faces, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder of a training in three folds."""
    folder = tmp_path_factory.mktemp("models") / "three"
    return ag.Model.train(faces, name="three", folds=3, **TINY).save(folder)


def difference(one: pd.DataFrame, other: pd.DataFrame) -> float:
    columns = ["predicted_age_years", "gender_probability_female"]
    return float((one[columns] - other[columns]).abs().to_numpy().max())


def test_every_photo_is_predicted_by_the_one_network_that_never_saw_it(whole: Path) -> None:
    model = ag.Model.load(whole, device="cpu")
    assert len(model.predictions) == 96
    assert set(model.predictions["split"]) == {"test"}
    for number in range(3):
        member = ag.Model.load(whole / f"fold-{number}", device="cpu")
        sides = member.faces.kept().set_index("path")["split"]
        rows = model.predictions[model.predictions["fold"] == number].reset_index(drop=True)
        assert set(sides[rows["path"]]) == {"test"}
        assert difference(rows, member.predict([member.faces.photo_path(path) for path in rows["path"]])) < 1e-4
    assert set(model.card["metrics"]) == {"test"}


def test_persons_are_in_one_fold_and_folds_are_disjoint(whole: Path) -> None:
    folds = ag.Model.load(whole).faces.kept()
    assert folds.groupby("subject_id")["fold"].nunique().max() == 1
    assert folds["fold"].value_counts().sum() == 96


def test_own_faces_are_evaluated_out_of_fold_and_others_by_all_members(whole: Path, faces: ag.Faces) -> None:
    model = ag.Model.load(whole, device="cpu")
    again = model.predict(model.faces, split="test")
    assert again["path"].tolist() == model.predictions["path"].tolist()
    assert difference(again, model.predictions) < 1e-4
    assert model.evaluate()["test"]["age"]["mae"] == pytest.approx(model.card["metrics"]["test"]["age"]["mae"])
    together = model.predict(faces)  # no folds: nobody says that these are its own
    members = [ag.Model.load(whole / f"fold-{number}", device="cpu").predict(faces) for number in range(3)]
    ages = np.mean([one["predicted_age_years"] for one in members], axis=0)
    assert np.abs(together["predicted_age_years"] - ages).max() < 1e-3


def test_an_exported_ensemble_is_not_judged_by_photos_that_it_has_learnt(whole: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    model = ag.Model.load(whole, device="cpu")
    model.export(tmp_path / "three.onnx")
    with pytest.raises(UsageError, match="only its model folder has the network that never saw each"):
        ag.Model.load(tmp_path / "three.onnx").predict(model.faces)


def test_a_stopped_training_in_folds_goes_on_to_the_same_weights(
    faces: ag.Faces, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(TrainingStopped, match="stopped after epoch 3 of 6"):
        ag.Model.train(faces, name="three", folds=3, models_dir=tmp_path, stop_after=3, **TINY)
    run = tmp_path / "three.unfinished"
    assert sorted(path.name for path in run.glob("fold-*")) == ["fold-0", "fold-1.unfinished"]
    with pytest.raises(UsageError, match="--resume three"):
        ag.Model.train(faces, name="three", folds=3, models_dir=tmp_path, **TINY)
    with pytest.raises(CardError, match="--resume three"):
        newest_model(tmp_path)
    model = ag.Model.resume(run)
    said = capsys.readouterr().err
    assert "fold 1 of 3 is done already" in said
    assert "fold 3 of 3: " in said
    folder = model.save(tmp_path / "three")
    assert not run.exists()
    for number in range(3):
        one, other = (load_file(place / f"fold-{number}" / "weights.safetensors") for place in (folder, whole))
        assert all((one[name] == other[name]).all() for name in one)
    assert difference(model.predictions, ag.Model.load(whole).predictions) == 0


def test_a_leg_that_ends_with_a_fold_stops_between_folds(faces: ag.Faces, tmp_path: Path) -> None:
    with pytest.raises(TrainingStopped, match="stopped after epoch 2 of 6"):
        ag.Model.train(faces, name="three", folds=3, models_dir=tmp_path, stop_after=2, **TINY)
    run = tmp_path / "three.unfinished"
    assert [path.name for path in run.glob("fold-*")] == ["fold-0"]
    weights = run / "fold-0" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"delete .*fold-0"):
        ag.Model.resume(run)
    assert run.is_dir()
    shutil.rmtree(run / "fold-0")
    with pytest.raises(CardError, match="keeps no epoch yet"):
        ag.Model.resume(run)


def test_the_command_trains_in_folds_and_reports_out_of_fold(
    faces: ag.Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    faces.save("faces.parquet")
    words = "--body test_resnet --weights none --image-size 32 --batch-size 16 --epochs 1 --device cpu --precision fp32"
    folds = "--faces faces.parquet --folds 3 --vote hard --name v --json"
    assert train.main([*folds.split(), *words.split()]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["metrics"]["test"]["n"] == 96
    page = Path(document["reports"]["bias"]).read_text(encoding="utf-8")
    assert "Every photo is judged by the one of 3 networks that never saw it" in page
    assert json.loads(Path("models/v/model.json").read_text(encoding="utf-8"))["vote"] == "hard"
    assert Path(document["reports"]["lime"]).is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--folds 2", "ask for 3 to 20"),
        ("--folds 3 --fold 0", "give one of them"),
    ],
)
def test_folds_that_cannot_be_are_refused_before_anything_is_read(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(words.split()) == 2
    assert said in capsys.readouterr().err


def test_networks_in_folds_do_not_go_on_from_one_that_has_learnt_what_they_are_judged_by(
    faces: ag.Faces, whole: Path, tmp_path: Path
) -> None:
    known = [f"{number:0128x}" for number in range(len(faces.table))]
    hashed = ag.Faces.from_frame(faces.table.assign(file_sha512=known), root=faces.root)
    folder = shutil.copytree(whole / "fold-0", tmp_path / "first")
    sides = ag.Faces.load(folder / "faces.parquet").table["split"].to_numpy()
    hashed.table.assign(split=sides).to_parquet(folder / "faces.parquet")
    with pytest.raises(UsageError, match=rf"has learnt {(sides == 'train').sum()} of them"):
        ag.Model.train(hashed, folds=3, **TINY | {"weights": str(folder)})


def test_a_class_that_one_network_would_never_see_is_refused(faces: ag.Faces) -> None:
    hats = faces.table.assign(hat=["crown" if number < 2 else "none" for number in range(96)])
    rare = ag.Faces.from_frame(hats, root=faces.root)
    with pytest.raises(DataError, match=r"hat 'crown' \(2 of 96 photos\) lies in folds"):
        ag.Model.train(rare, folds=3, **TINY | {"heads": ["hat"]})


def test_a_helping_head_that_one_network_could_not_learn_is_refused_before_any_is_trained(faces: ag.Faces) -> None:
    folds = fold_faces(faces, folds=3, seed=7)
    alike = folds.table.assign(hat=["crown" if fold == 1 else "none" for fold in folds.table["fold"]])
    with pytest.raises(DataError, match="too few labels of hat are left"):
        ag.Model.train(ag.Faces.from_frame(alike, root=faces.root), folds=3, auxiliary="hat", **TINY)


def test_what_the_labels_of_one_fold_leave_open_is_asked_before_any_is_trained(faces: ag.Faces) -> None:
    folds = fold_faces(faces, folds=3, seed=7)
    # The second network trains on fold 0, where these numbers may be amounts or classes.
    steps = [number % 12 if fold == 0 else number for number, fold in enumerate(folds.table["fold"])]
    table = ag.Faces.from_frame(folds.table.assign(steps=steps), root=faces.root)
    with pytest.raises(UsageError, match=r"the network that fold 1 tests could not .*: are they amounts or classes\?"):
        ag.Model.train(table, folds=3, **TINY | {"heads": ["steps"]})


def test_a_fold_that_diverges_promises_no_other_settings(
    faces: ag.Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_epoch = EpochRecorder.before_epoch

    def spoil(self: EpochRecorder) -> None:
        before_epoch(self)
        if self.epoch == 1:
            next(self.learn.model.parameters()).data.fill_(float("nan"))

    monkeypatch.setattr(EpochRecorder, "before_epoch", spoil)
    with pytest.raises(DivergedError, match=r"--resume three.* A run in folds goes on as it began: with other") as told:
        ag.Model.train(faces, name="three", folds=3, models_dir=tmp_path, **TINY)
    assert "takes another" not in str(told.value)
    with pytest.raises(UsageError, match="a run in folds goes on as it began: leave clip out"):
        ag.Model.resume(tmp_path / "three", clip=1.0)


def test_killed_while_a_finished_fold_takes_its_place_a_training_goes_on(
    faces: ag.Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(swapping, "_carry_out", killed)
        with pytest.raises(KeyboardInterrupt):
            ag.Model.train(faces, name="three", folds=3, models_dir=tmp_path, **TINY)
    with pytest.raises(TrainingStopped, match="stopped after epoch 3 of 6"):
        ag.Model.resume(tmp_path / "three", stop_after=1)
    assert sorted(path.name for path in tmp_path.glob("*/fold-*")) == ["fold-0", "fold-1.unfinished"]


def test_folds_take_a_recipe_of_stages_averages_mixed_and_small_photos(faces: ag.Faces) -> None:
    recipe = {"stages": "heads:1,all:2", "ema": 0.9, "mixup": 0.4, "progressive": "32:1", "early_stopping": 2}
    tiny = {name: value for name, value in TINY.items() if name != "epochs"} | {"image_size": 48}
    model = ag.Model.train(faces, folds=3, **tiny, **recipe)
    assert len(model.predictions) == 96
    assert {name: model.card["training"][name] for name in recipe} == recipe


def test_photos_that_hang_together_may_be_too_few_for_folds(faces: ag.Faces) -> None:
    one_person = ag.Faces.from_frame(faces.table.assign(subject_id="p"), root=faces.root)
    with pytest.raises(DataError, match="twins and persons stay together"):
        ag.Model.train(one_person, folds=3, **TINY)
    few = ag.Faces.from_frame(faces.table.head(3), root=faces.root)
    with pytest.raises(UsageError, match="20 folds cannot be made of 3 photos"):
        ag.Model.train(few, folds=20, **TINY)


def test_a_table_with_other_folds_is_refused(faces: ag.Faces) -> None:
    with pytest.raises(UsageError, match="this table has 4 folds"):
        ag.Model.train(fold_faces(faces, folds=4), folds=3, **TINY)
