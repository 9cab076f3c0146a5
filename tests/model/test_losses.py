from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from agegender.errors import UsageError
from agegender.heads import AGE, GENDER, REGRESSION_LOSSES, Regression, with_settings
from agegender.model.losses import CombinedLoss, classification_loss, regression_loss, soft_label_loss

AGES = torch.tensor([20.0, 40.0, 60.0])
GENDERS = torch.tensor([0, 1, 1])
LOGITS = torch.tensor([[2.0, -2.0], [0.0, 0.0], [-1.0, 1.0]])


def test_combined_loss_is_the_weighted_sum_of_its_visible_parts() -> None:
    loss = CombinedLoss((with_settings(AGE, loss="l1", weight=2.0), with_settings(GENDER, weight=0.5)), {"age": 20.0})
    total = loss((torch.tensor([30.0, 40.0, 50.0]), LOGITS), AGES, GENDERS)
    assert loss.parts["age"] == pytest.approx((10 + 0 + 10) / 3 / 20)
    expected_gender = torch.nn.functional.cross_entropy(LOGITS, GENDERS)
    assert loss.parts["gender"] == pytest.approx(expected_gender.item())
    assert total.item() == pytest.approx(2.0 * loss.parts["age"].item() + 0.5 * expected_gender.item())


def test_a_photo_without_a_label_does_not_count_for_that_head() -> None:
    loss = CombinedLoss((with_settings(AGE, loss="l1", weight=1.0), GENDER), {"age": 1.0})
    ages = torch.tensor([20.0, math.nan, 60.0])
    genders = torch.tensor([0, -1, 1])
    predicted = torch.tensor([21.0, 1000.0, 63.0], requires_grad=True)
    total = loss((predicted, LOGITS), ages, genders)
    (slope,) = torch.autograd.grad(total, predicted)
    assert loss.parts["age"] == pytest.approx(2.0)
    assert loss.parts["gender"] == pytest.approx(
        torch.nn.functional.cross_entropy(LOGITS[[0, 2]], genders[[0, 2]]).item()
    )
    assert slope.tolist() == [0.5, 0.0, 0.5]


def test_loss_per_photo_has_one_number_for_each() -> None:
    loss = CombinedLoss((with_settings(AGE, loss="smooth-l1"), GENDER), {"age": 20.0})
    each = loss((AGES + 5, LOGITS), AGES, GENDERS, reduction="none")
    mean = loss((AGES + 5, LOGITS), AGES, GENDERS)
    assert each.shape == (3,)
    assert each.mean().item() == pytest.approx(mean.item())


def test_column_targets_do_not_broadcast_into_a_square() -> None:
    loss = CombinedLoss((with_settings(AGE, loss="mse"),), {"age": 1.0})
    assert loss((AGES,), AGES[:, None]).item() == 0.0


@pytest.mark.parametrize("kind", [kind for kind in REGRESSION_LOSSES if kind != "soft-labels"])
def test_age_losses_vanish_at_the_label_and_grow_with_the_error(kind: str) -> None:
    values = [
        regression_loss(with_settings(AGE, loss=kind), AGES + error, AGES, unit=20.0).mean().item()
        for error in (0, 5, 20, 40)
    ]
    assert values[0] == 0.0
    assert values == sorted(values)


def test_soft_labels_prefer_the_label_to_its_neighbours() -> None:
    years = torch.arange(121.0)
    right, beside = (-((years - centre) ** 2) / 8 for centre in (40.0, 46.0))
    target = torch.tensor([40.0])
    assert soft_label_loss(right[None], target, (0, 120)).item() == pytest.approx(0.0, abs=1e-4)
    assert soft_label_loss(beside[None], target, (0, 120)).item() > 1.0


def test_focal_loss_cares_less_about_easy_photos() -> None:
    easy, hard = (
        classification_loss(with_settings(GENDER, loss=loss), LOGITS, GENDERS) for loss in ("focal", "cross-entropy")
    )
    assert (easy < hard).all()
    assert easy[0] / hard[0] < easy[1] / hard[1]


def test_activation_and_decodes_give_years_and_classes() -> None:
    loss = CombinedLoss((with_settings(AGE, loss="smooth-l1"), GENDER), {"age": 20.0})
    ages, probabilities = loss.activation((AGES, LOGITS))
    years, classes = loss.decodes((ages, probabilities))
    assert years.tolist() == AGES.tolist()
    assert probabilities.sum(dim=1).tolist() == pytest.approx([1.0] * 3)
    assert classes.tolist() == [0, 0, 1]


def test_unknown_losses_are_named() -> None:
    with pytest.raises(UsageError, match="smooth-l1"):
        regression_loss(replace(AGE, loss="cubic"), AGES, AGES, unit=1.0)
    with pytest.raises(UsageError, match="focal"):
        classification_loss(replace(GENDER, loss="hinge"), LOGITS, GENDERS)
    with pytest.raises(UsageError, match="labels equal"):
        CombinedLoss((AGE,), {"age": 0.0})


def test_each_number_is_counted_in_its_own_unit() -> None:
    height = Regression("height", "height_cm", "cm", loss="l1", weight=1.0)
    loss = CombinedLoss((with_settings(AGE, loss="l1", weight=1.0), height), {"age": 20.0, "height": 5.0})
    loss((AGES + 10, AGES + 10), AGES, AGES)
    assert {name: part.item() for name, part in loss.parts.items()} == {"age": 0.5, "height": 2.0}
