"""Errors along a label: windows hold what they say, and their bands the truth."""

from __future__ import annotations

import numpy as np
import pytest

from agegender.audit.error_curves import error_curve


def test_each_point_is_the_mean_over_the_rows_within_its_window():
    generator = np.random.default_rng(3)
    labels, errors = generator.integers(1, 80, 900).astype(float), generator.normal(0, 5, 900)
    curve = error_curve(labels, errors, step=1.0)
    for point, count, mean, size in zip(
        curve.points, curve.counts, curve.signed.values, curve.absolute.values, strict=True
    ):
        inside = np.abs(labels - point) <= curve.half_width
        assert count == inside.sum()
        if count >= 30:
            assert mean == pytest.approx(errors[inside].mean())
            assert size == pytest.approx(np.abs(errors[inside]).mean())
        else:
            assert np.isnan(mean)


def test_bands_hold_the_true_curve_at_about_95_of_100_points():
    hits = []
    for seed in range(60):
        generator = np.random.default_rng(seed)
        labels = generator.uniform(0, 60, 1500)
        errors = 4.0 - 0.1 * labels + generator.standard_t(5, 1500) * 4.0
        curve = error_curve(labels, errors, step=1.0)
        told = curve.is_known & (curve.points >= 3) & (curve.points <= 57)
        truth = 4.0 - 0.1 * curve.points  # of a straight line the mean over a window is its middle
        hits.append(np.mean((curve.signed.low <= truth)[told] & (curve.signed.high >= truth)[told]))
    assert 0.93 <= np.mean(hits) <= 0.97


def test_bands_of_absolute_errors_hold_the_truth_although_these_are_skewed():
    hits = []
    for seed in range(80):
        generator = np.random.default_rng(seed)
        curve = error_curve(generator.uniform(0, 30, 420), generator.normal(0, 5, 420), step=1.0)
        truth = 5.0 * np.sqrt(2 / np.pi)
        told = curve.is_known
        hits.append(np.mean((curve.absolute.low <= truth)[told] & (curve.absolute.high >= truth)[told]))
    assert 0.93 <= np.mean(hits) <= 0.97
    assert (curve.absolute.low[told] > 0).all()


def test_rows_that_come_four_times_make_no_band_narrower():
    generator = np.random.default_rng(5)
    labels, errors = generator.uniform(0, 30, 300), generator.normal(0, 5, 300)
    once = error_curve(labels, errors, step=1.0)
    clusters = np.tile(np.arange(300), 4)
    often = error_curve(np.tile(labels, 4), np.tile(errors, 4), step=1.0, clusters=clusters)
    widths = [np.nanmean(curve.signed.high - curve.signed.low) for curve in (once, often)]
    assert often.half_width <= once.half_width
    if often.half_width == once.half_width:
        assert widths[1] == pytest.approx(widths[0], rel=0.05)


def test_too_few_rows_make_no_curve():
    assert error_curve(np.arange(29.0), np.ones(29), step=1.0) is None
    assert error_curve(np.full(100, np.nan), np.ones(100), step=1.0) is None


def test_window_is_as_wide_as_the_rows_need():
    generator = np.random.default_rng(1)
    many, few = (error_curve(generator.uniform(0, 50, n), generator.normal(0, 1, n), step=1.0) for n in (5000, 200))
    assert many.half_width == 2.0
    assert few.half_width > 3.0
