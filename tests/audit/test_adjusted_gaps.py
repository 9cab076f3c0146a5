"""Gaps at equal ages: the plain regression's, intervals that hold the truth, and honest widths where all are right."""

import numpy as np
import pandas as pd
import pytest
from numpy.linalg import pinv

from agegender.audit.adjusted_gaps import adjusted_gaps
from agegender.audit.held_equal import HeldEqual


def support_of(ages):
    return HeldEqual.of_table(pd.DataFrame({"age_years": ages}), ("age_years",)).support


def confounded(n, seed):
    """Return ages, a group that is older than its rest, and errors that depend on age alone, and bend."""
    generator = np.random.default_rng(seed)
    ages = np.floor(np.minimum(generator.gamma(3.0, 11.0, n), 100))
    codes = (generator.random(n) < 0.05 + 0.9 / (1 + np.exp((40 - ages) / 8))).astype(np.int64)
    values = np.abs(generator.normal(size=n)) * (2 + ages / 10) + 3 * np.exp(-ages / 8)
    return ages, codes, values


def test_the_gap_and_its_error_are_those_of_the_plain_regression():
    ages, codes, values = confounded(400, 0)
    shared = (ages >= max(ages[codes == 0].min(), ages[codes == 1].min())) & (
        ages <= min(ages[codes == 0].max(), ages[codes == 1].max())
    )
    support = support_of(ages)
    found = adjusted_gaps(values, codes, 2, support)
    design = np.c_[codes, support.basis[support.points]][shared]
    bread = pinv(design.T @ design, hermitian=True)
    coefficients = bread @ design.T @ values[shared]
    left = (values[shared] - design @ coefficients) / (1 - np.einsum("ij,jk,ik->i", design, bread, design))
    hc3 = bread @ (design.T * left**2) @ design @ bread
    assert found.values[1] == pytest.approx(coefficients[0], rel=1e-6)
    assert found.errors[1] == pytest.approx(np.sqrt(hc3[0, 0]), rel=1e-6)
    assert found.values[0] == pytest.approx(-found.values[1])
    assert found.shares[1] == pytest.approx(shared.mean())


@pytest.mark.parametrize("n", [1000, 10_000])
def test_intervals_of_a_gap_that_is_all_age_hold_zero_and_do_not_get_worse_with_more_rows(n):
    missed = 0
    for seed in range(60):
        ages, codes, values = confounded(n, seed)
        gap = adjusted_gaps(values, codes, 2, support_of(ages)).intervals().of(1)
        missed += gap.is_off_zero
        assert values[codes == 1].mean() - values[codes == 0].mean() > 1.0
    assert missed <= 7  # 5 % of 60 make more than that once in a hundred times


def test_rows_of_one_person_count_once():
    ages, codes, values = confounded(300, 1)
    alone = adjusted_gaps(values, codes, 2, support_of(ages))
    four = [np.repeat(one, 4) for one in (values, codes, ages)]
    clusters = np.repeat(np.arange(300), 4)
    together = adjusted_gaps(four[0], four[1], 2, support_of(four[2]), clusters=clusters)
    blind = adjusted_gaps(four[0], four[1], 2, support_of(four[2]))
    assert together.errors == pytest.approx(alone.errors, rel=0.05)
    assert (blind.errors < 0.6 * together.errors).all()
    assert together.degrees == pytest.approx(alone.degrees, rel=0.1)


def test_clusters_of_one_row_change_nothing():
    ages, codes, values = confounded(300, 1)
    alone = adjusted_gaps(values, codes, 2, support_of(ages))
    same = adjusted_gaps(values, codes, 2, support_of(ages), clusters=np.arange(300))
    assert same.errors == pytest.approx(alone.errors, rel=1e-9)
    assert same.degrees == pytest.approx(alone.degrees, rel=1e-9)


def test_a_rate_without_one_error_still_has_an_interval():
    codes, ages = np.repeat([0, 1], 40), np.tile([20.0, 40.0], 40)
    gap = adjusted_gaps(np.ones(80), codes, 2, support_of(ages), is_rate=True).intervals().of(0)
    assert gap.value == pytest.approx(0.0, abs=1e-12)
    assert gap.low < -0.01 < 0.01 < gap.high


def test_groups_without_an_age_in_common_are_not_compared():
    ages = np.repeat([10.0, 20.0, 60.0, 70.0], 30)
    found = adjusted_gaps(ages / 10, np.repeat([0, 1], 60), 2, support_of(ages))
    assert np.isnan(found.values).all()
    assert np.isnan(found.intervals().low).all()


def test_rows_of_unknown_age_are_left_out_and_one_age_holds_nothing_more():
    ages, codes, values = confounded(400, 2)
    unknown = np.where(np.arange(400) % 2 == 0, np.nan, ages)
    half = adjusted_gaps(values, codes, 2, support_of(unknown))
    known = np.isfinite(unknown)
    assert half.values == pytest.approx(adjusted_gaps(values[known], codes[known], 2, support_of(ages[known])).values)
    same = adjusted_gaps(values, codes, 2, support_of(np.full(400, 30.0)))
    assert same.values[1] == pytest.approx(values[codes == 1].mean() - values[codes == 0].mean())


def test_texts_are_held_equal_as_well():
    generator = np.random.default_rng(5)
    camera = generator.integers(0, 2, 2000)
    codes = (generator.random(2000) < np.where(camera, 0.8, 0.2)).astype(np.int64)
    values = 5.0 * camera + generator.normal(size=2000)
    held = HeldEqual.of_table(pd.DataFrame({"camera": np.where(camera, "a", "b")}), ("camera",))
    assert not adjusted_gaps(values, codes, 2, held.support).intervals(0.001).of(1).is_off_zero


def test_as_many_different_ages_as_rows_are_regressed_all_the_same():
    generator = np.random.default_rng(6)
    ages = generator.uniform(0, 90, 3000)
    codes = (generator.random(3000) < ages / 100).astype(np.int64)
    values = ages / 10 + codes + generator.normal(size=3000)
    gap = adjusted_gaps(values, codes, 2, support_of(ages)).intervals().of(1)
    assert gap.low < 1.0 < gap.high
    assert gap.high - gap.low < 0.3
