"""The group table: equal to fairlearn's, honest about small groups, and finding what was planted."""

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import MetricFrame
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_tables import simulated_predictions

from agegender.audit.old_groups import compare_groups, compare_many, group_columns
from agegender.audit.representation import representation
from agegender.audit.rows import METRICS, row_values
from agegender.errors import TableError, UsageError

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
    for columns in ("ethnicity", ("ethnicity", "source")):
        ours = compare_groups(table, "mae", columns, resample_count=10)
        frame = MetricFrame(
            metrics=lambda true, predicted: np.abs(true - predicted).mean(),
            y_true=table["age_years"],
            y_pred=table["predicted_age_years"],
            sensitive_features=table[[columns] if isinstance(columns, str) else list(columns)],
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
    result = compare_groups(table, metric, ("source", "ethnicity"), resample_count=5)
    total = sum(group.n * group.estimate.value for group in result.groups)
    assert total / len(table) == pytest.approx(result.overall.estimate.value, abs=1e-9)


def planted_table():
    table = simulated_predictions(1500)
    black = table["ethnicity"] == "Black"
    table.loc[black, "predicted_age_years"] += 3 * np.sign(table["predicted_age_years"] - table["age_years"])[black]
    return table


def test_a_planted_gap_is_worst_and_more_than_chance():
    result = compare_groups(planted_table(), "mae", "ethnicity", reference="White")
    black = next(group for group in result.groups if group.name == "Black")
    assert result.worst == black
    assert black.gap_to_rest.low < 3 < black.gap_to_rest.high
    assert black.gap_to_reference.low > 0
    assert black.p_corrected < 0.01
    assert result.largest_gap.value > result.largest_gap.null_95
    assert result.largest_gap.highest == "Black"


def test_the_reference_is_not_compared_with_itself():
    result = compare_groups(simulated_predictions(), "gender_accuracy", "ethnicity", reference="White")
    white = next(group for group in result.groups if group.name == "White")
    assert np.isnan([white.gap_to_reference.value, white.gap_to_reference.low]).all()


def test_small_groups_are_shown_but_never_ranked():
    table = simulated_predictions(300)
    table.loc[:19, "ethnicity"] = "Rare"
    table.loc[:19, "predicted_age_years"] = 120.0
    table.loc[299, "ethnicity"] = "Lonely"
    result = compare_groups(table, "mae", "ethnicity")
    rare, lonely = (next(group for group in result.groups if group.name == name) for name in ("Rare", "Lonely"))
    assert (rare.n, rare.is_ranked, lonely.n) == (20, False, 1)
    assert result.worst.name not in {"Rare", "Lonely"}
    assert np.isnan([rare.p_value, lonely.estimate.low]).all()
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
    assert group.standardised_gap.low < 0 < group.standardised_gap.high
    assert group.standardised_share == pytest.approx(1.0)


def test_bands_that_only_one_group_has_are_left_out_of_standardisation():
    table = pd.DataFrame({"age_years": [10.0] * 50 + [30.0] * 100, "ethnicity": ["A"] * 100 + ["B"] * 50})
    table["predicted_age_years"] = table["age_years"] + np.tile([1.0, -3.0], 75)
    group = compare_groups(table, "mae", "ethnicity").groups[0]
    assert group.standardised_share == pytest.approx(100 / 150)


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


@pytest.mark.parametrize("metric", list(METRICS))
def test_every_metric_compares_groups(metric):
    table = simulated_predictions(300)
    table["age_low_years"], table["age_high_years"] = (
        table["predicted_age_years"] - 11,
        table["predicted_age_years"] + 11,
    )
    result = compare_groups(table, metric, "ethnicity", resample_count=100)
    values = row_values(table, metric)
    assert result.overall.estimate.value == pytest.approx(np.nanmean(values))
    assert sum(group.n for group in result.groups) == np.isfinite(values).sum() == result.overall.n


def test_nothing_at_all_gives_nan_and_no_groups():
    result = compare_groups(simulated_predictions(30).iloc[:0], "mae", "ethnicity")
    assert (result.groups, result.overall.n, result.worst, result.largest_gap) == ((), 0, None, None)
    assert result.to_frame().empty


def test_missing_predictions_leave_empty_groups_unknown():
    result = compare_groups(simulated_predictions(90).assign(predicted_age_years=np.nan), "mae", "ethnicity")
    assert {group.n for group in result.groups} == {0}
    assert all(np.isnan(group.estimate.value) for group in result.groups)


def test_perfect_predictions_have_no_gap():
    table = simulated_predictions(300)
    result = compare_groups(table.assign(predicted_age_years=table["age_years"]), "mae", "ethnicity")
    assert result.largest_gap.value == 0
    assert result.groups[0].estimate.high == pytest.approx(0, abs=1e-9)


def test_wrong_names_are_explained():
    table = simulated_predictions(50)
    with pytest.raises(TableError, match="cannot group by nation"):
        compare_groups(table, "mae", "nation")
    with pytest.raises(UsageError, match="no group metric 'mse'; there are mae"):
        compare_groups(table, "mse", "ethnicity")
    with pytest.raises(UsageError, match="no reference group Martian"):
        compare_groups(table, "mae", "ethnicity", reference="Martian")
    with pytest.raises(TableError, match="needs the columns age_low_years, age_high_years"):
        compare_groups(table, "interval_coverage", "ethnicity")


def test_columns_to_group_by_are_labels_and_other_short_texts():
    table = simulated_predictions(100).assign(camera=np.where(np.arange(100) % 2, "a", "b"), split="test", mask="no")
    assert group_columns(table) == ("gender", "ethnicity", "age_group", "camera")


def test_the_frame_has_one_row_per_group_with_every_interval():
    frame = compare_groups(simulated_predictions(), "mae", ("gender", "ethnicity"), resample_count=100).to_frame()
    assert len(frame) == 10
    assert {"gender", "ethnicity", "n", "estimate_low", "gap_to_rest_high", "p_corrected", "is_ranked"} <= set(frame)


def test_representation_puts_the_least_seen_group_first():
    table = simulated_predictions(400)
    train = pd.DataFrame({"ethnicity": ["White"] * 90 + ["Black"] * 10, "age_years": 30.0})
    seen = representation(train, compare_groups(table, "mae", "ethnicity", resample_count=50))
    assert seen["train_n"].tolist() == [0, 0, 0, 10, 90]
    assert seen["train_share"].sum() == pytest.approx(1.0)


def test_many_comparisons_at_once_equal_each_alone():
    table = simulated_predictions(400)
    groupings = (("ethnicity",), ("gender", "age_group"))
    together = compare_many(table, ("mae", "gender_accuracy"), groupings, resample_count=300)
    assert list(together) == [(metric, columns) for metric in ("mae", "gender_accuracy") for columns in groupings]
    for (metric, columns), result in together.items():
        alone = compare_groups(table, metric, columns, resample_count=300)
        estimates = ["n", "estimate", "estimate_low", "gap_to_rest_high", "standardised_gap"]
        pd.testing.assert_frame_equal(result.to_frame()[estimates], alone.to_frame()[estimates])
        assert result.largest_gap.null_95 == pytest.approx(alone.largest_gap.null_95, rel=0.2)
