"""Bins of a probability."""

import numpy as np
import pytest

from agegender.audit.reliability import reliability_bins
from agegender.heads.calibration import expected_calibration_error


def test_bins_hold_every_row_and_their_shares():
    bins = reliability_bins([1, 0, 1, np.nan], [1.0, 0.05, 0.95, 0.5])
    assert bins["n"].tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    assert bins["share"].iloc[9] == 1.0
    assert np.isnan(bins["mean_probability"].iloc[3])


def test_the_calibration_error_is_the_mean_distance_of_the_bins():
    generator = np.random.default_rng(0)
    chance = generator.random(400)
    is_it = (generator.random(400) < chance**2).astype(float)
    bins = reliability_bins(is_it, chance)
    expected = ((bins["mean_probability"] - bins["share"]).abs() * bins["n"]).sum() / 400
    assert expected_calibration_error(is_it, chance) == pytest.approx(expected)


def test_bins_of_persons_have_wider_intervals_than_bins_of_rows():
    generator = np.random.default_rng(1)
    persons = np.repeat(np.arange(100), 4)
    chance = generator.random(100)[persons]
    is_it = (generator.random(100)[persons] < chance).astype(float)
    rows, whole = reliability_bins(is_it, chance), reliability_bins(is_it, chance, clusters=persons)
    assert whole["share"].tolist() == rows["share"].tolist()
    assert ((whole["share_high"] - whole["share_low"]) > 1.2 * (rows["share_high"] - rows["share_low"])).all()
