"""Pages of a model that predicts more than age and gender: the kind of a head decides, to the last page."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from agegender.audit.assessment import assess
from agegender.audit.leaderboard import leaderboard
from agegender.audit.models_compared import compare_pair
from agegender.audit.words import in_unit
from agegender.heads import AGE, GENDER, Classification, Regression
from agegender.pages.bias_page import bias_context
from agegender.pages.bias_tables import confusion_matrices
from agegender.pages.card_page import card_markdown, card_parts
from agegender.pages.compare_page import leaderboard_table, write_comparison
from agegender.pages.index_page import learning_curves
from agegender.pages.page_writing import ReportContent, render_page
from agegender.pages.report_set import write_report_set
from agegender.pages.split_tables import key_figures, split_table
from pages.report_inputs import MASK_CLASSES, make_predictions, with_more_heads


def visible(page: str) -> str:
    return re.sub(r"<(style|script|svg)\b.*?</\1>|<[^>]*>", " ", page, flags=re.S)


@pytest.fixture(scope="module")
def content() -> ReportContent:
    names = ("age", "gender", "height", "expression", "mask_age_gender")
    history = pd.DataFrame({"epoch": [1, 2], "train_loss": [3.0, 2.0]})
    for name in names:
        history[f"train_loss_{name}"] = [2.0, 1.0]
    history = history.assign(valid_height_mae=[9.0, 6.0], valid_expression_accuracy=[0.5, 0.8])
    assessment = assess(with_more_heads(make_predictions(700)), title="many")
    assert tuple(head.name for head in assessment.heads) == names
    return ReportContent(assessment, history=history, card={"name": "many"})


@pytest.fixture(scope="module")
def texts(content, tmp_path_factory) -> dict[str, str]:
    pages = write_report_set(tmp_path_factory.mktemp("many"), content).pages
    return {name: path.read_text() for name, path in pages.items()}


def test_every_head_has_its_sections_and_a_table_for_each_grouping(texts):
    for anchor in ("ages", "heights", "genders", "expressions", "mask_age_genders", "errors", "certainty"):
        assert f' id="{anchor}">' in texts["bias"]
    for head in ("age", "gender", "height", "expression", "mask_age_gender"):
        assert f'<table id="ethnicity-{head}"' in texts["bias"]


def test_units_and_directions_are_those_of_the_head(texts):
    assert "cm; right of the line: judged too high" in texts["bias"]
    assert "years; right of the line: judged too old" in texts["bias"]
    assert "labelled height, cm" in texts["bias"]
    assert "Coverage of the 90 % height intervals" in texts["bias"]


def test_no_raw_value_and_no_id_stands_twice(texts):
    for page in texts.values():
        assert not re.search(r"\b(nan|None|NaT|inf)\b", visible(page))
        anchors = re.findall(r"<(?:section|table|details|h3)[^>]* id=\"([^\"]+)\"", page)
        assert len(anchors) == len(set(anchors))


def test_every_link_inside_the_bias_page_arrives(texts):
    anchors = set(re.findall(r" id=\"([^\"]+)\"", texts["bias"]))
    assert set(re.findall(r"href=\"#([^\"]+)\"", texts["bias"])) <= anchors


def test_matrix_of_18_classes_is_whole_and_its_rows_are_numbered(content, texts):
    head = next(head for head in content.classifications if head.name == "mask_age_gender")
    (matrix,) = confusion_matrices(content, head)
    assert matrix.counts.shape == (18, 18)
    assert matrix.counts.sum() == len(content.assessment.judged)
    assert matrix.row_name(0).startswith(f"1: {head.classes[0]}")
    assert all(name.replace("<", "&lt;") in texts["bias"] for name in MASK_CLASSES)


def test_classes_of_a_larger_head_have_precision_recall_and_f1(content, texts):
    assert '<table id="classes-expression"' in texts["bias"]
    assert '<table id="classes-gender"' not in texts["bias"]
    figures = {figure["name"]: figure["value"] for figure in key_figures(content, split_table(content))}
    head = content.classifications[1]
    macro = head.scores(content.assessment.judged)["macro_f1"]
    assert figures["Expression macro F1"] == f"{macro:.3f}"
    assert "Gender macro F1" not in figures


def test_classes_beyond_a_matrix_are_counted_in_a_table_alone():
    names = [f"class {number:02}" for number in range(25)]
    label = np.random.default_rng(0).choice(names, 400)
    page = render_page("bias.html", pages=[], **bias_context(ReportContent(assess(
        pd.DataFrame({"kind": label, "predicted_kind": np.roll(label, 1), "side": ["a", "b"] * 200})
    ))))  # fmt: skip
    assert "A matrix of 25 classes would show nothing" in page
    assert 'id="classes-kind"' in page


def test_learning_curves_are_those_of_the_history(content):
    drawn = re.findall(r'aria-label="([^"]*?) over 2 epochs', " ".join(learning_curves(content)))
    assert drawn == [
        "Loss of the age head", "Loss of the gender head", "Loss of the height head", "Loss of the expression head",
        "Loss of the mask age gender head", "All losses, weighted", "Height error", "Expression accuracy",
    ]  # fmt: skip


def test_card_speaks_of_each_head_once(content):
    text = card_markdown("many", card_parts(content), is_drawn=False)
    assert "- Height: mean absolute error in cm." in text
    assert "- Expression label: accuracy, macro F1 over its 3 classes, and recall of each." in text
    assert "- Proving a height. An estimate has an interval of many cm" in text
    assert text.count("annotated label of how a person presents") == 1


def test_caution_of_a_head_stands_once_on_each_page(texts):
    for page in texts.values():
        assert page.count("annotated label of how a person presents") == 1


def test_sensitive_head_brings_its_caution():
    head = Classification("ethnicity", "ethnicity", ("Asian", "White"), caution="Sort nobody by it.", is_sensitive=True)
    table = pd.DataFrame({"ethnicity": ["Asian", "White"] * 40, "predicted_ethnicity": ["Asian"] * 80})
    content = ReportContent(assess(table, heads=[head]))
    assert content.cautions == ["Sort nobody by it."]
    assert "Telling anybody's ethnicity, or sorting people by it." in card_markdown(
        "x", card_parts(content), is_drawn=False
    )


def test_figures_of_a_small_scale_have_decimals_enough():
    values = np.random.default_rng(1).normal(1.7, 0.1, 120)
    table = pd.DataFrame({"stature_m": values, "predicted_stature_m": values + 0.02, "side": ["a", "b"] * 60})
    content = ReportContent(assess(table))
    (head,) = content.heads
    assert isinstance(head, Regression)
    assert content.digits(head) >= 3
    figures = {figure["name"]: figure["value"] for figure in key_figures(content, split_table(content))}
    assert float(figures[in_unit(f"Mean absolute {head.title} error", head)]) == pytest.approx(0.02)


def test_comparison_goes_head_by_head(tmp_path):
    first = with_more_heads(make_predictions(300).assign(split="test"))
    second = first.assign(predicted_height_cm=first["height_cm"] + 1.0, predicted_expression=first["expression"])
    page = write_comparison(
        tmp_path / "compare.html",
        board=leaderboard({"plain": first, "new": second}),
        pairs={"new": compare_pair(first, second)},
        first="plain",
    ).read_text()
    words = re.sub(r"</?span[^>]*>", "", page)
    assert re.search(
        r"Height: new is better than plain: mean absolute error [\d.]+ cm against [\d.]+, [\d.]+ lower", words
    )
    assert re.search(r"Expression: new is better than plain: right for 100.0 % .* \d+ mended, 0 broken", words)
    assert "Mended: much closer than before in height" in page


def test_leaderboard_keeps_the_score_of_a_head_that_one_model_alone_has():
    first = with_more_heads(make_predictions(60).assign(split="test"))
    ages = make_predictions(60).assign(split="test")[["path", "age_years", "predicted_age_years", "ethnicity"]]
    pair = compare_pair(first, ages)
    table = leaderboard_table(leaderboard({"all": first, "ages": ages}), pair.heads)
    titles = {column.key: column.title for column in table.columns}
    assert titles["mae"] == "MAE, years"
    assert titles["gender_accuracy"] == "Gender accuracy"
    assert titles["height_mae"].startswith("Height: MAE")
    assert not any(key.startswith("rank_") for key in titles)
    heights = [table.drop(columns=["age_years", "predicted_age_years"]) for table in (first, first)]
    keys = {column.key for column in leaderboard_table(leaderboard(dict(enumerate(heights)))).columns}
    assert "expression_accuracy" in keys
    assert not any(key.startswith("rank_") for key in keys)


def test_tables_of_the_two_default_heads_are_called_as_ever():
    tables = bias_context(ReportContent(assess(make_predictions(300))))["groups"][0]["tables"]
    assert [table.identifier for table in tables] == [f"gender-{head.name}" for head in (AGE, GENDER)]
    keys = [column.key for column in tables[0].columns]
    assert keys[:4] == ["group", "n", "mae", "mae_gap"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda table: table.mask(table.index.to_series() % 2 == 0, None), id="half missing"),
        pytest.param(lambda table: table[[name for name in table if "probability" not in name]], id="no probabilities"),
        pytest.param(lambda table: table.assign(height_cm=170.0, predicted_expression="happy"), id="all equal"),
        pytest.param(lambda table: table[["height_cm", "predicted_height_cm"]].head(1), id="one number"),
    ],
)
def test_page_of_further_heads_stays_whole(change):
    content = ReportContent(assess(change(with_more_heads(make_predictions(120))), title="x"))
    page = visible(render_page("bias.html", pages=[], **bias_context(content)))
    assert "In short" in page
    assert not re.search(r"\b(nan|None|NaT|inf)\b", page)
