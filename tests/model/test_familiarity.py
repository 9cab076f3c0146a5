"""Photos unlike those of the training are told from them, and faces are cut as they lay in them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from agegender.data.faces_table import FacesTable, make_table
from agegender.errors import CardError
from agegender.model import familiarity
from agegender.model.familiarity import ENTRY, Familiarity, coarse_edges, familiarity_of, margins_in
from agegender.photos.face_crops import Margins, face_square, usual_margins
from agegender.photos.face_detection import FaceBox


def face(generator: np.random.Generator) -> np.ndarray:
    """A plain face, a little different each time."""
    image = np.full((64, 64, 3), generator.integers(20, 90), np.uint8)
    x, y = generator.integers(30, 35, 2).tolist()
    cv2.ellipse(image, (x, y), (22, 28), 0, 0, 360, (200, 160, 140), -1)
    for eye in (-9, 9):
        cv2.circle(image, (x + eye, y - 8), 3, (30, 30, 30), -1)
    cv2.ellipse(image, (x, y + 14), (9, 3), 0, 0, 360, (120, 40, 40), -1)
    return (image + generator.normal(0, 3, image.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def known() -> Familiarity:
    generator = np.random.default_rng(1)
    edges = np.stack([coarse_edges(face(generator)) for _ in range(900)])
    return Familiarity.fit(edges[:600], edges[600:])


def test_faces_are_familiar_and_turned_ones_and_stripes_are_not(known: Familiarity) -> None:
    generator = np.random.default_rng(2)
    faces = [face(generator) for _ in range(200)]
    stripes = np.repeat(np.tile([0, 255], 32)[None, :, None], 64, axis=0).repeat(3, axis=2).astype(np.uint8)
    assert np.mean([known.is_unlike(one) for one in faces]) < 0.03
    assert np.mean([known.is_unlike(np.rot90(one).copy()) for one in faces]) > 0.9
    assert known.is_unlike(stripes)
    assert known.is_unlike(np.zeros((64, 64, 3), np.uint8))


def test_light_alone_makes_no_face_unfamiliar(known: Familiarity) -> None:
    faces = [face(np.random.default_rng(number)) for number in range(50)]
    assert np.mean([known.is_unlike((one * 0.7).astype(np.uint8)) for one in faces]) < 0.1


def test_the_card_gives_back_what_it_was_given(known: Familiarity) -> None:
    card = {ENTRY: {"edges": json.loads(json.dumps(known.to_dict())), "margins": [0.1, 0.2, 0.3]}}
    again = familiarity_of(card)
    assert again is not None
    edges = coarse_edges(face(np.random.default_rng(7)))
    assert again.distance(edges) == pytest.approx(known.distance(edges), rel=1e-4)
    assert margins_in(card) == Margins(0.1, 0.2, 0.3)
    assert (familiarity_of({}), margins_in({}), familiarity_of({ENTRY: {}})) == (None, None, None)


@pytest.mark.parametrize(
    "edit", [{"mean": "?"}, {"mean": "AAAA"}, {"variances": [1.0]}, {"rest": 0}, {"limit": None}, {"directions": 3}]
)
def test_an_entry_that_makes_no_sense_is_refused(known: Familiarity, edit: dict) -> None:
    with pytest.raises(CardError, match="edges in training_photos"):
        familiarity_of({ENTRY: {"edges": {**known.to_dict(), **edit}}})
    with pytest.raises(CardError, match="margins in training_photos"):
        margins_in({ENTRY: {"margins": [1]}})


@given(st.integers(4, 90), st.integers(4, 90), st.integers(30, 100), st.integers(100, 300))
def test_usual_margins_give_the_photo_back(x: int, y: int, size: int, side: int) -> None:
    box = FaceBox(x, y, size, size, 1.0)
    given_margins = usual_margins(box, np.zeros((side, side, 3), np.uint8))
    square = face_square(box, Margins(*given_margins))
    is_within = all(0 < margin < 3 for margin in given_margins)
    if is_within:  # a face at the very edge, or beyond it, can't be imitated by margins
        assert abs(square.side - side) <= 1
        assert abs(square.top) <= 1


def test_few_photos_teach_nothing_and_many_teach_what_lies_around_a_face(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(3)
    for number in range(60):
        Image.fromarray(face(generator)).save(tmp_path / f"{number}.png")
    rows = [
        {"path": f"{number}.png", "source": "csv", "split": "train" if number < 40 else "valid"} for number in range(60)
    ]
    faces = FacesTable(make_table(rows), tmp_path)
    assert familiarity.training_photos_entry(faces, 32) == {}
    monkeypatch.setattr(familiarity, "_FEWEST", 20)
    monkeypatch.setattr(familiarity.HaarDetector, "detect", lambda _self, _photo: [FaceBox(16, 12, 32, 32, 1.0)])
    entry = familiarity.training_photos_entry(faces, 32)
    assert entry["margins"] == [0.375, 0.625, 0.5]
    assert familiarity_of({ENTRY: entry}) is not None
