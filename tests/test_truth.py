"""The simulations of benchmarks/truth.py: what is planted is there, and rates are judged as promised."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from truth_rivals import Contrasts, holm, max_t, regression_holm, welch_holm
from truth_rows import RARE, ROWS, Promise, most_by_chance
from truth_tables import Labels, by_age_alone, of_persons, of_twins, plant, true_null

LABELS = Labels.of_counts()


def generator(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def errors_of(table):
    return (table["predicted_age_years"] - table["age_years"]).to_numpy()


def test_labels_go_together_as_in_utkface():
    ages, genders, ethnicities = LABELS.faces.T
    means = [ages[ethnicities == number].mean() for number in range(5)]
    assert means[0] == max(means)
    assert means[0] - means[2] > 10
    assert np.corrcoef(genders, ages)[0, 1] < -0.05


@pytest.mark.parametrize("trial", range(9))
def test_a_true_null_has_the_promised_size_of_errors_and_no_tie_to_labels(trial):
    errors = np.concatenate([errors_of(true_null(generator(seed), LABELS, trial)) for seed in range(10)])
    assert np.abs(errors).mean() == pytest.approx(5.2, abs=0.4)
    table = true_null(generator(), LABELS, trial)
    inside = table["age_years"].between(table["age_low_years"], table["age_high_years"])
    for values in (np.abs(errors_of(table)), inside):
        assert abs(np.corrcoef(values, table["age_years"])[0, 1]) < 0.1


def test_errors_by_age_alone_differ_by_ethnicity_only_because_ages_do():
    table = by_age_alone(generator(), LABELS, 20_000)
    error, asian = errors_of(table), (table["ethnicity"] == "Asian").to_numpy()
    assert error[asian].mean() - error[~asian].mean() > 1.0
    own_age = table.groupby("age_years")["predicted_age_years"].transform("mean").to_numpy()
    left = table["predicted_age_years"].to_numpy() - own_age
    assert abs(left[asian].mean()) < 4 * left.std() / np.sqrt(asian.sum())


def test_photos_of_a_person_share_labels_and_half_of_the_variance():
    table = of_persons(generator(), LABELS, persons=2000, photos=4, icc=0.5)
    error = table.assign(error=errors_of(table))
    by_person = error.groupby("subject_id")
    assert (by_person.size() == 4).all()
    assert (by_person[["age_years", "gender", "ethnicity"]].nunique() == 1).all(axis=None)
    between = by_person["error"].mean().var() - by_person["error"].var().mean() / 4
    assert between / error["error"].var() == pytest.approx(0.5, abs=0.05)


def test_a_fifth_of_the_photos_stands_twice_and_is_judged_alike():
    table = of_twins(generator(), LABELS)
    pairs = table.assign(error=errors_of(table)).groupby("twin_cluster")["error"]
    assert len(table) == 1200
    assert (pairs.size() == 2).all()
    assert len(pairs) == 200
    assert (pairs.max() - pairs.min()).max() < 2.0


@pytest.mark.parametrize(("what", "size"), [("shift", 2.0), ("scale", 2.0), ("gender", -0.1)])
def test_what_is_planted_is_as_large_as_claimed(what, size):
    gaps = []
    for seed in range(60):
        planted = plant(generator(seed), LABELS, what)
        inside = (planted.table["ethnicity"] == "planted").to_numpy()
        right = (planted.table["predicted_gender"] == planted.table["gender"]).to_numpy(dtype=float)
        values = {"shift": errors_of(planted.table), "scale": np.abs(errors_of(planted.table)), "gender": right}[what]
        gaps.append(values[inside].mean() - values[~inside].mean())
        assert inside.sum() == 100
    assert np.mean(gaps) == pytest.approx(size, abs=4 * np.std(gaps) / np.sqrt(60))


def test_the_planted_intersection_has_100_rows_and_is_named_by_itself_or_a_part_of_its_name():
    planted = plant(generator(), LABELS, "intersection")
    table = planted.table
    inside = (table["age_years"] >= 60) & (table["ethnicity"] == "Indian") & (table["gender"] == "female")
    others = (table["age_years"] >= 60) & ~inside
    sizes = np.abs(errors_of(table))
    assert inside.sum() == 100
    assert sizes[inside].mean() - sizes[others].mean() > 1.5
    mae = "age.mean_absolute_error"
    assert planted.is_named(("gender", "ethnicity", "age_group"), ("female", "Indian", "≥60"), mae)
    assert planted.is_named(("ethnicity",), ("Indian",), mae)
    assert not planted.is_named(("ethnicity",), ("White",), mae)
    assert not planted.is_named(("age_group",), ("≥60",), mae), "the old are misjudged without any plant"
    assert not planted.is_named(("ethnicity",), ("Indian",), "gender.accuracy")


def test_rates_are_judged_by_what_chance_makes_of_five_per_cent():
    assert [most_by_chance(trials) for trials in (400, 200, 100)] == [27, 15, 9]
    assert RARE.holds({"ours": 27 / 400}, 400)
    assert not RARE.holds({"ours": 28 / 400}, 400)


def test_a_promise_says_in_words_what_it_judges_by():
    assert (RARE.words("share"), Promise(low=0.7).words("share")) == ("at most 5 %", "at least 70 %")
    assert Promise(0.93, 0.97).words("share") == "93 to 97 %"
    assert Promise(high=10.0).words("s") == "at most 10 s"
    assert [Promise(0.93, 0.97).holds({"ours": mean}, 500) for mean in (0.929, 0.93, 0.97, 0.971)] == [
        False,
        True,
        True,
        False,
    ]


def test_a_promise_can_have_a_second_end():
    promise = Promise(0.9, most=("width", 1.05))
    assert promise.holds({"ours": 0.9, "width": 1.05}, 100)
    assert not promise.holds({"ours": 0.9, "width": 1.06}, 100)


def test_rows_have_names_of_their_own_and_say_what_they_promise():
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert all(row.title and row.trials >= row.quick_trials for row in ROWS)


def test_rivals_find_what_is_plain_and_the_regression_is_not_taken_in_by_age():
    planted = plant(generator(), LABELS, "scale", 3000)
    table = planted.table
    rows = table["ethnicity"] == "planted"
    table.loc[rows, "predicted_age_years"] += 5 * np.sign(errors_of(table)[rows])
    tests = Contrasts(table)
    for rival in (welch_holm, max_t, regression_holm):
        assert (("ethnicity",), ("planted",), "age.mean_absolute_error") in rival(tests, generator())
    confounded = Contrasts(by_age_alone(generator(), LABELS, 10_000))
    assert any(columns == ("ethnicity",) for columns, _, _ in welch_holm(confounded, generator()))
    assert len(regression_holm(confounded, generator())) <= 1


def test_holm_stops_at_the_first_p_value_that_is_too_large():
    assert holm(np.array([0.001, 0.02, 0.04, 0.012])).tolist() == [True, True, True, True]
    assert holm(np.array([0.02, 0.02, 0.001, 0.9])).tolist() == [False, False, True, False]
