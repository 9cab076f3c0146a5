from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from lime.lime_image import LimeImageExplainer
from numpy.typing import NDArray
from toy_models import TARGETS, curved_scores, linear_scores, square_scores

from agegender.errors import UsageError
from agegender.explanation.face_explanation import FaceExplanation
from agegender.explanation.lime_explainer import LimeExplainer, LimeSettings
from agegender.explanation.superpixels import cover, find_regions
from agegender.explanation.surrogate import rank_correlation

Photo = NDArray[np.uint8]


def explain(photo: Photo, scores=curved_scores, **settings) -> FaceExplanation:
    return LimeExplainer(scores, TARGETS, LimeSettings(**settings)).explain(photo, "photo.jpg")


def true_linear_weights(photo: Photo, output: int) -> NDArray[np.float64]:
    regions = find_regions(photo)
    covered = cover(photo, regions.region_map)
    images = [
        torch.from_numpy(np.where((regions.region_map == region)[..., None], photo, covered)).permute(2, 0, 1)
        for region in range(regions.count)
    ]
    blank = linear_scores(torch.from_numpy(covered).permute(2, 0, 1)[None])[0, output]
    return (linear_scores(torch.stack(images))[:, output] - blank).numpy()


@pytest.mark.parametrize("output", [0, 1])
def test_weights_of_a_linear_model_are_recovered_exactly(photo, output):
    found = explain(photo, linear_scores, samples=256).maps[output]
    truth = true_linear_weights(photo, output)
    # Scores pass through float32, as a network's do: that is all the error there is.
    assert np.allclose(found.weights(), truth, atol=2e-6 * abs(truth).max() + 2e-6)
    assert found.trust.held_out_r2 > 0.999999
    assert found.intercept + found.weights().sum() == pytest.approx(found.value, abs=1e-4)


@pytest.mark.parametrize(("output", "rows", "columns"), [(0, (16, 28), (10, 22)), (1, (40, 52), (42, 54))])
def test_a_model_that_looks_at_one_square_points_there(photo, output, rows, columns):
    explanation = explain(photo, square_scores, fill="blur")
    strongest = explanation.maps[output].strongest(1)[0]
    inside = explanation.region_map[rows[0] : rows[1], columns[0] : columns[1]]
    assert strongest.region in inside
    looked_at = set(np.unique(inside).tolist())
    clear_elsewhere = [
        region
        for region in explanation.maps[output].regions
        if region.region not in looked_at and abs(region.weight) > 0.1 * abs(strongest.weight)
    ]
    assert clear_elsewhere == []


def test_the_same_photo_gets_the_same_map_in_any_order(photo, another_photo):
    explainer = LimeExplainer(curved_scores, TARGETS, LimeSettings(samples=64))
    forwards = [explainer.explain(one).maps[0].weights() for one in (photo, another_photo)]
    backwards = [explainer.explain(one).maps[0].weights() for one in (another_photo, photo)]
    assert np.array_equal(forwards[0], backwards[1])
    assert np.array_equal(forwards[1], backwards[0])
    assert not np.array_equal(explain(photo, samples=64, seed=1).maps[0].weights(), forwards[0])


def test_both_outputs_come_from_the_same_evaluations(photo):
    asked = []

    def counting(images: torch.Tensor) -> torch.Tensor:
        asked.append(len(images))
        return curved_scores(images)

    explanation = explain(photo, counting, samples=128, has_trust=False)
    assert sum(asked) == explanation.evaluation_count == 128 + 2
    one = LimeExplainer(lambda images: curved_scores(images)[:, :1], TARGETS[:1], LimeSettings(samples=128)).explain(
        photo
    )
    assert np.allclose(one.maps[0].weights(), explanation.maps[0].weights())


def test_ours_and_stock_lime_agree_on_the_ranks(photo):
    regions = find_regions(photo)

    def classifier(images: Photo) -> NDArray[np.float32]:
        return curved_scores(torch.from_numpy(images).permute(0, 3, 1, 2)).float().numpy()

    stock = LimeImageExplainer(random_state=4).explain_instance(
        photo,
        classifier,
        labels=(0, 1),
        top_labels=None,
        num_samples=1024,
        segmentation_fn=lambda _: regions.region_map,
        random_seed=0,
    )
    ours = explain(photo, samples=1024, has_trust=False)
    for i, mine in enumerate(ours.maps):
        theirs = np.zeros(regions.count)
        for region, weight in stock.local_exp[i]:
            theirs[region] = weight
        assert rank_correlation(mine.weights(), theirs) > 0.95


