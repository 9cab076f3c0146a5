"""Intervals as a card stores them: evaluated as they say, read back as they were, refused where they make no sense."""

import json

import numpy as np
import pytest

from agegender.errors import CardError
from agegender.heads.conformal import ConformalIntervals, GroupEffect

PLAIN = ConformalIntervals(
    level=0.9,
    calibration_count=100,
    knots=(20.0, 40.0),
    centre=(0.0, 2.0),
    low_log_scale=(0.0, 0.0),
    high_log_scale=(0.0, np.log(2.0)),
    low_score=(3.0, 5.0),
    high_score=(4.0, 4.0),
    log_spread=(np.log(5.0), np.log(5.0)),
    spread_power=1.0,
    spread_range=(-1.0, np.log(2.0)),
    groups={"predicted_gender": {"female": GroupEffect(1.0, np.log(2.0), 0.0, 1.0)}},
)


def test_the_ends_are_what_the_numbers_say():
    low, high = PLAIN.interval([20.0, 30.0, 40.0, 90.0])
    assert low == pytest.approx([17, 27, 37, 87])
    assert high == pytest.approx([24, 31 + 4 * np.sqrt(2), 50, 100])


def test_a_group_moves_and_stretches_its_interval():
    groups = {"predicted_gender": np.array(["female", "male", None], dtype=object)}
    low, high = PLAIN.interval([20.0] * 3, groups=groups)
    assert low == pytest.approx([21 - 6, 17, 17])
    assert high == pytest.approx([21 + 10, 24, 24])


def test_a_wider_distribution_has_a_wider_interval_within_what_was_seen():
    low, high = PLAIN.interval([20.0] * 5, spread=[5.0, 7.5, 10.0, 1000.0, np.nan])
    assert high - low == pytest.approx([7, 10.5, 14, 14, 7])


def test_an_unknown_prediction_has_no_interval():
    low, high = PLAIN.interval([np.nan, 30.0])
    assert np.isnan([low[0], high[0]]).all()
    assert np.isfinite([low[1], high[1]]).all()


def test_the_card_gives_the_same_intervals_back():
    assert ConformalIntervals.from_dict(json.loads(json.dumps(PLAIN.to_dict()))) == PLAIN


@pytest.mark.parametrize("names", [("knots", "low_offsets", "high_offsets"),
                                   ("knots_years", "low_offset_years", "high_offset_years")])  # fmt: skip
def test_cards_of_version_0_1_give_what_they_gave(names):
    parts = [[10.0, 50.0], [-2.0, -9.0], [1.0, 8.0]]
    old = ConformalIntervals.from_dict({"level": 0.9, "calibration_count": 60, **dict(zip(names, parts, strict=True))})
    low, high = old.interval([0.0, 10.0, 30.0, 80.0], spread=[9.0] * 4, groups={"predicted_gender": ["male"] * 4})
    assert low.tolist() == [0.0, 8.0, 24.5, 71.0]
    assert high.tolist() == [1.0, 11.0, 34.5, 88.0]


@pytest.mark.parametrize("broken", [{}, {"level": 0.9}, {"level": "x", "knots_years": []}, {"centre": []}])
def test_a_broken_card_is_named(broken):
    with pytest.raises(CardError, match="intervals in the model card"):
        ConformalIntervals.from_dict(broken)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"knots": [1.0]}, "differ in length"),
        ({"knots": [40.0, 20.0]}, "rising row of numbers"),
        ({"centre": [0.0, 1e300]}, "rising row of numbers"),
        ({"spread_power": -1.0}, "cannot be"),
        ({"level": 2.0}, "cannot be"),
        ({"groups": {"x": {"y": {"shift": 1.0}}}}, "cannot be read"),
        ({"groups": 5}, "cannot be read"),
    ],
)
def test_a_card_whose_numbers_make_no_sense_is_refused(change, message):
    with pytest.raises(CardError, match=message):
        ConformalIntervals.from_dict({**PLAIN.to_dict(), **change})


def test_huge_scales_stay_finite():
    huge = {**PLAIN.to_dict(), "high_log_scale": [1e6, 1e6]}
    assert np.isfinite(ConformalIntervals.from_dict(huge).interval([30.0])).all()
