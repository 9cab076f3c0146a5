"""A predictions table of anybody: what is understood, what is filled, what is said about it."""

import numpy as np
import pandas as pd
import pytest
from metric_tables import simulated_predictions

from agegender.audit.predictions_table import complete_predictions, read_predictions, write_predictions
from agegender.errors import TableError
from agegender.heads import AGE, GENDER, Classification, Regression


def test_a_column_of_version_0_1_becomes_two():
    table = simulated_predictions(50).drop(columns="predicted_gender")
    rows, heads, notices = complete_predictions(table)
    assert heads == (AGE, GENDER)
    assert rows["gender_probability_female"].tolist() == table["female_probability"].tolist()
    assert (rows["gender_probability_male"] + rows["gender_probability_female"]).tolist() == pytest.approx([1.0] * 50)
    assert rows["predicted_gender"].tolist() == np.where(table["female_probability"] >= 0.5, "female", "male").tolist()
    assert notices == ()


def test_predictions_that_stand_there_are_kept_whatever_their_probability():
    table = simulated_predictions(20).assign(predicted_gender="male", female_probability=0.9)
    assert set(complete_predictions(table)[0]["predicted_gender"]) == {"male"}


def test_a_further_head_is_filled_by_the_same_rules():
    table = pd.DataFrame(
        {
            "expression": ["happy", "sad", "angry"],
            "predicted_expression": ["happy", None, None],
            "expression_probability_happy": [0.5, 0.2, 0.1],
            "expression_probability_sad": [0.2, 0.5, np.nan],
            "expression_probability_angry": [0.3, 0.3, 0.4],
        }
    )
    rows, heads, _ = complete_predictions(table)
    assert [head.name for head in heads] == ["expression"]
    assert rows["predicted_expression"].tolist() == ["happy", "sad", None]


def test_what_cannot_be_understood_is_counted_and_said():
    table = simulated_predictions(100).assign(gender=["robot", "M"] * 50, female_probability=3.0)
    table["age_years"] = ["old"] * 2 + [200.0] * 3 + [30.0] * 95
    table["predicted_age_years"] = table["predicted_age_years"].clip(0, 122)
    table.loc[90:, "predicted_age_years"] = np.nan
    rows, _, notices = complete_predictions(table)
    assert notices == (
        "5 values of age_years are no numbers or out of range, and count as unknown.",
        "100 values of female_probability are no numbers or out of range, and count as unknown.",
        "50 values of gender are neither male nor female and count as unknown.",
        "10 rows have no predicted_age_years: they don't count, which may flatter.",
        "5 of 100 rows have no age_years to judge a prediction by.",
        "50 of 100 rows have no gender to judge a prediction by.",
    )
    assert rows["gender"].tolist()[:2] == [None, "male"]


def test_tables_without_a_prediction_are_refused():
    with pytest.raises(TableError, match="neither age_years and predicted_age_years nor gender and predicted_gender"):
        complete_predictions(pd.DataFrame({"path": ["a.jpg"], "age_years": [3.0]}))
    twice = simulated_predictions(5)
    with pytest.raises(TableError, match="ethnicity stands in the predictions table twice"):
        complete_predictions(pd.concat([twice, twice["ethnicity"]], axis=1))


@pytest.mark.parametrize("name", ["table.parquet", "table.csv"])
def test_a_table_comes_back_as_it_was_written(tmp_path, name):
    table = simulated_predictions(20)
    write_predictions(table, tmp_path / name)
    pd.testing.assert_frame_equal(read_predictions(tmp_path / name), table)


def test_parquet_carries_heads_that_columns_cannot_tell(tmp_path):
    size = Classification("size", "size", ("small", "very large"))
    height = Regression("height", "height_cm", "cm", low=50.0, high=250.0, tolerances=(3.0,))
    table = pd.DataFrame({"size": ["small"] * 3, "height_cm": [170.0, 180.0, 20.0]})
    table = table.assign(predicted_size="small", predicted_height_cm=175.0)
    write_predictions(table, tmp_path / "table.parquet", heads=(size, height))
    rows, heads, notices = complete_predictions(read_predictions(tmp_path / "table.parquet"))
    assert heads == (size, height)
    assert notices[0].startswith("1 values of height_cm are no numbers or out of range")
    assert "size_probability_very_large" in rows


def test_files_that_are_no_table_are_named(tmp_path):
    with pytest.raises(TableError, match="there is no predictions table at"):
        read_predictions(tmp_path / "absent.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"no table")
    with pytest.raises(TableError, match="is no Parquet file"):
        read_predictions(tmp_path / "broken.parquet")
