"""Photos by quality: thirds as pandas makes them, and a gap that is one between photos goes when these are equal."""

import numpy as np
import pandas as pd
import pytest

from agegender.audit.grouping import Grouping
from agegender.audit.quality_parts import gaps_at_equal_quality, quality_checks, quality_groupings


def photos(count=3000, *, own_gap=0.0, seed=4):
    """Return rows whose errors grow as photos are blurred, and whose groups differ in blur."""
    generator = np.random.default_rng(seed)
    group = generator.integers(0, 2, count)
    sharp = np.clip(generator.beta(2, 2, count) - 0.25 * group, 0, 1)
    error = 3 + 8 * (1 - sharp) + own_gap * group + generator.normal(0, 1, count)
    rows = pd.DataFrame(
        {"age_years": generator.integers(1, 90, count).astype(float), "blurry_score": sharp, "is_blurry": sharp < 0.1}
    )
    return rows, error, Grouping(("camera",), (("one",), ("other",)), group)


def test_thirds_are_pandas_own():
    rows, _, _ = photos()
    groups = quality_groupings(rows)["blurry"][0]
    expected = pd.qcut(rows["blurry_score"], 3, labels=False)
    assert groups.codes.tolist() == expected.tolist()


def test_flagged_photos_are_a_group_and_a_score_of_two_values_has_no_thirds():
    rows = pd.DataFrame({"no_face_score": [1.0] * 90 + [0.0] * 10, "is_no_face": [False] * 90 + [True] * 10})
    (flags,) = quality_groupings(rows)["no_face"]
    assert flags.columns == ("is_no_face",)
    assert flags.counts.tolist() == [10, 90]


def test_unscored_photos_are_in_no_part():
    rows, _, _ = photos(300)
    rows.loc[:9, "blurry_score"] = np.nan
    rows["is_blurry"] = rows["is_blurry"].astype("boolean").where(rows["blurry_score"].notna())
    for groups in quality_groupings(rows)["blurry"]:
        assert (groups.codes[:10] == -1).all()
        assert (groups.codes[10:] >= 0).all()


def test_columns_that_only_look_alike_are_no_scores():
    rows = pd.DataFrame({"credit_score": [1.0, 2.0], "is_tall": [True, False], "dark_score": [np.nan, np.nan],
                         "is_dark": [None, None]})  # fmt: skip
    assert quality_checks(rows) == []


@pytest.mark.parametrize("own_gap", [0.0, 1.5])
def test_what_is_left_of_a_gap_at_equal_quality_is_the_groups_own(own_gap):
    rows, error, groups = photos(own_gap=own_gap)
    before, after = gaps_at_equal_quality(rows, error, groups, ("age_years",), is_rate=False)
    assert before.values[1] == pytest.approx(own_gap + 8 * 0.24, abs=0.4)
    interval = after.intervals().of(1)
    assert interval.low < own_gap < interval.high
    assert after.values[1] == pytest.approx(own_gap, abs=0.2)


def test_without_anything_held_equal_before_there_is_no_first_gap():
    rows, error, groups = photos(400)
    before, after = gaps_at_equal_quality(rows, error, groups, (), is_rate=False)
    assert np.isnan(before.values).all()
    assert np.isfinite(after.values).all()
