"""What earlier versions stored, of drawn faces: it loads, and says what it said then."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from golden_model import write_golden

from agegender import Audit, report
from agegender.audit.predictions_table import read_predictions
from agegender.data.faces_table import read_faces
from agegender.heads import AGE, GENDER, with_settings
from agegender.model.learner import learner_of
from agegender.model.model_folder import CARD_FILE
from agegender.model.predictor import Predictor

GOLDEN = Path(__file__).parent / "0.1"
EXPECTED = json.loads((GOLDEN / "expected.json").read_text(encoding="utf-8"))
PHOTOS = np.load(GOLDEN / "photos.npz")["photos"]


@pytest.fixture(params=sorted(EXPECTED))
def loss(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def predictor(loss: str, tmp_path: Path) -> Predictor:
    return Predictor.load(write_golden(tmp_path, stored=GOLDEN / loss), device="cpu", precision="fp32")


def test_its_heads_are_those_of_today(predictor: Predictor, loss: str) -> None:
    assert predictor.heads == (with_settings(AGE, loss=loss), GENDER)


def test_its_learner_is_rebuilt(predictor: Predictor, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = json.loads((tmp_path / CARD_FILE).read_text(encoding="utf-8"))
    card["training"]["of_another_version"] = 1
    (tmp_path / CARD_FILE).write_text(json.dumps(card), encoding="utf-8")
    learner = learner_of(tmp_path)
    assert "has no batches" in capsys.readouterr().err
    with learner.no_bar():
        (age, _), *_ = learner.predict(PHOTOS[0])
    assert float(age) == pytest.approx(predictor.predict_images(PHOTOS[:1])["predicted_age_years"][0], abs=1e-3)


def test_it_predicts_as_it_did(predictor: Predictor, loss: str) -> None:
    table, expected = predictor.predict_images(PHOTOS), EXPECTED[loss]
    for column in ("predicted_age_years", "age_low_years", "age_high_years"):
        assert table[column].to_numpy() == pytest.approx(expected[column], abs=1e-3)
    assert table["predicted_gender"].tolist() == expected["predicted_gender"]
    assert table["gender_probability_female"].to_numpy() == pytest.approx(expected["female_probability"], abs=1e-5)


def test_it_is_explained_by_the_same_scores(predictor: Predictor, loss: str) -> None:
    scores = predictor.score_images(torch.from_numpy(PHOTOS).permute(0, 3, 1, 2))
    np.testing.assert_allclose(scores.numpy(), EXPECTED[loss]["scores"], atol=1e-3)


def test_its_tables_are_read_and_audited() -> None:
    folder = GOLDEN / "soft-labels"
    faces = read_faces(folder / "faces.parquet")
    assert faces.kept()["split"].value_counts().to_dict() == {"train": 280, "valid": 60, "test": 60}
    table = read_predictions(folder / "predictions.parquet")
    audit = Audit(table)
    assert audit.heads == (AGE, GENDER)
    old = pd.read_parquet(folder / "predictions.parquet").query("split == 'test'")
    error = (old["predicted_age_years"] - old["age_years"]).abs().mean()
    assert audit.metrics["test"]["age"]["mae"] == pytest.approx(error, abs=1e-9)
    chances = audit.rows.set_index("path")["gender_probability_female"]
    np.testing.assert_allclose(chances[old["path"]], old["female_probability"], atol=1e-9)


def test_its_folder_is_reported_on(tmp_path: Path) -> None:
    words = ["--model", str(GOLDEN / "soft-labels"), "--reports-dir", str(tmp_path)]
    assert report.main(words) == 0
    assert {path.name for path in tmp_path.rglob("*.html")} == {"index.html", "bias.html", "card.html"}
