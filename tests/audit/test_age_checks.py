"""Checks of ages: rates that paper can tell, honest halves, no difference where there is none."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from agegender import Audit
from agegender.audit.age_checks import AgeCheck, check_ages, checks_of, difference
from agegender.audit.assessment import assess
from agegender.audit.challenge_ages import challenge_curves, checks_document, chosen_age, in_first_half
from agegender.errors import UsageError
from agegender.heads import AGE, Regression
from agegender.writing import to_json


def table_of(ages, predicted, **columns):
    return pd.DataFrame({"age_years": ages, "predicted_age_years": predicted, **columns})


def rates(table, *checks):
    found = Audit(table, age_checks=checks).age_checks
    everybody = found[found["grouping"] == ""]
    return {one.measure: (one.n, one.rate) for one in everybody.itertuples()}


def test_rates_of_a_challenge_age_are_those_that_paper_tells():
    ages = [13, 14, 14, 15, 16, 17.9, 17, 18, 20, 24.5, 25, 30, 34, 35]
    predicted = [40, 25, 24.9, 12, 26, 25, 18, 24, 25, 26, 24, 40, 20, 10]
    assert rates(table_of(ages, predicted), "18:25") == {
        "let_through": (6, 3 / 6),
        "asked_near": (3, 1 / 3),
        "asked_past": (3, 2 / 3),
    }


def test_rates_of_a_room_are_those_that_paper_tells():
    ages = [8, 9, 12, 13, 14, 16, 16.5, 17, 20, 21]
    predicted = [14, 13, 12.9, 16.99, 17, 14, 30, 16, 21, 15]
    assert rates(table_of(ages, predicted), "13-16") == {
        "older_let_in": (2, 1 / 2),
        "younger_let_in": (2, 1 / 2),
        "kept_out": (4, 2 / 4),
    }


def test_a_check_at_the_legal_age_asks_adults_just_above_it():
    check = AgeCheck.of("18:18")
    assert [(one.first, one.last) for one in check.measures] == [(14, 17), (18, 21), (22, 31)]


def test_babies_never_count_as_minors_near_the_limit():
    babies = rates(table_of([1, 2, 3, 17], [2, 2, 3, 30]), "18:25")
    assert babies["let_through"] == (1, 1.0)


def test_intervals_are_scipys():
    table = table_of([16] * 50 + [30] * 50, [30] * 7 + [20] * 43 + [40] * 50)
    row = Audit(table, age_checks=["18:25"]).age_checks.iloc[0]
    ends = binomtest(7, 50).proportion_ci(method="wilson")
    assert (row["rate_low"], row["rate_high"]) == pytest.approx((ends.low, ends.high))


def test_photos_of_one_person_are_worth_less_than_people():
    table = table_of([16] * 60, [30] * 12 + [20] * 48)
    alone = Audit(table, age_checks=["18:25"]).age_checks.iloc[0]
    persons = Audit(table.assign(subject_id=np.repeat(np.arange(15), 4)), age_checks=["18:25"]).age_checks.iloc[0]
    assert persons["rate"] == alone["rate"]
    assert persons["rate_high"] - persons["rate_low"] > 1.4 * (alone["rate_high"] - alone["rate_low"])


ages_and_answers = st.lists(st.tuples(st.integers(0, 60), st.floats(0, 60, width=32)), min_size=1, max_size=80)


@settings(max_examples=40, deadline=None)
@given(ages_and_answers, st.integers(18, 39))
def test_a_higher_challenge_age_never_lets_through_more(cells, challenge):
    ages, predicted = zip(*cells, strict=True)
    table = assess(table_of(ages, predicted, gender=np.resize(["a", "b"], len(ages)))).judged
    first, second = check_ages(table, [AGE], checks_of([f"18:{challenge}", f"18:{challenge + 1}"]))
    for lower, higher in zip(first.measures[:1], second.measures[:1], strict=True):
        if lower.everybody.n:
            assert higher.everybody.estimate.value <= lower.everybody.estimate.value


@settings(max_examples=40, deadline=None)
@given(ages_and_answers)
def test_rates_weighted_by_size_equal_everybodys(cells):
    ages, predicted = zip(*cells, strict=True)
    table = assess(table_of(ages, predicted, camera=np.resize(["a", "b", "c"], len(ages)))).judged
    for result in check_ages(table, [AGE], checks_of(["18:25", "13-16"])):
        for one in result.measures:
            for found in one.by_columns.values():
                total = sum(group.n * group.estimate.value for group in found.groups if group.n)
                assert sum(group.n for group in found.groups) == one.everybody.n
                if one.everybody.n:
                    assert total / one.everybody.n == pytest.approx(one.everybody.estimate.value)


def minors(count, generator, *, spread=6.0, shift=0.0):
    """Return people of 14 to 34, alike in two cameras but for a shift of the second."""
    ages = generator.integers(14, 35, count)
    camera = generator.choice(["one", "other"], count)
    predicted = ages + generator.normal(2, spread, count) + np.where(camera == "other", shift, 0.0)
    return table_of(ages, predicted, camera=camera, path=[f"{number}.jpg" for number in range(count)])


def test_a_planted_difference_is_told_and_a_small_group_is_not():
    generator = np.random.default_rng(3)
    table = minors(3000, generator, shift=6.0)
    table.loc[:40, "camera"] = "rare"
    found = Audit(table, age_checks=["18:25"]).age_checks.set_index(["measure", "group"])["differs"]
    assert found["let_through", "other"] == "more"
    assert found["let_through", "one"] == "less"
    assert found["let_through", "rare"] == "cannot be told"


def test_without_a_difference_hardly_any_check_tells_of_one():
    told = 0
    for seed in range(60):
        table = assess(minors(600, np.random.default_rng(seed))).judged
        result = check_ages(table, [AGE], checks_of(["18:25"]))[0]
        groups = [group for one in result.measures for found in one.by_columns.values() for group in found.groups]
        told += any(difference(group) for group in groups)
    assert told <= 6  # 3 are expected at most


def test_the_rate_on_the_other_half_is_unbiased_where_that_of_the_first_flatters():
    """The true rate at any challenge age is known, since errors are normal."""
    from scipy.stats import norm

    first, second, true = [], [], []
    for seed in range(60):
        table = assess(minors(900, np.random.default_rng(seed))).judged
        found = chosen_age(check_ages(table, [AGE], checks_of(["18:25"]))[0])
        everybody = found.groups[0]
        first.append(everybody.first)
        second.append(everybody.second.value)
        near = table["age_years"].between(14, 17)
        true.append(norm.sf(found.age, table["age_years"][near] + 2, 6.0).mean())
    error = np.std(np.subtract(second, true)) / np.sqrt(len(true))
    assert abs(np.mean(second) - np.mean(true)) < 2.5 * error
    assert np.mean(first) < np.mean(true) - 2.5 * error


def test_the_chosen_age_is_the_lowest_that_keeps_the_rate_in_every_group_of_the_first_half():
    table = assess(minors(2000, np.random.default_rng(5), shift=4.0)).judged
    result = check_ages(table, [AGE], checks_of(["18:25"]))[0]
    found = chosen_age(result, 0.1)
    is_first = in_first_half(table, table["age_years"].between(14, 17).to_numpy())
    near = table[is_first & table["age_years"].between(14, 17).to_numpy()]

    def is_kept(age):
        let_through = (near["predicted_age_years"] >= age).groupby(near["camera"]).mean()
        return bool((let_through <= 0.1).all())

    assert is_kept(found.age)
    assert not is_kept(found.age - 1)
    assert {one.values for one in found.groups} == {(), ("one",), ("other",)}


def test_halves_hang_on_names_and_keep_persons_whole():
    table = pd.DataFrame({"path": [f"{number}.jpg" for number in range(200)], "person": np.arange(200) // 4})
    is_near = (table["person"] % 3 == 0).to_numpy()
    first = in_first_half(table, is_near, table["person"].to_numpy())
    assert (pd.Series(first).groupby(table["person"]).nunique() == 1).all()
    assert abs(first[is_near].mean() - 0.5) < 0.05
    order = np.random.default_rng(1).permutation(200)
    turned = in_first_half(table.iloc[order], is_near[order], table["person"].to_numpy()[order])
    assert turned.tolist() == first[order].tolist()


def test_nothing_is_chosen_by_a_handful():
    table = assess(table_of([16] * 20 + [30] * 100, [20] * 120)).judged
    assert chosen_age(check_ages(table, [AGE], checks_of(["18:25"]))[0]) is None
    few = Audit(table_of([16] * 20 + [30] * 100, [20] * 120), age_checks=["18:25"])
    assert few.challenge_ages.empty


def test_curves_pass_through_the_rates_of_the_check():
    table = assess(minors(800, np.random.default_rng(2))).judged
    result = check_ages(table, [AGE], checks_of(["18:25"]))[0]
    curve = challenge_curves(result)[0]
    at = curve.ages.index(25)
    assert curve.let_through[at] == result.measures[0].everybody.estimate
    assert curve.asked[at] == result.measures[2].everybody.estimate
    assert np.all(np.diff([one.value for one in curve.let_through]) <= 0)
    assert np.all(np.diff([one.value for one in curve.asked]) >= 0)


def test_any_number_in_years_is_checked_and_no_other():
    table = pd.DataFrame({"stay_years": [16.0] * 40, "predicted_stay_years": [30.0] * 10 + [17.0] * 30,
                          "height_cm": [16.0] * 40, "predicted_height_cm": [30.0] * 40})  # fmt: skip
    heads = (Regression("stay", "stay_years", "years"), Regression("height", "height_cm", "cm"))
    found = Audit(table, heads=heads, age_checks=["18:25"]).age_checks
    assert set(found["head"]) == {"stay"}
    assert found["rate"].iloc[0] == 0.25


def test_without_ages_there_is_no_check():
    table = pd.DataFrame({"gender": ["male", "female"] * 40, "predicted_gender": ["male"] * 80})
    assert Audit(table).age_checks.empty
    assert Audit(table).challenge_ages.empty


def test_bands_of_the_age_are_no_groups_of_a_check():
    found = Audit(minors(300, np.random.default_rng(1)), age_checks=["18:25"]).age_checks
    assert set(found["grouping"]) == {"", "camera"}


def test_the_document_is_whole_json():
    assessment = assess(minors(700, np.random.default_rng(4)))
    document = json.loads(to_json(checks_document(assessment.age_checks, assessment.chosen_ages)))
    assert [one["check"] for one in document] == ["18:25", "13-16"]
    challenge = document[0]
    assert challenge["measures"][0]["groups"]["camera"]["one"]["n"] > 0
    assert challenge["chosen"]["age"] >= 18
    assert challenge["curves"][0]["ages"] == list(range(18, 41))
    assert document[1]["chosen"] is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("18:16", "challenge age lies below the legal age"),
        ("16-13", "range begins after it ends"),
        ("abc", "is no LEGAL:CHALLENGE"),
        ("18", "is no LEGAL:CHALLENGE"),
        ("0:25", "ages go from 1 to 120"),
        ("18:999", "ages go from 1 to 120"),
        ("18:25:30", "is no LEGAL:CHALLENGE"),
        ("", "is no LEGAL:CHALLENGE"),
    ],
)
def test_what_is_no_check_is_refused(text, said):
    with pytest.raises(UsageError, match=said):
        checks_of([text])


def test_none_asks_for_no_check_and_twice_the_same_for_one():
    assert checks_of(["none"]) == ()
    assert len(checks_of(["18:25", " 18:25 "])) == 1


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan")])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(UsageError, match="no share between 0 and 1"):
        Audit(table_of([16], [20]), age_check_rate=rate)
