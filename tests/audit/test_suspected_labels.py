"""Labels that were made wrong on purpose are found, surely wrong ones first; right ones are left alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from agegender.api.audit import Audit
from agegender.audit.suspected_labels import mistakes_of_classes
from agegender.errors import TableError

Made = tuple[pd.DataFrame, np.ndarray, np.ndarray]


def table(count: int = 3000, *, wrong_share: float = 0.03, seed: int = 0) -> Made:
    """Predictions of an able model, and which genders and ages were made wrong."""
    generator = np.random.default_rng(seed)
    true_age = generator.gamma(3.0, 12.0, count).clip(0, 110)
    spread = 3.0 + true_age / 20
    predicted = true_age + spread * generator.standard_t(5, count)
    chance = 1 / (1 + np.exp(-generator.choice([-1, 1], count) * generator.gamma(4.0, 1.2, count)))
    is_female = generator.random(count) < chance  # calibrated
    wrong_gender, wrong_age = generator.random((2, count)) < wrong_share
    other = generator.permutation(true_age).round()  # somebody else's
    said = is_female ^ wrong_gender
    rows = {
        "path": [f"{number}.jpg" for number in range(count)],
        "age_years": np.where(wrong_age, other, true_age.round()),
        "predicted_age_years": predicted,
        "age_low_years": predicted - 2.0 * spread,
        "age_high_years": predicted + 2.0 * spread,
        "gender": np.where(said, "female", "male"),
        "predicted_gender": np.where(chance >= 0.5, "female", "male"),
        "gender_probability_male": 1 - (chance * (1 - 2 * wrong_share) + wrong_share),
        "gender_probability_female": chance * (1 - 2 * wrong_share) + wrong_share,
        "split": "test",
    }
    return pd.DataFrame(rows), wrong_gender, wrong_age


def found(suspects: pd.DataFrame, column: str, is_wrong: np.ndarray) -> tuple[float, float]:
    places = suspects.index[suspects["column"] == column]
    hits = is_wrong[places].sum()
    return hits / max(1, len(places)), hits / is_wrong.sum()


def test_wrong_labels_of_both_kinds_are_found() -> None:
    rows, wrong_gender, wrong_age = table()
    suspects = Audit(rows).suspects()
    is_far = wrong_age & (np.abs(rows["predicted_age_years"] - rows["age_years"]) > 25)
    for column, is_wrong, is_findable in (("gender", wrong_gender, wrong_gender), ("age_years", wrong_age, is_far)):
        precision, _ = found(suspects, column, is_wrong)
        _, recall = found(suspects, column, is_findable)
        assert precision > 0.6, column
        assert recall > 0.7, column


def test_ages_far_off_are_called_wrong_though_few_are_where_errors_have_short_tails() -> None:
    rows, _, _ = table(wrong_share=0.0)
    generator = np.random.default_rng(7)
    spread = (rows["age_high_years"] - rows["age_low_years"]) / 4
    rows["predicted_age_years"] = rows["age_years"] + spread * generator.normal(size=len(rows))
    rows["age_low_years"], rows["age_high_years"] = (rows["predicted_age_years"] + side * spread for side in (-2, 2))
    changed = generator.choice(len(rows), len(rows) // 200, replace=False)
    rows.loc[changed, "age_years"] = (rows["age_years"][changed] + 45) % 90
    suspects = Audit(rows).suspects()
    called = set(suspects.index[suspects["column"] == "age_years"])
    assert len(called & set(changed)) > 0.8 * len(changed)
    assert len(called - set(changed)) < 0.2 * len(changed)


@pytest.mark.parametrize("seed", range(3))
def test_how_sure_means_what_it_says(seed: int) -> None:
    rows, wrong_gender, wrong_age = table(seed=seed)
    suspects = Audit(rows).suspects(least=0.05)
    for column, is_wrong in (("gender", wrong_gender), ("age_years", wrong_age)):
        part = suspects[suspects["column"] == column]
        assert part["probability_wrong"].mean() == pytest.approx(is_wrong[part.index].mean(), abs=0.15)


def test_where_no_label_is_wrong_hardly_any_is_suspected() -> None:
    rows, _, _ = table(wrong_share=0.0)
    suspects = Audit(rows).suspects()
    assert len(suspects) < 0.01 * 2 * len(rows)


def test_a_model_that_knows_nothing_accuses_hardly_anybody() -> None:
    rows, _, _ = table()
    generator = np.random.default_rng(5)
    columns = ["predicted_age_years", "age_low_years", "age_high_years"]
    rows[columns] = 35 + generator.normal(0, 2, (len(rows), 1)) + np.array([0.0, -30, 40])
    rows["gender_probability_female"] = generator.uniform(0.45, 0.55, len(rows))
    rows["gender_probability_male"] = 1 - rows["gender_probability_female"]
    assert len(Audit(rows).suspects()) < 0.01 * 2 * len(rows)


def test_the_surest_come_first_and_only_test_rows_are_looked_at() -> None:
    rows, _, _ = table()
    rows["split"] = np.where(np.arange(len(rows)) % 2, "train", "test")
    suspects = Audit(rows).suspects()
    assert suspects["probability_wrong"].is_monotonic_decreasing
    assert {int(path.removesuffix(".jpg")) % 2 for path in suspects["path"]} == {0}


def test_shares_of_mistaken_classes_are_recovered() -> None:
    generator = np.random.default_rng(1)
    true = generator.integers(0, 3, 20_000)
    mistaken = np.array([[0.95, 0.05, 0.0], [0.0, 0.92, 0.08], [0.0, 0.0, 1.0]])
    labels = np.array([generator.choice(3, p=mistaken[one]) for one in true])
    clean = np.where(np.eye(3, dtype=bool)[true], 0.96, 0.02)
    assert np.abs(mistakes_of_classes(labels, clean @ mistaken) - mistaken).max() < 0.02


def test_too_few_labels_are_said() -> None:
    rows, _, _ = table(40)
    with pytest.raises(TableError, match="at least 50"):
        Audit(rows).suspects()
