"""Simulated predictions tables: what is true in them is known."""

import numpy as np
import pandas as pd

ETHNICITIES = ["White", "Black", "Asian", "Indian", "Others"]


def simulated_predictions(n: int = 600, seed: int = 0) -> pd.DataFrame:
    """Return predictions whose errors know nothing of any label."""
    generator = np.random.default_rng(seed)
    age = np.clip(generator.gamma(3.0, 11.0, n), 0, 100)
    gender = generator.choice(["male", "female"], n)
    is_right = generator.random(n) < 0.93
    probability = generator.beta(8, 1, n)
    leaning = np.where(
        is_right == (gender == "female"), np.maximum(probability, 0.5), 1 - np.maximum(probability, 0.501)
    )
    return pd.DataFrame(
        {
            "path": [f"{number}.jpg" for number in range(n)],
            "age_years": age,
            "predicted_age_years": age + generator.normal(0, 6.5, n),
            "gender": gender,
            "ethnicity": generator.choice(ETHNICITIES, n, p=[0.42, 0.2, 0.15, 0.16, 0.07]),
            "predicted_gender": np.where(leaning >= 0.5, "female", "male"),
            "female_probability": leaning,
        }
    )
