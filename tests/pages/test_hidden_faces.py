"""--no-faces: nobody is shown or named, and the choice is remembered where the pages are."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from agegender import compare
from agegender.audit.assessment import assess
from agegender.audit.leaderboard import leaderboard
from agegender.audit.models_compared import compare_pair
from agegender.errors import UsageError
from agegender.explanation.explanation_files import read_explanations, write_explanation
from agegender.pages.compare_page import write_comparison
from agegender.pages.page_writing import ReportContent
from agegender.pages.report_set import is_hiding_faces, write_page_alone, write_report_set
from agegender.photos.warping import hidden as blurred
from pages.report_inputs import make_explanations, make_photos, make_predictions


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> ReportContent:
    predictions = make_predictions(140).assign(split="test")
    photos = make_photos(tmp_path_factory.mktemp("photos"), predictions, photo_count=140)
    return ReportContent(assess(predictions, title="x"), photos.root, explanations=make_explanations(2))


@pytest.fixture(scope="module")
def hidden(content, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hidden")
    write_report_set(folder, content, hide_faces=True)
    return folder


def test_files_go_without_their_names(content, hidden):
    for page in ("bias", "index", "card"):
        text = (hidden / f"{page}.html").read_text()
        assert not any(name in text for name in content.assessment.rows["path"])


def test_fewer_than_ten_photos_have_no_figures(hidden):
    text = (hidden / "bias.html").read_text()
    tables = re.findall(r'<table id="\w+(?:-\w+)*-(?:age|gender)".*?</table>', text, flags=re.S)
    counts = re.findall(r'<th scope="row"[^>]*>.*?</th><td class="n" data-sort="(\d+)">', " ".join(tables))
    assert counts
    assert min(map(int, counts)) >= 10
    assert re.search(r"groups? of fewer than 10 photos (is|are) left out", text)
    assert "&lt;10" in text  # a cell of a confusion matrix


def test_choice_is_remembered_beside_the_pages(content, hidden):
    assert json.loads((hidden / "report.json").read_text())["hide_faces"] is True
    before = {page: (hidden / f"{page}.html").read_bytes() for page in ("index", "bias", "card")}
    report = write_report_set(hidden, content, only=("lime",))
    assert list(report.pages) == ["lime"]
    assert before == {page: (hidden / f"{page}.html").read_bytes() for page in before}
    write_report_set(hidden, content)
    assert "asked to show nobody" in (hidden / "bias.html").read_text()


def test_faces_come_back_only_when_asked_for(content, tmp_path):
    write_report_set(tmp_path, content, hide_faces=True)
    assert is_hiding_faces(tmp_path)
    write_report_set(tmp_path, content, hide_faces=False)
    assert not is_hiding_faces(tmp_path)
    (tmp_path / "report.json").write_text("{broken")
    assert is_hiding_faces(tmp_path)


def test_page_written_alone_is_led_to_by_the_others_and_changes_nothing_else(content, tmp_path):
    without = ReportContent(content.assessment, content.photos_root)
    write_report_set(tmp_path, without)
    before = (tmp_path / "bias.html").read_text()
    write_report_set(tmp_path, content, only=("lime",))
    after = (tmp_path / "bias.html").read_text()
    assert 'href="lime.html"' not in before
    assert 'href="lime.html"' in after
    navigation = re.compile(r"<!-- pages -->.*?<!-- /pages -->", re.S)
    assert navigation.sub("", before) == navigation.sub("", after)
    assert "Explanations</a>: which parts of a face" in (tmp_path / "index.html").read_text()


@pytest.fixture
def explained(tmp_path, content):
    """A report with clear faces, its explanations beside it, and a file of somebody's own among them."""
    write_report_set(tmp_path, content, hide_faces=False)
    for number, face in enumerate(make_explanations(2, path="anna.jpg"), start=1):
        write_explanation(face, tmp_path / "explanations", number)
    (tmp_path / "explanations" / "notes.txt").write_text("mine")
    return tmp_path


def test_explanations_beside_hidden_pages_show_and_name_nobody(content, explained):
    before = read_explanations(explained / "explanations")
    write_report_set(explained, content, hide_faces=True)
    after = read_explanations(explained / "explanations")
    for number, (old, new) in enumerate(zip(before, after, strict=True), start=1):
        assert (new.is_hidden, new.path) == (True, f"photo {number}")
        np.testing.assert_array_equal(new.photo, blurred(old.photo))
        np.testing.assert_array_equal(new.region_map, old.region_map)
        assert new.maps == old.maps
    names = sorted(path.name for path in (explained / "explanations").iterdir())
    assert names == [f"000{n}-photo_{n}.explanation.{kind}" for n in (1, 2) for kind in ("json", "npz")] + ["notes.txt"]
    assert "anna" not in "".join(path.read_text() for path in explained.rglob("*.json"))


def test_hidden_explanations_are_hidden_once_and_say_so_when_faces_are_shown_again(content, explained):
    write_report_set(explained, content, hide_faces=True)
    before = {path: path.read_bytes() for path in (explained / "explanations").iterdir()}
    write_report_set(explained, content, hide_faces=True)
    assert before == {path: path.read_bytes() for path in (explained / "explanations").iterdir()}
    faces = read_explanations(explained / "explanations")
    write_report_set(explained, replace(content, explanations=faces), hide_faces=False)
    assert (explained / "lime.html").read_text().count("Its photo was stored blurred") == 2


def test_page_that_cannot_be_made_is_refused(content, tmp_path):
    with pytest.raises(UsageError, match="lime"):
        write_report_set(tmp_path, ReportContent(content.assessment), only=("lime",))
    with pytest.raises(UsageError, match="dataset"):
        write_page_alone(tmp_path / "x.html", "dataset", content)
    assert write_page_alone(tmp_path / "x.html", "bias", content).stat().st_size > 10_000


def test_comparison_hides_names_and_the_changes_of_few(tmp_path):
    first = make_predictions(300).assign(split="test")
    second = first.assign(predicted_gender=first["gender"], predicted_age_years=first["age_years"])
    page = write_comparison(
        tmp_path / "compare.html",
        board=leaderboard({"a": first, "b": second}),
        pairs={"b": compare_pair(first, second)},
        first="a",
        hide_faces=True,
    ).read_text()
    assert not any(name in page for name in first["path"])
    assert not re.search(r'<td class="n" data-sort="[1-9]">', page)
    assert "&lt;10" in page


def test_a_comparison_keeps_to_what_was_chosen_and_to_nothing_else(tmp_path, capsys):
    for name, years in (("a", 37.0), ("b", 60.0)):
        table = make_predictions(90).assign(split="test", predicted_age_years=years)
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.json").write_text('{"run_id": "first"}')
    words = [str(tmp_path / "a.csv"), str(tmp_path / "b.csv"), "--out", str(out)]
    names = make_predictions(90)["path"]
    for options, are_named in (["--show-faces"], True), ([], True), (["--no-faces"], False), ([], False):
        assert compare.main([*words, *options]) == 0, capsys.readouterr().err
        assert any(name in (out / "compare.html").read_text() for name in names) == are_named
    assert json.loads((out / "report.json").read_text()) == {"run_id": "first", "hide_faces": True}
