"""Two models on the same faces."""

import numpy as np
import pytest
from metric_tables import simulated_predictions
from scipy import stats

from agegender.audit.bias import chalearn_bias
from agegender.audit.comparison import compare_pair, leaderboard, mcnemar
from agegender.errors import TableError


def better(table, share=0.8):
    error = table["predicted_age_years"] - table["age_years"]
    right_third = np.where(np.arange(len(table)) % 3 == 0, table["gender"], table["predicted_gender"])
    return table.assign(predicted_age_years=table["age_years"] + share * error, predicted_gender=right_third)


def test_pairing_knows_the_difference_exactly():
    table = simulated_predictions(800)
    change = compare_pair(table, better(table)).error_difference
    expected = -0.2 * (table["predicted_age_years"] - table["age_years"]).abs().mean()
    assert change.value == pytest.approx(expected)
    assert change.low < expected < change.high < 0
    assert change.high - change.low < 0.2


def test_mended_and_broken_genders_are_counted_and_swap_with_the_models():
    table = simulated_predictions(600)
    there, back = compare_pair(table, better(table)), compare_pair(better(table), table)
    wrong = (table["gender"] != table["predicted_gender"]) & (np.arange(600) % 3 == 0)
    assert (there.mended_genders, there.broken_genders) == (wrong.sum(), 0)
    assert (back.mended_genders, back.broken_genders) == (0, wrong.sum())
    assert there.mcnemar_p_value == pytest.approx(stats.binomtest(0, int(wrong.sum())).pvalue)


def test_mcnemar_without_changes_is_one():
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(3, 3) == 1.0


def test_groups_add_up_to_the_whole():
    table = simulated_predictions(600)
    result = compare_pair(table, better(table), columns=("ethnicity",))
    assert result.by_group["n"].sum() == result.n == 600
    weighted = (result.by_group["n"] * result.by_group["error_difference"]).sum() / 600
    assert weighted == pytest.approx(result.error_difference.value)


def test_faces_are_listed_from_mended_to_broken():
    table = simulated_predictions(300)
    other = table.copy()
    other.loc[5, "predicted_age_years"] = other.loc[5, "age_years"] + 70
    table.loc[9, "predicted_age_years"] = table.loc[9, "age_years"] - 60
    result = compare_pair(table, other)
    assert result.mended()["path"].tolist() == ["9.jpg"]
    assert result.broken()["path"].tolist() == ["5.jpg"]


def test_only_shared_photos_count():
    table = simulated_predictions(100)
    assert compare_pair(table.iloc[:60], table.iloc[40:]).n == 20
    with pytest.raises(TableError, match="share no photo"):
        compare_pair(table.iloc[:50], table.iloc[50:])


def test_other_labels_are_refused():
    table = simulated_predictions(50)
    with pytest.raises(TableError, match="1 photos have another age label"):
        compare_pair(table, table.assign(age_years=table["age_years"].where(table.index != 3, 99.0)))
    with pytest.raises(TableError, match="names every photo once"):
        compare_pair(table, table.assign(path="same.jpg"))


def test_the_leaderboard_ranks_by_the_average_of_five_scores():
    table = simulated_predictions(900)
    board = leaderboard({"plain": table, "better": better(table), "again": table})
    assert board["model"].tolist() == ["better", "plain", "again"]
    assert board["rank_mae"].tolist() == [1.0, 2.5, 2.5]
    assert board["rank_bias_expression"].isna().all()
    ranks = board[["rank_mae", "rank_bias_gender", "rank_bias_age", "rank_bias_ethnicity"]]
    assert board["average_rank"].tolist() == ranks.mean(axis=1).tolist()
    errors = (table["predicted_age_years"] - table["age_years"]).abs()
    assert board["bias_gender"].iloc[1] == pytest.approx(chalearn_bias(errors, table["gender"]))


def test_no_models_are_refused():
    with pytest.raises(TableError, match="at least one model"):
        leaderboard({})


def test_a_model_without_genders_is_still_compared():
    table = simulated_predictions(200).drop(columns=["gender", "predicted_gender", "female_probability"])
    result = compare_pair(table, table)
    assert (result.n, result.gender_n, result.error_difference.value) == (200, 0, 0.0)
    assert np.isnan(result.mcnemar_p_value)
