"""A crop is a square around the face, in its place, whatever lies beyond the edge."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agegender.errors import UsageError
from agegender.photos.face_detection import FaceBox, Square, centre_square, crop_square, face_square


def numbered(height, width):
    """Every pixel tells its row and column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, rows * 0], axis=2).astype(np.uint8)


def test_a_margin_adds_its_share_of_the_face_on_every_side():
    assert face_square(FaceBox(100, 100, 50, 50, 1.0), 0.4) == Square(80, 80, 90)


def test_the_square_holds_a_tall_face():
    square = face_square(FaceBox(10, 20, 40, 60, 1.0), 0.0)
    assert square == Square(0, 20, 60)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(-60, 60),
    st.integers(-60, 60),
    st.integers(1, 90),
)
def test_every_pixel_of_a_crop_is_the_nearest_of_the_photo(height, width, left, top, side):
    photo = numbered(height, width)
    crop = crop_square(photo, Square(left, top, side))
    rows = np.clip(np.arange(top, top + side), 0, height - 1)
    columns = np.clip(np.arange(left, left + side), 0, width - 1)
    assert np.array_equal(crop, photo[rows][:, columns])


def test_a_crop_within_the_photo_is_the_piece_itself():
    photo = numbered(100, 100)
    assert np.array_equal(crop_square(photo, face_square(FaceBox(30, 40, 20, 20, 1.0), 0.5)), photo[30:70, 20:60])


def test_the_middle_of_a_long_photo_is_its_square():
    assert centre_square(numbered(30, 100)) == Square(35, 0, 30)


@pytest.mark.parametrize("margin", [-0.1, 3.5, float("nan")])
def test_a_margin_out_of_range_is_refused(margin):
    with pytest.raises(UsageError, match="margin"):
        face_square(FaceBox(0, 0, 5, 5, 1.0), margin)
