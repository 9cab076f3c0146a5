"""The head of numbers: its columns, its two kinds of intervals, and checks against a limit."""

import numpy as np
import pandas as pd
import pytest

from agegender.errors import CardError, UsageError
from agegender.heads import AGE, GENDER, limits_to_check


def test_a_check_answers_only_where_an_end_of_the_interval_does():
    rows = pd.DataFrame({"age_low_years": [15, 25, 20, np.nan], "age_high_years": [24.9, 40, 25, 30]})
    said = AGE.checked(rows, 25)
    assert said.tolist() == ["under", "not under", "unsure", None]
    assert AGE.check_column(25) == "age_check_25"
    assert [AGE.check_sentence(one, 25) for one in said] == [
        "under 25 years with 95 %",
        "not under 25 years with 95 %",
        "whether under 25 years can't be told with 95 %",
        "whether under 25 years can't be told with 95 %",
    ]


def test_checks_are_of_numbers_that_are_predicted():
    assert limits_to_check({"age": 18}, (AGE, GENDER)) == [(AGE, 18.0)]
    with pytest.raises(UsageError, match=r"no number 'ages'.*Did you mean"):
        limits_to_check({"ages": 18}, (AGE, GENDER))
    with pytest.raises(UsageError, match="no number 'gender'"):
        limits_to_check({"gender": 1}, (AGE, GENDER))
    with pytest.raises(UsageError, match="give a number"):
        limits_to_check({"age": float("nan")}, (AGE,))


def test_intervals_know_what_the_other_heads_say_and_label_intervals_what_the_labels_say():
    generator = np.random.default_rng(0)
    count = 4000
    gender = generator.choice(["male", "female"], count)
    age = generator.uniform(5, 80, count)
    scatter = np.where(gender == "female", 8.0, 3.0)
    rows = pd.DataFrame({"age_years": age, "gender": gender, "predicted_gender": gender})
    middle = 40 + 0.7 * (age - 40) + scatter * generator.normal(size=count)
    rows = rows.assign(**AGE.columns(np.stack([middle, scatter], axis=1)))
    assert rows["age_spread_years"].tolist() == scatter.tolist()
    fitting, test = rows[:2000], rows[2000:].reset_index(drop=True)
    entry = AGE.calibrate(fitting, known=["predicted_gender", "unknown"], labelled=["gender"])
    assert AGE.intervals(test, None)["age_low_years"].tolist() == pytest.approx([np.nan] * 2000, nan_ok=True)
    test = test.assign(**AGE.intervals(test, entry), **AGE.label_intervals(test, entry))
    scores = AGE.scores(test)
    for name in ("male", "female"):
        of_gender = AGE.scores(test[test["gender"] == name])
        assert 0.87 < of_gender["interval"]["coverage"] < 0.93
    away = {"interval": [], "label_interval": []}
    for low, high in ((5, 10), (15, 20), (40, 50), (70, 80)):
        band = AGE.scores(test[test["age_years"].between(low, high - 0.1)])
        for name, found in away.items():
            found.append(abs(band[name]["coverage"] - 0.9))
    assert max(away["label_interval"]) < 0.06 < max(away["interval"])
    assert scores["label_interval"]["n"] == 2000
    unlabelled = test.assign(age_years=np.nan)
    assert AGE.label_intervals(unlabelled, entry) == {}
    some = test.assign(age_years=test["age_years"].where(test.index % 2 == 0))
    assert np.isfinite(AGE.label_intervals(some, entry)["age_label_low_years"]).sum() == 1000


@pytest.mark.parametrize("edges", [5, [30.0, 20.0], ["x"], [10**400], [float("inf")], None])
def test_bands_of_labels_that_make_no_sense_are_refused(edges):
    generator = np.random.default_rng(1)
    rows = pd.DataFrame({"age_years": generator.uniform(5, 80, 200)})
    rows = rows.assign(**AGE.columns(rows["age_years"] + generator.normal(size=200)))
    entry = AGE.calibrate(rows)
    entry["labelled"]["edges"] = edges
    with pytest.raises(CardError, match="bands of the labelled intervals"):
        AGE.label_intervals(rows, entry)
