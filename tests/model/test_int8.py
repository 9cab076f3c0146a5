"""An export in eight bits states what it loses on the validation photos, and is refused beyond a limit."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pandas as pd
import pytest
from golden_model import GOLDEN, write_golden

import agegender as ag
from agegender import export, predict
from agegender.data.faces_table import FacesTable, make_table, write_faces
from agegender.errors import ModelError, UsageError
from agegender.heads import AGE, GENDER, Classification, Regression
from agegender.model import onnx_int8
from agegender.model.model_folder import CARD_FILE, INT8_FILE, ONNX_FILE, WEIGHTS_FILE
from agegender.model.onnx_int8 import Int8Loss, measured_losses

PHOTOS = np.load(GOLDEN / "photos.npz")["photos"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model and a faces table of photos near those that it knows."""
    place = tmp_path_factory.mktemp("models") / "trained"
    (place / "photos").mkdir(parents=True)
    write_golden(place)
    random, rows = np.random.default_rng(0), []
    for number in range(60):
        photo = PHOTOS[number % len(PHOTOS)].astype(float) + random.normal(0, 12, PHOTOS[0].shape)
        cv2.imwrite(str(place / "photos" / f"{number}.png"), photo.clip(0, 255).astype(np.uint8)[..., ::-1])
        rows.append({"path": f"{number}.png", "split": ("train", "valid", "test")[number % 3]})
    said = ag.Model.load(place, device="cpu").predict([place / "photos" / row["path"] for row in rows])
    labels = said["predicted_age_years"].round() + random.integers(-6, 7, 60)
    for row, age, gender in zip(rows, labels, said["predicted_gender"], strict=True):
        row |= {"source": "csv", "age_years": float(np.clip(age, 0, 116)), "gender": gender}
    write_faces(FacesTable(make_table(rows), place / "photos"), place / "faces.parquet")
    return place


