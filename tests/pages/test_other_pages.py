"""Comparison and explanations: what each page must say."""

from __future__ import annotations

import re
from dataclasses import asdict, replace

import pytest

from agegender.audit.assessment import assess
from agegender.audit.leaderboard import leaderboard
from agegender.audit.models_compared import compare_pair
from agegender.heads import AGE, GENDER
from agegender.pages.bias_tables import chalearn_table
from agegender.pages.compare_page import write_comparison
from agegender.pages.index_page import model_facts
from agegender.pages.page_writing import ReportContent
from agegender.training_settings import TrainingSettings
from pages.report_inputs import make_predictions


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
    assert "Age: &lt;b&gt;new is better than plain</span>: mean absolute error" in page
    assert "<b>new" not in page
    assert "Mended" in page
    assert "&lt;b&gt;new and plain give one and the same gender for each of 400 photos" in page
    assert "0 mended" not in page
    assert page.index("&lt;b&gt;new</th>") < page.index("plain</th>")


def test_marks_of_groups_are_filled_where_their_change_is_claimed(better, tmp_path):
    first, second = better
    pair = compare_pair(first, second)
    page = write_comparison(
        tmp_path / "compare.html", board=leaderboard({"a": first, "b": second}), pairs={"b": pair}, first="a"
    ).read_text()
    groups = pair.changes["age"].by_group
    for title, p_value in (
        ("Mean error by group", "signed_p_corrected"),
        ("Mean absolute error \\(MAE\\) by group", "p_corrected"),
        ("MAE minus that of the rest", "gap_p_corrected"),
    ):
        (claimed,) = re.findall(rf'aria-label="{title}, a [^"]*intervals; (\d+) changes are claimed', page)
        assert int(claimed) == (groups[p_value] < 0.05).sum()
    assert (groups["p_corrected"] < 0.05).any()


def test_bias_score_stands_beside_what_chance_makes():
    rows = make_predictions(1200).assign(split="test")
    table = chalearn_table(ReportContent(assess(rows)), AGE)
    found = {row.values["attribute"]: row.values for row in table.rows}
    assert set(found) == {"gender", "age", "ethnicity"}
    assert found["age"]["score"] > found["age"]["chance"]
    assert found["gender"]["score"] < found["gender"]["chance"] * 2
    assert found["ethnicity"]["groups"] == 5


def test_the_facts_say_what_of_a_training_is_not_as_usual():
    usual = model_facts({"training": asdict(TrainingSettings())})
    assert usual == [("Recipe", "10 epochs, batches of 64")]
    other = TrainingSettings(epochs=3, mixup=0.2, weigh=("ethnicity", "gender"), seed=8, device="cpu")
    said = [("Recipe", "3 epochs, batches of 64; seed 8; mixup 0.2; weigh ethnicity, gender")]
    assert model_facts({"training": asdict(other)}) == said
    assert model_facts({"training": {**asdict(other), "weigh": ["ethnicity", "gender"]}}) == said
    assert model_facts({"training": {}}) == []


def test_facts_say_which_epoch_was_kept_and_why() -> None:
    kept = {"best_epoch": 7, "epochs_trained": 9}
    assert dict(model_facts(kept))["Kept epoch"] == "7 of 9, the lowest validation loss"
    last = {"best_epoch": 9, "epochs_trained": 9, "training": asdict(replace(TrainingSettings(), keep_epoch="last"))}
    assert dict(model_facts(last))["Kept epoch"] == "9 of 9, the last"


def test_a_label_is_cautioned_of_once_whatever_its_head_was_trained_with():
    judged = assess(make_predictions(60), heads=(AGE, replace(GENDER, loss="focal")))
    assert ReportContent(judged).cautions == [GENDER.caution]
