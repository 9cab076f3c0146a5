"""The summary over faces at random: known answers, and how often its intervals hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from agegender.explanation.face_explanation import FaceExplanation, RegionWeight, TargetMap
from agegender.explanation.face_parts import FACE_PARTS, aligned_parts
from agegender.explanation.lime_explainer import LimeExplainer, LimeSettings
from agegender.explanation.part_effects import part_effects, simultaneous_half_widths
from agegender.explanation.superpixels import contiguous
from agegender.heads import AGE, Classification

SIDE = 64
PARTS = aligned_parts(SIDE)
GRID = contiguous(PARTS.part_map)
MOUTH = torch.from_numpy(PARTS.part_map == FACE_PARTS.index("mouth"))


def wrinkled_mouth(images):
    """Ages: 30 years, and one more for each grey level by which the mouth's brightness spreads; nothing else counts."""
    return 30 + images[:, :, MOUTH].double().mean(1).std(1, correction=0)[:, None]


def noisy_faces(count, seed=0):
    """Photos whose mouths have a texture of a known strength, and the rest of another."""
    generator = np.random.default_rng(seed)
    for strength in generator.uniform(4, 12, count):
        photo = np.clip(128 + generator.normal(0, 20, (SIDE, SIDE, 1)), 0, 255)
        photo[MOUTH.numpy()] = 128 + strength * generator.choice([-1, 1], (int(MOUTH.sum()), 1))
        yield np.repeat(photo, 3, axis=2).astype(np.uint8)


def test_a_model_that_looks_at_one_part_is_said_to_look_there_with_its_effect_in_years():
    explainer = LimeExplainer(wrinkled_mouth, AGE.targets, LimeSettings(has_trust=False).for_averaging(PARTS))
    photos = list(noisy_faces(24))
    truth = np.mean([float(wrinkled_mouth(torch.from_numpy(p).permute(2, 0, 1)[None])) - 30 for p in photos])
    faces = [replace(explainer.explain(p, str(i), parts=PARTS), is_random=True) for i, p in enumerate(photos)]
    (found,) = part_effects(faces)
    strongest, *others = found.parts
    assert strongest.part == "mouth"
    assert strongest.mean == pytest.approx(truth, abs=0.01)
    assert strongest.low < truth < strongest.high
    assert strongest.is_clear
    assert strongest.raising_share == 1
    assert strongest.photo_count == found.photo_count == 24
    for other in others:
        assert not other.is_clear
        assert other.low <= 0 <= other.high or abs(other.mean) < 1e-6
        assert other.size < 0.01
    assert (found.base, found.answer) == pytest.approx((30, 30 + truth), abs=0.01)
    assert found.rest == pytest.approx(0, abs=0.01)


def face_with(weights, *, target=AGE.targets[0], error=0.0, **more) -> FaceExplanation:
    regions = tuple(RegionWeight(i, "", w, w - error, w + error, 0.1) for i, w in enumerate(map(float, weights)))
    one = TargetMap(target, 30.0, 20.0, regions, None, "")
    blank = np.zeros((SIDE, SIDE, 3), np.uint8)
    return FaceExplanation("x", blank, GRID, (one,), **({"parts": PARTS, "is_random": True} | more))


def test_only_faces_at_random_without_problems_are_averaged():
    count = len(FACE_PARTS)
    faces = [face_with(np.ones(count)) for _ in range(5)]
    faces += [face_with(np.full(count, 9.0), is_random=False), face_with(np.full(count, 9.0), problems=("no face",))]
    (found,) = part_effects(faces)
    assert found.photo_count == 5
    assert {part.mean for part in found.parts} == {1.0}
    assert part_effects(faces[5:]) == []
    assert part_effects([]) == []


def test_photos_whose_parts_are_not_known_are_summed_by_their_ninths():
    faces = [face_with(np.ones(len(FACE_PARTS)), parts=None) for _ in range(4)]
    (found,) = part_effects(faces)
    assert found.by_place
    assert {part.part for part in found.parts} <= {
        *("upper left", "upper middle", "upper right", "middle left", "centre", "middle right"),
        *("lower left", "lower middle", "lower right"),
    }
    assert found.total == pytest.approx(len(FACE_PARTS))
    # Where most know their parts, the others are left out.
    (mixed,) = part_effects(faces + [face_with(np.ones(len(FACE_PARTS))) for _ in range(5)])
    assert (mixed.by_place, mixed.photo_count) == (False, 5)


def test_each_class_of_three_has_effects_of_its_own():
    mood = Classification("mood", "mood", ("calm", "happy", "sad"))
    faces = []
    for _ in range(3):
        face = face_with(np.ones(len(FACE_PARTS)))
        faces.append(replace(face, maps=tuple(replace(face.maps[0], target=target) for target in mood.targets)))
    assert [found.target.name for found in part_effects(faces)] == ["mood: calm", "mood: happy", "mood: sad"]


def test_few_photos_have_wide_intervals_and_fewer_none():
    generator = np.random.default_rng(1)
    weights = generator.normal(0, 1, (40, len(FACE_PARTS)))
    widths = [part_effects([face_with(row) for row in weights[:n]])[0].parts[0] for n in (3, 8, 40)]
    assert widths[0].high - widths[0].low > widths[1].high - widths[1].low > widths[2].high - widths[2].low
    (two,) = part_effects([face_with(row) for row in weights[:2]])
    assert all(np.isnan([part.low, part.high]).all() and not part.is_clear for part in two.parts)


def test_sampling_error_within_photos_is_taken_off_the_size():
    generator = np.random.default_rng(2)
    noise = generator.normal(0, 1, (400, len(FACE_PARTS)))
    (found,) = part_effects([face_with(row, error=1.96) for row in noise])
    assert max(part.size for part in found.parts) < 0.55
    (exact,) = part_effects([face_with(row) for row in noise])
    assert min(part.size for part in exact.parts) > 0.9


@pytest.mark.parametrize(
    ("shape", "least"), [("normal", 0.91), ("skewed", 0.88), ("mostly nothing", 0.80), ("in few photos", 0.90)]
)
def test_all_intervals_hold_together_in_about_95_of_100_samples(shape, least):
    generator = np.random.default_rng(3)
    held = 0
    for _ in range(150):
        values = generator.normal(0, 1, (48, 17)) * np.exp(generator.normal(0, 0.5, (48, 1)))
        if shape == "skewed":
            values = generator.exponential(1, (48, 17)) - 1
        if shape == "mostly nothing":
            values = np.where(generator.random((48, 17)) < 0.2, generator.normal(2, 1, (48, 17)), 0) - 0.4
        if shape == "in few photos":
            values[generator.random((48, 17)) < np.linspace(0, 0.85, 17)] = np.nan
        half_widths = simultaneous_half_widths(values)
        assert np.isfinite(half_widths[np.isfinite(values).sum(axis=0) >= 3]).all()
        held += bool((np.abs(np.nanmean(values, axis=0)) <= np.where(np.isnan(half_widths), np.inf, half_widths)).all())
    assert least <= held / 150
    assert shape != "normal" or held / 150 <= 0.995
