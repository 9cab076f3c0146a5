"""The ChaLearn score and the age bands."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_tables import simulated_predictions

from agegender.audit.bias import AGE_GROUPS, age_decade, age_group, chalearn_bias, chalearn_scores
from agegender.errors import TableError


@given(st.lists(st.tuples(st.floats(0, 80), st.sampled_from("abcd")), min_size=1, max_size=50))
def test_score_equals_all_pairs_by_hand(rows):
    errors, groups = zip(*rows, strict=True)
    means = pd.Series(errors).groupby(np.array(groups)).mean().to_numpy()
    gaps = [abs(means[one] - means[two]) for one in range(len(means)) for two in range(one)]
    expected = float(np.mean(gaps)) if gaps else np.nan
    assert chalearn_bias(errors, groups) == pytest.approx(expected, nan_ok=True)


def test_missing_groups_and_errors_do_not_count():
    assert chalearn_bias([1, 100, 4, np.nan], ["a", None, "b", "b"]) == 3.0


def test_one_group_has_no_score():
    assert np.isnan(chalearn_bias([1, 2], ["a", "a"]))


def test_lengths_must_agree():
    with pytest.raises(TableError, match="2 errors but 1 group"):
        chalearn_bias([1, 2], ["a"])


def test_age_groups_begin_at_their_lower_edge():
    assert age_group([0, 19.99, 20, 39.9, 40, 59.9, 60, 116]).tolist() == sorted(AGE_GROUPS * 2, key=AGE_GROUPS.index)


def test_decades_end_at_ninety():
    assert age_decade([9.9, 10, 89.9, 90, 116, np.nan]).tolist() == ["0–9", "10–19", "80–89", "90+", "90+", None]


def test_a_table_without_expression_has_no_expression_score():
    scores = chalearn_scores(simulated_predictions(200))
    assert np.isnan(scores["expression"])
    assert np.isfinite([scores["age"], scores["gender"], scores["ethnicity"]]).all()
