"""What is held equal: its bins, its curves, and which groupings are nothing but bands of it."""

import numpy as np
import pandas as pd
import pytest

from agegender.audit.held_equal import HeldEqual, quantile_bins, spline


def ages(n=2000, seed=0):
    return np.floor(np.random.default_rng(seed).gamma(3.0, 11.0, n))


def held(**columns):
    return HeldEqual.of_table(pd.DataFrame(columns), tuple(columns))


def test_bins_hold_enough_rows_and_equal_ages_together():
    values = ages(700)
    bins = quantile_bins(values)
    assert bins.max() >= 8
    for age in np.unique(values):
        assert len(np.unique(bins[values == age])) == 1
    assert np.bincount(bins).min() >= 15


def test_more_rows_make_finer_bins_up_to_an_end():
    counts = [quantile_bins(np.arange(n, dtype=float)).max() + 1 for n in (10, 60, 1000, 2000, 100_000)]
    assert counts == [1, 2, 12, 20, 40]


def test_rows_of_unknown_age_are_a_bin_of_their_own():
    values = np.where(np.arange(400) % 2 == 0, np.nan, ages(400))
    bins = quantile_bins(values)
    assert not set(bins[::2]) & set(bins[1::2])


def test_one_age_only_is_one_stratum_and_changes_no_value():
    same = held(age_years=np.full(50, 30.0))
    assert (same.strata(50) == 0).all()
    values = np.arange(50.0)
    assert same.levelled(values, "positive", same.strata(50)) == pytest.approx(values / values.mean())


def test_bands_are_told_from_the_data_whatever_they_are_called():
    years = ages()
    by_age = held(age_years=years)
    assert by_age.tells(np.digitize(years, [10, 30, 60]))
    assert by_age.tells(np.where(years < 30, -1, np.digitize(years, [30, 60])))
    assert not by_age.tells(np.random.default_rng(1).integers(0, 2, 2000))
    assert not by_age.tells(np.zeros(2000, dtype=np.int64))
    assert not by_age.tells(np.digitize(years, [30]) * 2 + np.arange(2000) % 2)


def test_a_text_that_is_held_equal_tells_itself_and_what_is_made_of_it():
    cameras = np.array(["a", "b", "c", "d"])[np.arange(400) % 4]
    by_camera = held(camera=cameras)
    assert by_camera.tells(np.arange(400) % 4)
    assert by_camera.tells((np.arange(400) % 4) // 2)
    assert not by_camera.tells(np.arange(400) // 200)
    assert len(np.unique(by_camera.strata(400))) == 4


def test_two_columns_are_held_equal_together():
    both = held(age_years=np.repeat([20.0, 60.0], 200), camera=["a", "b"] * 200)
    assert len(np.unique(both.strata(400))) == 4


def test_curves_follow_what_bends():
    years = ages(3000)
    truth = 3.0 * np.exp(-years / 12.0) + (years / 40.0) ** 2
    basis = np.c_[np.ones(3000), spline(years)]
    fitted = basis @ np.linalg.lstsq(basis, truth, rcond=None)[0]
    assert np.quantile(np.abs(fitted - truth), 0.98) < 0.07


def test_few_ages_have_a_level_each():
    assert spline(np.array([1.0, 2.0, 2.0, 9.0] * 20)).shape == (80, 2)


@pytest.mark.parametrize(("kind", "level"), [("positive", 1.0), ("signed", 0.0), ("rate", 0.0)])
def test_levelled_values_have_one_mean_in_every_stratum(kind, level):
    generator, years = np.random.default_rng(0), ages()
    values = {
        "positive": np.abs(generator.normal(size=2000)) * (2 + years / 10),
        "signed": generator.normal(size=2000) * (2 + years / 10) - years / 5,
        "rate": (generator.random(2000) < 0.5 + years / 250).astype(float),
    }[kind]
    by_age = held(age_years=years)
    strata = by_age.strata(2000)
    even = by_age.levelled(values, kind, strata)
    for stratum in np.unique(strata):
        assert even[strata == stratum].mean() == pytest.approx(level, abs=1e-9)
    if kind == "signed":
        spreads = [even[(years >= low) & (years < low + 15)].std() for low in (0, 15, 30, 45)]
        assert spreads == sorted(spreads, reverse=True)
        assert max(spreads) / min(spreads) < 2.5


def test_values_that_are_all_zero_stay_comparable():
    by_age = held(age_years=ages(100))
    for kind in ("positive", "signed", "rate"):
        assert np.isfinite(by_age.levelled(np.zeros(100), kind, by_age.strata(100))).all()


def test_columns_without_a_value_hold_nothing():
    assert not HeldEqual.of_table(pd.DataFrame({"age_years": [np.nan]}), ("age_years",))
