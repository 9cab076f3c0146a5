"""Intervals cover what they should, and say so when rows are too few."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from agegender.audit.cluster_sums import sum_clusters
from agegender.audit.estimates import (
    Estimate,
    gap_intervals,
    mean_intervals,
    mean_of,
    measure_groups,
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


def persons_with_photos(generator, *, kind, spans, persons=200, photos=4):
    """Return values, groups and persons of a table in which half of the variance is the person's, and the truth."""
    clusters = np.repeat(np.arange(persons), photos)
    z = np.sqrt(0.5) * (generator.normal(size=persons)[clusters] + generator.normal(size=clusters.size))
    codes = generator.choice(3, clusters.size if spans else persons, p=[0.5, 0.3, 0.2])
    codes = codes if spans else codes[clusters]
    if kind == "rate":
        return (z < stats.norm.ppf(0.93)).astype(float), codes, clusters, 0.93
    return (
        (6.5 * np.abs(z), codes, clusters, 6.5 * np.sqrt(2 / np.pi)) if kind == "positive" else (z, codes, clusters, 0)
    )


@pytest.mark.parametrize("kind", ["positive", "signed", "rate"])
@pytest.mark.parametrize("spans", [False, True])
def test_intervals_cover_where_persons_have_several_photos(kind, spans):
    generator, hits = np.random.default_rng(3), []
    for _ in range(100):
        values, codes, clusters, truth = persons_with_photos(generator, kind=kind, spans=spans)
        own, gaps = measure_groups(
            values, codes, 3, is_rate=kind == "rate", clusters=clusters, resample_count=300, seed=1
        )
        hits += [*((own.low <= truth) & (truth <= own.high)), *((gaps.low <= 0) & (gaps.high >= 0))]
    assert 0.925 <= np.mean(hits) <= 0.985


@pytest.mark.parametrize("is_rate", [False, True])
def test_clusters_of_one_row_change_nothing(is_rate):
    generator = np.random.default_rng(0)
    values, codes = generator.exponential(size=90), np.arange(90) % 3
    values = (values < 1).astype(float) if is_rate else values
    plain, alone = (
        measure_groups(values, codes, 3, is_rate=is_rate, clusters=clusters, resample_count=50, seed=2)
        for clusters in (None, np.arange(90))
    )
    for one, other in zip(plain, alone, strict=True):
        assert (one.low.tolist(), one.high.tolist()) == (other.low.tolist(), other.high.tolist())


def test_doubled_rows_have_the_standard_errors_of_single_ones():
    generator = np.random.default_rng(0)
    values, codes = generator.normal(size=60), np.arange(60) % 3
    single = sum_clusters(values, codes, 3, np.arange(60))
    double = sum_clusters(np.tile(values, 2), np.tile(codes, 2), 3, np.tile(np.arange(60), 2))
    assert double.errors == pytest.approx(single.errors)
    assert double.gap_errors() == pytest.approx(single.gap_errors())
    expected = [values[codes == group].std(ddof=1) / np.sqrt(20) for group in range(3)]
    assert single.errors == pytest.approx(expected)
    rest = [values[codes != group].std(ddof=1) / np.sqrt(40) for group in range(3)]
    assert single.gap_errors() == pytest.approx(np.hypot(expected, rest))


def test_a_cluster_on_both_sides_lowers_the_error_of_the_gap():
    # Each person once in each group: the gap is the mean of paired differences.
    generator = np.random.default_rng(0)
    first = generator.normal(size=50)
    second = first + 0.1 * generator.normal(size=50)
    sums = sum_clusters(np.r_[first, second], np.repeat([0, 1], 50), 2, np.tile(np.arange(50), 2))
    assert sums.gap_errors() == pytest.approx(np.full(2, (first - second).std(ddof=1) / np.sqrt(50)))


def test_one_person_has_no_interval():
    for is_rate in (False, True):
        mean = mean_of(np.array([1.0, 0.0, 1.0, 1.0]), is_rate=is_rate, clusters=np.zeros(4, dtype=np.int64))
        assert (mean.value, np.isnan([mean.low, mean.high]).all()) == (0.75, True)
