"""An assessment judges what it should, and answers by name."""

import numpy as np
import pandas as pd
import pytest
from metric_tables import simulated_predictions

from agegender.audit.assessment import ALL_ROWS, assess
from agegender.errors import TableError, UsageError
from agegender.heads import AGE, GENDER


def with_splits(n=300):
    return simulated_predictions(n).assign(split=np.resize(["train", "valid", "test"], n))


@pytest.mark.parametrize(
    ("table", "split", "judged", "rows"),
    [
        (with_splits(), None, "test", 100),
        (with_splits(), "train", "train", 100),
        (with_splits(), "all", ALL_ROWS, 300),
        (with_splits().query("split != 'test'"), None, "valid", 100),
        (simulated_predictions(300), None, ALL_ROWS, 300),
    ],
)
def test_the_kept_aside_rows_are_judged_unless_others_are_asked_for(table, split, judged, rows):
    assessment = assess(table, split=split)
    assert (assessment.judged_split, len(assessment.judged)) == (judged, rows)


def test_a_head_is_judged_where_a_row_has_label_and_prediction():
    table = simulated_predictions(50).assign(predicted_gender=None, female_probability=np.nan)
    assessment = assess(table)
    assert (assessment.heads, assessment.unjudged) == ((AGE,), (GENDER,))
    assert assessment.has("age_years", "predicted_age_years")
    assert not assessment.has("gender", "predicted_gender")
    assert not assessment.has("nation")


def test_metrics_are_known_by_their_short_names_too():
    assessment = assess(simulated_predictions(50))
    assert assessment.metric("mae").name == "age.mean_absolute_error"
    assert assessment.metric("gender.accuracy").short == "accuracy"
    with pytest.raises(UsageError, match=r"called 'acuracy'; did you mean gender\.accuracy"):
        assessment.metric("acuracy")
    with pytest.raises(UsageError, match=r"there are age\.mean_absolute_error"):
        assessment.metric("zzz")
    # Without intervals in the table nothing covers.
    with pytest.raises(UsageError):
        assessment.metric("interval_coverage")


def test_a_short_name_that_two_heads_have_is_refused():
    table = simulated_predictions(50)
    both = table.assign(height_cm=table["age_years"], predicted_height_cm=table["predicted_age_years"])
    with pytest.raises(UsageError, match=r"did you mean age\.mean_absolute_error or height\.mean_absolute_error"):
        assess(both).metric("mae")


def test_a_metric_by_group_is_one_row_each():
    table = simulated_predictions(400).assign(subject_id=[f"{number // 4}" for number in range(400)])
    table.loc[:9, "predicted_age_years"] = np.nan
    assessment = assess(table)
    frame = assessment.by("mae", "gender")
    assert frame.columns.tolist() == ["gender", "value", "low", "high", "n", "persons"]
    assert frame["n"].sum() == 390
    errors = (table["predicted_age_years"] - table["age_years"]).abs()
    assert frame["value"].tolist() == pytest.approx(errors.groupby(table["gender"]).mean().tolist())
    persons = table[errors.notna()].groupby("gender")["subject_id"].nunique()
    assert frame["persons"].tolist() == persons.tolist()
    assert assessment.by("mae")[["n", "persons"]].to_numpy().tolist() == [[390, 98]]


def test_without_persons_every_photo_is_one():
    frame = assess(simulated_predictions(100)).by("accuracy", "gender", "ethnicity")
    assert (frame["n"] == frame["persons"]).all()


def test_drawn_faces_are_known_by_their_source():
    assert assess(simulated_predictions(10).assign(source="drawn_faces")).is_drawn
    assert not assess(simulated_predictions(10)).is_drawn


def test_tables_without_anything_to_judge_are_refused():
    table = simulated_predictions(30)
    with pytest.raises(TableError, match="has no rows"):
        assess(table.iloc[:0])
    with pytest.raises(TableError, match="no row of the predictions table has a usable age_years beside"):
        assess(table.assign(age_years=np.nan, gender=None))
    with pytest.raises(TableError, match="neither age_years and predicted_age_years nor gender"):
        assess(table[["path"]])
    with pytest.raises(TableError, match="no row in the split 'test'"):
        assess(table.assign(split="train"), split="test")
    with pytest.raises(UsageError, match="no split 'exam'"):
        assess(table, split="exam")


def test_a_table_of_other_heads_alone_is_judged():
    table = pd.DataFrame({"mood": ["a", "b"] * 40, "predicted_mood": ["a"] * 80, "camera": ["x"] * 40 + ["y"] * 40})
    assessment = assess(table)
    assert [head.name for head in assessment.heads] == ["mood"]
    assert assessment.by("accuracy")["value"].tolist() == [0.5]
    assert assessment.chalearn.empty
    assert {finding.metric for finding in assessment.findings} == {"mood.accuracy"}


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.convert_dtypes(),
        lambda table: table.astype({"gender": "category", "ethnicity": "category", "predicted_gender": "category"}),
        lambda table: table.assign(age_years=table["age_years"].astype(str)),
        lambda table: table.set_index(pd.Index(["same"] * len(table))),
        lambda table: table.assign(**{"0": "a column named by a number"}).rename(columns={"0": 0}),
    ],
)
def test_what_columns_are_made_of_does_not_matter(change):
    table = simulated_predictions(120)
    plain, changed = assess(table), assess(change(table))
    assert changed.heads == plain.heads
    assert changed.by("mae", "gender").equals(plain.by("mae", "gender"))
    assert [one.sentence for one in changed.findings] == [one.sentence for one in plain.findings]
