"""Fitted intervals hold what they promise on rows that they have not seen, in every group that is known."""

import numpy as np
import pytest

from agegender.errors import TableError
from agegender.heads.interval_fitting import conformal_quantile, fit_intervals


def simulated(generator, n):
    """Return ages and predictions that are drawn to the middle, and worse for the old, with outliers."""
    true = np.clip(generator.gamma(3, 11, n), 0, 110)
    outlier = np.where(generator.random(n) < 0.1, 2.0, 1.0)
    noise = (2 + 0.12 * true) * generator.normal(size=n) * outlier
    return true, np.clip(35 + 0.85 * (true - 35) + noise, 0, 110)


def grouped(generator, n):
    """Return ages, predictions and spreads of three groups, of which one is judged too old and one scatters more."""
    group = generator.choice(["usual", "older", "wilder"], n, p=[0.5, 0.3, 0.2])
    true = generator.uniform(5, 75, n)
    scatter = (2 + 0.1 * true) * np.where(group == "wilder", 1.8, 1.0)
    predicted = true + 4.0 * (group == "older") + scatter * generator.normal(size=n)
    return true, predicted, scatter * np.exp(0.1 * generator.normal(size=n)), group.astype(object)


def share_inside(intervals, true, predicted, **known):
    low, high = intervals.interval(predicted, **known, lowest=-np.inf)
    return (low <= true) & (true <= high)


@pytest.mark.parametrize(
    ("calibration_rows", "models", "margin"), [(2000, 10, 0.015), (150, 40, 0.025), (25, 60, 0.03)]
)
def test_coverage_on_rows_kept_aside_is_ninety_percent(calibration_rows, models, margin):
    generator = np.random.default_rng(0)
    shares = []
    for _ in range(models):
        intervals = fit_intervals(*simulated(generator, calibration_rows))
        shares.append(share_inside(intervals, *simulated(generator, 4000)).mean())
    assert np.mean(shares) == pytest.approx(0.9, abs=margin)


def test_each_group_and_each_stretch_of_predictions_is_covered():
    generator = np.random.default_rng(1)
    true, predicted, spread, group = grouped(generator, 3000)
    intervals = fit_intervals(true, predicted, spread=spread, groups={"group": group})
    true, predicted, spread, group = grouped(generator, 40_000)
    inside = share_inside(intervals, true, predicted, spread=spread, groups={"group": group})
    for name in ("usual", "older", "wilder"):
        assert 0.87 < inside[group == name].mean() < 0.93
    for start in range(10, 70, 15):
        assert 0.87 < inside[(predicted >= start) & (predicted < start + 15)].mean() < 0.93
    blind = fit_intervals(*grouped(np.random.default_rng(1), 3000)[:2])
    assert share_inside(blind, true, predicted)[group == "wilder"].mean() < 0.85


def test_each_end_is_passed_by_one_in_twenty():
    generator = np.random.default_rng(2)
    low, high, count = 0, 0, 0
    for _ in range(10):
        intervals = fit_intervals(*simulated(generator, 1000))
        true, predicted = simulated(generator, 4000)
        ends = intervals.interval(predicted)
        low, high, count = low + (true < ends[0]).sum(), high + (true > ends[1]).sum(), count + true.size
    assert (low / count, high / count) == pytest.approx((0.05, 0.05), abs=0.012)


def test_intervals_are_wider_where_the_model_is_worse():
    low, high = fit_intervals(*simulated(np.random.default_rng(1), 3000)).interval([12.0, 60.0])
    assert (high - low)[1] > 1.5 * (high - low)[0]


def test_each_tail_is_found_on_its_own():
    generator = np.random.default_rng(2)
    predicted = generator.uniform(20, 60, 3000)
    low, high = fit_intervals(predicted + generator.exponential(6, 3000), predicted).interval([40.0])
    assert low[0] == pytest.approx(40.3, abs=1.0)
    assert high[0] == pytest.approx(58, abs=2.5)


def test_no_age_is_below_zero():
    low, _ = fit_intervals(*simulated(np.random.default_rng(3), 500)).interval([0.0, 1.0])
    assert (low == 0).all()


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 18])
def test_too_few_rows_leave_intervals_unknown(rows):
    intervals = fit_intervals(*simulated(np.random.default_rng(5), rows))
    assert intervals.calibration_count == 0
    assert np.isnan(intervals.interval([30.0])).all()


