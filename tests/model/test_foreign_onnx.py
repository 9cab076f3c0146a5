"""Somebody else's ONNX file is predicted, judged and explained by what is said of it, and wrong words are refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import agegender as ag
from agegender import explain
from agegender.errors import UsageError, WeightsError
from agegender.model.foreign_about import words_of_head, words_of_input

SIDE = 16
PHOTO = np.random.default_rng(5).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
AGE = {"name": "age", "output": "out", "columns": [2], "scale": 100}
GENDER = {"name": "gender", "output": "out", "columns": [0, 1], "classes": ["female", "male"]}
BOTH = {"heads": [AGE, GENDER]}


def constant(name: str, values: Any) -> TensorProto:
    return numpy_helper.from_array(np.asarray(values, np.float32), name)


def network(
    *,
    shape: Sequence[Any] = ("N", 3, SIDE, SIDE),
    weights: Any = ((0.5, -0.2, 0.1), (-0.3, 0.4, 0.0), (0.1, 0.1, 0.2)),
    ending: str = "",
    type_: int = TensorProto.FLOAT,
    opset: int = 17,
    outputs: Sequence[str] = ("out",),
) -> onnx.ModelProto:
    """Means of red, green and blue times weights, (N, 3), plus 0.2: known answers for every photo."""
    layout = [2, 3] if shape[1] == 3 else [1, 2]
    nodes = [helper.make_node("Cast", ["in"], ["real"], to=TensorProto.FLOAT)]
    nodes.append(helper.make_node("ReduceMean", ["real"], ["means"], axes=layout, keepdims=0))
    nodes.append(helper.make_node("Gemm", ["means", "weights", "bias"], ["raw" if ending else "out"]))
    if ending:
        nodes.append(helper.make_node(ending, ["raw"], ["out"]))
    nodes += [helper.make_node("Identity", ["out"], [name]) for name in outputs if name != "out"]
    width = np.shape(weights)[1]
    graph = helper.make_graph(
        nodes,
        "theirs",
        [helper.make_tensor_value_info("in", type_, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [shape[0], width]) for name in outputs],
        [constant("weights", weights), constant("bias", [0.2] * width)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return model


@pytest.fixture
def place(tmp_path: Path) -> Path:
    onnx.save(network(), tmp_path / "theirs.onnx")
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    return tmp_path


def load(place: Path, about: Any, **how: Any) -> ag.Model:
    if how:
        onnx.save(network(**how), place / "theirs.onnx")
    return ag.Model.from_onnx(place / "theirs.onnx", about)


def raw(pixels: np.ndarray) -> np.ndarray:
    weights = np.array([(0.5, -0.2, 0.1), (-0.3, 0.4, 0.0), (0.1, 0.1, 0.2)])
    return pixels.mean(axis=(0, 1)) @ weights + 0.2


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("colour", ["RGB", "BGR"])
@pytest.mark.parametrize(
    ("white", "mean", "std"), [(1, 0, 1), (1, [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]), (255, 127.5, 128)]
)
def test_pixels_reach_the_network_as_was_said(place: Path, layout, colour, white, mean, std) -> None:
    shape = ("N", 3, SIDE, SIDE) if layout == "NCHW" else ("N", SIDE, SIDE, 3)
    said = {"layout": layout, "colour": colour, "white": white, "mean": mean, "std": std}
    model = load(place, {"input": said, "heads": [AGE | {"scale": 20, "shift": 30}, GENDER]}, shape=shape)
    pixels = (PHOTO / 255 * white - np.array(mean)) / np.array(std)
    expected = raw(pixels if colour == "RGB" else pixels[..., ::-1])
    (row,) = model.predict([PHOTO]).to_dict("records")
    assert row["predicted_age_years"] == pytest.approx(max(0, expected[2] * 20 + 30), abs=1e-3)
    odds = expected[1] - expected[0]  # male against female
    assert row["gender_probability_male"] == pytest.approx(1 / (1 + np.exp(-odds)), abs=1e-5)


def test_what_the_graph_tells_need_not_be_said(place: Path) -> None:
    model = load(place, {"heads": [{"name": "age", "columns": [2], "scale": 100}, GENDER]})
    assert (model.image.size, [head.name for head in model.heads]) == (SIDE, ["age", "gender"])
    named = load(place, {"heads": [{"name": "wrinkles", "columns": [0], "unit": "score"}]}, outputs=("wrinkles", "out"))
    assert named.heads[0].column == "wrinkles_score"
    any_size = load(place, {"input": {"size": 32}} | BOTH, shape=("N", 3, "H", "W"))
    assert any_size.image.size == 32


def test_a_batch_of_fixed_size_answers_any_number_of_photos(place: Path) -> None:
    photos = np.random.default_rng(0).integers(0, 256, (7, SIDE, SIDE, 3), dtype=np.uint8)
    free = load(place, BOTH, shape=("N", 3, SIDE, SIDE)).predict_images(photos)
    for batch in (1, 4):
        fixed = load(place, BOTH, shape=(batch, 3, SIDE, SIDE)).predict_images(photos)
        pd.testing.assert_frame_equal(fixed, free, atol=1e-5)


def test_bytes_go_in_as_they_are(place: Path) -> None:
    about = {"input": {"white": 255}, "heads": [AGE | {"scale": 0.5}]}
    bytes_ = load(place, about, type_=TensorProto.UINT8).predict([PHOTO])
    assert bytes_["predicted_age_years"][0] == pytest.approx(raw(PHOTO.astype(float))[2] * 0.5, abs=1e-2)
    with pytest.raises(UsageError, match="takes bytes, which have no mean and std"):
        load(place, {"input": {"mean": 0.5}} | BOTH)


def test_a_distribution_over_years_gives_its_mean_and_spread(place: Path) -> None:
    weights = np.random.default_rng(0).normal(0, 3, (3, 101))
    chances = np.exp(PHOTO.mean(axis=(0, 1)) / 255 @ weights)
    chances /= chances.sum()
    for ending, values in (("Softmax", "distribution"), ("", "distribution"), ("Softmax", "")):
        head = {"name": "age"} | ({"values": values} if values else {})
        (row,) = load(place, {"heads": [head]}, weights=weights, ending=ending).predict([PHOTO]).to_dict("records")
        mean = chances @ np.arange(101)
        assert row["predicted_age_years"] == pytest.approx(mean, abs=1e-2)
        assert row["age_spread_years"] == pytest.approx(np.sqrt(chances @ (np.arange(101) - mean) ** 2), abs=1e-2)


@pytest.mark.parametrize(("ending", "values"), [("Softmax", "probabilities"), ("", "logits"), ("Softmax", "")])
def test_probabilities_and_logits_of_any_classes_are_told_apart(place: Path, ending: str, values: str) -> None:
    head = {"name": "mask", "classes": ["none", "cloth", "surgical"]} | ({"values": values} if values else {})
    (row,) = load(place, {"heads": [head]}, ending=ending).predict([PHOTO]).to_dict("records")
    odds = np.exp(raw(PHOTO / 255))
    found = [row[f"mask_probability_{name}"] for name in head["classes"]]
    assert found == pytest.approx(odds / odds.sum(), abs=1e-5)


@pytest.mark.parametrize(("ending", "values"), [("Sigmoid", "probabilities"), ("", "log-odds"), ("", "logits")])
def test_one_number_may_speak_for_the_class_named_last(place: Path, ending: str, values: str) -> None:
    head = {"name": "gender", "columns": [0], "classes": ["Woman", "Man"], "values": values}
    (row,) = load(place, {"heads": [head]}, ending=ending).predict([PHOTO]).to_dict("records")
    assert row["gender_probability_male"] == pytest.approx(1 / (1 + np.exp(-raw(PHOTO / 255)[0])), abs=1e-5)


REFUSED: dict[str, tuple[dict[str, Any], Any, str]] = {
    "nothing said": ({}, {}, "nothing says what that means"),
    "another layout": ({}, {"input": {"layout": "NHWC"}} | BOTH, "its layout is NCHW, and NHWC was said"),
    "another size": ({}, {"input": {"size": 224}} | BOTH, "its size is 16, and 224 was said"),
    "no size": ({"shape": ("N", 3, "H", "W")}, BOTH, "say which it was trained on, such as size=224"),
    "no layout": ({"shape": ("N", "C", "H", "W")}, {"input": {"size": 16}} | BOTH, "say layout=NCHW or layout=NHWC"),
    "no square": ({"shape": ("N", 3, 16, 24)}, BOTH, "not square"),
    "no such output": ({}, {"heads": [AGE | {"output": "fc2"}]}, "has no output 'fc2'"),
    "which output": ({"outputs": ("out", "more")}, {"heads": [{"name": "age"}]}, "which output is age?"),
    "too far right": ({}, {"heads": [AGE | {"columns": [3]}]}, "asks for number 3"),
    "several numbers": ({}, {"heads": [{"name": "age"}]}, "age is one number, and out has 3"),
    "a scale forgotten": ({}, {"heads": [AGE | {"scale": 1}]}, "where 0 to 122 can be. Say scale and shift"),
    "a scale too much": ({}, {"heads": [AGE | {"scale": 10_000}]}, "where 0 to 122 can be"),
    "no classes": ({}, {"heads": [{"name": "gender"}]}, "needs its classes in the order of the outputs"),
    "classes of others": ({}, {"heads": [GENDER | {"classes": ["cat", "dog"]}]}, "not cat, dog"),
    "too few numbers": ({}, {"heads": [GENDER | {"columns": [0]}], "x": 1}, "the description has no 'x'"),
    "three for two": ({}, {"heads": [GENDER | {"columns": [0, 2]}]}, "has 2 classes, and out[0-2] 3 numbers"),
    "no probabilities": ({}, {"heads": [GENDER | {"values": "probabilities"}]}, "these are logits"),
    "no logits": (
        {"weights": np.eye(3)[:, :2], "ending": "Softmax"},
        {"heads": [GENDER | {"values": "logits"}]},
        "these are probabilities",
    ),
    "always the same": ({"weights": np.zeros((3, 3))}, BOTH, "is the same for black, white, grey and noise"),
    "a misspelt key": ({}, {"input": {"sise": 16}} | BOTH, "Did you mean size?"),
    "no number": ({}, {"heads": [AGE | {"scale": "big"}]}, "scale is 'big'; expected a number"),
    "a head on a group": ({}, {"heads": [{"name": "race", "classes": ["a", "b"]}]}, "no head of a model answers it"),
    "twice": ({}, {"heads": [AGE, AGE]}, "described twice"),
    "other years": ({}, {"heads": [AGE | {"unit": "months"}]}, "told in years here"),
    "no list": ({}, {"heads": {"age": 1}}, "expected a list"),
    "a huge graph": ({"shape": ("N", 3, 100_000, 100_000)}, BOTH, "expected 8 to 2048 pixels"),
    "four colours": ({"shape": ("N", 16, 16, 4), "weights": np.eye(4)[:, :3]}, BOTH, "no axis has three colours"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_wrong_guess_is_refused_in_one_line(place: Path, kind: str) -> None:
    how, about, said = REFUSED[kind]
    with pytest.raises(UsageError) as caught:
        load(place, about, **how)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_answers_that_depend_on_the_batch_are_refused(place: Path) -> None:
    model = network()
    nodes = [helper.make_node("ReduceMean", ["out"], ["mean"], axes=[0], keepdims=1)]
    nodes.append(helper.make_node("Sub", ["out", "mean"], ["mixed"]))
    model.graph.node.extend(nodes)
    model.graph.output[0].name = "mixed"
    onnx.save(model, place / "theirs.onnx")
    with pytest.raises(UsageError, match="not the same for a photo alone and among others"):
        load(place, {"heads": [{"name": "age", "columns": [2]}]})


def damaged(place: Path, kind: str) -> Path:
    file = place / "theirs.onnx"
    whole = file.read_bytes()
    if kind == "truncated":
        file.write_bytes(whole[: len(whole) // 2])
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "a letter":
        file.write_bytes(b"Dear all, this is no network. " * 9)
    elif kind == "of tomorrow":
        onnx.save(network(opset=99), file)
    elif kind == "an unknown operator":
        model = network()
        model.graph.node[1].op_type = "Foretell"
        onnx.save(model, file)
    elif kind == "missing":
        file.unlink()
    else:
        model = network(weights=np.random.default_rng(0).normal(size=(3, 400)))
        onnx.save(model, file, save_as_external_data=True, location="w.data", size_threshold=1)
        (place / "w.data").unlink()
    return file


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("truncated", "theirs.onnx"),
        ("empty", "damaged, or no ONNX file at all"),
        ("a letter", "damaged, or no ONNX file at all"),
        ("of tomorrow", "onnxruntime cannot open"),
        ("an unknown operator", "onnxruntime cannot open"),
        ("missing", "is no file"),
        ("without its weights", "keeps its weights in another file, which cannot be read"),
    ],
)
def test_a_broken_file_is_said_in_one_line(place: Path, kind: str, said: str, capsys) -> None:
    file = damaged(place, kind)
    with pytest.raises((WeightsError, UsageError), match=said):
        ag.Model.from_onnx(file, BOTH)
    photo = str(place / "photo.png")
    assert explain.main(["--onnx", str(file), "--head", "age=out:columns=2,scale=100", photo]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("agegender explain: ")


def test_weights_beside_the_file_are_taken_in_and_none_from_elsewhere(place: Path, monkeypatch) -> None:
    inside = load(place, BOTH).predict([PHOTO])
    file = place / "theirs.onnx"
    onnx.save(network(), file, save_as_external_data=True, location="w.data", size_threshold=0)
    monkeypatch.chdir("/")
    pd.testing.assert_frame_equal(ag.Model.from_onnx(file, BOTH).predict([PHOTO]), inside)
    model = onnx.load(file, load_external_data=False)
    (place / "sub").mkdir()
    for part in model.graph.initializer:
        for entry in part.external_data:
            if entry.key == "location":
                entry.value = "../w.data"
    (place / "sub" / "theirs.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(WeightsError, match="cannot be read"):
        ag.Model.from_onnx(place / "sub" / "theirs.onnx", BOTH)


def test_words_of_the_command_are_the_same_document() -> None:
    assert words_of_head("age=fc1:columns=2,scale=100") == {
        "name": "age", "output": "fc1", "columns": [2], "scale": "100",
    }  # fmt: skip
    assert words_of_head("gender=Partitioned:0:classes=f|m")["output"] == "Partitioned:0"
    assert words_of_head("age=Partitioned:0") == {"name": "age", "output": "Partitioned:0"}
    assert words_of_head("age") == {"name": "age"}
    assert words_of_input(["size=96", "std=1,2,3"]) == {"size": "96", "std": ["1", "2", "3"]}
    for words in (["size"], ["=3"]):
        with pytest.raises(UsageError, match="is no KEY=VALUE"):
            words_of_input(words)
    with pytest.raises(UsageError, match="'scale' is no KEY=VALUE"):
        words_of_head("age=out:columns=2,scale")


def labelled(place: Path, count: int = 60) -> Path:
    """A faces table of photos whose brightness is their age."""
    random, rows = np.random.default_rng(0), []
    for number in range(count):
        photo = random.integers(0, 100, (20, 20, 3)) + number * 2
        Image.fromarray(photo.astype(np.uint8)).save(place / f"{number}.png")
        rows.append({"path": f"{number}.png", "age_years": number, "gender": ("male", "female")[number % 2]})
    faces = ag.Faces.from_frame(pd.DataFrame(rows).assign(split="test"), root=place)
    faces.save(place / "faces.parquet")
    return place / "faces.parquet"


def test_a_faces_table_brings_every_page(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = labelled(place)
    command = ["--onnx", str(place / "theirs.onnx"), "--head", "age=out:columns=2,scale=100"]
    command += ["--head", "gender=out:columns=0-1,classes=female|male", "--faces", str(table), "--worst", "1"]
    command += ["--best", "1", "--samples", "32", "--report", "--reports-dir", str(place / "reports"), "--split", "all"]
    assert explain.main(command) == 0, capsys.readouterr().err
    pages = place / "reports" / "theirs"
    assert {path.name for path in pages.glob("*.html")} == {"index.html", "bias.html", "lime.html", "card.html"}
    model = load(place, BOTH)
    mae = model.evaluate(ag.Faces.load(table), split="test")["test"]["age"]["mae"]
    audit = ag.Audit(model.predict(ag.Faces.load(table)), split="all")
    assert audit.rows["age_error_years"].abs().mean() == pytest.approx(mae)


def test_photos_alone_bring_the_page_of_explanations(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "about.json").write_text(json.dumps(BOTH))
    photo, out = str(place / "photo.png"), place / "reports"
    command = ["--onnx", str(place / "theirs.onnx"), "--about", str(place / "about.json"), photo]
    assert explain.main([*command, "--samples", "32", "--report", "--reports-dir", str(out), "--json"]) == 0
    (said,) = json.loads(capsys.readouterr().out)
    assert (out / "theirs" / "lime.html").is_file()
    assert said["path"] == photo


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--head", "age=out"], "is about somebody else's model"),
        (["--onnx", "theirs.onnx", "--model", "models/x"], "exclude each other"),
        (["--onnx", "theirs.onnx", "--device", "cuda"], "runs on the processor"),
        (["--onnx", "theirs.onnx", "--about", "nowhere.json"], "cannot be read as JSON"),
        (["--onnx", "theirs.onnx", "--input", "size"], "is no KEY=VALUE"),
        (
            ["--onnx", "theirs.onnx", "--second-opinions", "--head", "age=out:columns=2,scale=100"],
            "Load the model folder",
        ),
    ],
)
def test_words_that_do_not_fit_are_refused(place: Path, words, said, capsys, monkeypatch) -> None:
    monkeypatch.chdir(place)
    assert explain.main([*words, "photo.png"]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_the_map_of_a_known_network_finds_what_it_looks_at(place: Path) -> None:
    """A network that sees the left half alone: nothing on the right has a weight."""
    model = network(shape=("N", 3, 64, 64))
    model.graph.initializer.append(constant("mask", np.repeat([[1.0] * 32 + [0.0] * 32], 64, axis=0)[None, None]))
    model.graph.node.insert(1, helper.make_node("Mul", ["real", "mask"], ["left"]))
    model.graph.node[2].input[0] = "left"
    onnx.save(model, place / "theirs.onnx")
    photo = np.random.default_rng(1).integers(100, 256, (64, 64, 3), dtype=np.uint8)
    photo[:, :, 2] //= 4
    Image.fromarray(photo).save(place / "half.png")
    found = ag.Model.from_onnx(place / "theirs.onnx", {"heads": [AGE]}).explain(
        place / "half.png", samples=400, segments="face-grid", fill="blur"
    )
    (one,) = found.maps
    weights = one.weights()
    centres = [np.argwhere(found.region_map == number)[:, 1].mean() for number in range(len(weights))]
    right = np.abs([weight for weight, centre in zip(weights, centres, strict=True) if centre > 40])
    assert right.max() < 0.05 * np.abs(weights).max()
