"""Two models on the same faces."""

import numpy as np
import pytest
from metric_tables import simulated_predictions
from scipy import stats

from agegender.audit.chalearn import chalearn_bias
from agegender.audit.leaderboard import leaderboard
from agegender.audit.models_compared import compare_pair, mcnemar
from agegender.audit.paired_differences import flip_p_value
from agegender.errors import TableError
from agegender.heads import AGE, GENDER


def better(table, share=0.8):
    error = table["predicted_age_years"] - table["age_years"]
    right_third = np.where(np.arange(len(table)) % 3 == 0, table["gender"], table["predicted_gender"])
    return table.assign(predicted_age_years=table["age_years"] + share * error, predicted_gender=right_third)


def test_pairing_knows_the_difference_exactly():
    table = simulated_predictions(800)
    change = compare_pair(table, better(table)).changes["age"].error_difference
    expected = -0.2 * (table["predicted_age_years"] - table["age_years"]).abs().mean()
    assert change.value == pytest.approx(expected)
    assert change.low < expected < change.high < 0
    assert change.high - change.low < 0.2


def test_mended_and_broken_genders_are_counted_and_swap_with_the_models():
    table = simulated_predictions(600)
    pairs = compare_pair(table, better(table)), compare_pair(better(table), table)
    there, back = (pair.changes["gender"] for pair in pairs)
    wrong = (table["gender"] != table["predicted_gender"]) & (np.arange(600) % 3 == 0)
    assert (there.mended, there.broken) == (wrong.sum(), 0)
    assert (back.mended, back.broken) == (0, wrong.sum())
    assert there.mcnemar_p_value == pytest.approx(stats.binomtest(0, int(wrong.sum())).pvalue)


def test_mcnemar_without_changes_is_one():
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(3, 3) == 1.0


def test_groups_add_up_to_the_whole():
    table = simulated_predictions(600)
    result = compare_pair(table, better(table), columns=("ethnicity",)).changes["age"]
    assert result.by_group["n"].sum() == result.n == 600
    weighted = (result.by_group["n"] * result.by_group["error_difference"]).sum() / 600
    assert weighted == pytest.approx(result.error_difference.value)


def test_faces_are_listed_from_mended_to_broken():
    table = simulated_predictions(300)
    other = table.copy()
    other.loc[5, "predicted_age_years"] = other.loc[5, "age_years"] + 70
    table.loc[9, "predicted_age_years"] = table.loc[9, "age_years"] - 60
    result = compare_pair(table, other)
    assert result.mended(AGE)["path"].tolist() == ["9.jpg"]
    assert result.broken(AGE)["path"].tolist() == ["5.jpg"]


def test_only_shared_photos_count():
    table = simulated_predictions(100)
    assert compare_pair(table.iloc[:60], table.iloc[40:]).changes["age"].n == 20
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
    assert [head.name for head in result.heads] == ["age"]
    assert (result.changes["age"].n, result.changes["age"].error_difference.value) == (200, 0.0)


def test_other_class_labels_are_refused_too():
    table = simulated_predictions(50)
    with pytest.raises(TableError, match="50 photos have another gender label"):
        compare_pair(table, table.assign(gender=np.where(table["gender"] == "male", "female", "male")))


def test_faces_whose_class_is_mended_are_listed():
    table = simulated_predictions(300)
    pair = compare_pair(table, better(table))
    assert len(pair.mended(GENDER, 999)) == pair.changes["gender"].mended > 0
    assert pair.broken(GENDER).empty


def heights(table, noise):
    generator = np.random.default_rng(0)
    height = generator.normal(170, 10, len(table))
    return table.assign(height_cm=height, predicted_height_cm=height + noise * generator.normal(size=len(table)))


def test_a_further_head_stands_beside_the_ranked_scores():
    table = simulated_predictions(200)
    board = leaderboard({"good": heights(table, 2.0), "bad": heights(table, 20.0)})
    assert board["height_mae"].is_monotonic_increasing
    assert "rank_height_mae" not in board
    assert compare_pair(heights(table, 2.0), heights(table, 20.0)).changes["height"].error_difference.low > 5


def test_without_ages_the_main_scores_are_ranked():
    table = simulated_predictions(400)[["path", "gender", "predicted_gender"]]
    worse = table.assign(predicted_gender="male")
    board = leaderboard({"worse": heights(worse, 9.0), "better": heights(table, 3.0)})
    assert board["model"].tolist() == ["better", "worse"]
    assert board[["rank_gender_accuracy", "rank_height_mae"]].to_numpy().tolist() == [[1.0, 1.0], [2.0, 2.0]]


def two_equal_models(generator, photos):
    """Return two models whose errors are alike in size, of 1,000 photos, some of one person, with a common part."""
    table = simulated_predictions(1000, seed=int(generator.integers(1 << 30)))
    person = np.arange(1000) // photos
    table = table.assign(subject_id=person, gender=table["gender"].to_numpy()[person])
    table["ethnicity"] = table["ethnicity"].to_numpy()[person]
    common, tables = generator.normal(size=1000), []
    wrong = np.where(table["gender"] == "male", "female", "male")
    for _ in range(2):
        own = generator.normal(size=1000)[person]
        error = 4.0 * (common + own + 0.5 * generator.normal(size=1000))
        tables.append(table.assign(predicted_age_years=table["age_years"] + error))
        tables[-1]["predicted_gender"] = np.where(own + common < 2.0, table["gender"], wrong)
    return [one.drop(columns="female_probability") for one in tables]


