"""Intervals hold what they promise on rows that they have not seen."""

import json

import numpy as np
import pytest

from agegender.errors import CardError
from agegender.heads.conformal import ConformalIntervals, fit_intervals


def simulated(generator, n):
    """Return ages and predictions that are drawn to the middle, and worse for the old, with outliers."""
    true = np.clip(generator.gamma(3, 11, n), 0, 110)
    outlier = np.where(generator.random(n) < 0.1, 2.0, 1.0)
    noise = (2 + 0.12 * true) * generator.normal(size=n) * outlier
    return true, np.clip(35 + 0.85 * (true - 35) + noise, 0, 110)


@pytest.mark.parametrize(("calibration_rows", "models", "margin"), [(2000, 12, 0.015), (150, 60, 0.025)])
def test_coverage_on_rows_kept_aside_is_ninety_percent(calibration_rows, models, margin):
    generator = np.random.default_rng(0)
    shares = []
    for _ in range(models):
        intervals = fit_intervals(*simulated(generator, calibration_rows))
        true, predicted = simulated(generator, 4000)
        low, high = intervals.interval(predicted)
        shares.append(np.mean((low <= true) & (true <= high)))
    assert np.mean(shares) == pytest.approx(0.9, abs=margin)


def test_intervals_are_wider_where_the_model_is_worse():
    intervals = fit_intervals(*simulated(np.random.default_rng(1), 3000))
    low, high = intervals.interval([12.0, 60.0])
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


def test_the_card_gives_the_same_intervals_back():
    intervals = fit_intervals(*simulated(np.random.default_rng(4), 300))
    assert ConformalIntervals.from_dict(json.loads(json.dumps(intervals.to_dict()))) == intervals


@pytest.mark.parametrize("rows", [0, 1, 2, 18])
def test_too_few_rows_leave_intervals_unknown(rows):
    intervals = fit_intervals(*simulated(np.random.default_rng(5), rows))
    assert intervals.calibration_count == 0
    assert np.isnan(intervals.interval([30.0])).all()


def test_nineteen_rows_are_enough():
    low, high = fit_intervals(*simulated(np.random.default_rng(5), 19)).interval([30.0])
    assert 0 <= low[0] < 30 < high[0] < 100


def test_missing_predictions_have_no_interval():
    low, _ = fit_intervals(*simulated(np.random.default_rng(6), 50)).interval([np.nan, 30.0])
    assert np.isnan(low).tolist() == [True, False]


def test_equal_predictions_get_the_spread_of_the_labels():
    true = np.linspace(0, 100, 1001)
    low, high = fit_intervals(true, np.full(1001, 50.0)).interval([50.0])
    assert (low[0], high[0]) == pytest.approx((5, 95), abs=0.5)


@pytest.mark.parametrize("broken", [{}, {"level": 0.9}, {"level": "x", "knots_years": []}])
def test_a_broken_card_is_named(broken):
    with pytest.raises(CardError, match="intervals in the model card"):
        ConformalIntervals.from_dict(broken)


def test_a_card_with_parts_of_different_length_is_refused():
    document = fit_intervals(*simulated(np.random.default_rng(7), 50)).to_dict()
    with pytest.raises(CardError, match="differ in length"):
        ConformalIntervals.from_dict({**document, "knots": [1.0]})
