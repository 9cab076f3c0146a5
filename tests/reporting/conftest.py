from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from agegender.faces import Faces, make_table

ETHNICITIES = ("White", "Black", "Asian", "Indian", "Others")


def make_predictions(row_count: int = 900, *, seed: int = 7, old_gap_years: float = -6.0) -> pd.DataFrame:
    """Return predictions of a model that drags the old towards the middle and is otherwise alike to all."""
    generator = np.random.default_rng(seed)
    age = np.clip(generator.gamma(4.0, 9.0, row_count), 1, 100).round()
    gender = generator.choice(["male", "female"], row_count)
    ethnicity = generator.choice(ETHNICITIES, row_count, p=[0.42, 0.2, 0.15, 0.16, 0.07])
    split = generator.choice(["train", "valid", "test"], row_count, p=[0.6, 0.15, 0.25])
    spread = np.where(split == "train", 3.5, 5.5)
    predicted = np.clip(age + generator.normal(0, spread) + np.where(age >= 60, old_gap_years, 0.0), 0, 110)
    odds = np.where(gender == "female", 1, -1) * generator.gamma(3.0, 1.2, row_count) - generator.gamma(
        1.0, 1.0, row_count
    )
    probability = 1 / (1 + np.exp(-odds))
    return pd.DataFrame(
        {
            "path": [f"{int(years)}_{place}.jpg" for place, years in enumerate(age)],
            "source": "csv",
            "age_years": age,
            "gender": gender,
            "ethnicity": ethnicity,
            "split": split,
            "predicted_age_years": predicted,
            "age_low_years": predicted - 9,
            "age_high_years": predicted + 9,
            "predicted_gender": np.where(probability >= 0.5, "female", "male"),
            "female_probability": probability,
        }
    )


def make_photos(folder: Path, predictions: pd.DataFrame, *, source: str = "csv", photo_count: int = 40) -> Faces:
    """Write a coloured square for the first rows; the photos of the others are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(3)
    for name in predictions["path"].head(photo_count):
        photo = np.full((60, 60, 3), generator.integers(60, 200, 3), np.uint8)
        photo[20:40, 20:40] = 255 - photo[20:40, 20:40]
        cv2.imwrite(str(folder / name), photo)
    labels = predictions[["path", "age_years", "gender", "ethnicity", "split"]].assign(source=source)
    return Faces(make_table(labels.to_dict("list")), folder)


@pytest.fixture(scope="session")
def predictions() -> pd.DataFrame:
    return make_predictions()


@pytest.fixture(scope="session")
def photos(predictions, tmp_path_factory) -> Faces:
    return make_photos(tmp_path_factory.mktemp("photos"), predictions)
