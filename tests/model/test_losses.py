from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from agegender.errors import UsageError
from agegender.heads import AGE, GENDER, Classification, Regression, with_settings
from agegender.loss_choices import REGRESSION_LOSSES
from agegender.model.losses import CombinedLoss, class_weights, classification_loss, regression_loss, soft_label_loss

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


@pytest.mark.parametrize("kind", [name for name, loss in REGRESSION_LOSSES.items() if not loss.has_grid])
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


# Losses of distributions over 0, 1, 2 years, and of three classes, worked out by hand.
FEW = Regression("few", "few", grid=(0, 2))
EVEN = torch.zeros(1, 3)
MOOD = Classification("mood", "mood", ("happy", "neutral", "sad"))


def by_hand(head: Regression, text: str, label: float) -> float:
    return regression_loss(with_settings(head, loss=text), EVEN, torch.tensor([label]), unit=1.0).item()


def test_losses_of_distributions_are_those_worked_out_on_paper() -> None:
    # Equal chances of 0, 1 and 2 years: the mean is 1, the variance 2/3, each class costs log 3.
    assert by_hand(FEW, "cross-entropy", 2.0) == pytest.approx(math.log(3))
    assert by_hand(FEW, "mean-variance", 2.0) == pytest.approx(math.log(3) + 0.2 * 1 / 2 + 0.05 * 2 / 3)
    assert by_hand(FEW, "mean-variance:mean=0,variance=3", 2.0) == pytest.approx(math.log(3) + 2.0)
    # At σ = 1 the label 1 is spread e^-1/2 : 1 : e^-1/2, so its entropy is log Z + 1 / Z · e^-1/2, Z = 1 + 2 e^-1/2.
    z = 1 + 2 * math.exp(-0.5)
    divergence = math.log(3) - (math.log(z) + math.exp(-0.5) / z)
    assert by_hand(FEW, "dldl-v2:sigma=1", 1.0) == pytest.approx(divergence, abs=1e-6)
    far = by_hand(FEW, "dldl-v2:sigma=1,lambda=0", 2.0)
    assert by_hand(FEW, "dldl-v2:sigma=1,lambda=3", 2.0) == pytest.approx(far + 3.0)
    assert by_hand(FEW, "soft-labels:sigma=1", 1.0) == pytest.approx(divergence, abs=1e-6)


def test_labels_go_to_the_nearest_year_of_the_grid() -> None:
    scores = torch.tensor([[1.0, 2.0, 3.0]]).repeat(4, 1)
    few = with_settings(FEW, loss="cross-entropy")
    losses = regression_loss(few, scores, torch.tensor([-3.0, 0.49, 0.5, 99.0]), unit=1.0)
    each = -scores[0].log_softmax(dim=0)
    assert losses.tolist() == pytest.approx([each[place].item() for place in (0, 0, 1, 2)])


def test_focal_loss_is_the_one_worked_out_on_paper() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0]])  # chances of 3/4 and 1/4
    for gamma, label, wanted in ((2, 0, 1 / 16 * math.log(4 / 3)), (1, 1, 3 / 4 * math.log(4)), (0, 1, math.log(4))):
        head = with_settings(GENDER, loss=f"focal:gamma={gamma}")
        assert classification_loss(head, logits, torch.tensor([label])).item() == pytest.approx(wanted)


def test_smoothing_spreads_a_share_of_the_label() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0]])
    head = with_settings(GENDER, loss="cross-entropy:smoothing=0.2")
    wanted = 0.9 * math.log(4 / 3) + 0.1 * math.log(4)  # a tenth for each class, and 0.8 for the label's
    assert classification_loss(head, logits, torch.tensor([0])).item() == pytest.approx(wanted)


