from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_models import TARGETS, curved_scores, linear_scores

from agegender.explanation.face_explanation import NAN, Curve, Trust
from agegender.explanation.lime_explainer import LimeExplainer, LimeSettings
from agegender.explanation.superpixels import background_mask, find_regions
from agegender.explanation.surrogate import rank_correlation, top_overlap
from agegender.explanation.trust import background_share, failures, verdict


def explain(photo, scores, **settings):
    return LimeExplainer(scores, TARGETS, LimeSettings(**settings)).explain(photo)


def test_a_linear_models_map_passes_every_check(photo):
    for one in explain(photo, linear_scores).maps:
        assert one.trust.is_believable, one.verdict
        assert one.trust.top_jaccard == 1
        assert one.trust.deletion_auc < one.trust.random_deletion_auc < one.trust.insertion_auc
        assert one.verdict.startswith("Holds: predicts 100 %")


def test_pure_noise_fails_although_its_in_sample_score_looks_well(photo):
    generator = torch.Generator().manual_seed(0)
    explanation = explain(photo, lambda images: torch.randn(len(images), 2, generator=generator), samples=256)
    for one in explanation.maps:
        assert one.trust.in_sample_r2 > 0.05
        assert one.trust.held_out_r2 < 0.1
        assert not one.trust.is_believable
        assert "of the variance over fresh perturbations" in one.verdict
        assert one.verdict.startswith("Not to be believed")


def test_curves_run_from_the_whole_photo_to_the_covered_one(photo):
    one = explain(photo, curved_scores, samples=256).maps[0]
    for curve in (one.trust.deletion, *one.trust.random_deletions):
        assert curve.values[0] == pytest.approx(one.value)
        assert (curve.pixel_share[0], curve.pixel_share[-1]) == (0, pytest.approx(1))
        assert np.all(np.diff(curve.pixel_share) > 0)
        assert len(curve.values) == len(curve.pixel_share)
    assert one.trust.insertion.values[-1] == pytest.approx(one.value)
    assert one.trust.insertion.values[0] == pytest.approx(one.trust.deletion.values[-1])


def test_deletion_of_a_male_face_follows_what_speaks_for_male(photo):
    def male(images):
        return linear_scores(images) * torch.tensor([1.0, 0.1]).double() - torch.tensor([0.0, 9.0]).double()

    one = explain(photo, male, samples=256).maps[1]
    # Log-odds of female rise as what speaks for male goes.
    assert np.mean(one.trust.deletion.values) > np.mean([curve.values for curve in one.trust.random_deletions])
    assert one.trust.deletion_auc < one.trust.random_deletion_auc


def test_a_model_that_looks_at_the_background_fails(photo):
    outside = torch.from_numpy(background_mask(64, 64))

    def background_scores(images):
        texture = images.double().std(1) * outside
        return torch.stack([texture.mean((1, 2)), linear_scores(images)[:, 1]], dim=1)

    one = explain(photo, background_scores, segments="face-grid", samples=256).maps[0]
    assert one.trust.background_share > 0.95
    assert any("outside the head" in words for words in one.trust.failures)


def test_background_share_counts_regions_by_their_pixels(photo):
    regions = find_regions(photo, "face-grid")
    assert background_share(np.ones(regions.count), regions) == pytest.approx(4 / 17)
    assert np.isnan(background_share(np.zeros(regions.count), regions))


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"held_out_r2": 0.2}, "predicts only 20 %"),
        ({"deletion_auc": 0.5, "random_deletion_auc": 0.5}, "lowers the output no more"),
        ({"insertion_auc": 0.4, "random_insertion_auc": 0.5}, "raises the output no more"),
        ({"top_jaccard": 1 / 3}, "agree on only 33 %"),
        ({"background_share": 0.6}, "60 % of its weight"),
        ({"untrained_correlation": -0.9}, "untrained network"),
    ],
)
def test_each_failed_check_has_its_words(figures, words):
    found = failures(Trust(**figures))
    assert len(found) == 1
    assert words in found[0]


def test_figures_that_could_not_be_had_fail_nothing():
    assert failures(Trust()) == ()
    assert verdict(None, ()) == "Not checked: trust figures were not asked for."


def test_overlap_and_rank_correlation():
    assert top_overlap(np.arange(10.0), -np.arange(10.0)) == 1
    assert top_overlap(np.eye(10)[0] * 5 + 1, np.eye(10)[9] * 5 + 1, count=1) == 0
    assert rank_correlation(np.array([1.0, 2, 3]), np.array([10.0, 20, 90])) == pytest.approx(1)
    assert np.isnan(rank_correlation(np.ones(5), np.arange(5.0)))
    assert Curve((0.0, 1.0), (NAN, 1.0)).pixel_share == (0.0, 1.0)
