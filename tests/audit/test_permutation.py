"""Random deals and the p-values made of them."""

import numpy as np
import pytest
from scipy import stats

from agegender.audit.permutation import deal, family_p_values, holm, statistics


def two_groups(n=200, shift=0.0, seed=0):
    generator = np.random.default_rng(seed)
    codes = (np.arange(n) < n // 4).astype(np.int64)
    return generator.normal(size=n) + shift * codes, codes


def test_the_first_deal_is_the_observed_one():
    values, codes = two_groups()
    deals = deal([values], [codes], [2], deal_count=20, seed=0)[0]
    assert deals.means()[0] == pytest.approx([values[codes == 0].mean(), values[codes == 1].mean()], abs=1e-6)
    assert deals.known_sums[:, 0] == pytest.approx(np.full(21, values.sum()), abs=1e-3)


def test_rows_without_a_group_are_dealt_but_not_counted_in_the_rest():
    values, codes = two_groups()
    codes[:30] = -1
    deals = deal([values], [codes], [2], deal_count=5, seed=0)[0]
    assert deals.counts.tolist() == [150, 20]
    assert deals.known_counts.tolist() == [170, 170]


def test_p_values_equal_scipys_permutation_test():
    values, codes = two_groups(shift=0.35)
    t = np.abs(statistics(deal([values], [codes], [2], deal_count=4000, seed=1)[0], "signed"))
    ours = np.mean(t[:, 1] >= t[0, 1])
    theirs = stats.permutation_test(
        (values[codes == 1], values[codes == 0]),
        lambda one, two, axis: stats.ttest_ind(one, two, axis=axis, equal_var=False).statistic,
        n_resamples=4000,
        rng=2,
        vectorized=True,
    ).pvalue
    assert ours == pytest.approx(theirs, abs=0.012)


def test_a_family_of_one_keeps_its_p_value_and_a_larger_one_raises_it():
    generator = np.random.default_rng(0)
    t = np.abs(generator.normal(size=(2001, 10)))
    t[0] = 0.5
    t[0, 3] = 2.4
    alone, together = family_p_values(t[:, [3]])[0], family_p_values(t)[3]
    assert alone == pytest.approx(0.0164, abs=0.008)
    assert together == pytest.approx(1 - (1 - 0.0164) ** 10, abs=0.03)


def test_holm_equals_its_definition():
    assert holm(np.array([0.01, 0.02, np.nan, 0.5])) == pytest.approx([0.03, 0.04, np.nan, 0.5], nan_ok=True)


@pytest.mark.parametrize("kind", ["rate", "positive", "signed"])
def test_values_that_do_not_vary_are_no_gap(kind):
    t = statistics(deal([np.ones(100)], [np.arange(100) % 3], [3], deal_count=10, seed=0)[0], kind)
    assert (t == 0).all()


def test_twice_the_error_is_as_far_out_as_half_of_it():
    values = np.abs(np.random.default_rng(0).normal(size=400))
    codes = np.arange(400) % 2
    t = statistics(deal([values], [codes], [2], deal_count=10, seed=0)[0], "positive")
    assert t[:, 0] == pytest.approx(-t[:, 1], rel=1e-3, abs=1e-3)
