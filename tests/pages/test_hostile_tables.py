"""Tables from elsewhere: markup in names, too many groups, half the labels, nothing to compare."""

from __future__ import annotations

import base64
import csv
import io
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

from agegender.audit.assessment import assess
from agegender.errors import OutputError, TableError
from agegender.pages.bias_page import bias_context
from agegender.pages.bias_tables import group_tables
from agegender.pages.card_page import card_markdown, card_parts
from agegender.pages.page_writing import ReportContent, render_page
from agegender.pages.report_set import write_report_set
from pages.report_inputs import make_explanations, make_photos, make_predictions

EVIL = "\"><script>alert(1)</script><img src=x onerror='alert(2)'>$x_1$"


def bias_page(predictions: pd.DataFrame, **known) -> str:
    context = bias_context(ReportContent(assess(predictions, title=EVIL), **known))
    return render_page("bias.html", pages=[], **context)


def tags_of(page: str) -> list[tuple[str, dict]]:
    found: list[tuple[str, dict]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: found.append((tag, dict(attributes)))
    parser.feed(page)
    return found


def test_markup_in_labels_and_file_names_never_becomes_markup(tmp_path):
    predictions = make_predictions(150)
    predictions["ethnicity"] = np.where(predictions.index % 2, EVIL, "=1+1")
    predictions["path"] = [f"{EVIL}{place}" for place in predictions.index]
    page = bias_page(predictions)
    tags = tags_of(page)
    assert sum(tag == "script" for tag, _ in tags) == 1
    assert not [key for _, attributes in tags for key in attributes if key.startswith("on")]
    assert not [attributes for tag, attributes in tags if tag == "img" and not attributes["src"].startswith("data:")]


def test_a_name_does_not_turn_the_figures_after_it_round():
    predictions = make_predictions(150)
    predictions["ethnicity"] = np.where(predictions.index % 2, "\u202e", "\u2067a")
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", bias_page(predictions))


def test_downloads_hold_the_true_names_and_no_formula():
    predictions = make_predictions(200).assign(split="test")
    predictions["ethnicity"] = np.where(predictions.index % 2, EVIL, "=cmd()")
    table = group_tables(ReportContent(assess(predictions)), ("ethnicity",))[0]
    kind, _, body = table.csv_link.partition(",")
    rows = list(csv.DictReader(io.StringIO(unquote(body).removeprefix("\ufeff"))))
    assert kind == "data:text/csv;charset=utf-8"
    assert {row["group"] for row in rows} == {EVIL, "'=cmd()"}
    frame = pd.read_json(io.BytesIO(base64.b64decode(table.json_link.partition(",")[2])), orient="split")
    assert set(frame["group"]) == {EVIL, "=cmd()"}
    assert ((frame["mae_low"] < frame["mae"]) & (frame["mae"] < frame["mae_high"])).all()


def test_model_card_in_markdown_escapes_labels():
    predictions = make_predictions(200).assign(split="test")
    predictions["ethnicity"] = np.where(predictions.index % 2, EVIL, "a|b")
    text = card_markdown(EVIL, card_parts(ReportContent(assess(predictions, title=EVIL))), is_drawn=False)
    assert "<script" not in text
    assert "a\\|b" in text


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            lambda table: table.assign(ethnicity=[f"group {row % 200}" for row in table.index]), id="200 groups"
        ),
        pytest.param(lambda table: table.assign(gender=None, ethnicity="one", split="test"), id="one group"),
        pytest.param(lambda table: table.mask(table.index.to_series() % 2 == 0, None), id="half missing"),
        pytest.param(lambda table: table.assign(predicted_age_years=30.0, predicted_gender="male"), id="all equal"),
        pytest.param(lambda table: table[["age_years", "predicted_age_years"]], id="ages only"),
        pytest.param(lambda table: table[["gender", "predicted_gender"]], id="genders only"),
        pytest.param(lambda table: table.assign(split=None).head(5), id="five rows"),
        pytest.param(
            lambda table: table.assign(predicted_age_years=table["predicted_age_years"].where(table.index > 40)),
            id="NaN",
        ),
    ],
)
def test_page_stays_whole_and_honest(change):
    page = bias_page(change(make_predictions(240)))
    visible = re.sub(r"<(style|script|svg)\b.*?</\1>|<[^>]*>", " ", page, flags=re.S)
    assert "In short" in visible
    assert not re.search(r"\b(nan|None|inf)\b", visible)


def test_table_without_anything_to_judge_is_refused():
    with pytest.raises(TableError, match="--columns"):
        assess(make_predictions(10)[["path", "age_years"]])
    with pytest.raises(TableError, match="no rows"):
        assess(make_predictions(10).head(0))


def test_values_out_of_range_are_counted_and_said():
    predictions = make_predictions(60)
    predictions.loc[0:2, "age_years"] = [-1.0, 150.0, np.nan]
    predictions.loc[3, "predicted_age_years"] = np.inf
    predictions["gender"] = predictions["gender"].replace({"male": "Man"})
    predictions.loc[4, "gender"] = "dragon"
    audit = assess(predictions)
    assert any(notice.startswith("2 values of age_years") for notice in audit.notices)
    assert any(notice.startswith("1 values of predicted_age_years") for notice in audit.notices)
    assert any("1 values of gender are neither" in notice for notice in audit.notices)
    assert set(audit.rows["gender"].dropna()) == {"male", "female"}


def test_nullable_and_categorical_columns_are_read_like_plain_ones():
    plain = make_predictions(80).mask(lambda table: table.index.to_series() % 7 == 0, None)
    odd = plain.convert_dtypes().astype({"ethnicity": "category", "split": "category"})
    first, second = (assess(table).judged for table in (plain, odd))
    pd.testing.assert_frame_equal(first, second, check_dtype=False)


def test_path_that_leaves_the_folder_is_not_shown(tmp_path):
    predictions = make_predictions(10)
    photos = make_photos(tmp_path / "photos", predictions)
    content = ReportContent(assess(predictions), photos.root)
    assert content.photo_path("../secret.jpg") is None
    assert content.photo_path("/etc/secret.jpg") is None
    assert content.photo_path("a/../b.jpg") == photos.root / "b.jpg"


def test_hidden_faces_are_not_in_the_file(tmp_path):
    predictions = make_predictions(60).assign(split="test")
    photos = make_photos(tmp_path / "photos", predictions, photo_count=60)
    content = ReportContent(assess(predictions, title="x"), photos.root, explanations=make_explanations(2))
    pages = write_report_set(tmp_path, content, hide_faces=True).pages
    assert not [name for name, page in pages.items() if _has_detail(page)]
    assert "<img" not in pages["lime"].read_text()
    assert _has_detail(write_report_set(tmp_path / "shown", content).pages["lime"])


def _has_detail(page) -> bool:
    import cv2

    found = re.findall(r"<img src=\"data:image/webp;base64,([^\"]+)", page.read_text())
    pictures = [cv2.imdecode(np.frombuffer(base64.b64decode(one), np.uint8), cv2.IMREAD_GRAYSCALE) for one in found]
    return any(cv2.Laplacian(picture, cv2.CV_64F).var() > 60 for picture in pictures)


def test_folder_that_cannot_be_written_to_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_report_set(tmp_path / "file" / "report", ReportContent(assess(make_predictions(30), title="x")))
