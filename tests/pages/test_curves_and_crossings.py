"""Curves along the age and tables of crossings: equal to the audit's figures, and silent where photos are few."""

from __future__ import annotations

import html

import pytest

from agegender.audit.assessment import assess
from agegender.audit.words import number
from agegender.pages.error_curve_section import MOST_IN_ALL, error_curves
from agegender.pages.group_heatmaps import heatmaps
from agegender.pages.page_writing import ReportContent
from pages.report_inputs import make_predictions


@pytest.fixture(scope="module")
def content() -> ReportContent:
    return ReportContent(assess(make_predictions(2000).assign(split="test"), title="made-up", adjust_for=None))


def test_table_behind_the_curves_holds_means_of_the_photos_in_each_window(content):
    section = error_curves(content, content.regressions[0])
    judged = content.assessment.judged
    whole = [row.values for row in section["table"].rows if row.values["group"] == "everybody"]
    reach = float(section["reach"].split()[0].removeprefix("±"))
    assert whole
    for row in whole:
        inside = judged[(judged["age_years"] - row["label"]).abs() <= reach]
        assert row["n"] == len(inside) >= 30
        assert row["mae"].value == pytest.approx(inside["absolute_age_error_years"].mean())
        assert row["mae"].low < row["mae"].value < row["mae"].high


def test_each_group_has_a_curve_but_bands_of_age_have_none(content):
    section = error_curves(content, content.regressions[0])
    names = [one["name"] for one in section["groupings"]]
    assert names == ["gender label", "ethnicity"]
    drawings = [drawing for one in section["groupings"] for drawing in one["drawings"]]
    assert 2 < len(drawings) <= 2 * MOST_IN_ALL
    assert "mean error along the labelled age, years, male" in html.unescape(drawings[0])


def test_cells_are_the_audits_figures_and_small_ones_are_grey(content):
    first = heatmaps(content)[0]
    assert first["caption"] == "Mean signed error, years, by ethnicity × age band"
    told = content.assessment.by("signed_error", "ethnicity", "age_band").set_index(["ethnicity", "age_band"])
    for row in first["rows"]:
        for column, cell in zip(first["columns"], row["cells"], strict=True):
            if (row["name"], column) not in told.index:
                assert cell["count"] == "0"
                continue
            group = told.loc[row["name"], column]
            assert cell["text"] == number(group["value"], 1, signed=True)
            assert cell["count"] == f"{int(group['n']):,}"
            assert cell["is_few"] == (group["n"] < 30)
            assert cell["share"] == 0 or not cell["is_few"]


def test_bands_lie_in_the_order_of_their_years(content):
    assert heatmaps(content)[0]["columns"][:4] == ["0–4", "5–9", "10–14", "15–19"]


def test_where_nobody_is_to_be_shown_no_cell_tells_of_few_photos(content):
    hidden = ReportContent(content.assessment, hide_faces=True)
    for one in heatmaps(hidden):
        assert all(row.values["n"] >= 10 for row in one["table"].rows)
        for row in one["rows"]:
            for cell in row["cells"]:
                assert cell["text"] in ("", "…") or int(cell["count"].replace(",", "")) >= 10


def test_table_without_groups_makes_no_crossing_and_a_small_one_no_curve():
    rows = make_predictions(20)[["age_years", "predicted_age_years"]]
    content = ReportContent(assess(rows, title="small"))
    assert heatmaps(content) == []
    assert error_curves(content, content.regressions[0]) is None
