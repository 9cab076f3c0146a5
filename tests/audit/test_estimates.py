"""Intervals cover what they should, and say so when rows are too few."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from agegender.audit.estimates import (
    Estimate,
    gap_intervals,
    mean_intervals,
    mean_of,
    newcombe,
    resample_groups,
    wilson,
)

SHAPES = {
    "half-normal": (lambda generator, n: 6.5 * np.abs(generator.normal(size=n)), 6.5 * np.sqrt(2 / np.pi)),
    "exponential": (lambda generator, n: generator.exponential(5.2, n), 5.2),
    "normal": (lambda generator, n: generator.normal(1.0, 6.5, n), 1.0),
    "laplace": (lambda generator, n: generator.laplace(0.0, 5.2, n), 0.0),
}


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_equals_scipy(counts):
    hits, n = counts
    expected = stats.binomtest(hits, n).proportion_ci(method="wilson")
    low, high = wilson([hits], [n])
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_newcombe_gives_his_own_example():
    # Newcombe 1998, table II, example (a), method 10: 56/70 against 48/80.
    low, high = newcombe([56], [70], [48], [80])
    assert (low[0], high[0]) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_rates_without_rows_are_unknown():
    assert np.isnan(wilson([0], [0])).all()
    assert np.isnan(newcombe([1], [2], [0], [0])).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [30, 100])
def test_bootstrap_covers_skewed_means_and_gaps(shape, n):
    draw, truth = SHAPES[shape]
    generator = np.random.default_rng(n)
    groups, hits, gap_hits = 400, [], []
    for _ in range(2):
        codes = np.repeat(np.arange(groups), n)
        grouped = resample_groups(draw(generator, groups * n), codes, groups, resample_count=600)
        low, high = mean_intervals(grouped)
        hits += list((low <= truth) & (truth <= high))
        _, low, high = gap_intervals(grouped)
        gap_hits += list((low <= 0) & (high >= 0))
    # 800 intervals: chance alone moves the share by about 1.5 points.
    assert 0.925 <= np.mean(hits) <= 0.98
    assert 0.925 <= np.mean(gap_hits) <= 0.98


@given(
    st.lists(st.tuples(st.integers(0, 3), st.floats(0, 80, width=16)), min_size=1, max_size=40),
)
def test_any_groups_give_ordered_intervals_around_their_mean(rows):
    codes, values = (np.array(part) for part in zip(*rows, strict=True))
    grouped = resample_groups(values.astype(float), codes, 5, resample_count=50)
    low, high = mean_intervals(grouped)
    known = np.isfinite(low)
    assert known.tolist() == (np.bincount(codes, minlength=5) >= 2).tolist()
    assert (low[known] <= grouped.means[known] + 1e-3).all()
    assert (grouped.means[known] <= high[known] + 1e-3).all()
    assert (low[known] >= 0).all()


def test_the_same_seed_gives_the_same_interval():
    values, codes = np.random.default_rng(0).exponential(size=200), np.arange(200) % 4
    first, second = (mean_intervals(resample_groups(values, codes, 4, seed=3)) for _ in range(2))
    assert np.array_equal(first, second)


def test_one_far_outlier_in_ten_keeps_the_interval_finite():
    low, high = mean_intervals(resample_groups([0.01] * 9 + [90.0], [0] * 10, 1))
    assert np.isfinite([low, high]).all()


def test_an_estimate_in_another_unit_keeps_its_interval():
    points = Estimate(0.03, -0.01, 0.07).scaled(100.0)
    assert (points.value, points.low, points.high) == pytest.approx((3.0, -1.0, 7.0))
    assert [points.is_off_zero, Estimate(2.0, 1.0, 3.0).is_off_zero, Estimate(2.0).is_off_zero] == [False, True, False]


def test_a_mean_leaves_out_what_is_unknown():
    rate = mean_of(np.array([1.0, 1.0, 0.0, np.nan]), is_rate=True)
    low, high = wilson([2], [3])
    assert (rate.value, rate.low, rate.high) == pytest.approx((2 / 3, low[0], high[0]))
    assert np.isnan(mean_of(np.full(4, np.nan), is_rate=False).value)
