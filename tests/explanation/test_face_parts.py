"""Regions are called after parts of the face only where it is known where those are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agegender.api.finding_parts import find_parts
from agegender.data.sources.drawn_faces import draw_faces, read_causes
from agegender.drawing.causes import FEATURES
from agegender.explanation.face_parts import (
    BACKGROUND_PARTS,
    FACE_PARTS,
    aligned_parts,
    drawn_parts,
    face_grid,
    found_parts,
    name_regions,
)
from agegender.photos.reading import read_photo
from agegender.photos.warping import fit_square

SIDE = 96


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("faces") / "drawn"
    draw_faces(folder, face_count=12, seed=7)
    return sorted(folder.glob("*.jpg"))


def test_face_grid_has_every_part_and_is_symmetric():
    grid = face_grid(100, 100)
    assert set(np.unique(grid).tolist()) == set(range(len(FACE_PARTS)))
    names = np.array(FACE_PARTS)[grid]
    mirrored = names[:, ::-1]
    assert np.array_equal(names == "left eye", mirrored == "right eye")
    assert np.array_equal(names == "mouth", mirrored == "mouth")
    # Where eyes and mouth of aligned UTKFace photos are.
    assert (names[30, 28], names[30, 72], names[50, 50], names[70, 50], names[18, 50], names[90, 50]) == (
        "left eye",
        "right eye",
        "nose",
        "mouth",
        "forehead",
        "chin",
    )
    assert np.array_equal(aligned_parts(100).outside(), np.isin(names, BACKGROUND_PARTS))


def cut_out(mask: np.ndarray) -> np.ndarray:
    """Return two regions: the pixels of a mask, which is region 1, and everything else."""
    return mask.astype(np.int64)


def test_wrinkles_of_a_drawn_forehead_are_not_called_a_nose(drawn):
    wrinkled = 0
    for photo in drawn:
        lines = read_causes(photo).masks["forehead_lines"]
        pixels = fit_square(read_photo(photo), SIDE)
        band = fit_square(np.repeat(lines[..., None], 3, axis=2).astype(np.uint8) * 255, SIDE)[..., 0] > 60
        if band.sum() < 8:
            continue
        wrinkled += 1
        rows, columns = np.nonzero(band)
        region = np.zeros((SIDE, SIDE), dtype=bool)
        region[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
        assert name_regions(cut_out(region), find_parts(pixels, SIDE, file=photo))[1] == "forehead lines"
        found = name_regions(cut_out(region), find_parts(read_photo(photo), SIDE))[1]
        assert found.split(",")[0] in {"forehead", "hair", "upper middle", "centre"}, found
    assert wrinkled >= 2


def test_eyes_and_lips_are_found_from_the_detectors_box(drawn):
    known, right = 0, 0
    for photo in drawn:
        parts = find_parts(read_photo(photo), SIDE)
        if parts is None:
            continue
        masks = read_causes(photo).masks
        for feature, expected in (
            ("eyes", {"left eye", "right eye"}),
            ("lips", {"mouth"}),
            ("forehead", {"forehead", "hair"}),
        ):
            rows, columns = (np.nonzero(masks[feature])[axis] * SIDE // masks[feature].shape[0] for axis in (0, 1))
            called = np.array(parts.names)[parts.part_map[rows, columns]]
            known += 1
            right += np.isin(called, list(expected)).mean() > 0.5
    assert known >= 24
    assert right / known >= 0.9


def test_nothing_is_called_after_a_face_where_no_face_is(photo):
    assert find_parts(photo, SIDE) is None
    assert find_parts(photo, SIDE, is_aligned=True).known_from == "alignment"
    names = name_regions(np.arange(16).reshape(4, 4).repeat(16, axis=0).repeat(16, axis=1))
    assert names[0] == "upper left, 1st of 4" or names[0].startswith("upper left")
    assert len(set(names)) == 16
    assert not {word for name in names for word in name.replace(",", "").split()} & {
        *("hair", "eye", "nose", "mouth", "chin", "forehead", "cheek", "jaw", "background"),
    }


def test_a_box_moves_the_parts_with_the_face():
    whole = found_parts(100, (0.0, 0.0, 1.0, 1.0))
    half = found_parts(100, (0.25, 0.25, 0.5, 0.5))
    for parts in (whole, half):
        columns = np.nonzero(np.isin(parts.part_map, [FACE_PARTS.index(n) for n in ("left eye", "right eye")]))[1]
        assert columns.mean() == pytest.approx(49.5, abs=1.5)
    eyes = np.nonzero(half.part_map == FACE_PARTS.index("left eye"))
    assert eyes[0].mean() < 50 < np.nonzero(half.part_map == FACE_PARTS.index("mouth"))[0].mean()
    assert half.outside()[0].all()


def test_what_is_drawn_gives_a_region_its_name_when_a_third_of_it_lies_there():
    painted = np.zeros((40, 40), dtype=np.uint8)  # skin
    painted[10:12, 5:35] = 1  # a thin line
    parts = drawn_parts(painted, ("skin", "forehead_lines"))
    regions = np.zeros((40, 40), dtype=np.int64)
    regions[:, 20:] = 1
    assert name_regions(regions, parts) == ("forehead lines 1", "forehead lines 2")
    regions[:, 8:] = 1
    assert name_regions(regions, parts) == ("skin", "forehead lines")
    assert set(drawn_parts(painted, FEATURES).background) < set(FEATURES)
