"""Explanations and settings that lie beside reports may come from anywhere: read, or refused in words."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages.report_inputs import make_explanations

from agegender.errors import AgeGenderError, TableError
from agegender.explanation.explanation_files import read_explanations, write_explanation
from agegender.pages.lime_page import write_lime
from agegender.pages.report_set import SETTINGS_FILE, is_hiding_faces

from .conftest import examples
from .edited_json import edited, places


def written(folder: Path) -> Path:
    """Write one explanation, and return its JSON file."""
    return write_explanation(make_explanations(1)[0], folder, 1)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("explanations"))


@pytest.fixture(scope="module")
def document(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def read_and_show(file: Path) -> None:
    try:
        faces = read_explanations(file.parent)
        write_lime(file.parent / "page" / "lime.html", faces, title="fuzzed", is_drawn=False)
    except AgeGenderError:
        pass


@examples(25, 100)
@given(data=st.data())
def test_an_edited_explanation_is_shown_or_refused_in_words(file: Path, document: Any, data: st.DataObject) -> None:
    where = [place for place in places(document) if len(place) < 6]
    file.write_text(json.dumps(data.draw(edited(document, where))), encoding="utf-8")
    read_and_show(file)


@examples(100, 10_000)
@given(data=st.data())
def test_an_edited_explanation_is_read_or_refused_in_words(file: Path, document: Any, data: st.DataObject) -> None:
    where = [place for place in places(document) if len(place) < 6]
    file.write_text(json.dumps(data.draw(edited(document, where))), encoding="utf-8")
    with contextlib.suppress(AgeGenderError):
        assert len(read_explanations(file.parent)) == 1


@examples(40, 100)
@given(place=st.floats(0, 1), new=st.binary(max_size=8), is_cut=st.booleans())
def test_damaged_pixels_are_refused_in_words(file: Path, document: Any, place: float, new: bytes, is_cut: Any) -> None:
    file.write_text(json.dumps(document), encoding="utf-8")
    pixels = file.with_suffix(".npz")
    whole = pixels.read_bytes()
    at = int(place * len(whole))
    pixels.write_bytes(whole[:at] if is_cut else whole[:at] + new + whole[at + len(new) :])
    try:
        read_and_show(file)
    finally:
        pixels.write_bytes(whole)


@pytest.mark.parametrize(
    "text", ["", "null", "[" * 100_000, "5", '{"heads": 5}', "\0", '{"heads": {"age": 1}}'], ids=repr
)
def test_what_is_no_explanation_is_refused(tmp_path: Path, text: str) -> None:
    written(tmp_path).write_text(text)
    with pytest.raises(TableError, match="no whole explanation"):
        read_explanations(tmp_path)


@examples(200, 10_000)
@given(settings=st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists) | st.binary())
def test_whatever_a_reports_memory_holds_faces_are_shown_or_not(settings: Any, tmp_path_factory) -> None:
    folder = tmp_path_factory.getbasetemp() / "memory"
    folder.mkdir(exist_ok=True)
    for held in (settings, {"hide_faces": settings}):
        whole = held if isinstance(held, bytes) else json.dumps(held, default=str).encode()
        (folder / SETTINGS_FILE).write_bytes(whole)
        assert is_hiding_faces(folder) in (True, False)


def test_a_memory_that_is_damaged_hides_faces(tmp_path: Path) -> None:
    for text in ("", "[" * 100_000, "5", "{}", '{"hide_faces": "yes"}'):
        (tmp_path / SETTINGS_FILE).write_text(text)
        assert is_hiding_faces(tmp_path)