def test_nineteen_rows_are_enough():
    low, high = fit_intervals(*simulated(np.random.default_rng(5), 19)).interval([30.0])
    assert 0 <= low[0] < 30 < high[0] < 110


def test_one_person_alone_teaches_nothing():
    true, predicted = simulated(np.random.default_rng(6), 500)
    assert fit_intervals(true, predicted, clusters=np.zeros(500)).calibration_count == 0


def test_a_person_with_many_photos_counts_once():
    generator = np.random.default_rng(7)
    true, predicted = simulated(generator, 400)
    odd_true, odd_predicted = np.full(400, 90.0), np.full(400, 30.0)  # one person, always judged far too young
    clusters = np.r_[np.arange(400), np.full(400, 400)]
    both = fit_intervals(np.r_[true, odd_true], np.r_[predicted, odd_predicted], clusters=clusters)
    assert both.calibration_count == 401
    alone, naive = fit_intervals(true, predicted), fit_intervals(np.r_[true, odd_true], np.r_[predicted, odd_predicted])
    ends = [intervals.interval([30.0])[1][0] for intervals in (alone, both, naive)]
    assert ends[1] == pytest.approx(ends[0], rel=0.15)
    assert ends[2] > 80


def test_every_row_twice_is_the_same_as_once():
    true, predicted, spread, group = grouped(np.random.default_rng(8), 600)
    once = fit_intervals(true, predicted, spread=spread, groups={"group": group})
    twice = fit_intervals(
        np.r_[true, true], np.r_[predicted, predicted], spread=np.r_[spread, spread],
        groups={"group": np.r_[group, group]}, clusters=np.r_[np.arange(600), np.arange(600)],
    )  # fmt: skip
    known = {"spread": spread, "groups": {"group": group}}
    assert twice.calibration_count == 600
    away = np.abs(np.subtract(twice.interval(predicted, **known), once.interval(predicted, **known)))
    assert away.mean() < 0.3
    assert away.max() < 2.0


def test_rows_without_a_number_are_skipped():
    true, predicted, spread, group = grouped(np.random.default_rng(9), 300)
    gaps = np.arange(300) % 3
    true, predicted, spread = (
        np.where(gaps == part, np.nan, values) for part, values in enumerate((true, predicted, spread))
    )
    group[::7] = None
    intervals = fit_intervals(true, predicted, spread=spread, groups={"group": group})
    assert intervals.calibration_count == 100
    low, high = intervals.interval([np.nan, 30.0], spread=[5.0, np.nan], groups={"group": [None, "unheard of"]})
    assert np.isnan(low).tolist() == [True, False]
    assert low[1] < 30 < high[1]


def test_equal_predictions_get_the_spread_of_the_labels():
    true = np.linspace(0, 100, 1001)
    low, high = fit_intervals(true, np.full(1001, 50.0)).interval([50.0])
    assert (low[0], high[0]) == pytest.approx((5, 95), abs=0.6)


@pytest.mark.parametrize(
    "true", [np.full(200, 30.0), np.round(np.linspace(20, 40, 200)), np.r_[np.zeros(190), np.full(10, 9)]]
)
def test_ties_give_finite_intervals(true):
    predicted = np.round(true / 10) * 10
    groups = {"group": np.where(np.arange(len(true)) % 2, "a", "b").astype(object)}
    low, high = fit_intervals(true, predicted, spread=np.ones(len(true)), groups=groups).interval(
        predicted, groups=groups
    )
    assert np.isfinite([low, high]).all()
    assert (low <= high).all()
    assert ((low - 1e-3 <= true) & (true <= high + 1e-3)).mean() >= 0.85


def test_a_small_group_is_treated_like_everybody():
    true, predicted = simulated(np.random.default_rng(10), 300)
    group = np.where(np.arange(300) < 15, "few", "many").astype(object)
    assert fit_intervals(true, predicted, groups={"group": group}).groups == {}


def test_columns_of_different_length_are_refused():
    with pytest.raises(TableError, match="give one of each per row"):
        fit_intervals([1.0, 2.0], [1.0])


def test_the_quantile_is_that_of_one_cluster_more():
    scores, weights = np.arange(1.0, 20.0), np.ones(19)
    assert conformal_quantile(scores, weights, 0.05) == 19
    assert conformal_quantile(scores, weights, 0.5) == 10
    assert conformal_quantile(np.repeat(scores, 2), np.full(38, 0.5), 0.5) == pytest.approx(10, abs=0.5)