def test_an_export_in_eight_bits_states_its_loss_and_predicts_nearly_the_same(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export.main(["--model", str(folder), "--int8", "--int8-limit", "age=1", "--int8-limit", "gender=10"]) == 0
    said = capsys.readouterr().out
    assert "int8, ranges of 20 training photos; on 20 validation photos:" in said
    whole, eight = ag.Model.load(folder, device="cpu"), ag.Model.load(folder / INT8_FILE)
    stated = {(loss["head"], loss["unit"]): loss for loss in eight.card["int8"]["losses"]}
    for name, model in (("before", whole), ("after", eight)):
        valid = model.evaluate(whole.faces, split="valid")["valid"]
        assert stated["age", "years"][name] == pytest.approx(valid["age"]["mae"], abs=1e-3)
        assert stated["gender", "share"][name] == pytest.approx(valid["gender"]["accuracy"], abs=1e-6)
        assert stated["age", "share"][name] == pytest.approx(valid["age"]["interval"]["coverage"], abs=1e-6)
    assert all(
        f"{loss['before']:.2f} to {loss['after']:.2f}" in said for loss in stated.values() if loss["unit"] == "years"
    )
    photos = [folder / "photos" / f"{number}.png" for number in range(0, 60, 5)]
    ours, theirs = whole.predict(photos), eight.predict(photos)
    difference = np.abs(ours["predicted_age_years"] - theirs["predicted_age_years"])
    assert 0 < difference.max() < 5
    alone = pd.concat([eight.predict([photo]) for photo in photos], ignore_index=True)
    assert alone["predicted_age_years"].to_numpy() == pytest.approx(theirs["predicted_age_years"].to_numpy(), abs=1e-4)
    assert eight.card["int8"]["answers"]["age"]["largest_difference"] < 10
    capsys.readouterr()
    assert predict.main(["--model", str(folder / INT8_FILE), str(photos[0]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["predicted_age_years"] == pytest.approx(
        theirs["predicted_age_years"][0], abs=1e-4
    )


def test_only_what_lies_between_convolutions_is_quantised(folder: Path, tmp_path: Path) -> None:
    ag.Model.load(folder, device="cpu").export(tmp_path / "e.onnx", int8=True, int8_limits={"age": 2, "gender": 50})
    nodes = onnx.load(tmp_path / "e.onnx").graph.node
    made_by = {name: node.op_type for node in nodes for name in node.output}
    for node in nodes:
        sources = [made_by.get(name) for name in node.input]
        if node.op_type == "Conv":
            assert sources[:2] == ["DequantizeLinear", "DequantizeLinear"]
        if node.op_type in ("Gemm", "Softmax", "Cast", "Transpose"):
            assert "DequantizeLinear" not in sources
    of_eight_bits = [part for part in onnx.load(tmp_path / "e.onnx").graph.initializer if part.data_type == 3]
    assert len(of_eight_bits) >= sum(node.op_type == "Conv" for node in nodes) > 10
    assert not [part for part in nodes if part.domain or part.name or part.doc_string]


def test_a_loss_beyond_the_limit_writes_nothing(folder: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    out = tmp_path / "e.onnx"
    out.write_text("the old one")
    command = ["--model", str(folder), "--int8", "--out", str(out)]
    assert export.main([*command, "--int8-limit", "age=0", "--int8-limit", "gender=50"]) in (0, 2)
    monkeypatch.setattr(onnx_int8, "_limit", lambda *_: -10.0)
    out.write_text("the old one")
    assert export.main(command) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("agegender export: int8 loses too much on the validation photos: age: mean absolute error")
    assert "--int8-limit HEAD=LIMIT" in error
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("e.onnx", "the old one")]


def frames(errors_before, errors_after, classes_after) -> tuple[pd.DataFrame, pd.DataFrame]:
    count = len(errors_before)
    labels = pd.DataFrame({"path": [str(n) for n in range(count)], "age_years": 40.0, "gender": "male"})
    ends = dict.fromkeys(AGE.interval_columns, np.nan)
    before = labels.assign(predicted_age_years=40.0 + np.asarray(errors_before), predicted_gender="male", **ends)
    after = labels.assign(predicted_age_years=40.0 + np.asarray(errors_after), predicted_gender=classes_after, **ends)
    return before, after


def test_losses_are_means_of_paired_differences_with_a_limit_by_the_kind_of_head() -> None:
    before, after = frames([5.0] * 200, [5.0] * 100 + [-5.5] * 100, ["male"] * 198 + ["female"] * 2)
    age, gender = measured_losses(before, after, (AGE, GENDER), {})
    assert (age.before, age.after, age.lost) == pytest.approx((5.0, 5.25, 0.25))
    assert age.low < 0.25 < age.high
    assert age.limit == pytest.approx(0.1)  # 2 % of the error
    assert age.is_too_much
    assert (gender.before, gender.after, gender.lost) == pytest.approx((1.0, 0.99, 0.01))
    assert gender.limit == pytest.approx(0.005)
    assert gender.is_too_much
    age, gender = measured_losses(before, after, (AGE, GENDER), {"age": 0.3, "gender": 1})
    assert not age.is_too_much
    assert not gender.is_too_much


def test_one_photo_of_few_may_always_be_lost() -> None:
    before, after = frames([5.0] * 50, [5.0] * 50, ["male"] * 49 + ["female"])
    *_, gender = measured_losses(before, after, (AGE, GENDER), {})
    assert gender.limit == pytest.approx(0.02)
    assert not gender.is_too_much


def test_limits_know_no_head_by_its_name() -> None:
    height, mask = Regression("height", "height_cm", "cm"), Classification("mask", "mask", ("none", "cloth", "other"))
    rows = pd.DataFrame({"path": [str(n) for n in range(40)], "height_cm": 170.0, "mask": "none"})
    ends = dict.fromkeys(height.interval_columns, np.nan)
    before = rows.assign(predicted_height_cm=176.0, predicted_mask="none", **ends)
    tall, masked = measured_losses(before, before.assign(predicted_height_cm=177.0), (height, mask), {"height": 1.5})
    assert (tall.unit, tall.lost, tall.limit) == ("cm", pytest.approx(1.0), 1.5)
    assert masked.lost == 0
    assert tall.sentence().startswith("height: mean absolute error 6.00 to 7.00 cm, lost 1.00")


def test_a_loss_that_cannot_be_told_is_too_much() -> None:
    assert Int8Loss("age", "e", "years", 0, 5.0, float("nan"), float("nan"), 0, 0, 1.0).is_too_much


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--int8-limit", "age=1"], "--int8-limit is about --int8"),
        (["--int8", "--int8-limit", "age"], "is no HEAD=LIMIT"),
        (["--int8", "--int8-limit", "age=much"], "is no number"),
        (["--int8", "--int8-limit", "agee=1"], "the model has the heads age, gender. Did you mean age?"),
        (["--int8", "--int8-limit", "age=-1"], "expected a number from 0"),
        (["--int8", "--images", "nowhere"], "--images nowhere is no folder"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(folder: Path, arguments, said, capsys) -> None:
    assert export.main(["--model", str(folder), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_photos_that_are_not_there_are_asked_for(folder: Path, tmp_path: Path) -> None:
    model = ag.Model.load(folder, device="cpu", images=tmp_path)
    with pytest.raises(UsageError, match="Name their folder with --images"):
        model.export(tmp_path / "e.onnx", int8=True)
    unlabelled = ag.Model.load(folder, device="cpu")
    table = unlabelled.faces.table.assign(age_years=np.nan, gender=None)
    unlabelled.faces = ag.Faces.from_frame(table, root=folder / "photos")
    unlabelled.faces.table["split"] = table["split"]
    with pytest.raises(UsageError, match="no validation photo has a label"):
        unlabelled.export(tmp_path / "e.onnx", int8=True)
    nowhere = ag.Model.load(folder, device="cpu")
    nowhere.faces = None
    with pytest.raises(UsageError, match="needs one network and the photos"):
        nowhere.export(tmp_path / "e.onnx", int8=True)
    assert not list(tmp_path.iterdir())


def test_a_network_without_convolutions_has_nothing_to_gain() -> None:
    graph = onnx.helper.make_graph([], "none", [], [])
    with pytest.raises(ModelError, match="next to none"):
        onnx_int8.quantise(onnx.helper.make_model(graph).SerializeToString(), PHOTOS[:1])


def test_a_folder_predicts_through_onnxruntime_by_a_file_that_is_made_once_and_again_for_other_weights(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, photo = tmp_path / "mine", str(folder / "photos" / "0.png")
    model.mkdir()
    for name in (CARD_FILE, WEIGHTS_FILE):
        (model / name).write_bytes((folder / name).read_bytes())
    command = ["--model", str(model), "--runtime", "onnx", "--json", photo]
    said = []
    for _ in range(2):
        assert predict.main(command) == 0
        said.append(capsys.readouterr())
    assert ["once" in one.err for one in said] == [True, False]
    assert said[0].out == said[1].out
    assert predict.main([*command[:2], "--json", photo, "--device", "cpu"]) == 0
    (plain,) = json.loads(capsys.readouterr().out)
    assert json.loads(said[0].out)[0]["predicted_age_years"] == pytest.approx(plain["predicted_age_years"], abs=1e-3)
    card = json.loads((model / CARD_FILE).read_text(encoding="utf-8"))
    (model / CARD_FILE).write_text(json.dumps(card | {"calibration": {}}), encoding="utf-8")
    assert predict.main(command) == 0
    again = capsys.readouterr()
    assert "once" in again.err
    assert pd.isna(json.loads(again.out)[0]["age_low_years"])
    (model / ONNX_FILE).write_bytes(b"damaged")
    assert predict.main(command) == 0
    assert "once" in capsys.readouterr().err
    assert predict.main(["--model", str(model / ONNX_FILE), "--runtime", "torch", photo]) == 2
    assert "which torch does not run" in capsys.readouterr().err
