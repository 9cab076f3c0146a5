"""The overview: six faces, the runs beside one another, and links to every page that is there."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from agegender.audit.assessment import assess
from agegender.pages.bias_overview import verdict_words
from agegender.pages.index_page import write_index
from agegender.pages.page_writing import ReportContent
from agegender.pages.report_set import nearby_pages, page_links
from agegender.pages.runs_section import runs_chart, runs_table
from pages.report_inputs import make_photos, make_predictions


def card(name, run, *, mae, epochs=10, faces="f1", **more):
    scores = {"n": 40, "age": {"mae": mae}, "gender": {"accuracy": 0.9}}
    training = {"epochs": epochs, "batch_size": 64}
    return {
        "name": name, "run_id": run, "created": f"2026-11-0{mae:.0f}T10:00:00+00:00", "training": training,
        "faces_fingerprint": faces, "metrics": {"test": scores}, **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    rows = make_predictions(60).assign(split="test")
    photos = make_photos(tmp_path_factory.mktemp("photos"), rows, photo_count=60)
    own = card("new", "r3", mae=5.0, epochs=9)
    runs = [own, card("<b>old", "r2", mae=6.0, epochs=3), card("other", "r1", mae=2.0, faces="f2")]
    return ReportContent(assess(rows, title="new"), photos.root, own, runs=runs)


def test_runs_stand_beside_one_another_with_the_settings_that_differ(content):
    table = runs_table(content)
    found = [(row.values["name"], row.values["age_mae"], row.values["data"]) for row in table.rows]
    assert found == [("new (this one)", 5.0, "the same"), ("<b>old", 6.0, "the same"), ("other", 2.0, "another one")]
    assert [row.values["differs"] for row in table.rows][1] == "epochs 3 (here 9)"


def test_only_runs_on_the_same_photos_are_drawn(content):
    drawing = runs_chart(content)
    assert "oldest first: &lt;b&gt;old 6.00; new (this one) 5.00" in drawing
    assert runs_chart(replace(content, runs=content.runs[:1])) is None


def test_a_run_that_is_alone_and_a_table_from_elsewhere_show_no_runs(content):
    assert runs_table(replace(content, runs=content.runs[:1])) is None
    assert runs_table(replace(content, card=None)) is None


def test_six_faces_stand_on_the_page_and_none_where_nobody_is_to_be_shown(content, tmp_path):
    page = write_index(tmp_path / "index.html", content).read_text()
    assert page.count("<img") == 6
    assert "&lt;b&gt;old" in page
    hidden = write_index(tmp_path / "hidden.html", replace(content, hide_faces=True)).read_text()
    assert "<img" not in hidden
    assert not any(name in hidden for name in content.assessment.rows["path"])


def test_pages_of_other_folders_about_the_model_are_linked(content, tmp_path):
    for place in ("first-search/search.html", "compare-first-second/compare.html", "compare-a-b/compare.html"):
        (tmp_path / place).parent.mkdir()
        (tmp_path / place).write_text("x")
    nearby = nearby_pages(tmp_path / "first")
    assert [address for address, _, _ in nearby] == [
        "../first-search/search.html",
        "../compare-first-second/compare.html",
    ]
    links = page_links(["index", "dataset", "compare"], "index")
    page = write_index(tmp_path / "index.html", replace(content, nearby=nearby), links).read_text()
    for address in ("dataset.html", "compare.html", "../first-search/search.html"):
        assert f'href="{address}"' in page


def test_the_verdict_has_the_figures_of_the_rows_and_of_a_guess_that_looks_at_no_photo(content, tmp_path):
    rows = content.assessment.judged
    error = (rows["predicted_age_years"] - rows["age_years"]).abs().mean()
    guessed = (rows["age_years"] - rows["age_years"].median()).abs().mean()
    right = (rows["predicted_gender"] == rows["gender"]).mean()
    usual = rows["gender"].value_counts(normalize=True).iloc[0]
    words = verdict_words(content)
    assert f"age is off by {error:.1f} (" in words
    assert f"for all is off by {guessed:.1f}" in words
    assert f"the annotated one for {100 * right:.1f} % (" in words
    assert f"gets {100 * usual:.1f} %" in words
    assert words.endswith("by more than chance.") or "clearly worse" in words
    assert words.split(";")[0] in write_index(tmp_path / "index.html", content).read_text()


def test_no_figure_stands_twice_at_the_head(content, tmp_path):
    page = write_index(tmp_path / "index.html", content).read_text()
    head = page[page.index('id="figures"') : page.index("</section>", page.index('id="figures"'))]
    names = re.findall(r"<dt>(.*?)</dt>", head)
    assert "Photos judged" in names
    assert len(names) == len(set(names)) >= 3
