"""The metrics document."""

import json

import numpy as np
import pandas as pd
import pytest
from metric_tables import simulated_predictions

from agegender.audit.metrics_document import evaluation_metrics
from agegender.errors import TableError
from agegender.writing import to_json


def document(table):
    return json.loads(to_json(evaluation_metrics(table)))


def test_every_split_has_its_figures_and_its_groups():
    table = simulated_predictions(300)
    table["split"] = np.repeat(["train", "valid", "test"], 100)
    metrics = document(table)
    assert list(metrics) == ["train", "valid", "test"]
    test = metrics["test"]
    assert test["n"] == 100
    assert test["age"]["mae"] == pytest.approx((table["predicted_age_years"] - table["age_years"]).abs()[200:].mean())
    assert set(test["groups"]) == {"gender", "ethnicity", "gender × ethnicity", "age_group", "age_band"}
    assert sum(group["n"] for group in test["groups"]["gender × ethnicity"].values()) == 100


def test_without_splits_everything_is_one():
    assert list(document(simulated_predictions(50))) == ["all"]


def test_coverage_and_width_of_intervals():
    table = simulated_predictions(100)
    table["age_low_years"], table["age_high_years"] = table["age_years"] - 1, table["age_years"] + 3
    table.loc[:9, "age_low_years"] = table["age_years"] + 1
    shares = {"coverage": 0.9, "below": 0.1, "above": 0.0}
    assert document(table)["all"]["age"]["interval"] == {"n": 100, **shares, "mean_width": pytest.approx(3.8)}


def test_groups_without_labels_stand_with_null():
    table = simulated_predictions(40)
    table.loc[table["ethnicity"] == "White", "age_years"] = np.nan
    white = document(table)["all"]["groups"]["ethnicity"]["White"]
    assert white["n"] > 0
    assert white["age"]["mae"] is None
    assert white["gender"]["accuracy"] is not None


def test_one_head_is_enough_and_none_is_refused():
    ages = simulated_predictions(40).drop(columns=["gender", "predicted_gender"])
    assert document(ages)["all"]["gender"]["n"] == 0
    with pytest.raises(TableError, match="Map them: --columns"):
        evaluation_metrics(pd.DataFrame({"path": ["a.jpg"]}))


def test_a_further_head_has_its_scores_everywhere():
    table = simulated_predictions(60)
    table["height_cm"], table["predicted_height_cm"] = 170.0, 172.0
    metrics = document(table)["all"]
    assert list(metrics) == ["n", "age", "gender", "height", "chalearn_bias", "groups"]
    assert metrics["height"]["mae"] == 2.0
    assert metrics["groups"]["gender"]["male"]["height"]["signed_error"] == 2.0


def test_without_a_head_that_has_age_bands_there_is_no_chalearn_score():
    genders = simulated_predictions(40)[["path", "gender", "predicted_gender"]]
    assert list(document(genders)["all"]) == ["n", "gender", "groups"]
