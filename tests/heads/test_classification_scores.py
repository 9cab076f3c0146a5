"""Scores of predicted classes, against scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn_metrics

from agegender.errors import TableError
from agegender.heads import GENDER, Classification
from agegender.heads.classification import classification_scores

CLASSES = ("male", "female")


def simulated(n=500, classes=CLASSES):
    generator = np.random.default_rng(0)
    labels = generator.choice(classes, n)
    odds = generator.normal(size=(n, len(classes))) + 2.0 * (labels[:, None] == np.array(classes))
    probabilities = np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)
    return labels, np.array(classes)[probabilities.argmax(axis=1)], probabilities


def test_scores_of_two_classes_equal_scikit_learn():
    labels, said, probabilities = simulated()
    scores = classification_scores(labels, said, CLASSES, probabilities)
    is_female, chance = labels == "female", probabilities[:, 1]
    expected = sklearn_metrics.precision_recall_fscore_support(labels, said, labels=CLASSES)
    for number, name in enumerate(CLASSES):
        ours = [scores[f"{score}_{name}"] for score in ("precision", "recall", "f1", "support")]
        assert ours == pytest.approx([part[number] for part in expected])
    assert scores["roc_auc"] == pytest.approx(sklearn_metrics.roc_auc_score(is_female, chance))
    assert scores["pr_auc"] == pytest.approx(sklearn_metrics.average_precision_score(is_female, chance))
    assert scores["log_loss"] == pytest.approx(sklearn_metrics.log_loss(is_female, chance))
    assert scores["brier"] == pytest.approx(sklearn_metrics.brier_score_loss(is_female, chance))
    assert scores["macro_f1"] == pytest.approx(sklearn_metrics.f1_score(labels, said, average="macro"))


def test_scores_of_three_classes_equal_scikit_learn():
    classes = ("angry", "happy", "sad")
    labels, said, probabilities = simulated(classes=classes)
    scores = classification_scores(labels, said, classes, probabilities)
    assert scores["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(labels, said))
    assert scores["roc_auc"] == pytest.approx(
        sklearn_metrics.roc_auc_score(labels, probabilities, multi_class="ovr", labels=classes)
    )
    assert scores["log_loss"] == pytest.approx(sklearn_metrics.log_loss(labels, probabilities, labels=classes))


def test_a_single_class_has_no_roc_curve():
    scores = classification_scores(["female"] * 2, ["female", "male"], CLASSES, [[0.1, 0.9], [0.8, 0.2]])
    assert scores["accuracy"] == 0.5
    assert np.isnan([scores["roc_auc"], scores["pr_auc"], scores["recall_male"]]).all()


def test_labels_without_probability_still_count():
    scores = classification_scores(["male", "female", None], ["male"] * 3, CLASSES)
    assert (scores["n"], scores["skipped"], scores["accuracy"]) == (2, 1, 0.5)
    assert np.isnan(scores["brier"])


def test_log_odds_in_place_of_probabilities_are_refused():
    with pytest.raises(TableError, match="outside 0 to 1, first -2"):
        classification_scores(["male", "female"], ["male", "female"], CLASSES, [[0.9, 0.1], [-2.0, 3.0]])


def test_a_class_that_is_never_said_has_no_precision():
    scores = classification_scores(["happy", "sad", "sad", None], ["happy", "happy", "angry", "sad"], ("happy", "sad"))
    assert (scores["n"], scores["support_sad"], scores["recall_sad"], scores["f1_sad"]) == (3, 2, 0, 0)
    assert np.isnan(scores["precision_sad"])
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)


def test_no_rows_give_nan():
    assert np.isnan(classification_scores([], [], CLASSES)["accuracy"])


def test_classes_are_known_however_they_are_spelt():
    cells = pd.Series(["M", " woman ", "Female", "robot", None])
    assert GENDER.classes_of(cells).tolist() == ["male", "female", "female", None, None]
    assert Classification("cups", "cups", ("1", "2")).classes_of(pd.Series([1.0, 2.0, 3.0])).tolist() == [
        "1",
        "2",
        None,
    ]
    # A class that is spelt so is meant, whatever else is spelt like it.
    assert Classification("size", "size", ("m", "M")).classes_of(pd.Series(["M", "m"])).tolist() == ["M", "m"]


def test_the_likeliest_class_is_the_last_of_equals_and_none_where_unknown():
    rows = pd.DataFrame({"gender_probability_male": [0.5, 0.9, np.nan], "gender_probability_female": [0.5, 0.1, 0.4]})
    assert GENDER.likeliest(rows).tolist() == ["female", "male", None]
