"""A third head is one word more: it arrives in every artefact, page and command, with words that fit its kind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from agegender import compare, evaluate, explain, predict, prepare, train
from agegender.data.faces_table import read_faces, write_faces

from .conftest import run_for_json

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]
TINY = ("--body", "test_resnet", "--image-size", "32", "--epochs", "1", "--batch-size", "16", "--weights", "none")


@pytest.fixture(scope="module")
def table(drawn_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A faces table with splits, and a made-up number in another unit."""
    path = tmp_path_factory.mktemp("heads") / "faces.parquet"
    words = ["--source", "drawn_faces", "--data", str(drawn_folder), "--near-duplicates", "none", "--out", str(path)]
    run_for_json(prepare, [*words, "--split", "30/55/15", "--age-classes", "30,60", "--json"])
    faces = read_faces(path)
    faces.table["height_cm"] = 100 + faces.table["age_years"].clip(upper=18) * 4 + np.arange(len(faces.table)) % 5
    write_faces(faces, path)
    return path


def trained_with(table: Path, root: Path, name: str, heads: list[str], *more: str) -> dict:
    places = [word for kind in ("models", "reports", "runs") for word in (f"--{kind}-dir", str(root / kind))]
    words = ["--faces", str(table), "--heads", *heads, "--name", name, "--json", *more]
    return run_for_json(train, [*words, *TINY, *places])


@pytest.fixture(scope="module")
def run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    root = tmp_path_factory.mktemp("three")
    return root, trained_with(table, root, "three", ["age", "gender", "expression"])


def test_a_third_head_is_in_every_artefact(run: tuple[Path, dict]) -> None:
    root, document = run
    model = root / "models" / "three"
    assert document["heads"] == ["age", "gender", "expression"]
    card = json.loads((model / "model.json").read_text(encoding="utf-8"))
    assert [head["kind"] for head in card["heads"]] == ["regression", "classification", "classification"]
    assert 0.1 <= card["calibration"]["expression"]["temperature"] <= 20
    predictions = pd.read_parquet(model / "predictions.parquet")
    chances = predictions[[name for name in predictions if name.startswith("expression_probability_")]]
    assert chances.shape[1] == predictions["expression"].nunique() == 3
    np.testing.assert_allclose(chances.sum(axis=1), 1.0, atol=1e-6)
    metrics = json.loads((model / "metrics.json").read_text(encoding="utf-8"))
    assert 0 <= metrics["test"]["expression"]["macro_f1"] <= 1
    assert "expression" in metrics["test"]["groups"]["gender"]["female"]
    history = pd.read_csv(model / "history.csv")
    assert {"train_loss_expression", "valid_loss_expression", "valid_expression_accuracy"} <= set(history)


def test_a_third_head_is_on_every_page_in_words_of_its_kind(run: tuple[Path, dict]) -> None:
    _, document = run
    pages = {name: Path(page).read_text(encoding="utf-8") for name, page in document["reports"].items()}
    assert set(pages) == {"index", "bias", "lime", "card"}
    for name, text in pages.items():
        assert "expression" in text.lower(), name
    assert "Expression accuracy" in pages["index"]
    assert "speaks for “happy”" in pages["lime"]
    assert "makes older" in pages["lime"]
    assert "“Gender” here is the dataset" in pages["bias"]


def test_a_third_head_is_in_tensorboard(run: tuple[Path, dict]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run[0] / "runs" / "three" / "valid"))
    events.Reload()
    assert {"loss/expression", "metrics/expression_accuracy"} <= set(events.Tags()["scalars"])


