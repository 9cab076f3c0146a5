"""The section on age checks: every figure is the audit's, small groups say so, and nobody is shown who is hidden."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from agegender.audit.assessment import assess
from agegender.audit.challenge_ages import checks_document
from agegender.audit.words import number
from agegender.pages.age_check_section import age_check_section
from agegender.pages.galleries import PhotoShelf
from agegender.pages.page_writing import ReportContent, render_page


def content_of(count=1500, **columns):
    generator = np.random.default_rng(11)
    ages = generator.integers(9, 36, count)
    table = pd.DataFrame(
        {
            "path": [f"{number}.jpg" for number in range(count)],
            "age_years": ages,
            "predicted_age_years": ages + generator.normal(2, 6, count),
            "gender": generator.choice(["female", "male"], count),
            "ethnicity": generator.choice(["White", "Black", "<b>Rare</b>"], count, p=[0.6, 0.38, 0.02]),
            "split": "test",
        }
    ).assign(**columns)
    return ReportContent(assess(table))


def section_of(content):
    return age_check_section(content, PhotoShelf(content))


@pytest.fixture(scope="module")
def content():
    return content_of()


def words_of(check):
    chosen = check["chosen"]["sentences"] if check["chosen"] else []
    return [*check["sentences"], *check["differences"], *chosen]


def test_every_figure_of_a_sentence_is_the_audits(content):
    checks = section_of(content)["checks"]
    document = checks_document(content.assessment.age_checks, content.assessment.chosen_ages)
    for check, facts in zip(checks, document, strict=True):
        for words, measure in zip(check["sentences"], facts["measures"], strict=True):
            rate = measure["everybody"]
            ends = f"{100 * rate['low']:.1f} to {100 * rate['high']:.1f} %"
            assert f"Of {measure['n']:,} photos labelled {measure['first']} to {measure['last']}, " in words
            assert f"{100 * rate['value']:.1f} % (95 % interval {ends})" in words
    chosen, said = document[0]["chosen"], " ".join(checks[0]["chosen"]["sentences"])
    assert f"{chosen['age']} is the lowest challenge age" in said
    assert f"it lets through {number(chosen['groups'][0]['second']['value'], 1, is_percent=True)}" in said
    assert f"asks {number(chosen['asked']['value'], 1, is_percent=True)}" in said


def test_table_says_of_small_groups_that_they_are_too_few(content):
    rows = {row.values["group"]: row for row in section_of(content)["checks"][0]["table"].rows}
    rare = rows["<b>Rare</b>"]
    assert rare.is_small
    assert rare.values["let_through_differs"] == "too few to tell"
    assert rows["White"].values["let_through_differs"] in ("cannot be told", "more often", "less often")
    assert rows["everybody"].values["let_through_n"] == sum(
        rows[name].values["let_through_n"] for name in ("White", "Black", "<b>Rare</b>")
    )


def test_names_are_escaped_and_every_drawing_has_words(content):
    page = render_page("age_checks.html", age_checks=section_of(content))
    assert "<b>Rare</b>" not in page
    assert "&lt;b&gt;Rare&lt;/b&gt;" in page
    drawings = re.findall(r"<svg[^>]*>", page)
    assert drawings
    assert all('aria-label="' in one and "at 25 " in one for one in drawings)


def test_only_groups_of_thirty_near_the_limit_are_drawn(content):
    check = section_of(content)["checks"][0]
    ranked = [row for row in check["table"].rows if row.values["let_through_n"] >= 30]
    assert len(check["drawings"]) == len(ranked)
    assert {one["group"] for one in check["curves"].records()} == {row.values["group"] for row in ranked}
    assert len(check["curves"].records()) == 23 * len(ranked)
    assert not section_of(content)["checks"][1]["drawings"]
    assert section_of(content)["checks"][1]["curves"] is None


def test_fewer_than_ten_are_nobodys_figure_where_faces_are_hidden():
    hidden = replace(content_of(120), hide_faces=True)
    section = section_of(hidden)
    records = [record for check in section["checks"] for record in check["table"].records()]
    counts = [value for record in records for key, value in record.items() if key.endswith("_n")]
    assert "<10" in counts
    assert not [value for value in counts if isinstance(value, int) and 0 < value < 10]
    for record in records:
        for key in ("let_through", "kept_out"):
            assert record.get(f"{key}_n") != "<10" or record[key] is None


def test_the_section_says_from_which_rows_it_is():
    assert "1,500 photos of the split “test”" in section_of(content_of())["rows"]
    assert "they flatter" not in section_of(content_of())["rows"]
    assert "1,500 of them are of the split “train”, so the" in section_of(content_of(split="train"))["rows"]
    assert "all 300 photos of the table" in section_of(content_of(300, split=None))["rows"]
    folds = replace(content_of(300), card={"folds": 5, "members": []})
    assert "one of 5 networks that never saw it" in section_of(folds)["rows"]


def test_without_ages_there_is_no_section():
    table = pd.DataFrame({"gender": ["male", "female"] * 40, "predicted_gender": ["male"] * 80})
    assert section_of(ReportContent(assess(table))) is None
    assert "<section" not in render_page("age_checks.html", age_checks=None)


def test_nobody_near_a_limit_is_said_and_not_counted_as_none_wrong():
    section = section_of(content_of(age_years=50.0))
    assert section["checks"][0]["sentences"][0].startswith("No photo is labelled 14 to 17, so")
    assert section["checks"][0]["chosen"] is None


def test_faces_are_those_of_people_whom_the_check_should_stop(content, tmp_path):
    shown = section_of(replace(content, photos_root=tmp_path))["checks"][0]["faces"]
    rows = content.assessment.judged
    wrong = rows[rows["age_years"].between(14, 17) & (rows["predicted_age_years"] >= 25)]
    largest = wrong["absolute_age_error_years"].nlargest(12)
    assert [photo.file for photo in shown["photos"]] == rows.loc[largest.index, "path"].tolist()
    assert shown["note"] == f"the 12 largest errors of {len(wrong)} photos"
    assert section_of(content)["checks"][0]["faces"] is None
    assert section_of(replace(content, photos_root=tmp_path, hide_faces=True))["checks"][0]["faces"] is None
