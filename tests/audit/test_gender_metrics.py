"""Scores of predicted gender labels and of other classes, against scikit-learn."""

import numpy as np
import pytest
from metric_tables import simulated_predictions
from sklearn import metrics as sklearn_metrics

from agegender.audit.gender import class_metrics, gender_metrics
from agegender.errors import TableError


def test_scores_equal_scikit_learn():
    table = simulated_predictions(500)
    scores = gender_metrics(table["gender"], table["female_probability"])
    is_female = table["gender"] == "female"
    said = np.where(table["female_probability"] >= 0.5, "female", "male")
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
        table["gender"], said, labels=["male", "female"]
    )
    for place, name in enumerate(("male", "female")):
        expected = precision[place], recall[place], f1[place], support[place]
        assert [scores[f"{score}_{name}"] for score in ("precision", "recall", "f1", "support")] == pytest.approx(
            expected
        )
    assert scores["roc_auc"] == pytest.approx(sklearn_metrics.roc_auc_score(is_female, table["female_probability"]))
    assert scores["log_loss"] == pytest.approx(sklearn_metrics.log_loss(is_female, table["female_probability"]))
    assert scores["brier"] == pytest.approx(sklearn_metrics.brier_score_loss(is_female, table["female_probability"]))
    assert scores["macro_f1"] == pytest.approx(sklearn_metrics.f1_score(table["gender"], said, average="macro"))


def test_a_single_class_has_no_roc_curve():
    scores = gender_metrics(["female", "female"], [0.9, 0.2])
    assert scores["accuracy"] == 0.5
    assert np.isnan([scores["roc_auc"], scores["pr_auc"], scores["recall_male"]]).all()


def test_labels_without_probability_still_count():
    scores = gender_metrics(["male", "female", None], predicted=["male", "male", "male"])
    assert (scores["n"], scores["skipped"], scores["accuracy"]) == (2, 1, 0.5)
    assert np.isnan(scores["brier"])


def test_log_odds_in_place_of_probabilities_are_refused():
    with pytest.raises(TableError, match="outside 0 to 1, first 3"):
        gender_metrics(["male", "female"], [0.1, 3.0])


def test_classes_are_those_of_the_labels():
    scores = class_metrics(["happy", "sad", "sad", None], ["happy", "happy", "angry", "sad"])
    assert (scores["n"], list(scores["by_class"])) == (3, ["happy", "sad"])
    assert scores["by_class"]["sad"] == {
        "support": 2,
        "precision": pytest.approx(np.nan, nan_ok=True),
        "recall": 0,
        "f1": 0,
    }
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)


def test_no_rows_give_nan():
    assert np.isnan(gender_metrics([], [])["accuracy"])
