"""Model folders that this version did not write: each command works with them, or says in one line why not."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_model import STORED, write_golden
from PIL import Image

from agegender.data.faces_table import FacesTable, make_table, write_faces
from agegender.model.model_folder import CARD_FILE

OF_0_1: dict[str, Any] = json.loads((STORED / CARD_FILE).read_text(encoding="utf-8"))
AGE = {"kind": "regression", "name": "age", "column": "age_years", "unit": "years", "low": 0, "high": 116}
BY_HAND: dict[str, Any] = {
    "name": "by hand",
    "body": "test_efficientnet",
    "image": {"size": 32},
    "heads": [
        AGE | {"grid": [0, 120], "loss": "soft-labels"},
        {"kind": "classification", "name": "gender", "column": "gender", "classes": ["male", "female"]},
    ],
    "statistics": {"age": {"mean": 36.7, "std": 22.8}},
}
ORDINAL = {"kind": "ordinal", "name": "fitness", "column": "fitness", "levels": 5}
WORKING = {"of version 0.1": OF_0_1, "by hand": BY_HAND}
REFUSED = {
    "with a head of tomorrow": (
        {"heads": [*BY_HAND["heads"], ORDINAL]},
        "the head 'fitness' is of the kind 'ordinal', which this version does not know; it knows regression and "
        "classification. Use the version of agegender that made the model.",
    ),
    "with an entry of tomorrow": (
        {"heads": [AGE | {"grid": [0, 120], "quantiles": [0.1, 0.9]}]},
        "the head 'age' has the entry 'quantiles', which this version does not know.",
    ),
    "with heads by name alone": ({"heads": ["age", "gender"]}, "expected a list of heads"),
    "without a kind": ({"heads": [{"name": "age", "column": "age_years"}]}, "is of the kind None"),
    "with fewer heads than its weights": ({"heads": BY_HAND["heads"][:1]}, "weights.safetensors"),
}
COMMANDS = ("predict", "evaluate", "explain", "report")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder without a card, photos that it was judged on, and its predictions."""
    model, photos = tmp_path / "model", tmp_path / "photos"
    model.mkdir()
    photos.mkdir()
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(photos / f"{number}.jpg")
    rows = [
        {"path": f"{n}.jpg", "source": "csv", "age_years": 20.0 + n, "gender": ("male", "female")[n % 2]}
        | {"split": "test"}
        for n in range(4)
    ]
    write_faces(FacesTable(make_table(rows), photos), model / "faces.parquet")
    write_golden(model, "predictions.parquet")
    return model


def run(command: str, folder: Path) -> int:
    place = ["--model", str(folder)]
    cpu, reports = ["--device", "cpu", "--precision", "fp32"], ["--reports-dir", str(folder.parent / "reports")]
    words = {
        "predict": [str(folder.parent / "photos"), *place, *cpu],
        "evaluate": [*place, *cpu],
        "explain": [str(folder.parent / "photos" / "0.jpg"), *place, "--samples", "16", *cpu, *reports],
        "report": [*place, *reports],
    }[command]
    return int(importlib.import_module(f"agegender.{command}").main(words))


@pytest.mark.parametrize("kind", WORKING)
@pytest.mark.parametrize("command", COMMANDS)
def test_what_can_be_understood_works(
    folder: Path, kind: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / CARD_FILE).write_text(json.dumps(WORKING[kind]), encoding="utf-8")
    assert run(command, folder) == 0, capsys.readouterr().err


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("command", COMMANDS[:3])
def test_what_cannot_be_understood_is_said_in_one_line(
    folder: Path, kind: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    edits, said = REFUSED[kind]
    (folder / CARD_FILE).write_text(json.dumps(BY_HAND | edits), encoding="utf-8")
    assert run(command, folder) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith(f"agegender {command}: ")
    assert said in line


def test_predictions_are_reported_on_whatever_their_model_was(folder: Path) -> None:
    """A report reads no weights: it is about the predictions, whose heads stand in their own table."""
    (folder / CARD_FILE).write_text(json.dumps(BY_HAND | {"heads": [*BY_HAND["heads"], ORDINAL]}), encoding="utf-8")
    assert run("report", folder) == 0
    assert (folder.parent / "reports" / "by hand" / "bias.html").is_file()
