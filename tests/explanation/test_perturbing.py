from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from toy_models import linear, products, sigmoid, three_way, thresholds

from agegender.errors import UsageError
from agegender.explanation.perturbing import (
    Evaluator,
    antithetic_design,
    independent_design,
    photo_generator,
)
from agegender.explanation.superpixels import Regions
from agegender.explanation.surrogate import fit_pairs, least_pairs, pair_block_size

STRIPES = Regions(np.repeat(np.arange(4), 16)[:, None].repeat(64, axis=1), ("a", "b", "c", "d"))


@given(st.integers(1, 70), st.integers(1, 90), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_pairs_are_opposites(region_count, pair_count, seed):
    design = antithetic_design(region_count, pair_count, np.random.default_rng(seed))
    assert design.shape == (2 * pair_count, region_count)
    assert np.all(design[0::2] + design[1::2] == 1)


@given(st.integers(1, 70), st.integers(0, 3), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_whole_blocks_are_orthogonal_and_balanced(region_count, blocks, seed):
    # Fewer pairs than a block has come from a smaller one.
    pairs = blocks * pair_block_size(region_count) if blocks else least_pairs(region_count)
    signs = 2.0 * antithetic_design(region_count, pairs, np.random.default_rng(seed))[0::2] - 1
    assert np.array_equal(signs.T @ signs, pairs * np.eye(region_count))
    assert np.array_equal(signs.sum(axis=0), np.zeros(region_count))


def test_generator_depends_on_photo_seed_and_purpose_alone(photo, another_photo):
    draw = photo_generator(photo, 1).random()
    assert photo_generator(photo.copy(), 1).random() == draw
    others = [photo_generator(another_photo, 1), photo_generator(photo, 2), photo_generator(photo, 1, "trust")]
    assert all(other.random() != draw for other in others)


def test_perturbed_photos_show_photo_and_fill_where_the_design_says(photo, another_photo):
    evaluator = Evaluator(lambda images: images.float().mean((2, 3)), photo, another_photo, STRIPES)
    composed = evaluator.compose(torch.tensor([[True, False, True, False]]))[0].permute(1, 2, 0).numpy()
    assert np.array_equal(composed[0:16], photo[0:16])
    assert np.array_equal(composed[16:32], another_photo[16:32])
    assert np.array_equal(composed[48:64], another_photo[48:64])


def test_batches_change_nothing_but_their_number(photo, another_photo):
    design = independent_design(4, 50, np.random.default_rng(0))
    sizes = []

    def score(images):
        sizes.append(len(images))
        return images.float().mean((2, 3))

    evaluators = [Evaluator(score, photo, another_photo, STRIPES, batch_size=size) for size in (50, 16)]
    answers = [evaluator.scores(design) for evaluator in evaluators]
    assert np.array_equal(*answers)
    assert sizes == [50, 16, 16, 16, 2]


def test_scores_may_be_an_array(photo, another_photo):
    design = independent_design(4, 5, np.random.default_rng(0))
    tensor, array = (
        Evaluator(score, photo, another_photo, STRIPES).scores(design)
        for score in (lambda images: images.float().mean((2, 3)), lambda images: images.float().mean((2, 3)).numpy())
    )
    assert np.array_equal(tensor, array)


def test_scores_of_a_wrong_shape_are_refused(photo):
    evaluator = Evaluator(
        lambda images: torch.zeros(len(images)), photo, photo, Regions(np.zeros((64, 64), dtype=np.int64), ("all",))
    )
    with pytest.raises(UsageError, match=r"shape \(3,\)"):
        evaluator.scores(np.ones((3, 1), dtype=np.uint8))


def variance_of_weights(function, region_count, rows, repeats=30):
    """Mean variance over seeds of antithetic and of stock weights, both from `rows` evaluations."""
    weights = {"antithetic": [], "stock": []}
    for seed in range(repeats):
        design = antithetic_design(region_count, rows // 2, np.random.default_rng(seed))
        weights["antithetic"].append(fit_pairs(design, function(design)).weights)
        # Stock LIME draws every row for itself and fits a ridge to them.
        design = independent_design(region_count, rows, np.random.default_rng(seed))
        weights["stock"].append(Ridge(alpha=1.0).fit(design, function(design)).coef_)
    return {name: np.var(found, axis=0).mean() for name, found in weights.items()}


def test_antithetic_pairs_have_far_less_variance_where_regions_work_in_twos():
    generator = np.random.default_rng(0)
    pairwise = generator.normal(size=(20, 20))
    variance = variance_of_weights(lambda z: np.einsum("ni,ij,nj->n", z, pairwise, z.astype(float)), 20, 256)
    assert variance["antithetic"] < variance["stock"] / 8


def test_antithetic_pairs_have_less_variance_on_a_sigmoid_off_its_centre():
    slopes = np.random.default_rng(0).normal(size=20)
    variance = variance_of_weights(lambda z: 1 / (1 + np.exp(-(z - 0.5) @ slopes - 2)), 20, 256, repeats=30)
    assert variance["antithetic"] < variance["stock"] / 4


def test_antithetic_pairs_pay_at_most_a_factor_of_two_where_nothing_cancels():
    slopes = np.random.default_rng(0).normal(size=20)
    variance = variance_of_weights(lambda z: 1 / (1 + np.exp(-(z - 0.5) @ slopes)), 20, 256, repeats=30)
    assert variance["antithetic"] < variance["stock"] * 2.2


def test_intervals_keep_their_promise_with_effects_of_three_regions_together():
    generator = np.random.default_rng(1)
    first, cubic = generator.normal(size=12), generator.normal(size=(12, 12, 12))
    truth_design = antithetic_design(12, 2**14, np.random.default_rng(99))

    def function(z):
        signs = 2.0 * z - 1
        return z @ first + np.einsum("ni,nj,nk,ijk->n", signs, signs, signs, cubic, optimize=True) / 20

    truth = fit_pairs(truth_design, function(truth_design)).weights
    covered = []
    for seed in range(80):
        design = antithetic_design(12, 48, np.random.default_rng(seed))
        found = fit_pairs(design, function(design))
        covered += ((found.low <= truth) & (truth <= found.high)).tolist()
    assert 0.92 <= np.mean(covered) <= 0.98


ALL_ROWS = (np.arange(2**14)[:, None] >> np.arange(14)) % 2


@pytest.mark.parametrize("kind", [thresholds, sigmoid, three_way])
def test_intervals_hold_the_weights_of_infinitely_many_samples_19_times_in_20(kind):
    covered = []
    for model in range(6):
        answer = kind(np.random.default_rng(model), 14)
        truth = 2 * ((2 * ALL_ROWS - 1) * answer(ALL_ROWS)[:, None]).mean(axis=0)
        for seed in range(40):
            design = antithetic_design(14, 128, np.random.default_rng(seed))
            found = fit_pairs(design, answer(design))
            covered += ((found.low <= truth) & (truth <= found.high)).tolist()
    assert 0.93 <= np.mean(covered) <= 0.97


@pytest.mark.parametrize("kind", [linear, products])
def test_where_regions_add_up_or_work_in_twos_there_is_no_sampling_error(kind):
    answer = kind(np.random.default_rng(0), 14)
    truth = 2 * ((2 * ALL_ROWS - 1) * answer(ALL_ROWS)[:, None]).mean(axis=0)
    design = antithetic_design(14, 128, np.random.default_rng(0))
    found = fit_pairs(design, answer(design))
    assert np.allclose(found.weights, truth)
    assert np.allclose(found.high, found.low)


@pytest.mark.parametrize("region_count", [4, 17, 31, 32, 63, 100])
def test_blocks_seldom_lay_half_of_an_effect_of_three_regions_on_a_single_one_and_never_all(region_count):
    """Above a half in 1 to 2 of 100 blocks; a Sylvester block lays all of it on one, again and again."""
    pairs, shares = pair_block_size(region_count), []
    for seed in range(300):
        signs = 2.0 * antithetic_design(region_count, pairs, np.random.default_rng(seed))[0::2] - 1
        shares.append(np.abs(signs[:, :3].prod(axis=1) @ signs[:, 3:] / pairs).max())
    assert max(shares) < 1
    assert np.mean(np.array(shares) > 0.5) < 0.05


def test_blocks_that_are_not_whole_and_too_few_samples_still_tell_their_error():
    answer = thresholds(np.random.default_rng(0), 14)
    for pairs, has_interval in ((8, False), (20, True), (64, True), (130, True), (190, True)):
        design = antithetic_design(14, pairs, np.random.default_rng(1))
        found = fit_pairs(design, answer(design))
        assert np.isfinite(found.low).all() == has_interval
