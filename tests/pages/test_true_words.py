"""What the pages say is so: what has no interval says that, every claim leads to its figures, nothing is made up."""

from __future__ import annotations

import html
import json
import re

import numpy as np
import pytest

from agegender.audit import grouping
from agegender.audit.assessment import assess
from agegender.audit.leaderboard import leaderboard
from agegender.audit.models_compared import compare_pair
from agegender.audit.sentences import group_words
from agegender.pages import bias_charts
from agegender.pages.bias_page import bias_context, finding_links
from agegender.pages.compare_page import write_comparison
from agegender.pages.page_writing import ReportContent, render_page
from agegender.pages.report_set import write_report_set
from agegender.pages.split_tables import split_group_table, split_table
from agegender.writing import to_json
from pages.report_inputs import make_predictions

_TABLE = re.compile(r"<table id.*?</table>", re.S)
_HEADING = re.compile(r'<th scope="col" data-key="([^"]*)"( class="n")?')
_CELL = re.compile(r"<td([^>]*)>(.*?)</td>", re.S)
# Counts, shares of counts, levels of a test, ranks and what chance makes are no estimates of a difference.
_NO_ESTIMATE = re.compile(
    r"(^|_)n$|_n$|^groups$|share|^p_|_p$|p_value|chance|^null_95$|^label$|^first_rate$|rank|^p$|mended|broken|seconds|epoch"
)


@pytest.fixture(scope="module")
def pages_of_numbers(tmp_path_factory):
    """The pages of somebody's table with ages alone, and without splits."""
    folder = tmp_path_factory.mktemp("ages")
    rows = make_predictions(900)[["path", "age_years", "predicted_age_years", "gender", "ethnicity"]]
    write_report_set(folder, ReportContent(assess(rows, title="ages")))
    return {path.stem: path.read_text() for path in folder.rglob("*.html")}


def _words(page: str) -> str:
    bare = re.sub(r"<(style|script|svg)\b.*?</\1>", " ", page, flags=re.S)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", bare)))


def _figures_without_interval(page: str) -> list[tuple[str, str]]:
    """Return (caption, column) of every column of numbers that has no interval, and whose table does not say so."""
    found = []
    for table in _TABLE.findall(page):
        caption = _words(re.search(r"<caption>.*?</caption>", table, re.S)[0])
        if re.search("no interval|have none|without an interval", caption):
            continue
        keys = _HEADING.findall(table)
        if caption.strip() == "Epoch by epoch":
            continue
        rows = [_CELL.findall(row) for row in re.findall(r"<tr.*?</tr>", table, re.S)[1:]]
        for place, (key, is_number) in enumerate(keys[1:]):
            cells = [row[place] for row in rows if len(row) > place]
            told = [words for _, words in cells if re.search(r"\d", words)]
            if is_number and told and not _NO_ESTIMATE.search(key) and not any("ends" in words for words in told):
                found.append((caption, key))
    return found


def test_every_figure_has_its_interval_or_its_table_says_that_there_is_none(report, pages_of_numbers):
    pages = {name: path.read_text() for name, path in report.written.pages.items()}
    for name in ("bias", "index"):
        assert _figures_without_interval(pages[name]) == []
        assert _figures_without_interval(pages_of_numbers[name]) == []


def test_every_figure_of_a_comparison_has_its_interval_or_its_table_says_that_there_is_none(predictions, tmp_path):
    other = make_predictions(1600, seed=8)[["predicted_age_years", "predicted_gender", "female_probability"]]
    tables = {"a": predictions, "b": predictions.assign(**{name: other[name] for name in other})}
    page = write_comparison(
        tmp_path / "compare.html",
        board=leaderboard(tables),
        pairs={"b": compare_pair(*tables.values(), resample_count=200)},
        first="a",
    ).read_text()
    assert _figures_without_interval(page) == []


def test_every_claim_leads_to_a_table_of_its_own_groups_and_to_their_faces(report):
    text = report.written.pages["bias"].read_text()
    gaps = [one for one in report.content.assessment.findings if one.is_gap]
    links = finding_links(report.content, gaps)
    assert gaps
    for finding, link in zip(gaps, links, strict=True):
        section = text.split(f'id="{link["address"].removeprefix("#")}"', 1)[1].split('id="by-', 1)[0]
        assert " × ".join(finding.values) in html.unescape(section)
        assert f'id="{link["faces_address"].removeprefix("#")}"' in text


