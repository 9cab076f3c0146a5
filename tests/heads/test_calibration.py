"""Temperatures and the calibration error."""

import numpy as np
import pytest

from agegender.heads.calibration import expected_calibration_error, fit_temperature


def overconfident(n=5000, temperature=2.5):
    """Return logits of two classes, and the class."""
    generator = np.random.default_rng(0)
    odds = generator.normal(0, 2, n)
    logits = np.stack([np.zeros(n), odds * temperature], axis=1)
    return logits, (generator.random(n) < 1 / (1 + np.exp(-odds))).astype(int)


def probability(logits, temperature):
    return 1 / (1 + np.exp(-(logits[:, 1] - logits[:, 0]) / temperature))


def test_a_planted_temperature_is_recovered():
    assert fit_temperature(*overconfident()) == pytest.approx(2.5, rel=0.06)


def test_calibration_lowers_the_calibration_error():
    logits, classes = overconfident()
    before = expected_calibration_error(classes, probability(logits, 1.0))
    after = expected_calibration_error(classes, probability(logits, fit_temperature(logits, classes)))
    assert before > 0.1
    assert after < 0.02


@pytest.mark.parametrize("classes", [[], [1, 1], [0, -1]])
def test_one_class_alone_says_nothing_about_temperature(classes):
    assert fit_temperature(np.ones((len(classes), 2)), classes) == 1.0


def test_a_split_without_mistakes_does_not_make_the_model_certain():
    odds = np.r_[np.full(50, 4.0), np.full(50, -4.0)]
    temperature = fit_temperature(np.stack([np.zeros(100), odds], axis=1), (odds > 0).astype(int))
    assert 0.5 < temperature < 2.0


def test_no_rows_have_no_calibration_error():
    assert np.isnan(expected_calibration_error([], []))
