"""The table of coverage: every group, every band of what was predicted and of what is labelled, each end on its own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from agegender.audit import grouping
from agegender.audit.assessment import assess
from agegender.heads import AGE, Regression
from agegender.pages.card_page import card_parts
from agegender.pages.coverage_tables import _bands, coverage_table
from agegender.pages.page_writing import ReportContent
from pages.report_inputs import make_predictions, with_more_heads


@pytest.fixture(scope="module")
def rows():
    return make_predictions(1500).drop(columns="split")


@pytest.fixture(scope="module")
def content(rows):
    low, high = rows["age_years"] - 2, rows["age_years"] + 2
    return ReportContent(assess(rows.assign(age_label_low_years=low, age_label_high_years=high), title="made-up"))


def row_of(table, what, group):
    return next(row.values for row in table.rows if (row.values["grouping"], row.values["group"]) == (what, group))


def test_coverage_is_told_by_group_and_by_predicted_and_labelled_age(rows, content):
    table = coverage_table(content, AGE)
    inside = (rows["age_years"] - rows["predicted_age_years"]).abs() <= 9
    everybody = row_of(table, "all", "everybody")
    assert everybody["n"] == 1500
    assert everybody["coverage"].value == pytest.approx(inside.mean())
    assert everybody["coverage"].low < inside.mean() < everybody["coverage"].high
    assert row_of(table, grouping.title(["gender"]), "female")["coverage"].value == pytest.approx(
        inside[rows["gender"] == "female"].mean()
    )
    for what, column in (("predicted age", "predicted_age_years"), ("labelled age", "age_years")):
        teens = (rows[column] >= 15) & (rows[column] < 20)
        found = row_of(table, what, "15–19")
        assert (found["n"], found["coverage"].value) == (teens.sum(), pytest.approx(inside[teens].mean()))


def test_each_end_is_told_on_its_own(rows, content):
    found = row_of(coverage_table(content, AGE), "all", "everybody")
    away = rows["age_years"] - rows["predicted_age_years"]
    assert found["below"].value == pytest.approx((away < -9).mean())
    assert found["above"].value == pytest.approx((away > 9).mean())
    assert found["width"] == pytest.approx(18.0)


def test_the_interval_that_knows_the_labels_stands_beside_the_other(content, rows):
    found = row_of(coverage_table(content, AGE), "labelled age", "15–19")
    assert (found["label_coverage"].value, found["label_width"]) == (1.0, pytest.approx(4.0))
    without = coverage_table(ReportContent(assess(rows)), AGE)
    assert "label_coverage" not in [column.key for column in without.columns]
    assert "second interval" not in without.note


def test_rows_without_intervals_have_no_table(rows):
    bare = rows.drop(columns=["age_low_years", "age_high_years"])
    assert coverage_table(ReportContent(assess(bare)), AGE) is None


def test_fifths_of_numbers_near_one_another_stay_apart():
    values = pd.Series(164.0 + np.arange(50) / 1000)
    bands = _bands(Regression("height", "height_cm", "cm"), values)
    assert bands.value_counts().tolist() == [10] * 5


def test_other_numbers_have_fifths(rows):
    table = with_more_heads(make_predictions(600))
    content = ReportContent(assess(table.assign(height_low_cm=0.0, height_high_cm=500.0)))
    height = next(head for head in content.regressions if head.name == "height")
    parts = [row.values for row in coverage_table(content, height).rows if row.values["grouping"] == "labelled height"]
    assert len(parts) == 5
    assert sum(part["n"] for part in parts) == np.isfinite(content.assessment.judged["height_cm"]).sum()


def test_the_card_prints_it_too(content):
    (metrics,) = (part for part in card_parts(content) if part["title"] == "Metrics")
    assert "Coverage of the 90 % age intervals" in [table.caption for table in metrics["tables"]]
