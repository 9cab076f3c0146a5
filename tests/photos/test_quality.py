"""One planted picture per defect is found by its own check, and good pictures by none."""

import numpy as np
import pytest
from photo_scenes import PLANTED, blurred, scene, squeezed
from PIL import Image

from agegender.errors import MissingExtraError
from agegender.photos import quality
from agegender.photos.quality import THRESHOLDS, light_and_blur, quality_scores

PIXEL_CHECKS = ("blurry", "blurry_fft", "dark", "bright", "low_contrast", "tiny", "odd_aspect")


def suspicions(photo):
    return {check for check, score in quality_scores(photo).items() if score < THRESHOLDS[check]}


@pytest.mark.parametrize("defect", PLANTED)
def test_a_planted_defect_is_found_by_its_own_check_alone(defect):
    photo, expected = PLANTED[defect]
    assert suspicions(photo) == expected


@pytest.mark.parametrize("seed", range(8))
def test_a_good_picture_is_suspected_of_nothing(seed):
    assert suspicions(scene(seed)) == set()


def test_scores_are_uniform():
    for photo in [
        scene(),
        np.zeros((1, 1, 3), np.uint8),
        np.full((300, 2, 3), 255, np.uint8),
        *(p for p, _ in PLANTED.values()),
    ]:
        scores = quality_scores(photo)
        assert tuple(scores) == PIXEL_CHECKS
        assert light_and_blur(photo).items() <= scores.items()
        assert all(0 <= score <= 1 for score in scores.values())


def test_more_blur_never_scores_higher():
    for check in ("blurry", "blurry_fft"):
        scores = [quality_scores(blurred(scene(3), radius))[check] for radius in (0, 0.5, 1, 2, 4)]
        assert scores == sorted(scores, reverse=True)


def test_blur_means_the_same_at_every_size_and_contrast():
    large = scene(2, 512, 512)
    sharp = np.asarray(Image.fromarray(large).resize((128, 128), Image.Resampling.BOX))
    assert quality_scores(large)["blurry"] == pytest.approx(quality_scores(sharp)["blurry"], rel=0.1)
    assert quality_scores(squeezed(sharp, 90, 170))["blurry"] == pytest.approx(quality_scores(sharp)["blurry"], rel=0.1)


def test_brisque_without_its_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(quality, "is_brisque_installed", lambda: False)
    quality._brisque_scorer.cache_clear()
    with pytest.raises(MissingExtraError, match="pip install"):
        quality.brisque_value(scene())


def test_a_pickle_that_calls_code_is_refused(tmp_path, monkeypatch):
    import pickle
    from importlib.machinery import ModuleSpec

    package = tmp_path / "brisque" / "__init__.py"
    (package.parent / "models").mkdir(parents=True)
    spec = ModuleSpec("brisque", None, origin=str(package))
    monkeypatch.setattr(quality.importlib.util, "find_spec", lambda name: spec)
    monkeypatch.setattr(quality, "version", lambda name: "9.9")
    file = package.parent / "models" / "normalize.pickle"
    file.write_bytes(pickle.dumps({"min_": [1.0], "max_": [2.0]}))
    quality._check_pickle()
    file.write_bytes(pickle.dumps({"min_": print}))
    with pytest.raises(MissingExtraError, match="would call code"):
        quality._check_pickle()


@pytest.mark.skipif(not quality.is_brisque_installed(), reason="the package brisque is not installed")
def test_brisque_finds_noise_and_blur_worse_than_the_picture():
    clean = scene()
    noisy = (clean + np.random.default_rng(0).normal(0, 40, clean.shape)).clip(0, 255).astype(np.uint8)
    assert quality.brisque_value(blurred(clean, 4)) > quality.brisque_value(clean)
    assert quality.brisque_value(noisy) > quality.brisque_value(clean)