@pytest.mark.parametrize("photos", [1, 4])
def test_groups_of_two_equal_models_are_told_apart_in_few_comparisons(photos):
    generator, told = np.random.default_rng(photos), []
    for seed in range(60):
        pair = compare_pair(*two_equal_models(generator, photos), resample_count=50, seed=seed)
        told.append(
            any((change.by_group.filter(like="p_corrected") < 0.05).any(axis=None) for change in pair.changes.values())
        )
        assert pair.cluster_count == (None if photos == 1 else 250)
    # 5 % of 60 is 3; more than 6 happens by chance in 3 of 100 runs.
    assert sum(told) <= 6


def test_a_group_that_gains_much_is_told_and_interval_and_p_value_agree():
    table = simulated_predictions(1500)
    black = table["ethnicity"] == "Black"
    other = table.assign(predicted_age_years=table["predicted_age_years"].where(~black, table["age_years"] + 1.0))
    changes = compare_pair(table, other).changes
    for name, change in (("error_difference", changes["age"]), ("accuracy_difference", changes["gender"])):
        groups = change.by_group
        is_off_zero = (groups[f"{name}_low"] > 0) | (groups[f"{name}_high"] < 0)
        assert is_off_zero.tolist() == (groups["p_corrected"] < 0.05).tolist()
    groups = changes["age"].by_group.set_index("group")
    assert groups.loc["Black", "p_corrected"] < 0.001
    assert groups.loc["Black", "error_difference_high"] < -2.0
    assert groups.drop(index="Black")["p_corrected"].loc["Asian"] == 1.0


def test_persons_who_change_whole_are_told_by_whole_persons():
    table = simulated_predictions(400).assign(subject_id=np.arange(400) // 4, gender="male", predicted_gender="male")
    mended = table.assign(predicted_gender=np.where(np.arange(400) < 12, "female", "male"))
    pair = compare_pair(mended, table)
    # Three persons of four photos each: signs of three persons, not of twelve photos.
    assert pair.changes["gender"].mcnemar_p_value == pytest.approx(0.25)
    alone = compare_pair(mended.drop(columns="subject_id"), table.drop(columns="subject_id"))
    assert alone.changes["gender"].mcnemar_p_value == pytest.approx(0.5**11)


@pytest.mark.parametrize("sums", [[1, 1, -1], [3, -2, 1, 4], [2] * 6, [0, 0], []])
def test_flipped_signs_give_the_p_value_of_all_of_them(sums):
    signs = np.array(np.meshgrid(*[[-1, 1]] * len(sums))).reshape(len(sums), -1).T if sums else np.zeros((1, 0))
    totals = signs @ np.array(sums, dtype=float)
    expected = np.mean(np.abs(totals) >= abs(sum(sums)) - 1e-9)
    assert flip_p_value(np.array(sums, dtype=np.int64)) == pytest.approx(expected)


def test_gaps_before_and_after_differ_by_the_change_of_the_gap_and_signed_errors_too():
    table = simulated_predictions(900)
    pair = compare_pair(table, better(table), columns=("ethnicity",))
    for change, kinds in ((pair.changes["age"], ("signed", "gap")), (pair.changes["gender"], ("gap", "accuracy"))):
        groups = change.by_group
        for kind in kinds:
            moved = groups[f"{kind}_second"] - groups[f"{kind}_first"]
            assert np.allclose(moved, groups[f"{kind}_difference"])
            assert (groups[f"{kind}_first_low"] <= groups[f"{kind}_first"]).all()
    age = pair.changes["age"]
    assert age.second.value - age.first.value == pytest.approx(age.error_difference.value)
    assert age.nearer.value == pytest.approx(1.0)


def test_a_gap_that_is_mended_is_told_for_its_group_and_not_for_the_others():
    table = simulated_predictions(2000)
    black = table["ethnicity"] == "Black"
    error = table["predicted_age_years"] - table["age_years"]
    worse = table.assign(predicted_age_years=table["age_years"] + error.where(~black, 3.0 * error))
    groups = compare_pair(worse, table, columns=("ethnicity", "gender")).changes["age"].by_group.set_index("group")
    assert groups.loc["Black", "gap_p_corrected"] < 0.001
    assert groups.loc["Black", "gap_difference_high"] < 0
    assert (groups.loc[["male", "female"], "gap_p_corrected"] > 0.05).all()
    assert abs(groups.loc["Black", "gap_second"]) < abs(groups.loc["Black", "gap_first"])


def test_bias_scores_before_and_after_are_those_of_the_leaderboard_beside_chance():
    table = simulated_predictions(1200)
    board = leaderboard({"plain": table, "better": better(table)}).set_index("model")
    found = {one.attribute: one for one in compare_pair(table, better(table)).bias}
    assert set(found) == {"gender", "age", "ethnicity"}
    for name, one in found.items():
        scores = board.loc["plain", f"bias_{name}"], board.loc["better", f"bias_{name}"]
        assert (one.first.value, one.second.value) == pytest.approx(scores)
        assert one.difference.value == pytest.approx(scores[1] - scores[0])
        assert 0 <= one.first.low <= one.first.value <= one.first.high
        assert one.chance_second == pytest.approx(0.8 * one.chance_first, rel=0.05)


def test_agreement_needs_no_labels():
    table = simulated_predictions(300)
    bare = table.drop(columns=["age_years", "gender"])
    pair = compare_pair(bare, bare.assign(predicted_age_years=bare["predicted_age_years"] + 1.5))
    assert pair.heads == ()
    assert pair.agreement["age"].shift.value == pytest.approx(1.5)
    assert pair.agreement["gender"].is_identical
    assert not pair.agreement["age"].is_identical
