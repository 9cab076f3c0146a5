"""Scores of predicted numbers, against scikit-learn and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from agegender.errors import TableError
from agegender.heads.regression import cumulative_scores, regression_scores

tenths = st.integers(0, 1100).map(lambda tenths: tenths / 10)
ages = st.lists(st.tuples(tenths, tenths), min_size=2, max_size=60)


@given(ages)
def test_scores_equal_scikit_learn(pairs):
    true, predicted = np.array(pairs).T
    scores = regression_scores(true, predicted)
    assert scores["mae"] == pytest.approx(sklearn_metrics.mean_absolute_error(true, predicted))
    assert scores["rmse"] == pytest.approx(sklearn_metrics.root_mean_squared_error(true, predicted))
    assert scores["median_absolute_error"] == pytest.approx(sklearn_metrics.median_absolute_error(true, predicted))
    if np.ptp(true) > 1e-3:
        assert scores["r2"] == pytest.approx(sklearn_metrics.r2_score(true, predicted), rel=1e-6, abs=1e-6)


def test_signed_error_is_positive_when_ages_are_overestimated():
    assert regression_scores([20, 30], [25, 35])["signed_error"] == 5.0


def test_share_of_error_leaves_out_newborns():
    assert regression_scores([0, 10], [3, 15])["mape"] == 0.5


def test_missing_labels_are_skipped_and_counted():
    scores = regression_scores([20, np.nan, 40, 50], [20, 30, np.nan, 58])
    assert (scores["n"], scores["skipped"], scores["mae"], scores["within_8"], scores["within_5"]) == (2, 2, 4, 1, 0.5)


def test_no_rows_give_nan_and_not_zero():
    scores = regression_scores([], [])
    assert scores["n"] == 0
    assert all(np.isnan(value).all() for name, value in scores.items() if name not in {"n", "skipped"})
    assert np.isnan(cumulative_scores([np.nan], [3.0])).all()


def test_equal_labels_have_no_r2():
    assert np.isnan(regression_scores([30, 30], [29, 33])["r2"])


@given(ages)
def test_cumulative_scores_never_fall_and_agree_with_within(pairs):
    true, predicted = np.array(pairs).T
    scores = cumulative_scores(true, predicted)
    assert scores.shape == (16,)
    assert (np.diff(scores) >= 0).all()
    assert scores[8] == regression_scores(true, predicted)["within_8"]


def test_unequal_lengths_are_refused():
    with pytest.raises(TableError, match="3 labels but 2 predictions"):
        regression_scores([1, 2, 3], [1, 2])