def test_balanced_classes_weigh_as_their_inverse_frequency_and_one_on_average() -> None:
    assert class_weights(MOOD, [60, 30, 10], 0.0) is None
    full, half = (class_weights(MOOD, [60, 30, 10], exponent) for exponent in (1.0, 0.5))
    assert full.tolist() == pytest.approx([100 / 180, 100 / 90, 100 / 30])
    assert (half[2] / half[0]).item() == pytest.approx(6**0.5)
    for weights in (full, half):
        assert (weights @ torch.tensor([60.0, 30.0, 10.0])).item() == pytest.approx(100.0)
    head = with_settings(MOOD, loss="cross-entropy:balanced=1")
    loss = CombinedLoss((head,), {}, class_counts={"mood": [60, 30, 10]})
    total = loss((torch.zeros(2, 3),), torch.tensor([0, 2]))
    assert total.item() == pytest.approx(math.log(3) * (100 / 180 + 100 / 30) / 2)
    with pytest.raises(UsageError, match="class_counts"):
        CombinedLoss((head,), {})
    # A class that `--relabel` has emptied is in validation still, and says nothing of the network.
    assert class_weights(MOOD, [60, 40, 0], 1.0).tolist() == pytest.approx([100 / 120, 100 / 80, 0])


def softmax(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores - scores.max())
    return exponentials / exponentials.sum()


def paper_dldl_v2(scores: np.ndarray, age: float, grid: np.ndarray, sigma: float, share: float) -> float:
    """Gao et al. 2018, equations 1, 4, 6 and 9: Σ p ln(p / p̂) + λ |Σ p̂ l - y|."""
    density = np.exp(-((grid - age) ** 2) / (2 * sigma**2)) / (math.sqrt(2 * math.pi) * sigma)
    label, chance = density / density.sum(), softmax(scores)
    kept = label > 0
    return float((label[kept] * np.log(label[kept] / chance[kept])).sum() + share * abs((chance * grid).sum() - age))


def paper_mean_variance(scores: np.ndarray, age: int, grid: np.ndarray, mean: float, variance: float) -> float:
    """Pan et al. 2018, equations 1 to 6, of one photo."""
    chance = softmax(scores)
    m = sum(j * p for j, p in zip(grid, chance, strict=True))
    v = sum(p * (j - m) ** 2 for j, p in zip(grid, chance, strict=True))
    return float(-math.log(chance[list(grid).index(age)]) + mean * 0.5 * (m - age) ** 2 + variance * v)


def paper_focal(scores: np.ndarray, label: int, gamma: float, alpha: np.ndarray, smoothing: float) -> float:
    """Lin et al. 2017, equation 5, its cross-entropy to the smoothed label of Szegedy et al. 2016."""
    chance = softmax(scores)
    smoothed = np.full(len(scores), smoothing / len(scores))
    smoothed[label] += 1 - smoothing
    return float(alpha[label] * (1 - chance[label]) ** gamma * -(smoothed * np.log(chance)).sum())


@pytest.fixture
def drawn() -> np.random.Generator:
    return np.random.default_rng(11)


def test_dldl_v2_and_mean_variance_agree_with_the_papers(drawn: np.random.Generator) -> None:
    grid = np.arange(121)
    scores, ages = drawn.normal(0, 2, (40, 121)), drawn.integers(0, 121, 40)
    given, labels = torch.tensor(scores), torch.tensor(ages, dtype=torch.float32)
    two = with_settings(AGE, loss="dldl-v2:sigma=3,lambda=0.5")
    wanted = [paper_dldl_v2(one, age, grid, 3.0, 0.5) for one, age in zip(scores, ages, strict=True)]
    assert regression_loss(two, given, labels, unit=20.0).tolist() == pytest.approx(wanted, rel=1e-4)
    spread = with_settings(AGE, loss="mean-variance:mean=0.3")
    wanted = [paper_mean_variance(one, age, grid, 0.3, 0.05) for one, age in zip(scores, ages, strict=True)]
    assert regression_loss(spread, given, labels, unit=20.0).tolist() == pytest.approx(wanted, rel=1e-4)


