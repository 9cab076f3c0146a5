"""Warping and light against known answers: what must stay, where a point must go, what must not alias."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agegender.photos.warping import colour_matrices, draw_changes, fit_square, lighting_tables, warp_square
from agegender.settings import AugmentationSettings

NOTHING = AugmentationSettings(rotation_degrees=0, zoom=1, shift=0, lighting=0, flip=False)


def smooth_photo(height: int, width: int) -> np.ndarray:
    down, across = np.mgrid[0:height, 0:width]
    channels = [across * 255 / (width - 1), down * 255 / (height - 1), 128 + 100 * np.sin(across / width * 6)]
    return np.stack(channels, axis=2).astype(np.uint8)


def test_photo_of_the_right_size_is_left_as_it_is():
    photo = smooth_photo(96, 96)
    assert (fit_square(photo, 96) == photo).all()


def test_oblong_photo_keeps_its_central_square():
    photo = smooth_photo(96, 160)
    assert (fit_square(photo, 96) == photo[:, 32:128]).all()
    assert (fit_square(photo.transpose(1, 0, 2), 96) == photo.transpose(1, 0, 2)[32:128]).all()


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 700), width=st.integers(1, 700), size=st.integers(1, 300))
def test_one_colour_stays_one_colour_at_any_size(height, width, size):
    fitted = fit_square(np.full((height, width, 3), (10, 120, 250), np.uint8), size)
    assert fitted.shape == (size, size, 3)
    assert (fitted == (10, 120, 250)).all()


@pytest.mark.parametrize("side", [90, 200, 333, 1501])
def test_shrinking_and_growing_keep_every_point_in_its_place(side):
    fitted = fit_square(smooth_photo(side, side), 128).astype(float)
    expected = ((np.arange(128) + 0.5) * side / 128 - 0.5) * 255 / (side - 1)
    inner = slice(2, -2)  # the very edge of a grown photo is reflected
    assert np.abs(fitted[:, inner, 0] - expected[inner]).max() < 1.5
    assert np.abs(fitted[inner, :, 1] - expected[inner][:, None]).max() < 1.5


@pytest.mark.parametrize("side", [190, 256, 400, 1000])
def test_shrinking_does_not_fold_a_fine_pattern_into_a_coarse_one(side):
    down, across = np.mgrid[0:side, 0:side]
    checkers = (((down + across) % 2) * 255).astype(np.uint8)
    fitted = fit_square(np.repeat(checkers[:, :, None], 3, axis=2), 128)[4:-4, 4:-4].astype(float)
    assert fitted.std() < 40  # sampled without smoothing it is 60 to 127
    assert abs(fitted.mean() - 127) < 3


def test_flip_and_quarter_turn_and_zoom_move_pixels_exactly():
    photo = smooth_photo(64, 64)
    assert (warp_square(photo, 64, turn=((-1.0, 0.0), (0.0, 1.0))) == photo[:, ::-1]).all()
    assert (warp_square(photo, 64, turn=((0.0, -1.0), (1.0, 0.0))) == np.rot90(photo, 1)).all()
    assert (warp_square(photo, 32, turn=((0.5, 0.0), (0.0, 0.5))) == photo[16:48, 16:48]).all()


def test_shift_moves_by_its_share_of_the_side():
    photo = smooth_photo(100, 100)
    assert (warp_square(photo, 100, shift=(0.1, -0.05))[5:, :90] == photo[:95, 10:]).all()


def test_changes_of_nothing_change_nothing():
    photo, out = smooth_photo(80, 80), np.empty((64, 64, 3), np.uint8)
    draw_changes(np.random.default_rng(1), 3, NOTHING).apply(photo, 1, out)
    assert (out == fit_square(photo, 64)).all()


def test_changes_stay_within_their_ranges_and_reach_them():
    ranges = AugmentationSettings(rotation_degrees=10, zoom=1.25, shift=0.06, lighting=0.2)
    changes = draw_changes(np.random.default_rng(2), 4000, ranges)
    scales = np.sqrt(np.abs(np.linalg.det(changes.turns)))
    angles = np.degrees(np.arctan2(-changes.turns[:, 0, 1], changes.turns[:, 1, 1]))
    assert (round(scales.min(), 2), round(scales.max(), 2)) == (0.8, 1.25)
    assert (round(angles.min()), round(angles.max())) == (-10, 10)
    assert np.abs(changes.shifts).max() == pytest.approx(0.06, abs=0.001)
    assert (np.linalg.det(changes.turns) < 0).mean() == pytest.approx(0.5, abs=0.05)
    middle_grey = changes.tables[:, 128].astype(int)
    assert (middle_grey.min(), middle_grey.max()) == pytest.approx((96, 159), abs=2)


def test_same_generator_gives_the_same_changes_and_switching_one_off_leaves_the_others():
    ranges = AugmentationSettings()
    first, second = (draw_changes(np.random.default_rng([1, 2]), 5, ranges) for _ in range(2))
    assert (first.turns == second.turns).all()
    assert (first.tables == second.tables).all()
    without_flip = draw_changes(np.random.default_rng([1, 2]), 5, AugmentationSettings(flip=False))
    assert (without_flip.tables == first.tables).all()
    assert np.allclose(np.abs(without_flip.turns), np.abs(first.turns))


def test_light_is_monotonic_and_brighter_is_brighter():
    amounts = np.array([-0.2, 0.0, 0.2])
    tables = lighting_tables(amounts, np.zeros(3)).astype(int)
    assert (np.diff(tables, axis=1) >= 0).all()
    assert tables[:, 128].tolist() == [102, 128, 153]
    contrasts = lighting_tables(np.zeros(3), amounts).astype(int)
    assert (np.diff(contrasts[:, 64]) < 0).all()
    assert (np.diff(contrasts[:, 192]) > 0).all()


def test_colours_turn_and_fade_while_the_brightness_stays() -> None:
    generator = np.random.default_rng(4)
    pixels = generator.uniform(size=(50, 3))
    luma = np.array([0.299, 0.587, 0.114])
    saturations, hues = generator.uniform(0, 2, 20), generator.uniform(-3, 3, 20)
    for matrix in colour_matrices(saturations, hues):
        assert pixels @ matrix.T @ luma == pytest.approx(pixels @ luma, abs=1e-5)
    grey = pixels @ colour_matrices(np.zeros(1), np.ones(1))[0].T
    assert grey == pytest.approx(np.repeat(pixels @ luma, 3).reshape(-1, 3), abs=1e-5)
    there, back = colour_matrices(np.ones(2), np.array([0.4, -0.4])).astype(np.float64)
    assert there @ back == pytest.approx(np.eye(3), abs=1e-5)


def test_colour_grey_and_erasing_come_as_often_as_they_should_and_leave_other_changes_alone() -> None:
    count = 4000
    more = AugmentationSettings(saturation=0.3, hue_degrees=20, grey=0.1, erasing=0.25)
    changed, usual = (draw_changes(np.random.default_rng(8), count, one) for one in (more, AugmentationSettings()))
    assert (changed.turns == usual.turns).all()
    assert (changed.shifts == usual.shifts).all()
    assert (changed.tables == usual.tables).all()
    assert usual.colours is None
    assert usual.erased is None
    assert changed.colours is not None
    assert changed.erased is not None
    is_grey = np.abs(changed.colours - changed.colours[:, :1]).max(axis=(1, 2)) < 1e-6
    assert is_grey.mean() == pytest.approx(0.1, abs=0.02)
    is_erased = changed.erased[:, 2] > 0
    assert is_erased.mean() == pytest.approx(0.25, abs=0.03)
    top, left, bottom, right = changed.erased[is_erased, :4].T
    areas = (bottom - top) * (right - left)
    assert 0.02 <= areas.min() <= areas.max() <= 0.2
    assert 0 <= min(top.min(), left.min()) <= max(bottom.max(), right.max()) <= 1


def test_what_is_erased_has_one_colour_and_the_rest_is_as_it_was() -> None:
    photo = np.random.default_rng(1).integers(0, 256, (40, 40, 3), np.uint8)
    erasing = AugmentationSettings(rotation_degrees=0, zoom=1, shift=0, lighting=0, flip="none", erasing=1.0)
    changes = draw_changes(np.random.default_rng(3), 1, erasing)
    out = np.empty((40, 40, 3), np.uint8)
    changes.apply(photo, 0, out)
    is_changed = (out != photo).any(axis=2)
    rows, columns = np.flatnonzero(is_changed.any(axis=1)), np.flatnonzero(is_changed.any(axis=0))
    inside = out[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert len(np.unique(inside.reshape(-1, 3), axis=0)) == 1
    assert is_changed.mean() == pytest.approx(len(rows) * len(columns) / 1600)


def test_a_third_of_the_photos_seem_cut_wider_and_the_others_stay_as_they_were() -> None:
    usual, wider = (
        draw_changes(np.random.default_rng(4), 3000, ranges)
        for ranges in (AugmentationSettings(), AugmentationSettings(wider=0.5))
    )
    assert wider.widened is not None
    assert 0.3 < wider.widened.mean() < 0.37
    scales = [np.sqrt(np.abs(np.linalg.det(one.turns))) for one in (usual, wider)]
    ratios = scales[1] / scales[0]
    np.testing.assert_allclose(ratios[~wider.widened], 1)
    assert 1 <= ratios[wider.widened].min() < 1.02
    assert 1.98 < ratios[wider.widened].max() <= 2
    for name in ("shifts", "tables"):
        assert np.array_equal(getattr(usual, name), getattr(wider, name))


def test_around_a_photo_that_is_cut_wider_its_edge_goes_on() -> None:
    photo = np.zeros((64, 64, 3), np.uint8)
    photo[:, :2] = 200
    mirrored, widened = (
        warp_square(photo, 64, turn=((2.0, 0.0), (0.0, 2.0)), is_mirrored_around=mirrors) for mirrors in (True, False)
    )
    assert mirrored[32, 2].max() == 0
    assert widened[32, :12].min() > 100
    assert np.array_equal(mirrored[20:44, 20:44], widened[20:44, 20:44])
