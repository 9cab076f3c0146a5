"""Comparison and explanations: what each page must say."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from agegender.audit.assessment import assess
from agegender.audit.models_compared import compare_pair, leaderboard
from agegender.heads import AGE
from agegender.pages.bias_tables import chalearn_table
from agegender.pages.compare_page import write_comparison
from agegender.pages.lime_page import write_lime
from agegender.pages.page_writing import ReportContent
from pages.report_inputs import make_explanations, make_predictions


@pytest.fixture(scope="module")
def better():
    first = make_predictions(400).assign(split="test")
    second = first.assign(
        predicted_age_years=first["age_years"] + 0.3 * (first["predicted_age_years"] - first["age_years"])
    )
    return first, second


def test_comparison_says_which_model_is_better_and_shows_whom_it_mended(better, tmp_path):
    first, second = better
    models = {"plain": first, "<b>new": second}
    page = write_comparison(
        tmp_path / "compare.html",
        board=leaderboard(models),
        pairs={"<b>new": compare_pair(first, second)},
        first="plain",
    ).read_text()
    assert "&lt;b&gt;new is better." in page
    assert "<b>new" not in page
    assert "Mended" in page
    assert "0 mended and 0 broken of 400, no more than chance makes" in page
    assert page.index("&lt;b&gt;new</th>") < page.index("plain</th>")


def test_explanations_fold_away_a_map_that_failed(tmp_path):
    page = write_lime(tmp_path / "lime.html", make_explanations(3), title="x").read_text()
    believed, _, rest = page.partition("Not to be believed: held-out R² 0.1.")
    assert "1 of 6 maps failed a check" in believed
    assert rest.index("Show the map that can't be believed") < rest.index("<img")


def test_explanations_say_regions_in_years_and_log_odds_with_intervals(tmp_path):
    page = write_lime(tmp_path / "lime.html", make_explanations(1), title="x").read_text()
    assert re.search(r"hair: [+−]\d\.\d years \([+−]\d\.\d to [+−]\d\.\d\)", page)
    assert re.search(r"log-odds \([+−]\d\.\d\d to", page)


def test_explanations_show_whether_their_order_beats_a_random_one(tmp_path):
    page = write_lime(tmp_path / "lime.html", make_explanations(2), title="x").read_text()
    for chart in ("Age: deletion", "Age: insertion", "Gender: deletion", "Gender: insertion"):
        assert f'aria-label="{chart}, mean over 2 photos"' in page
    assert page.count(">random order</text>") == 4


def test_explanations_survive_what_could_not_be_known(tmp_path):
    (one,) = make_explanations(1)
    blank = replace(one, problems=("the photo has one colour",), predictions={}, labels={}, reason="")
    nothing = tuple(
        replace(
            output,
            regions=tuple(replace(r, weight=np.nan, low=np.nan, high=np.nan) for r in output.regions),
            trust=None,
        )
        for output in one.maps
    )
    page = write_lime(tmp_path / "lime.html", [blank, replace(one, maps=nothing)], title="x").read_text()
    visible = re.sub(r"<(style|script|svg)\b.*?</\1>|<[^>]*>", " ", page, flags=re.S)
    assert "the photo has one colour" in visible
    assert not re.search(r"\b(nan|None)\b", visible)


def test_bias_score_stands_beside_what_chance_makes():
    rows = make_predictions(1200).assign(split="test")
    table = chalearn_table(ReportContent(assess(rows)), AGE)
    found = {row.values["attribute"]: row.values for row in table.rows}
    assert set(found) == {"gender", "age", "ethnicity"}
    assert found["age"]["score"] > found["age"]["chance"]
    assert found["gender"]["score"] < found["gender"]["chance"] * 2
    assert found["ethnicity"]["groups"] == 5
