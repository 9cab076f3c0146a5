"""Models that version 0.1 stored: they load, and predict what version 0.1 predicted of the same photos."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import numpy as np
import pytest
import torch

from agegender.heads import AGE, GENDER, with_settings
from agegender.model.model_folder import CARD_FILE, WEIGHTS_FILE
from agegender.model.predictor import Predictor

GOLDEN = Path(__file__).parent / "golden_0_1"
EXPECTED = json.loads((GOLDEN / "expected.json").read_text(encoding="utf-8"))
PHOTOS = np.load(GOLDEN / "photos.npz")["photos"]


@pytest.fixture(params=sorted(EXPECTED))
def loss(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def predictor(loss: str, tmp_path: Path) -> Predictor:
    packed = (GOLDEN / loss / f"{WEIGHTS_FILE}.xz").read_bytes()
    (tmp_path / WEIGHTS_FILE).write_bytes(lzma.decompress(packed))
    (tmp_path / CARD_FILE).write_bytes((GOLDEN / loss / CARD_FILE).read_bytes())
    return Predictor.load(tmp_path, device="cpu", precision="fp32")


def test_its_heads_are_those_of_today(predictor: Predictor, loss: str) -> None:
    assert predictor.heads == (with_settings(AGE, loss=loss), GENDER)


def test_it_predicts_as_it_did(predictor: Predictor, loss: str) -> None:
    table, expected = predictor.predict_images(PHOTOS), EXPECTED[loss]
    for column in ("predicted_age_years", "age_low_years", "age_high_years"):
        assert table[column].to_numpy() == pytest.approx(expected[column], abs=1e-3)
    assert table["predicted_gender"].tolist() == expected["predicted_gender"]
    assert table["gender_probability_female"].to_numpy() == pytest.approx(expected["female_probability"], abs=1e-5)


def test_it_is_explained_by_the_same_scores(predictor: Predictor, loss: str) -> None:
    scores = predictor.score_images(torch.from_numpy(PHOTOS).permute(0, 3, 1, 2))
    np.testing.assert_allclose(scores.numpy(), EXPECTED[loss]["scores"], atol=1e-3)