def test_intervals_cover_the_true_weights_as_often_as_they_say(photo):
    truth = explain(photo, samples=4096, has_trust=False).maps[0].weights()
    covered = []
    for seed in range(12):
        intervals = explain(photo, samples=192, seed=seed, has_trust=False).maps[0].intervals()
        covered += ((intervals[:, 0] <= truth) & (truth <= intervals[:, 1])).tolist()
    assert 0.92 <= np.mean(covered) <= 0.98


def test_sampling_stops_when_the_strongest_regions_hold_still(photo):
    still = explain(photo, linear_scores, has_trust=False)
    assert "no longer changed" in still.stopped_because
    assert still.sample_count < 500


@pytest.mark.parametrize("segments", ["slic", "quickshift", "face-grid"])
@pytest.mark.parametrize("fill", ["mean", "blur", "inpaint"])
def test_every_kind_of_region_and_fill_explains(photo, segments, fill):
    explanation = explain(photo, segments=segments, fill=fill, samples=64)
    assert np.isfinite(explanation.maps[0].weights()).all()
    assert len(explanation.maps[0].regions) == explanation.region_count


def test_an_untrained_network_that_looks_alike_fails_the_map(photo):
    settings = LimeSettings(samples=128)
    alike = LimeExplainer(curved_scores, TARGETS, settings, curved_scores).explain(photo)
    other = LimeExplainer(curved_scores, TARGETS, settings, linear_scores).explain(photo)
    assert alike.maps[0].trust.untrained_correlation > 0.7
    assert any("untrained" in words for words in alike.maps[0].trust.failures)
    assert not any("untrained" in words for words in other.maps[0].trust.failures)


def test_one_colour_photo_says_so():
    grey = np.full((64, 64, 3), 128, dtype=np.uint8)
    explanation = explain(grey)
    assert explanation.region_count == 1
    assert any("one colour" in words for words in explanation.problems)
    assert any("one superpixel" in words for words in explanation.problems)
    assert explanation.maps[0].verdict.startswith("Not to be believed: the photo has one colour")


def test_ten_pixel_photo_says_so(photo):
    explanation = explain(np.ascontiguousarray(photo[:10, :10]), linear_scores, samples=64)
    assert "10×10 pixels" in explanation.problems[0]


def test_constant_output_says_that_there_is_nothing_to_explain(photo):
    explanation = explain(photo, lambda images: torch.full((len(images), 2), 31.0))
    assert (
        "age: the model answers 31 years whatever is covered; there is nothing to explain"
        in explanation.maps[0].problems
    )
    assert np.all(explanation.maps[0].weights() == 0)
    assert np.isnan(explanation.maps[0].trust.deletion_auc)


def test_answers_that_hardly_change_do_not_hold_however_well_a_map_predicts_them(photo):
    explanation = explain(photo, lambda images: 40 + (linear_scores(images) - 40) * 1e-4, samples=128)
    assert "there is nothing to explain" in explanation.maps[0].verdict
    assert explanation.maps[0].verdict.startswith("Not to be believed")


def test_answers_that_are_not_numbers_are_left_out_and_counted(photo):
    def sometimes_nan(images: torch.Tensor) -> torch.Tensor:
        scores = curved_scores(images)
        scores[images[:, 0].float().mean((1, 2)) > images[:, 0].float().mean(), 0] = float("nan")
        return scores

    explanation = explain(photo, sometimes_nan, samples=512)
    assert any(
        "age: the model gave no number for" in words and "of 512" in words for words in explanation.maps[0].problems
    )
    assert np.isfinite(explanation.maps[1].weights()).all()
    assert explanation.maps[1].problems == ()


def test_only_nan_answers_say_so(photo):
    explanation = explain(photo, lambda images: torch.full((len(images), 2), float("nan")))
    assert "age: the model gave no number for any perturbed photo (NaN or infinite)" in explanation.all_problems
    assert np.isnan(explanation.maps[0].weights()).all()


def test_more_superpixels_than_samples_says_so(photo):
    explanation = explain(photo, samples=20)
    assert any("more superpixels" in words for words in explanation.problems)
    assert np.isnan(explanation.maps[0].intervals()).all()


@pytest.mark.parametrize("setting", [{"segments": "hexagons"}, {"fill": "black"}, {"samples": 2}, {"samples": "all"}])
def test_a_choice_that_does_not_exist_is_refused(setting):
    with pytest.raises(UsageError):
        replace(LimeSettings(), **setting)


def test_a_model_with_another_number_of_outputs_is_refused(photo):
    with pytest.raises(UsageError, match="gives 3 numbers a photo, but 2 targets are named"):
        explain(photo, lambda images: torch.zeros(len(images), 3))
    with pytest.raises(UsageError, match=r"expected \(height, width, 3\)"):
        explain(photo.astype(float))
