"""The contact sheet: what it counts, what it shows of many, whom it hides; and that no name is markup."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from agegender.heads import KNOWN_HEADS
from agegender.pages import contact_sheet
from agegender.pages.contact_sheet import ContactSheet
from pages.report_inputs import make_photos, make_predictions, predicted_rows


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    predictions = make_predictions(40)
    photos = make_photos(tmp_path_factory.mktemp("photos"), predictions, photo_count=40)
    return predicted_rows(predictions, photos.root)


def written(path: Path, *tables: pd.DataFrame, models: tuple[str, ...] = ("one",), hides: bool = False) -> str:
    sheet = ContactSheet(models, KNOWN_HEADS, hide_faces=hides)
    for table in tables:
        sheet.add(table)
    return sheet.write(path / "sheet.html").read_text(encoding="utf-8")


def test_every_face_is_shown_with_its_answers_and_doubts(rows: pd.DataFrame, tmp_path: Path) -> None:
    text = written(tmp_path, rows.head(20), rows.tail(20))
    assert text.count("<img ") == 36  # four photos could not be read
    assert text.count('<span class="doubt">blurred, dark</span>') == 6
    assert text.count(", face 2</span>") == 1
    assert text.count("<li><code>") == 4
    assert "36 faces in 39 photos" in text


def test_of_many_the_first_are_shown_and_the_doubtful_of_the_others(
    rows: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contact_sheet, "MOST_FACES", 10)
    monkeypatch.setattr(contact_sheet, "MOST_DOUBTFUL", 2)
    text = written(tmp_path, rows)
    assert "The first 10 of 36" in text
    assert text.count("<img ") == 12


def test_hidden_faces_have_neither_name_nor_features(rows: pd.DataFrame, tmp_path: Path) -> None:
    text = written(tmp_path, rows, hides=True)
    assert not [path for path in rows["path"] if Path(path).name in text or path in text]
    assert "Faces were blurred" in text


def test_names_and_reasons_are_no_markup(rows: pd.DataFrame, tmp_path: Path) -> None:
    name = tmp_path / "<img src=x onerror=alert(1)>\n.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(name)
    hostile = rows.head(2).assign(path=str(name), problems="<b>dark")
    text = written(tmp_path, hostile, models=("<i>m",))
    assert not re.search(r"<img src=x|<b>dark|<i>m", text)


def test_a_photo_that_has_gone_leaves_an_honest_frame(rows: pd.DataFrame, tmp_path: Path) -> None:
    text = written(tmp_path, rows.head(1).assign(path=str(tmp_path / "gone.png")))
    assert "photo not at hand" in text
