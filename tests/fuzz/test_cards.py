"""A model folder may come from anywhere: whatever its card says, it is refused in words or gives answers."""

from __future__ import annotations

import json
import re
import resource
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_model import GOLDEN, STORED, write_golden
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file

from agegender import compare, explain, predict, report
from agegender.audit.assessment import assess
from agegender.audit.predictions_table import read_predictions
from agegender.errors import AgeGenderError, CardError, WeightsError
from agegender.model.checkpoint import card_statistics, digest_of
from agegender.model.model_folder import CARD_FILE, WEIGHTS_FILE, heads_of, image_of, network_entries, read_card
from agegender.model.predictor import Predictor
from agegender.pages.page_writing import ReportContent
from agegender.pages.report_set import write_report_set

from .conftest import examples
from .edited_json import edited, places

CARD = json.loads((STORED / CARD_FILE).read_text(encoding="utf-8"))
PHOTO = np.load(GOLDEN / "photos.npz")["photos"][0]
# The same model as it is stored today.
OF_TODAY = CARD | network_entries(heads_of(CARD), image_of(CARD), card_statistics(CARD, heads_of(CARD)), CARD["body"])
# What the program reads of a card, and so is edited most.
READ = (
    "name",
    "body",
    "heads",
    "image",
    "training_ages",
    "statistics",
    "calibration",
    "data",
    "metrics",
    "seed",
    "size",
)


def edited_places(card: dict[str, Any]) -> list[tuple[Any, ...]]:
    found = places({name: card[name] for name in READ if name in card})
    return [place for place in found if len(place) < (3 if place[0] == "metrics" else 5)]


