"""A crop is a square around the face, in its place, whatever lies beyond the edge."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agegender.errors import UsageError
from agegender.photos.face_crops import Cut, Margins, Square, centre_square, crop_square, cut_out, face_cut, face_square
from agegender.photos.face_detection import FaceBox


def numbered(height, width):
    """Every pixel tells its row and column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, rows * 0], axis=2).astype(np.uint8)


def test_a_margin_adds_its_share_of_the_face_on_every_side():
    assert face_square(FaceBox(100, 100, 50, 50, 1.0), Margins.of(0.4)) == Square(80, 80, 90)


def test_the_square_holds_a_tall_face():
    square = face_square(FaceBox(10, 20, 40, 60, 1.0), Margins.of(0.0))
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
    assert np.array_equal(
        crop_square(photo, face_square(FaceBox(30, 40, 20, 20, 1.0), Margins.of(0.5))), photo[30:70, 20:60]
    )


def test_the_middle_of_a_long_photo_is_its_square():
    assert centre_square(numbered(30, 100)) == Square(35, 0, 30)


@pytest.mark.parametrize("margin", [-0.1, 3.5, float("nan")])
def test_a_margin_out_of_range_is_refused(margin):
    with pytest.raises(UsageError, match="margin"):
        face_square(FaceBox(0, 0, 5, 5, 1.0), Margins.of(margin))


def test_margins_above_below_and_beside_are_kept_where_they_are_the_larger():
    face = FaceBox(100, 100, 50, 50, 1.0)
    assert face_square(face, Margins(above=0.6, below=0.2, beside=0.0)) == Square(80, 70, 90)
    wide = face_square(face, Margins(above=0.1, below=0.1, beside=0.5))
    assert wide == Square(75, 75, 100)  # what is missing in height is added above and below alike


@settings(max_examples=60, deadline=None)
@given(st.floats(-179, 179), st.floats(0, 0.4), st.floats(0, 0.4))
def test_eyes_lie_level_in_an_aligned_cut_and_keep_their_distance(degrees, above, beside):
    photo = np.zeros((200, 200, 3), np.uint8)
    turn = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    middle = np.array([100.0, 100.0])
    eyes = [middle - 20 * turn, middle + 20 * turn]
    for eye, channel in zip(eyes, (0, 1), strict=True):
        rows, columns = np.mgrid[:200, :200] + 0.5
        photo[..., channel] = np.clip(255 - 60 * np.hypot(columns - eye[0], rows - eye[1]), 0, 255)
    face = FaceBox(60, 60, 80, 80, 1.0, tuple((float(x), float(y)) for x, y in [*eyes, middle, *eyes]))
    cut = face_cut(face, Margins(above, 0.2, beside), aligns=True)
    piece = cut_out(photo, cut)
    assert piece.shape == (cut.square.side, cut.square.side, 3)
    rows, columns = np.mgrid[: len(piece), : len(piece)] + 0.5
    places = [
        np.array([(way * piece[..., channel]).sum() for way in (columns, rows)]) / piece[..., channel].sum()
        for channel in (0, 1)
    ]
    assert places[1][1] == pytest.approx(places[0][1], abs=0.2)
    assert places[1][0] - places[0][0] == pytest.approx(40, abs=0.3)


def test_nothing_is_turned_without_eyes_or_without_being_asked():
    assert face_cut(FaceBox(10, 10, 20, 20, 1.0), Margins(), aligns=True) == Cut(Square(2, 2, 36))
    tilted = FaceBox(10, 10, 20, 20, 1.0, ((12.0, 12.0), (18.0, 18.0), (15.0, 15.0), (13.0, 18.0), (16.0, 19.0)))
    assert face_cut(tilted, Margins()) == Cut(Square(2, 2, 36))
    assert face_cut(tilted, Margins(), aligns=True).degrees == pytest.approx(45)
