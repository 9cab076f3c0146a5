"""Standardising for age: known answers, and honest widths where all are right."""

from __future__ import annotations

import numpy as np
import pytest

from agegender.audit.standardised import standardise


def test_a_gap_that_is_all_age_vanishes() -> None:
    generator = np.random.default_rng(3)
    bands = np.repeat([0, 1], 2_000)
    codes = np.concatenate([generator.random(2_000) < 0.2, generator.random(2_000) < 0.8]).astype(np.int64)
    values = 3.0 + 4.0 * bands + generator.normal(0, 1, 4_000)
    result = standardise(values, codes, 2, bands)
    assert values[codes == 1].mean() - values[codes == 0].mean() > 2.0
    assert result.gaps.values[1] == pytest.approx(0.0, abs=0.15)
    assert abs(result.gaps.values[1]) < 1.6 * (result.gaps.high[1] - result.gaps.values[1])  # three standard errors


def test_a_rate_without_one_error_still_has_an_interval() -> None:
    codes = np.repeat([0, 1], 40)
    bands = np.tile([0, 1], 40)
    result = standardise(np.ones(80), codes, 2, bands, is_rate=True)
    assert result.gaps.values[0] == 0.0
    assert result.gaps.low[0] < -0.01 < 0.01 < result.gaps.high[0]