edited_cards = st.one_of(edited(CARD, edited_places(CARD)), edited(OF_TODAY, edited_places(OF_TODAY)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of version 0.1, whose card is to be edited."""
    place = tmp_path_factory.mktemp("models") / "edited"
    return write_golden(place, "faces.parquet", "predictions.parquet", "history.csv")


def write_card(folder: Path, card: Any) -> None:
    (folder / CARD_FILE).write_text(json.dumps(card), encoding="utf-8")


@examples(100, 1_500)
@given(card=edited_cards)
def test_an_edited_card_is_refused_in_words_or_answers_in_numbers(folder: Path, card: dict[str, Any]) -> None:
    write_card(folder, card)
    started = time.process_time()
    try:
        model = Predictor.load(folder, device="cpu", precision="fp32")
        table = model.predict_images(np.zeros((1, model.image.size, model.image.size, 3), np.uint8))
    except AgeGenderError:
        pass
    else:
        assert np.isfinite(table.filter(like="predicted").select_dtypes("number").to_numpy()).all()
    assert time.process_time() - started < 20


@examples(150, 8_000)
@given(card=edited_cards)
def test_an_edited_card_is_understood_or_refused_in_words(folder: Path, card: dict[str, Any]) -> None:
    write_card(folder, card)
    try:
        known = read_card(folder)
        heads, image = heads_of(known), image_of(known)
    except AgeGenderError:
        return
    assert heads
    assert image.size > 0


@pytest.mark.parametrize("body", ["resnet152", "vit_giant_patch14_224", "regnety_1280"])
def test_a_body_larger_than_the_weights_is_refused_before_it_takes_memory(folder: Path, body: str) -> None:
    write_card(folder, CARD | {"body": body})
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(WeightsError, match=f"layers of {body} are expected"):
        Predictor.load(folder, device="cpu")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000  # kilobytes; the largest has 4 GB
    assert time.process_time() - started < 10


def written_by_hand(folder: Path, tmp_path: Path, value: float) -> Path:
    """Return a copy of the folder in whose weights one number is another."""
    state = load_file(folder / WEIGHTS_FILE)
    name = next(name for name, layer in state.items() if layer.is_floating_point() and layer.ndim > 1)
    state[name] = torch.full_like(state[name], value)
    (tmp_path / "by_hand").mkdir()
    save_file(state, tmp_path / "by_hand" / WEIGHTS_FILE)
    return tmp_path / "by_hand"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(folder: Path, tmp_path: Path, value: float) -> None:
    place = written_by_hand(folder, tmp_path, value)
    write_card(place, CARD)
    with pytest.raises(WeightsError, match="no numbers"):
        Predictor.load(place, device="cpu")


def test_weights_of_another_run_are_refused_by_their_digest(folder: Path, tmp_path: Path) -> None:
    place = written_by_hand(folder, tmp_path, 0.5)
    write_card(place, CARD | {"weights_sha256": digest_of(place / WEIGHTS_FILE)})
    Predictor.load(place, device="cpu")
    (place / WEIGHTS_FILE).write_bytes((folder / WEIGHTS_FILE).read_bytes())
    with pytest.raises(WeightsError, match="not those that its card was written for"):
        Predictor.load(place, device="cpu")


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ({"training_ages": {"mean_years": "nan", "std_years": 20}}, "expected numbers up to 1e+15, and a std above 0"),
        ({"training_ages": {"mean_years": 30, "std_years": 0}}, "expected numbers up to 1e+15, and a std above 0"),
        ({"image": CARD["image"] | {"std": [0, 1, 1]}}, "standard deviations from 0.000001"),
        ({"image": CARD["image"] | {"mean": [0.5, -1e278, 0.4]}}, "none of them beyond 1000"),
        ({"image": CARD["image"] | {"size": 100_000}}, "a size of 8 to"),
        ({"calibration": {"age": 5}}, "expected an object for each head"),
        ({"calibration": {"gender": {"temperature": 0}}}, "expected a number above 0"),
        ({"body": None}, "expected the name of a network"),
        ({"seed": "seven"}, "expected a whole number from 0"),
    ],
)
def test_an_entry_that_makes_no_sense_is_named_with_what_was_expected(folder: Path, edits: Any, said: str) -> None:
    write_card(folder, CARD | edits)
    with pytest.raises(CardError, match=re.escape(said)):
        Predictor.load(folder, device="cpu")


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, "[]", "null", '{"name": NaN}', '{"name": 1e999}', "\x00", "9" * 9999]
)
def test_what_is_no_card_is_refused(folder: Path, text: str) -> None:
    (folder / CARD_FILE).write_text(text)
    with pytest.raises(CardError):
        Predictor.load(folder, device="cpu")


def everything_below(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_name_that_is_a_path_writes_nothing_outside_the_named_folders(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_card(folder, CARD | {"name": "../../../evil"})
    (tmp_path / "a" / "b" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b" / "here")
    Image.fromarray(PHOTO).resize((64, 64)).save("face.png")
    before, of_model = everything_below(tmp_path), everything_below(folder)
    model = ["--model", str(folder)]
    assert report.main([*model, "--reports-dir", "reports"]) == 0
    assert predict.main(["face.png", *model, "--out", "reports/p.csv", "--device", "cpu"]) == 0
    assert explain.main(["face.png", *model, "--samples", "20", "--reports-dir", "reports", "--device", "cpu"]) == 0
    assert compare.main([str(folder), str(folder / "predictions.parquet"), "--reports-dir", "reports"]) == 0
    after = everything_below(tmp_path)
    assert {name for name in after if not name.startswith("a/b/here/reports/")} == set(before)
    assert everything_below(folder) == of_model


@examples(12, 100)
@given(card=edited_cards)
def test_pages_of_an_edited_card_are_written_or_refused_in_words(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, assessed: ReportContent, card: dict[str, Any]
) -> None:
    write_card(folder, card)
    try:
        content = replace(assessed, card=read_card(folder))
        write_report_set(tmp_path_factory.mktemp("pages"), content, only=("index", "card"))
    except AgeGenderError:
        pass


@pytest.fixture(scope="module")
def assessed(folder: Path) -> ReportContent:
    """What pages are made of, the card aside, with quick intervals."""
    rows = read_predictions(STORED / "predictions.parquet").query("split == 'test'")
    return ReportContent(assess(rows, title="edited"))
