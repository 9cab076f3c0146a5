"""The main job as a person runs it: one command, then everything it promised is there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from agegender import evaluate, predict, train
from agegender.data.faces_table import read_faces
from agegender.data.sources.drawn_faces import draw_faces

from .conftest import QUICK, Run, run_for_json

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]

NEW_PROCESS = """
import sys, json, dill
from fastai.learner import load_learner
learner = load_learner(sys.argv[1], pickle_module=dill)
labels, values, activations = learner.predict(sys.argv[2])
print(json.dumps([labels[0], labels[1], activations[1].tolist()]))
"""


def test_one_command_leaves_a_model_and_its_pages(trained: Run) -> None:
    names = {path.name for path in trained.model.iterdir()}
    stored = {"weights.safetensors", "model.json", "faces.parquet", "history.csv", "predictions.parquet"}
    assert names == stored | {"metrics.json", "learner.pkl", "card.toml"}
    assert {"index", "bias", "lime"} <= set(trained.document["reports"])
    for page in trained.document["reports"].values():
        text = Path(page).read_text(encoding="utf-8")
        assert "drawn" in text
        assert "http://" not in text.replace("http://www.w3.org", "")
    assert trained.document["metrics"]["test"]["age"]["mae"] > 0


def test_every_kept_photo_is_predicted_beside_its_split(trained: Run) -> None:
    predictions = pd.read_parquet(trained.model / "predictions.parquet")
    faces = read_faces(trained.model / "faces.parquet")
    assert predictions["path"].tolist() == faces.kept()["path"].tolist()
    assert predictions["split"].value_counts().to_dict() == {"train": 84, "valid": 18, "test": 18}
    assert predictions[["predicted_age_years", "gender_probability_female"]].notna().all().all()


def test_a_new_process_predicts_the_same(trained: Run) -> None:
    words = ["--model", str(trained.model), "--split", "test", "--out", str(trained.root / "again.parquet")]
    subprocess.run([sys.executable, "-m", "agegender", "evaluate", *words], check=True, capture_output=True)
    again = pd.read_parquet(trained.root / "again.parquet").set_index("path")
    before = pd.read_parquet(trained.model / "predictions.parquet").set_index("path").loc[again.index]
    for column in ("predicted_age_years", "gender_probability_female"):
        np.testing.assert_allclose(again[column], before[column], atol=1e-4)


def test_the_fastai_export_predicts_the_same_in_a_new_process(trained: Run) -> None:
    row = pd.read_parquet(trained.model / "predictions.parquet").iloc[0]
    photo = read_faces(trained.model / "faces.parquet").photo_path(row["path"])
    words = [sys.executable, "-W", "ignore", "-c", NEW_PROCESS, str(trained.model / "learner.pkl"), str(photo)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    years, gender, probabilities = json.loads(done.stdout.splitlines()[-1])
    assert max(years, 0) == pytest.approx(row["predicted_age_years"], abs=1e-3)
    assert gender == row["predicted_gender"]
    assert sum(probabilities) == pytest.approx(1.0)


def test_the_same_seed_gives_the_same_model(trained: Run) -> None:
    words = ["--source", "drawn_faces", "--data", str(trained.faces), "--weights", "none", "--no-report"]
    run_for_json(train, [*words, *QUICK, *trained.places(), "--name", "second", "--json"])
    first, second = (trained.root / "models" / name / "weights.safetensors" for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()
    (second.parent / "model.json").unlink()  # so that `first` stays the newest for the other tests


def test_evaluate_measures_a_folder_the_model_has_not_seen(trained: Run, tmp_path: Path) -> None:
    draw_faces(tmp_path / "others", face_count=30, image_size=64, seed=99)
    words = ["--model", str(trained.model), "--source", "drawn_faces", "--data", str(tmp_path / "others"), "--json"]
    document = run_for_json(evaluate, words)
    assert (document["photos"], document["split"]) == (30, "all")


def test_predict_goes_on_after_a_bad_photo(trained: Run, tmp_path: Path) -> None:
    good = next(trained.faces.glob("*.jpg"))
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"")
    models = ["--models-dir", str(trained.root / "models")]
    first, second = run_for_json(predict, [str(bad), str(good), *models, "--check", "age=25", "--json"])
    assert first["path"] == str(bad)
    assert "error" in first
    assert second["path"] == str(good)
    assert 0 <= second["predicted_age_years"] <= 122
    assert second["age_check_25"] in ("under", "not under", "unsure", None)
    assert 0 < second["age_spread_years"] < 60
    assert second["predicted_gender"] == ("female" if second["gender_probability_female"] > 0.5 else "male")


def test_a_model_can_go_on_from_another(trained: Run) -> None:
    words = ["--source", "drawn_faces", "--data", str(trained.faces), "--no-report", "--name", "onward", "--json"]
    weights = ["--weights", str(trained.model)]
    document = run_for_json(train, [*words, *QUICK, *weights, *trained.places()])
    assert document["metrics"]["test"]["n"] == 18
    (trained.root / "models" / "onward" / "model.json").unlink()
