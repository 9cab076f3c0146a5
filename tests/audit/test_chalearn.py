"""The ChaLearn score."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_tables import simulated_predictions

from agegender.audit.assessment import assess
from agegender.audit.chalearn import chalearn_bias, chalearn_scores
from agegender.audit.predictions_table import complete_predictions
from agegender.errors import TableError
from agegender.heads import AGE


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


def test_a_table_without_expression_has_no_expression_score():
    rows, _, _ = complete_predictions(simulated_predictions(200))
    scores = chalearn_scores(rows, AGE)
    assert np.isnan(scores["expression"])
    assert np.isfinite([scores["age"], scores["gender"], scores["ethnicity"]]).all()


def test_scores_stand_beside_what_chance_alone_makes():
    table = simulated_predictions(900)
    beside = assess(table).chalearn.set_index("attribute")
    assert beside.loc["ethnicity", ["groups", "n"]].tolist() == [5, 900]
    # The same by hand: the errors dealt at random to the same labels.
    errors = (table["predicted_age_years"] - table["age_years"]).abs().to_numpy()
    generator = np.random.default_rng(1)
    dealt = [chalearn_bias(generator.permutation(errors), table["ethnicity"]) for _ in range(400)]
    assert beside.loc["ethnicity", "chance"] == pytest.approx(np.quantile(dealt, 0.95), rel=0.1)
