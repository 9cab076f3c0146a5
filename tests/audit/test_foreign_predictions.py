"""Predictions tables of other people: what was found in them is said, and nothing passes silently."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from metric_tables import simulated_predictions

from agegender.audit.assessment import assess
from agegender.audit.predictions_table import (
    complete_predictions,
    read_predictions,
    with_our_names,
    write_predictions,
)
from agegender.errors import AgeGenderError, TableError
from agegender.heads import AGE, GENDER

TOO_NARROW = "Each row counts, so intervals are too narrow: keep one row per photo."


def test_columns_by_another_spelling_are_ours_and_that_is_said(tmp_path):
    table = simulated_predictions(40).rename(
        columns={"age_years": "Age_Years", "predicted_age_years": " predicted age years ", "gender": "GENDER"}
    )
    expected = "columns were read by another name: 'Age_Years' as age_years, 'predicted age years' as"
    table.to_csv(tmp_path / "theirs.csv", sep=";", decimal=",", index=False)
    read = read_predictions(tmp_path / "theirs.csv")
    for given in (table, read):
        rows, heads, notices = complete_predictions(given)
        assert heads == (AGE, GENDER)
        assert np.isfinite(rows["predicted_age_years"]).all()
        assert any("were read by another name" in notice for notice in notices)
    assert any(notice.startswith(expected) for notice in complete_predictions(read)[2])
    assert "were read by another name" not in str(complete_predictions(simulated_predictions(4))[2])


def test_a_mapped_name_is_found_though_it_was_read_by_another_one():
    table = simulated_predictions(20).rename(columns={"age_years": "True Age"})
    assert "age_years" in with_our_names(table, {"age_years": "true age"})


def test_rows_that_name_one_photo_are_counted_and_said():
    table = simulated_predictions(300)
    table.loc[:199, "path"] = "same.jpg"
    assert "200 rows name one photo, same.jpg." in assess(table).notices
    twice = pd.concat([simulated_predictions(100)] * 2)
    assert "200 rows name only 100 photos (0.jpg: 2 times)." in complete_predictions(twice)[2]
    without = twice.drop(columns="path")
    assert f"100 rows are exact copies of other rows. {TOO_NARROW}" in complete_predictions(without)[2]


def test_rows_of_round_numbers_without_paths_may_be_equal():
    table = pd.DataFrame({"age_years": [20, 20], "predicted_age_years": [22, 22]})
    assert complete_predictions(table)[2] == ()


def test_ages_that_nobody_has_are_said_and_count():
    table = simulated_predictions(100)
    table["predicted_age_years"] = table["predicted_age_years"].clip(0, 122)
    table.loc[:1, "predicted_age_years"] = [1e9, -3.0]
    rows, _, notices = complete_predictions(table)
    assert notices == (
        "2 values of predicted_age_years lie outside 0 to 122 years, first 1e+09; they count as they are.",
    )
    assert rows["predicted_age_years"].tolist()[:2] == [1e9, -3.0]


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([True, False] * 10, id="bools"),
        pytest.param(pd.to_timedelta(range(20), unit="D"), id="spans"),
        pytest.param(pd.to_datetime(["2020-01-01"] * 20), id="dates"),
        pytest.param([[1]] * 20, id="lists"),
    ],
)
def test_what_is_no_number_is_no_age(values):
    table = simulated_predictions(20).assign(age_years=values)
    rows, _, notices = complete_predictions(table)
    assert rows["age_years"].isna().all()
    assert any("age_years" in notice for notice in notices)


def test_a_missing_probability_is_nobodys_gender():
    table = simulated_predictions(30).drop(columns="predicted_gender")
    table.loc[:9, "female_probability"] = np.nan
    rows = complete_predictions(table)[0]
    assert rows["predicted_gender"].isna().tolist() == [True] * 10 + [False] * 20
    logits = np.array([[np.nan, np.nan], [0.0, np.nan], [0.0, 1.0]])
    assert GENDER.columns(logits)["predicted_gender"].tolist() == [None, None, "female"]
    unknown = {"predicted_gender": None, "predicted_age_years": np.nan}
    assert (GENDER.sentence(unknown), AGE.sentence(unknown)) == ("gender unknown", "age unknown")


def test_formulas_in_a_csv_of_ours_are_harmless_and_come_back(tmp_path):
    texts = ['=HYPERLINK("http://x")', "+1", "-x", "@a", "\tx", "\rx", "'=x", "a,b", "a\nb", '"q"', "plain", "'tis"]
    table = simulated_predictions(len(texts)).assign(ethnicity=texts)
    table["path"] = [f"{text.strip()}.jpg" for text in texts]
    write_predictions(table, tmp_path / "ours.csv")
    written = pd.read_csv(tmp_path / "ours.csv", dtype=str)
    cells = [*written["ethnicity"], *written["path"]]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    pd.testing.assert_frame_equal(read_predictions(tmp_path / "ours.csv"), table)


@pytest.mark.parametrize("heads", ["x", [1], [{"kind": "regression"}], [{"kind": "classification", "name": []}], 5])
def test_heads_that_make_no_sense_are_one_line(tmp_path, heads):
    arrow = pa.Table.from_pandas(simulated_predictions(5))
    facts = {b"agegender": json.dumps({"heads": heads}).encode()}
    pq.write_table(arrow.replace_schema_metadata(facts), tmp_path / "table.parquet")
    if isinstance(heads, list):
        with pytest.raises(AgeGenderError):
            complete_predictions(read_predictions(tmp_path / "table.parquet"))
    else:
        assert complete_predictions(read_predictions(tmp_path / "table.parquet"))[1] == (AGE, GENDER)


def test_attributes_of_a_foreign_file_are_not_taken_for_ours(tmp_path):
    table = simulated_predictions(5)
    table.attrs = {"heads": "x", "notices": 5, "other": 1}
    table.to_parquet(tmp_path / "table.parquet")
    assert read_predictions(tmp_path / "table.parquet").attrs == {"other": 1}


def test_columns_that_are_there_and_hold_nothing_usable_are_told_from_absent_ones():
    table = pd.DataFrame({"age_years": [-5.0, None], "predicted_age_years": [3.0, 4.0]})
    with pytest.raises(TableError, match="no row of the predictions table has a usable age_years beside"):
        assess(table)


@pytest.mark.parametrize("count", [1, 200])
def test_a_table_in_which_all_rows_are_alike_is_judged(count):
    table = pd.concat([simulated_predictions(1)] * count)
    assert not [one for one in assess(table).findings if one.is_gap]


def test_a_folder_of_predictions_is_named_as_such(tmp_path):
    with pytest.raises(TableError, match="is a folder and no predictions table"):
        read_predictions(tmp_path)
