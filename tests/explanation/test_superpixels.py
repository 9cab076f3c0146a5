from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agegender.errors import UsageError
from agegender.explanation.face_parts import FACE_PARTS, aligned_parts
from agegender.explanation.superpixels import SEGMENTS, contiguous, cover, find_regions


@pytest.mark.parametrize("segments", SEGMENTS)
@pytest.mark.parametrize("side", [10, 33, 64])
def test_regions_are_numbered_without_gaps_at_every_size(photo, segments, side):
    regions = find_regions(np.ascontiguousarray(photo[:side, :side]), segments, parts=aligned_parts(side))
    assert np.array_equal(np.unique(regions.region_map), np.arange(regions.count))
    assert regions.pixel_shares.sum() == pytest.approx(1)
    assert {name.rstrip(" 0123456789") for name in regions.names} <= set(FACE_PARTS)
    assert len(set(regions.names)) == regions.count


@given(st.lists(st.integers(-5, 50), min_size=1, max_size=40))
@settings(max_examples=50)
def test_renumbering_keeps_regions_apart(numbers):
    before = np.array([numbers])
    after = contiguous(before)
    assert sorted(set(after.ravel().tolist())) == list(range(len(set(numbers))))
    assert len(set(zip(before.ravel().tolist(), after.ravel().tolist(), strict=True))) == len(set(numbers))


def test_mean_fill_has_each_regions_mean_colour(photo):
    regions = find_regions(photo)
    covered = cover(photo, regions.region_map)
    for region in range(regions.count):
        inside = regions.region_map == region
        assert np.array_equal(covered[inside][0], photo[inside].mean(axis=0).astype(np.uint8))
        assert len(np.unique(covered[inside], axis=0)) == 1


def test_inpainting_takes_a_spot_away_that_the_mean_keeps():
    spotted = np.full((64, 64, 3), 200, dtype=np.uint8)
    spotted[20:30, 20:30] = 10
    region_map = np.zeros((64, 64), dtype=np.int64)
    region_map[20:30, 20:30] = 1
    assert cover(spotted, region_map, "mean")[25, 25].tolist() == [10, 10, 10]
    assert cover(spotted, region_map, "inpaint")[25, 25].tolist() == [200, 200, 200]


def test_unknown_regions_and_fills_are_refused(photo):
    with pytest.raises(UsageError, match="hexagons"):
        find_regions(photo, "hexagons")
    with pytest.raises(UsageError, match="black"):
        cover(photo, np.zeros((64, 64), dtype=np.int64), "black")
