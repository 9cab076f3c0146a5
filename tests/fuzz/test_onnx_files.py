"""An .onnx file may come from anywhere: it is refused in words, or answers in numbers, and reads no other file."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import Tensor, nn

from agegender import predict
from agegender.errors import AgeGenderError, CardError, ModelError, WeightsError
from agegender.heads import KNOWN_HEADS
from agegender.model import onnx_file
from agegender.model.model_folder import network_entries
from agegender.model.onnx_export import export_model
from agegender.model.onnx_file import CARD_KEY
from agegender.model.predictor import Predictor
from agegender.settings import ImageSettings

from .conftest import examples
from .edited_json import edited, places

SIZE = 16
PHOTOS = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
Edit = Callable[[Any], None]


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.age, self.gender = nn.Linear(3 * 16, 1), nn.Linear(3 * 16, 2)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        small = nn.functional.avg_pool2d(images, 4).flatten(1)
        return 35 + self.age(small).squeeze(1), self.gender(small)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What `export` writes of a small network."""
    torch.manual_seed(0)
    calibration = {"gender": {"temperature": 1.5}}
    card = {"name": "toy", **network_entries(KNOWN_HEADS, ImageSettings(size=SIZE), {}, "toy")}
    card["calibration"] = calibration
    path = tmp_path_factory.mktemp("exported") / "toy.onnx"
    export_model(Predictor.of_network(Toy(), card, device="cpu"), path)
    return path.read_bytes()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "given.onnx"


def answers(place: Path, data: bytes) -> Any:
    place.write_bytes(data)
    table = Predictor.load(place).predict_images(PHOTOS)
    assert np.isfinite(table.filter(like="predicted").select_dtypes("number").to_numpy()).all()
    return table


def edited_model(whole: bytes, edit: Edit) -> bytes:
    model = onnx.load_from_string(whole)
    edit(model)
    return model.SerializeToString()


def test_the_whole_file_answers(whole: bytes, place: Path) -> None:
    assert len(answers(place, whole)) == 3


@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.3, 0.7, 0.95, 0.999])
def test_a_file_that_is_cut_off_is_refused(whole: bytes, place: Path, share: float) -> None:
    with pytest.raises(ModelError, match="given"):
        answers(place, whole[: int(len(whole) * share)])


@examples(300)
@given(data=st.data())
def test_a_damaged_file_is_refused_or_answers_in_numbers(
    whole: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    bytes_ = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        spot = data.draw(st.integers(0, len(whole) - 1))
        bytes_[spot] = data.draw(st.integers(0, 255))
    with suppress(AgeGenderError):
        answers(tmp_path_factory.getbasetemp() / "damaged.onnx", bytes(bytes_))


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", b"\x89PNG\r\n\x1a\n" + b"\0" * 99, b"not a model at all", b"\xff" * 500, b"{}", b"\x08\x0a"],
    ids=["empty", "zero", "png", "text", "ones", "json", "no graph"],
)
def test_what_is_no_onnx_file_is_refused(place: Path, data: bytes) -> None:
    with pytest.raises(WeightsError, match="damaged, or no ONNX file at all"):
        answers(place, data)


def external_weights(model: Any) -> None:
    weights = model.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "secret.bin"), ("offset", "0"), ("length", "192")):
        weights.external_data.add(key=key, value=value)


def external_constant(model: Any) -> None:
    tensor = TensorProto(dims=[1], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../../etc/passwd")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["c"], value=tensor))


def endless_loop(model: Any) -> None:
    model.graph.node.insert(0, helper.make_node("Loop", ["", ""], ["c"], body=helper.make_graph([], "body", [], [])))


def foreign_operator(model: Any) -> None:
    model.graph.node[0].domain = "com.microsoft"


def function(model: Any) -> None:
    opset = helper.make_opsetid("", 20)
    model.functions.append(
        helper.make_function("own", "F", ["x"], ["y"], [helper.make_node("Relu", "x", "y")], [opset])
    )


def sparse(model: Any) -> None:
    values, indices = (numpy_helper.from_array(np.array([1], kind)) for kind in (np.float32, np.int64))
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [9]))


def text_weights(model: Any) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array(["x" * 99], object), "text"))


def text_constant(model: Any) -> None:
    model.graph.node.insert(0, helper.make_node("Constant", [], ["text"], value_string="x" * 99))


def text_of_a_number_doubled(model: Any) -> None:
    """Have forty nodes make a text of some terabytes, which onnxruntime's limit of memory does not know of."""
    model.graph.node.append(helper.make_node("Cast", ["age"], ["0"], to=TensorProto.STRING))
    model.graph.node.extend(helper.make_node("StringConcat", [str(place)] * 2, [str(place + 1)]) for place in range(40))


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (text_weights, "texts in its graph"),
        (text_constant, "texts in its graph"),
        (text_of_a_number_doubled, "texts in its graph"),
        (external_weights, "weights in another file"),
        (external_constant, "weights in another file"),
        (endless_loop, "graphs inside its graph"),
        (foreign_operator, "not ONNX's own \\(com.microsoft\\)"),
        (function, "functions of its own"),
        (sparse, "sparse weights"),
    ],
)
def test_what_no_model_of_ours_has_is_not_opened(
    whole: bytes, place: Path, monkeypatch: pytest.MonkeyPatch, edit: Edit, said: str
) -> None:
    np.zeros(48, np.float32).tofile(place.with_name("secret.bin"))  # onnxruntime would read it, and say nothing
    monkeypatch.chdir(place.parent)
    with pytest.raises(WeightsError, match=said):
        answers(place, edited_model(whole, edit))