def test_a_third_head_is_predicted_evaluated_explained_and_compared(run: tuple[Path, dict], table: Path) -> None:
    root, _ = run
    model = str(root / "models" / "three")
    faces = read_faces(table)
    photo = str(faces.photo_path(faces.table["path"].iloc[0]))
    (said,) = run_for_json(predict, ["--model", model, photo, "--json"])
    assert said["predicted_expression"] in faces.table["expression"].unique()
    assert 0 <= said["expression_probability_happy"] <= 1
    metrics = run_for_json(evaluate, ["--model", model, "--json"])["metrics"]
    assert metrics["test"]["expression"]["n"] == (faces.table["split"] == "test").sum()
    words = ["--model", model, photo, "--samples", "32", "--out", str(root / "explained"), "--json"]
    (explained,) = run_for_json(explain, words)
    assert {"age", "gender", "expression_happy"} <= set(explained["heads"])
    other = pd.read_parquet(Path(model) / "predictions.parquet").assign(predicted_expression="happy")
    other.to_parquet(root / "other.parquet")
    words = [model, str(root / "other.parquet"), "--out", str(root / "compared"), "--json"]
    document = run_for_json(compare, words)
    assert "mended" in document["against_first"]["other"]["expression"]
    assert "expression" in Path(document["page"]).read_text(encoding="utf-8").lower()


def test_one_head_of_classes_alone_is_enough(table: Path, tmp_path: Path) -> None:
    document = trained_with(table, tmp_path, "alone", ["expression"])
    assert document["heads"] == ["expression"]
    assert set(document["metrics"]["test"]) >= {"n", "expression"}
    assert "age" not in document["metrics"]["test"]
    text = Path(document["reports"]["bias"]).read_text(encoding="utf-8")
    assert "expression" in text.lower()
    assert "predicted age" not in text.lower()


def test_two_regressions_keep_their_units(table: Path, tmp_path: Path) -> None:
    document = trained_with(
        table, tmp_path, "two", ["age", "height:regression"], "--loss", "age=l1", "--loss-weight", "height=2"
    )
    card = json.loads((tmp_path / "models" / "two" / "model.json").read_text(encoding="utf-8"))
    age, height = card["heads"]
    assert (age["loss"], age["unit"], height["unit"], height["weight"]) == ("l1", "years", "cm", 2.0)
    assert card["statistics"]["height"]["std"] != card["statistics"]["age"]["std"]
    text = Path(document["reports"]["bias"]).read_text(encoding="utf-8")
    assert " cm" in text
    assert "years" in text


def test_ages_alone_train_no_gender_head_and_say_so(table: Path, tmp_path: Path, capsys) -> None:
    faces = read_faces(table)
    faces.table["gender"] = None
    write_faces(faces, tmp_path / "ages.parquet")
    words = ["--faces", str(tmp_path / "ages.parquet"), "--name", "ages", "--no-report", "--json"]
    places = [word for kind in ("models", "runs") for word in (f"--{kind}-dir", str(tmp_path / kind))]
    document = run_for_json(train, [*words, *TINY, *places])
    assert document["heads"] == ["age"]
    assert "no head for gender" in capsys.readouterr().err
    assert "predicted_gender" not in pd.read_parquet(tmp_path / "models" / "ages" / "predictions.parquet")


@pytest.mark.parametrize(
    ("heads", "said"),
    [
        (["mood"], "no column mood"),
        (["path"], "no column path"),
        (["age", "age"], "named twice"),
        (["ethnicity"], "--sensitive-head"),
        (["gender:regression"], "no number"),
        (["note"], "classes; at most 100"),
        (["same"], "nothing to learn"),
    ],
)
def test_bad_heads_are_one_clear_line(table: Path, tmp_path: Path, capsys, heads: list[str], said: str) -> None:
    faces = read_faces(table)
    more = pd.concat([faces.table] * 12, ignore_index=True).head(1300)
    more["path"] = [f"{number}-{path}" for number, path in enumerate(more["path"])]
    train_rows = (more["split"] == "train").to_numpy()
    more["note"] = None
    more.loc[train_rows, "note"] = [f"note {number % 500}" for number in range(train_rows.sum())]
    more["same"] = "same"
    from dataclasses import replace

    write_faces(replace(faces, table=more), tmp_path / "many.parquet")
    words = ["--faces", str(tmp_path / "many.parquet"), "--heads", *heads, "--models-dir", str(tmp_path / "models")]
    assert train.main([*words, *TINY, "--runs-dir", str(tmp_path / "runs"), "--no-report"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert said in error
    assert not list((tmp_path / "models").glob("*"))
