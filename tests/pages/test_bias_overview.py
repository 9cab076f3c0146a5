"""The head of the bias page: what it says first is what the audit claims, and nothing else is filled."""

from __future__ import annotations

import html
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agegender.audit.assessment import assess
from agegender.audit.sentences import group_words
from agegender.pages.bias_overview import overview, row_name, verdict, yardsticks
from agegender.pages.bias_page import finding_links
from agegender.pages.charts import shortened_apart
from agegender.pages.findings_by_group import findings_by_group
from agegender.pages.galleries import PhotoShelf
from agegender.pages.page_writing import ReportContent
from pages.report_inputs import make_predictions


@pytest.fixture(scope="module")
def content() -> ReportContent:
    return ReportContent(assess(make_predictions(3000), title="made-up"), card={"name": "made-up"})


def test_verdict_names_the_planted_group_and_says_that_nobody_else_differs(content):
    lines = verdict(content)
    assert lines[0].values == ("≥60",)
    assert isinstance(lines[-1], str)
    assert lines[-1].startswith("Beside age: no group")


def test_filled_points_are_the_gaps_that_the_audit_claims(content):
    for metric, drawing in zip(("age.mean_absolute_error", "age.mean_signed_error", "gender.accuracy"),
                               overview(content), strict=True):  # fmt: skip
        said = re.search(r"Clearly different: (.*?)\. All", html.unescape(drawing))[1]
        claimed = {
            f"{row_name(columns, group)} ({group.n:,})"
            for columns in content.comparisons.single
            for group in content.comparisons.get(columns, metric).groups
            if group.p_corrected < 0.05
        }
        assert set(said.split("; ")) == (claimed or {"none"})


def test_worst_group_stands_first(content):
    told = html.unescape(overview(content)[0]).split("95 % intervals: ")[1]
    assert told.startswith("ages 60")


def test_yardsticks_are_those_of_a_guess_that_looks_at_nothing(content):
    judged, training = content.assessment.judged, content.assessment.training
    missed = np.abs(judged["age_years"] - training["age_years"].median()).mean()
    usual = training["gender"].mode()[0]
    age, gender = yardsticks(content)
    assert age["more"].endswith(f"median of the training photos: {missed:.2f}")
    assert gender["more"].endswith(f"{100 * (judged['gender'] == usual).mean():.1f} %")
    assert f"“{usual}”" in gender["more"]


def test_every_claim_stands_in_the_one_block_of_its_group(content):
    links = finding_links(content, content.assessment.findings)
    blocks = findings_by_group(content, links, PhotoShelf(content))
    gaps = [one for one in content.assessment.findings if one.is_gap]
    assert [claim["claim"] for block in blocks for claim in block["claims"] if block is blocks[0]]
    assert sorted(claim["sentence"] for block in blocks for claim in block["claims"]) == sorted(
        one["sentence"] for one in links if one["is_gap"]
    )
    assert len({block["name"] for block in blocks}) == len(blocks)
    assert {block["name"] for block in blocks} == {group_words(one.columns, one.values) for one in gaps}


def test_rare_group_is_told_which_command_may_help_and_a_common_one_is_not(content):
    links = finding_links(content, content.assessment.findings)
    old = findings_by_group(content, links, PhotoShelf(content))[0]
    share = (content.assessment.training["age_group"] == "≥60").mean()
    assert f"It has {100 * share:.1f} % of the training photos" in old["remedy"]
    assert old["command"] == "agegender train --balance age_group --name made-up-balanced"
    assert "mean signed error (now −" in old["afterwards"]


def test_where_nothing_is_claimed_the_page_says_so_and_not_that_all_is_well():
    rows = make_predictions(900, old_gap_years=0.0).assign(split="test")
    content = ReportContent(assess(rows, title="even"))
    assert all(isinstance(line, str) for line in verdict(content))
    assert "chance can be left out" in verdict(content)[0]


@given(
    st.lists(
        st.text("ab ", min_size=1, max_size=60), min_size=2, max_size=12, unique_by=lambda name: " ".join(name.split())
    )
)
def test_long_names_stay_apart_however_they_are_cut(names):
    whole = [" ".join(name.split()) for name in names]
    assert len(set(shortened_apart(names, 14))) == len(set(whole))


def test_names_of_200_letters_that_differ_in_the_middle_stay_apart():
    names = [f"{'a' * 100}{middle}{'z' * 100}" for middle in "xyz"]
    assert len(set(shortened_apart(names))) == 3
    assert max(map(len, shortened_apart(names))) < 40


def test_columns_of_a_table_with_one_group_make_no_picture():
    rows = pd.DataFrame({"age_years": [30.0] * 40, "predicted_age_years": [31.0] * 40, "gender": ["male"] * 40})
    content = ReportContent(assess(rows, title="one"))
    assert overview(content) == []
