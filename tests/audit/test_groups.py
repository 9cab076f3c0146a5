"""The group table: equal to fairlearn's, honest about small groups, and finding what was planted."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import MetricFrame
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_tables import simulated_predictions

from agegender.audit.assessment import assess
from agegender.audit.grouping import group_columns
from agegender.heads import AGE, GENDER

MAE = "age.mean_absolute_error"
METRICS = [metric.name for head in (AGE, GENDER) for metric in head.metrics]


def compare_groups(table, metric, *columns, resample_count=2000):
    return replace(assess(table), resample_count=resample_count).compare(metric, columns)


rows = st.lists(
    st.tuples(
        st.floats(0, 100, width=32),
        st.floats(0, 100, width=32),
        st.sampled_from(["a", "b", "c<i>", "é"]),
        st.sampled_from(["x", "y"]),
    ),
    min_size=2,
    max_size=60,
)


@settings(max_examples=20, deadline=None)
@given(rows)
def test_table_equals_fairlearns_metric_frame(cells):
    table = pd.DataFrame(cells, columns=["age_years", "predicted_age_years", "ethnicity", "source"])
    for columns in (("ethnicity",), ("ethnicity", "source")):
        ours = compare_groups(table, "mae", *columns, resample_count=10)
        frame = MetricFrame(
            metrics=lambda true, predicted: np.abs(true - predicted).mean(),
            y_true=table["age_years"],
            y_pred=table["predicted_age_years"],
            sensitive_features=table[list(columns)],
        )
        theirs = frame.by_group.dropna()
        assert ours.overall.estimate.value == pytest.approx(frame.overall, abs=1e-9)
        assert len(ours.groups) == len(theirs)
        for group in ours.groups:
            key = group.values[0] if len(group.values) == 1 else group.values
            assert group.estimate.value == pytest.approx(theirs[key], abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(rows, st.sampled_from(["mae", "signed_error", "within_8"]))
def test_means_weighted_by_size_equal_the_overall(cells, metric):
    table = pd.DataFrame(cells, columns=["age_years", "predicted_age_years", "ethnicity", "source"])
    result = compare_groups(table, metric, "source", "ethnicity", resample_count=5)
    total = sum(group.n * group.estimate.value for group in result.groups)
    assert total / len(table) == pytest.approx(result.overall.estimate.value, abs=1e-9)


def planted_table():
    table = simulated_predictions(1500)
    black = table["ethnicity"] == "Black"
    table.loc[black, "predicted_age_years"] += 3 * np.sign(table["predicted_age_years"] - table["age_years"])[black]
    return table


def test_a_planted_gap_is_worst_and_more_than_chance():
    result = compare_groups(planted_table(), "mae", "ethnicity")
    black = next(group for group in result.groups if group.name == "Black")
    assert result.worst == black
    assert black.gap_to_rest.low < 3 < black.gap_to_rest.high
    assert black.p_corrected < 0.01
    assert result.largest_gap.value > result.largest_gap.null_95
    assert result.largest_gap.highest == "Black"


def test_small_groups_are_shown_but_never_ranked():
    table = simulated_predictions(300)
    table.loc[:19, "ethnicity"] = "Rare"
    table.loc[:19, "predicted_age_years"] = 120.0
    table.loc[299, "ethnicity"] = "Lonely"
    result = compare_groups(table, "mae", "ethnicity")
    rare, lonely = (next(group for group in result.groups if group.name == name) for name in ("Rare", "Lonely"))
    assert (rare.n, rare.is_ranked, lonely.n) == (20, False, 1)
    assert result.worst.name not in {"Rare", "Lonely"}
    assert np.isnan([rare.p_corrected, lonely.estimate.low]).all()
    assert np.isfinite(lonely.estimate.value)


def test_an_ethnic_gap_that_is_an_age_gap_vanishes_at_equal_ages():
    generator = np.random.default_rng(0)
    old = generator.random(4000) < 0.5
    ethnicity = np.where(generator.random(4000) < np.where(old, 0.8, 0.2), "A", "B")
    age = np.where(old, 70.0, 25.0)
    error = generator.normal(0, np.where(old, 10.0, 4.0))
    table = pd.DataFrame({"age_years": age, "predicted_age_years": age + error, "ethnicity": ethnicity})
    group = compare_groups(table, "mae", "ethnicity").groups[0]
    assert group.gap_to_rest.low > 2
    assert group.adjusted_gap.low < 0 < group.adjusted_gap.high
    assert group.adjusted_share == pytest.approx(1.0)


def test_bands_that_only_one_group_has_are_left_out_at_equal_ages():
    table = pd.DataFrame({"age_years": [10.0] * 50 + [30.0] * 100, "ethnicity": ["A"] * 100 + ["B"] * 50})
    table["predicted_age_years"] = table["age_years"] + np.tile([1.0, -3.0], 75)
    group = compare_groups(table, "mae", "ethnicity").groups[0]
    assert group.adjusted_share == pytest.approx(100 / 150)


def test_rows_without_label_or_group_are_counted():
    table = simulated_predictions(100)
    table.loc[:9, "age_years"] = np.nan
    table.loc[5:24, "ethnicity"] = None
    notes = compare_groups(table, "mae", "ethnicity").notes
    assert notes[0].startswith("10 of 100 rows lack the label")
    assert notes[1].startswith("15 of 100 rows have no known ethnicity")


def test_two_hundred_ethnicities_are_cut_to_the_most_frequent_and_said():
    table = simulated_predictions(1000)
    table["ethnicity"] = [f"group {number % 200}" for number in range(1000)]
    result = compare_groups(table, "mae", "ethnicity", resample_count=50)
    assert len(result.groups) == 30
    assert "200 values" in result.notes[-1]
    assert "ethnicity" not in group_columns(table)


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_compares_groups(metric):
    table = simulated_predictions(300)
    table["age_low_years"], table["age_high_years"] = (
        table["predicted_age_years"] - 11,
        table["predicted_age_years"] + 11,
    )
    result = compare_groups(table, metric, "ethnicity", resample_count=100)
    values = assess(table).metric(metric).values(table)
    assert result.overall.estimate.value == pytest.approx(np.nanmean(values))
    assert sum(group.n for group in result.groups) == np.isfinite(values).sum() == result.overall.n


def test_perfect_predictions_have_no_gap():
    table = simulated_predictions(300)
    result = compare_groups(table.assign(predicted_age_years=table["age_years"]), "mae", "ethnicity")
    assert result.largest_gap.value == 0
    assert result.groups[0].estimate.high == pytest.approx(0, abs=1e-9)


def test_columns_to_group_by_are_labels_and_other_short_texts():
    table = simulated_predictions(100).assign(camera=np.where(np.arange(100) % 2, "a", "b"), split="test", mask="no")
    assert group_columns(table) == ("gender", "ethnicity", "age_group", "camera")


def test_missing_predictions_leave_their_groups_unknown():
    table = simulated_predictions(90)
    table.loc[table["ethnicity"] == "White", "predicted_age_years"] = np.nan
    white = compare_groups(table, "mae", "ethnicity").groups[-1]
    assert (white.name, white.n) == ("White", 0)
    assert np.isnan([white.estimate.value, white.estimate.low]).all()


def test_all_comparisons_of_a_report_equal_each_alone():
    assessment = assess(simulated_predictions(400))
    made = assessment.comparisons.by_columns
    assert list(made)[:4] == [("gender",), ("ethnicity",), ("age_group",), ("age_band",)]
    assert list(made)[4:] == [
        ("gender", "ethnicity"),
        ("gender", "age_group"),
        ("ethnicity", "age_group"),
        ("gender", "ethnicity", "age_group"),
    ]
    alone = compare_groups(simulated_predictions(400), "mae", "gender", "age_group")
    for group, one in zip(made["gender", "age_group"][MAE].groups, alone.groups, strict=True):
        assert (group.values, group.n) == (one.values, one.n)
        assert repr((group.estimate, group.gap_alone)) == repr((one.estimate, one.gap_alone))


def test_a_recall_is_not_compared_between_its_own_labels():
    made = assess(simulated_predictions(400)).comparisons
    assert made.get(("gender",), "gender.recall_male") is None
    assert made.get(("ethnicity",), "gender.recall_male").overall.n > 0
    assert made.get(("gender", "ethnicity"), "gender.recall_male") is None