def bomb(model: Any, *nodes: Any) -> None:
    """Have the age be computed from two terabytes."""
    shape = numpy_helper.from_array(np.array([500_000, 1_000_000], np.int64), "shape")
    age = next(node for node in model.graph.node if "age" in node.output)
    age.output[:] = ["plain" if name == "age" else name for name in age.output]
    model.graph.initializer.append(shape)
    model.graph.node.extend([*nodes, helper.make_node("ReduceMax", ["big"], ["largest"], keepdims=0),
                             helper.make_node("Add", ["plain", "largest"], ["age"])])  # fmt: skip


def bomb_of_zeros(model: Any) -> None:
    bomb(model, helper.make_node("ConstantOfShape", ["shape"], ["big"]))


def bomb_of_one_number(model: Any) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), "one"))
    bomb(model, helper.make_node("Expand", ["one", "shape"], ["big"]))


def bomb_of_the_photo(model: Any) -> None:
    bomb(model, helper.make_node("ReduceMax", ["plain"], ["one"], keepdims=0),
         helper.make_node("Expand", ["one", "shape"], ["big"]))  # fmt: skip


@pytest.mark.parametrize("edit", [bomb_of_zeros, bomb_of_one_number, bomb_of_the_photo])
def test_an_operator_that_asks_for_terabytes_is_refused(whole: bytes, place: Path, edit: Edit) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WeightsError, match="onnxruntime cannot"):
        answers(place, edited_model(whole, edit))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000  # kilobytes


def weights_that_are_no_numbers(model: Any) -> None:
    for weights in model.graph.initializer:
        if weights.data_type == TensorProto.FLOAT:
            values = np.full(tuple(weights.dims), np.nan, np.float32)
            weights.CopyFrom(numpy_helper.from_array(values, weights.name))


def another_size(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2 * SIZE


def other_outputs(model: Any) -> None:
    model.graph.output[0].name = "/1"


def outputs_exchanged(model: Any) -> None:
    names = {"age": "gender", "gender": "age"}
    for node in model.graph.node:
        node.output[:] = [names.get(name, name) for name in node.output]
    for output in model.graph.output:
        output.name = names[output.name]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (weights_that_are_no_numbers, "values that are no numbers"),
        (another_size, "does not fit its card"),
        (other_outputs, "onnxruntime cannot open|does not fit its card"),
        (outputs_exchanged, "no answer that means anything"),
    ],
)
def test_a_graph_that_does_not_fit_its_card_is_refused(whole: bytes, place: Path, edit: Edit, said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        answers(place, edited_model(whole, edit))


def card_of(model: Any) -> Any:
    return next(entry for entry in model.metadata_props if entry.key == CARD_KEY)


def with_card(whole: bytes, card: Any) -> bytes:
    def edit(model: Any) -> None:
        card_of(model).value = card if isinstance(card, str) else json.dumps(card)

    return edited_model(whole, edit)


def test_a_model_without_a_card_is_refused(whole: bytes, place: Path) -> None:
    with pytest.raises(CardError, match="not exported by agegender"):
        answers(place, edited_model(whole, lambda model: model.ClearField("metadata_props")))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"name": NaN}', "9" * 9999])
def test_a_card_that_is_none_is_refused(whole: bytes, place: Path, text: str) -> None:
    with pytest.raises(CardError):
        answers(place, with_card(whole, text))


@examples(60)
@given(data=st.data())
def test_an_edited_card_is_refused_in_words_or_answers(
    whole: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    card = json.loads(card_of(onnx.load_from_string(whole)).value)
    read = {name: card[name] for name in ("name", "body", "heads", "image", "calibration")}
    changed = data.draw(edited(card, places(read)))
    with suppress(AgeGenderError):
        answers(tmp_path_factory.getbasetemp() / "edited.onnx", with_card(whole, changed))


def test_what_is_no_ordinary_file_is_refused(whole: bytes, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(place)
    with pytest.raises(WeightsError, match="no ordinary file"):
        Predictor.load(place)
    place.unlink()
    monkeypatch.setattr(onnx_file, "LARGEST_FILE_BYTES", 1000)
    with pytest.raises(WeightsError, match="larger than"):
        answers(place, whole)


def hidden(number: int) -> bytes:
    """Return a field whose number is written with bits above the 32 that some readers look at."""
    key, groups = (number << 3 | 2) + (1 << 32), []
    while key >= 0x80:
        groups.append(key & 0x7F | 0x80)
        key >>= 7
    return bytes([*groups, key]) + b"\x00"


def test_a_field_cannot_hide_behind_a_number_that_others_read_otherwise(whole: bytes, place: Path) -> None:
    with pytest.raises(WeightsError, match="damaged"):
        answers(place, whole + hidden(25))


def test_a_file_of_many_small_parts_is_refused_soon(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "MOST_PARTS", 1000)
    with pytest.raises(WeightsError, match="more than 1,000 parts"):
        answers(place, b"\x08\x0a" * 2000)


def test_the_command_says_it_in_one_line(
    whole: bytes, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(PHOTOS[0]).save(tmp_path / "photo.png")
    for data in (whole[:-100], edited_model(whole, external_weights), edited_model(whole, bomb_of_zeros), b""):
        place.write_bytes(data)
        assert predict.main(["--model", str(place), str(tmp_path / "photo.png")]) == 2
        said = capsys.readouterr()
        assert len(said.err.splitlines()) == 1
        assert said.out == ""
