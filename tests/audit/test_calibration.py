"""Temperatures and reliability."""

import numpy as np
import pytest

from agegender.audit.calibration import (
    calibrated_probability,
    expected_calibration_error,
    fit_temperature,
    reliability_bins,
)


def overconfident(n=5000, temperature=2.5):
    generator = np.random.default_rng(0)
    odds = generator.normal(0, 2, n)
    return odds * temperature, (generator.random(n) < 1 / (1 + np.exp(-odds))).astype(float)


def test_a_planted_temperature_is_recovered():
    assert fit_temperature(*overconfident()) == pytest.approx(2.5, rel=0.06)


def test_calibration_lowers_the_calibration_error():
    odds, is_female = overconfident()
    before = expected_calibration_error(is_female, calibrated_probability(odds, 1.0))
    after = expected_calibration_error(is_female, calibrated_probability(odds, fit_temperature(odds, is_female)))
    assert before > 0.1
    assert after < 0.02


@pytest.mark.parametrize("labels", [[], [1.0, 1.0], [0.0, np.nan]])
def test_one_class_alone_says_nothing_about_temperature(labels):
    assert fit_temperature(np.ones(len(labels)), labels) == 1.0


def test_a_split_without_mistakes_does_not_make_the_model_certain():
    odds = np.r_[np.full(50, 4.0), np.full(50, -4.0)]
    temperature = fit_temperature(odds, odds > 0)
    assert 0.5 < temperature < 2.0


def test_bins_hold_every_row_and_their_shares():
    bins = reliability_bins([1, 0, 1, np.nan], [1.0, 0.05, 0.95, 0.5])
    assert bins["n"].tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    assert bins["female_share"].iloc[9] == 1.0
    assert np.isnan(bins["mean_probability"].iloc[3])


def test_no_rows_have_no_calibration_error():
    assert np.isnan(expected_calibration_error([], []))
