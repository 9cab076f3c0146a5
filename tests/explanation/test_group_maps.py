from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agegender.errors import UsageError
from agegender.explanation.face_explanation import FaceExplanation, RegionWeight, TargetMap
from agegender.explanation.face_parts import FACE_PARTS, aligned_parts, drawn_parts
from agegender.explanation.group_maps import group_maps, on_parts
from agegender.explanation.superpixels import find_regions
from agegender.heads import AGE

PARTS = aligned_parts(64)
GRID = find_regions(np.zeros((64, 64, 3), dtype=np.uint8), "face-grid", parts=PARTS)
HAIR, MOUTH = FACE_PARTS.index("hair"), FACE_PARTS.index("mouth")


def face_with(weights) -> FaceExplanation:
    regions = tuple(RegionWeight(i, name, float(weights[i]), 0.0, 0.0, 0.1) for i, name in enumerate(FACE_PARTS))
    photo = np.zeros((64, 64, 3), dtype=np.uint8)
    one = TargetMap(AGE.targets[0], 30.0, 20.0, regions, None, "")
    return FaceExplanation("x", photo, GRID.region_map, (one,), parts=PARTS)


def drawn(count, seed, hair=0.0):
    generator = np.random.default_rng(seed)
    weights = generator.normal(0, 1, size=(count, len(FACE_PARTS)))
    weights[:, HAIR] += hair
    return [face_with(row) for row in weights]


def test_face_grid_maps_are_carried_over_as_they_are():
    weights = np.arange(len(FACE_PARTS), dtype=float)
    face = face_with(weights)
    assert np.allclose(on_parts(face, face.maps[0], PARTS), weights)


def test_other_regions_are_divided_by_pixels_and_keep_their_sum(photo):
    regions = find_regions(photo)
    weights = np.random.default_rng(0).normal(size=regions.count)
    weighted = tuple(RegionWeight(i, "", w, 0.0, 0.0, 0.1) for i, w in enumerate(weights))
    one = TargetMap(AGE.targets[0], 0.0, 0.0, weighted, None, "")
    face = FaceExplanation("x", photo, regions.region_map, (one,))
    assert on_parts(face, one, PARTS).sum() == pytest.approx(weights.sum())


def test_a_planted_difference_is_found_and_no_other():
    faces = [*drawn(30, 1), *drawn(30, 2, hair=3.0)]
    (maps,) = group_maps(faces, ["young"] * 30 + ["old"] * 30)
    old = next(difference for difference in maps.differences if difference.group == "old")
    assert [maps.parts.names[i] for i in np.flatnonzero(old.is_clear)] == ["hair"]
    assert old.weights.low[HAIR] < 3 < old.weights.high[HAIR]
    assert (old.face_count, old.others_count) == (30, 30)
    assert np.allclose(maps.groups[0].attention.mean.sum(), 1)


def test_no_difference_is_found_where_none_was_planted():
    false_finds = 0
    for seed in range(100):
        (maps,) = group_maps(drawn(30, seed), ["a"] * 10 + ["b"] * 20)
        false_finds += any(difference.is_clear.any() for difference in maps.differences)
    assert false_finds <= 10


def test_small_and_unknown_groups_are_left_out_and_named():
    faces = drawn(8, 0)
    faces[0] = replace(faces[0], problems=("no face",))
    (maps,) = group_maps(faces, ["a", "a", "a", "a", "b", "b", None, None])
    assert [one.group for one in maps.groups] == ["a"]
    assert maps.groups[0].face_count == 3
    assert maps.left_out == ("b (2 faces)",)
    assert maps.differences == ()


def test_answers_with_problems_leave_out_their_own_map_alone():
    faces = [replace(face, maps=face.maps * 2) for face in drawn(6, 0)]
    broken = replace(faces[0].maps[1], problems=("age: the model gave no number",))
    faces[0] = replace(faces[0], maps=(faces[0].maps[0], broken))
    first, second = group_maps(faces, ["a"] * 6)
    assert (first.groups[0].face_count, second.groups[0].face_count) == (6, 5)


def test_faces_whose_parts_are_not_known_are_compared_with_nobody():
    faces = [replace(face, parts=None) for face in drawn(8, 0)]
    with pytest.raises(UsageError, match="where the parts of these faces are is not known"):
        group_maps(faces, ["a"] * 4 + ["b"] * 4)
    (maps,) = group_maps([*drawn(6, 1), *faces], ["a"] * 3 + ["b"] * 3 + ["a"] * 8)
    assert [one.face_count for one in maps.groups] == [3, 3]


def test_drawn_faces_are_compared_by_what_is_drawn():
    painted = np.zeros((64, 64), dtype=np.uint8)
    painted[10:20, 20:40] = 1
    features = drawn_parts(painted, ("skin", "hair_bow"))
    weights = np.zeros(len(FACE_PARTS))
    weights[HAIR] = 2.0
    faces = [replace(face_with(weights), parts=features) for _ in range(6)]
    (maps,) = group_maps(faces, ["a", "b"] * 3)
    assert maps.parts.names == ("skin", "hair bow")
    assert maps.groups[0].weights.mean.sum() == pytest.approx(2.0)


def test_no_usable_group_is_an_error():
    with pytest.raises(UsageError, match="no group has 3 explained faces"):
        group_maps(drawn(2, 0), ["a", "b"])
    with pytest.raises(UsageError, match="expected one group for each"):
        group_maps(drawn(2, 0), ["a"])