def test_focal_loss_agrees_with_the_papers_for_many_classes(drawn: np.random.Generator) -> None:
    scores, labels = drawn.normal(0, 3, (40, 3)), drawn.integers(0, 3, 40)
    counts = np.array([50, 20, 5])
    alpha = counts**-0.5 / (counts**-0.5 * counts).sum() * counts.sum()
    head = with_settings(MOOD, loss="focal:gamma=1.5,balanced=0.5,smoothing=0.1")
    weights = class_weights(head, counts.tolist(), 0.5)
    ours = classification_loss(head, torch.tensor(scores), torch.tensor(labels), weights=weights)
    wanted = [paper_focal(one, label, 1.5, alpha, 0.1) for one, label in zip(scores, labels, strict=True)]
    assert ours.tolist() == pytest.approx(wanted, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("text", ["dldl-v2", "mean-variance"])
def test_slopes_are_those_of_finite_differences(text: str, drawn: np.random.Generator) -> None:
    few, label = with_settings(FEW, loss=text), torch.tensor([2.0])
    scores = torch.tensor(drawn.normal(0, 1, (1, 3)), dtype=torch.float32, requires_grad=True)
    (slopes,) = torch.autograd.grad(regression_loss(few, scores, label, unit=1.0).sum(), scores)
    paper = {"dldl-v2": (paper_dldl_v2, (2.0, 1.0)), "mean-variance": (paper_mean_variance, (0.2, 0.05))}
    formula, settings = paper[text]
    at, step = scores.detach().numpy()[0].astype(np.float64), 1e-5
    for place in range(3):
        up, down = (formula(at + step * sign * np.eye(3)[place], 2, np.arange(3), *settings) for sign in (1, -1))
        assert slopes[0, place].item() == pytest.approx((up - down) / (2 * step), abs=1e-4)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_a_photo_that_is_certainly_right_has_a_finite_slope(gamma: float) -> None:
    logits = torch.tensor([[200.0, -200.0], [0.1, 0.0]], requires_grad=True)
    head = with_settings(GENDER, loss=f"focal:gamma={gamma}")
    (slopes,) = torch.autograd.grad(classification_loss(head, logits, torch.tensor([0, 1])).sum(), logits)
    assert slopes.isfinite().all()


def test_learned_weights_are_those_of_the_paper_and_only_while_training() -> None:
    heads = (with_settings(AGE, loss="mse", weight=0.5), GENDER)
    loss = CombinedLoss(heads, {"age": 20.0}, weighting="uncertainty")
    assert loss.learned == {"age": 0.0, "gender": 0.0}  # so that it begins with the fixed weights
    with torch.no_grad():
        loss.log_variances.copy_(torch.tensor([math.log(4.0), math.log(0.25)]))
    ages = torch.tensor([40.0, 40.0, 80.0])
    total = loss((ages, LOGITS), AGES, GENDERS)
    number, entropy = (20**2 + 0 + 20**2) / 3 / 20**2, torch.nn.functional.cross_entropy(LOGITS, GENDERS).item()
    # Kendall et al.: L1 / 2σ1² + L2 / σ2² + log σ1 + log σ2, with σ1 = 2 and σ2 = 1/2.
    assert total.item() == pytest.approx(number / 8 + entropy * 4 + math.log(2.0) + math.log(0.5))
    (slopes,) = torch.autograd.grad(total, loss.log_variances)
    assert slopes.tolist() == pytest.approx([0.5 - number / 8, 0.5 - entropy * 4])
    assert loss.eval()((ages, LOGITS), AGES, GENDERS).item() == pytest.approx(0.5 * number + entropy)


def test_photos_count_by_their_weights() -> None:
    loss = CombinedLoss((with_settings(AGE, loss="l1", weight=1.0),), {"age": 1.0})
    ages = torch.tensor([21.0, 43.0, 60.0])
    assert loss((ages,), AGES, torch.tensor([2.0, 0.5, 0.5])).item() == pytest.approx((2 * 1 + 0.5 * 3) / 3)


def test_auxiliary_heads_train_and_do_not_choose() -> None:
    mood = with_settings(MOOD, weight=2.0)
    loss = CombinedLoss((GENDER, mood), {}, auxiliary=("mood",))
    given = ((LOGITS, torch.zeros(3, 3)), GENDERS, torch.tensor([0, 1, 2]))
    alone = torch.nn.functional.cross_entropy(LOGITS, GENDERS).item()
    assert loss(*given).item() == pytest.approx(alone + 2 * math.log(3))
    assert loss.eval()(*given).item() == pytest.approx(alone)
    assert loss.parts["mood"].item() == pytest.approx(math.log(3))
