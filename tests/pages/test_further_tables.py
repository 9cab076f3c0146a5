"""The further tables: scores are scikit-learn's, quality is there only with scores, hidden people stay hidden."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics

from agegender.audit.assessment import assess
from agegender.pages.further_tables import further_section
from agegender.pages.page_writing import ReportContent, render_page
from pages.report_inputs import make_predictions, with_more_heads


@pytest.fixture(scope="module")
def content():
    return ReportContent(assess(make_predictions(2800)))


@pytest.fixture(scope="module")
def section(content):
    return further_section(content)


def record(table, **wanted):
    return next(one for one in table.records() if all(one[key] == value for key, value in wanted.items()))


def test_every_score_of_a_number_is_scikit_learns(content, section):
    rows = content.assessment.judged
    own = record(section["scores"][0], group="Black")
    part = rows[rows["ethnicity"] == "Black"]
    true, predicted = part["age_years"], part["predicted_age_years"]
    error = predicted - true
    assert own["mse"] == pytest.approx(metrics.mean_squared_error(true, predicted))
    assert own["rmse"] == pytest.approx(metrics.root_mean_squared_error(true, predicted))
    assert own["mape"] == pytest.approx(metrics.mean_absolute_percentage_error(true, predicted))
    assert own["r2"] == pytest.approx(metrics.r2_score(true, predicted))
    assert own["median_absolute_error"] == pytest.approx(metrics.median_absolute_error(true, predicted))
    assert (own["least_error"], own["most_error"]) == (error.min(), error.max())
    assert own["within_share"] == pytest.approx((error.abs() <= 0.2 * true).mean())
    assert [own[f"cs_{size}"] for size in range(1, 11)] == [
        pytest.approx((error.abs() <= size).mean()) for size in range(1, 11)
    ]


def test_every_score_of_a_class_is_scikit_learns(content, section):
    rows = content.assessment.judged
    part = rows[rows["ethnicity"] == "Black"]
    true, said = part["gender"] == "male", part["predicted_gender"] == "male"
    chance = part["gender_probability_male"]
    own = record(section["scores"][2], group="Black", **{"class": "male"})
    assert own["support"] == true.sum()
    assert own["precision"] == pytest.approx(metrics.precision_score(true, said))
    assert own["recall"] == pytest.approx(metrics.recall_score(true, said))
    assert own["f1"] == pytest.approx(metrics.f1_score(true, said))
    assert own["pr_auc"] == pytest.approx(metrics.average_precision_score(true, chance))
    assert own["brier"] == pytest.approx(metrics.brier_score_loss(true, chance))
    assert own["log_loss"] == pytest.approx(metrics.log_loss(true, chance))
    whole = record(section["scores"][1], group="Black")
    assert whole["accuracy"] == pytest.approx((true == said).mean())


def test_classes_are_not_scored_by_their_own_labels(section):
    assert "gender label" not in {one["grouping"] for one in section["scores"][2].records()}
    assert "gender label" in {one["grouping"] for one in section["scores"][0].records()}


def test_worst_hundred_are_counted_and_said(content, section):
    (part,) = section["worst"]
    assert "The 100 largest of " in part["words"]
    by_age = [one for one in part["table"].records() if one["grouping"] == "age"]
    assert sum(one["worst_n"] for one in by_age) == 100
    errors = content.assessment.judged["absolute_age_error_years"]
    assert f"err by {errors.nlargest(100).min():.1f} years or more" in part["words"]


def test_quality_is_absent_without_scores_and_there_with_them(content):
    assert further_section(content)["quality"] == []
    generator = np.random.default_rng(1)
    table = make_predictions(900)
    score = generator.random(len(table))
    table["predicted_age_years"] += 20 * (score < 1 / 3)
    scored = ReportContent(assess(table.assign(blurry_score=score, is_blurry=score < 0.05)))
    quality = further_section(scored)["quality"]
    age = quality[0].records()
    assert [one["part"] for one in age] == ["lowest third", "middle third", "highest third", "flagged", "not flagged"]
    assert age[0]["value"] > age[1]["value"] + 5
    assert age[0]["gap_same_age_low"] > 0
    equal = next(one for one in quality if one.identifier == "equal-quality-mae")
    assert {one["grouping"] for one in equal.records()} == {"gender label", "ethnicity"}
    assert "Held equal: blurry." in equal.note


def test_other_heads_have_their_tables_and_the_page_is_whole():
    table = with_more_heads(make_predictions(700))
    section = further_section(ReportContent(assess(table)))
    identifiers = [one.identifier for one in section["scores"]]
    assert len(identifiers) == len(set(identifiers))
    assert {"all-scores", "all-scores-height", "each-class"} <= set(identifiers)
    page = render_page("further.html", further=section)
    assert page.count("<details>") == len(section["scores"]) + len(section["worst"])


def test_fewer_than_ten_are_nobodys_figure_where_faces_are_hidden():
    hidden = further_section(replace(ReportContent(assess(make_predictions(2400))), hide_faces=True))
    for table in [*hidden["scores"], *(part["table"] for part in hidden["worst"])]:
        for one in table.records():
            for key in ("n", "support", "worst_n"):
                assert not 0 < (one.get(key) or 0) < 10
