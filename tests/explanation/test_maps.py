from __future__ import annotations

import numpy as np
import pytest

from agegender.explanation.maps import SIDE_PIXELS, Scale, outline_picture, scales_of, weight_picture
from agegender.heads import AGE, GENDER, Regression

(YEARS,), (ODDS,) = AGE.targets, GENDER.targets


@pytest.fixture
def halves():
    photo = np.full((40, 40, 3), 128, np.uint8)
    region_map = np.zeros((40, 40), np.int64)
    region_map[:, 20:] = 1
    return photo, region_map


def test_map_is_warm_where_age_is_raised_and_cool_where_it_is_lowered(halves):
    picture = weight_picture(*halves, np.array([-4.0, 4.0]), Scale(YEARS, 4.0)).astype(int)
    cool, warm = picture[84, 40], picture[84, 130]
    assert cool[2] - cool[0] > 60
    assert warm[0] - warm[2] > 60


def test_weight_of_nothing_leaves_the_grey_photo(halves):
    picture = weight_picture(*halves, np.array([0.0, np.nan]), Scale(YEARS, 4.0)).astype(int)
    assert np.ptp(picture, axis=2).max() == 0


def test_regions_are_outlined_where_they_meet_and_nowhere_else(halves):
    picture = outline_picture(*halves)
    drawn = np.ptp(picture.astype(int), axis=2).max(axis=0) > 0
    assert np.flatnonzero(drawn).tolist() == [SIDE_PIXELS // 2]


def test_same_weight_has_the_same_colour_on_every_photo_of_a_page():
    scales = scales_of([(YEARS, np.array([1.0, -8.0])), (ODDS, np.array([0.5])), (YEARS, np.array([2.0]))])
    assert {key: scale.limit for key, scale in scales.items()} == {"age": 8.0, "gender": 0.5}


def test_the_kind_of_a_target_decides_its_colours_and_never_its_name():
    height = Regression("gender", "gender_cm", "cm").targets[0]
    assert Scale(height, 1.0).colours == Scale(YEARS, 1.0).colours != Scale(ODDS, 1.0).colours


def test_small_weights_keep_a_digit_that_tells_them_from_zero():
    assert [Scale(YEARS, limit).digits for limit in (8.0, 0.3, 0.04, 0.002)] == [1, 1, 2, 3]
    assert Scale(ODDS, 0.6).digits == 2