def test_every_number_of_a_claim_stands_in_the_audits_json():
    """Each number is one of the finding, or of its group in the long table, as it is or in percent."""
    rows = make_predictions(3000)
    rows.loc[rows["ethnicity"] == "Black", "predicted_age_years"] += 6.0
    content = ReportContent(assess(rows, title="x"))
    findings = [one for one in content.assessment.findings if one.is_gap]
    table = content.assessment.comparisons.to_frame()
    page = _words(render_page("bias.html", pages=[], **bias_context(content)))
    assert len(findings) >= 4
    for finding in findings:
        document = json.loads(to_json(finding.to_dict()))
        group = table[(table["grouping"] == " × ".join(finding.columns)) & (table["group"] == finding.name)]
        figures = group[group["metric"] == finding.metric].select_dtypes("number").to_numpy().ravel()
        known = [*figures, *(value for value in document.values() if isinstance(value, (int, float)))]
        told = {f"{abs(scale * value):,.{digits}f}" for value in known if np.isfinite(value)
                for scale in (1, 100) for digits in (0, 1)}  # fmt: skip
        sentence = finding.sentence.removeprefix(group_words(finding.columns, finding.values))
        sentence = re.sub(r"95 % CI|90 % age interval", "", sentence)
        numbers = re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?", sentence)
        assert numbers
        assert set(numbers) <= told, finding.sentence
        assert finding.claim in page


def test_claim_about_an_intersection_leads_to_its_own_table():
    rows = make_predictions(3000, old_gap_years=0.0).assign(split="test")
    worst = (rows["ethnicity"] == "Black") & (rows["gender"] == "female")
    rows.loc[worst, "predicted_age_years"] += 14.0
    content = ReportContent(assess(rows, title="crossed"))
    crossed = [one for one in content.assessment.findings if one.is_gap and len(one.columns) > 1]
    assert ("gender", "ethnicity") in {one.columns for one in crossed}
    for finding, link in zip(crossed, finding_links(content, crossed), strict=True):
        assert link["address"].startswith("#by-")
        assert finding.columns in content.comparisons.by_columns
        assert grouping.title(finding.columns)


def test_table_from_elsewhere_is_not_said_to_be_unmet_nor_of_two_heads(pages_of_numbers):
    for page in pages_of_numbers.values():
        words = _words(page)
        for untold in ("never met", "two heads", "Two heads", "(seen)", "kept aside", "seen and unseen"):
            assert untold not in words
    assert "Predictions of age in years" in _words(pages_of_numbers["index"])


def test_splits_of_a_table_from_elsewhere_are_not_said_to_be_seen(tmp_path):
    write_report_set(tmp_path, ReportContent(assess(make_predictions(900), title="elsewhere")))
    for name in ("index", "bias"):
        words = _words(next(tmp_path.rglob(f"{name}.html")).read_text())
        assert "doesn't say which photos the model was trained on" in words
        assert "(seen)" not in words
        assert "never met" not in words


def test_wrong_labels_are_no_more_than_possible_and_impossible_under_drawn_faces(tmp_path):
    drawn = make_predictions(900).assign(source="drawn_faces")
    for rows, is_said in ((make_predictions(900), True), (drawn, False)):
        folder = tmp_path / str(is_said)
        write_report_set(folder, ReportContent(assess(rows, title="t")))
        words = " ".join(_words(path.read_text()) for path in folder.rglob("*.html"))
        assert "as common as" not in words
        assert ("some of these labels may be what is wrong" in words) is is_said


def test_one_figure_has_one_interval_wherever_it_stands_on_a_page(report):
    content = report.content
    split = next(row.values for row in split_table(content).rows if row.values["name"] == "test")
    assert split["mae"] == content.assessment.overall("age.mean_absolute_error")
    assert split["gender_accuracy"] == content.assessment.overall("gender.accuracy")
    by_group = {
        row.values["group"]: row.values["test_mae"]
        for row in split_group_table(content).rows
        if row.values["grouping"] == "ethnicity"
    }
    for group in content.comparisons.get(("ethnicity",), "age.mean_absolute_error").groups:
        assert by_group[group.name] == group.estimate


def test_forest_plots_share_an_axis_and_show_the_worst_first(report):
    result = report.content.comparisons.get(("ethnicity",), "age.mean_absolute_error")
    drawing = html.unescape(bias_charts.forests(report.content, ("ethnicity",))[0])
    names = re.findall(r"(\w+): [−+]?\d", re.search(r'aria-label="([^"]*)"', drawing)[1])
    gaps = {group.name: group.gap_to_rest.value for group in result.ranked}
    shown = [name for name in names if name in gaps]
    assert shown == sorted(gaps, key=lambda name: -gaps[name])
    ends = [re.search(r'data-axes="\d+ \d+ \d+ \d+ (\S+ \S+)', one)[1] for columns in (("ethnicity",), ("gender",))
            for one in bias_charts.forests(report.content, columns)[:1]]  # fmt: skip
    assert ends[0] == ends[1]
