"""Predictions tables whose truth is known, for `truth.py`: where no group is misjudged, and where one is.

Nothing here is imported by the audit, and nothing of the audit is imported here: the two meet in `truth_rows.py` alone.
Labels are drawn from real ones (`Labels.of_names`) or, without them, from how many faces of each age, ethnicity and
gender UTKFace has, so that ages and ethnicities go together as they do in a real data set: Black and Indian faces are
mostly of young adults, White ones of all ages, Asian ones have many babies.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]
ETHNICITIES = ("White", "Black", "Asian", "Indian", "Others")
GENDERS = ("male", "female")
PLANTED = "planted"
PLANTED_ROWS = 100
MAE_YEARS = 5.2
ACCURACY = 0.93
_NAME = re.compile(r"(\d{1,3})_([01])_([0-4])_")
_EDGES = (0, 2, 5, 10, 15, 20, 25, 26, 27, 30, 35, 40, 45, 50, 55, 60, 65, 70, 80, 90, 117)
# Faces of UTKFace in these bins of age: men, then women, of each ethnicity.
_COUNTS = (
    (127, 121, 200, 162, 219, 195, 90, 233, 283, 364, 457, 317, 307, 465, 346, 230, 190, 231, 116, 30),
    (120, 141, 225, 182, 251, 326, 113, 227, 239, 346, 328, 162, 161, 227, 141, 160, 150, 176, 203, 63),
    (15, 14, 25, 16, 57, 163, 60, 249, 300, 275, 276, 105, 104, 105, 70, 65, 59, 60, 16, 5),
    (13, 31, 28, 21, 60, 234, 76, 315, 244, 292, 249, 100, 56, 51, 34, 29, 19, 19, 13, 8),
    (253, 129, 36, 16, 15, 101, 19, 101, 89, 128, 114, 70, 32, 45, 32, 48, 22, 60, 34, 12),
    (115, 183, 69, 22, 31, 325, 62, 223, 232, 154, 65, 29, 8, 10, 9, 6, 5, 14, 24, 22),
    (113, 49, 28, 17, 29, 125, 65, 183, 175, 181, 228, 125, 179, 195, 124, 66, 38, 31, 3, 2),
    (88, 84, 61, 28, 49, 281, 107, 233, 129, 124, 99, 36, 42, 35, 33, 17, 6, 12, 15, 3),
    (60, 39, 14, 23, 28, 81, 20, 70, 69, 65, 58, 39, 37, 26, 16, 4, 2, 1, 1, 0),
    (59, 96, 66, 28, 51, 188, 30, 86, 57, 64, 52, 15, 8, 8, 0, 2, 4, 0, 3, 0),
)
NOISES = ("normal", "laplace", "student_t3")


@dataclass(frozen=True)
class Labels:
    """Where labels are drawn from: one row per face, age in years, gender, ethnicity (numbers in the lists above)."""

    faces: NDArray[np.int64]

    @classmethod
    def of_names(cls, folder: Path) -> Labels:
        """Read the labels that UTKFace writes into the names of its photos; none is opened."""
        found = [_NAME.match(path.name) for path in sorted(folder.rglob("*.jpg"))]
        faces = np.array([list(map(int, one.groups())) for one in found if one], dtype=np.int64).reshape(-1, 3)
        if len(faces) < 10_000:
            raise SystemExit(f"{folder} holds {len(faces)} photos named as UTKFace's are; at least 10,000 are needed.")
        return cls(faces)

    @classmethod
    def of_counts(cls) -> Labels:
        """Spread the counted faces evenly over the years of their bin."""
        faces = []
        for number, counts in enumerate(_COUNTS):
            for low, high, count in zip(_EDGES, _EDGES[1:], counts, strict=False):
                ages = low + np.arange(count) * (high - low) // max(count, 1)
                faces.append(np.stack([ages, np.full(count, number % 2), np.full(count, number // 2)], axis=1))
        return cls(np.concatenate(faces))

    def draw(self, generator: np.random.Generator, n: int) -> pd.DataFrame:
        """Return the labels of `n` faces, none drawn twice where there are enough."""
        chosen = generator.choice(len(self.faces), n, replace=n > len(self.faces))
        ages, genders, ethnicities = self.faces[chosen].T
        table = pd.DataFrame({"path": [f"{number:07d}.jpg" for number in range(n)]})
        table["age_years"] = ages.astype(np.float64)
        table["gender"] = np.array(GENDERS)[genders]
        table["ethnicity"] = np.array(ETHNICITIES)[ethnicities]
        return table


def noise(generator: np.random.Generator, n: int, kind: str = "normal") -> Floats:
    """Return errors of either sign with a mean size of 1."""
    if kind == "laplace":
        return generator.laplace(size=n)
    if kind == "student_t3":
        return generator.standard_t(3, size=n) / 1.1027
    return generator.normal(size=n) * np.sqrt(np.pi / 2)


def predicted(
    generator: np.random.Generator,
    labels: pd.DataFrame,
    error_years: Floats,
    is_right: NDArray[np.bool_],
    *,
    is_alike: bool = False,
) -> pd.DataFrame:
    """Return the predictions table of a model with two heads that makes these errors, with all columns of ours.

    `is_alike` tells that errors are as large at every age; intervals are then as wide, so that they cover alike.
    """
    table = labels.copy()
    table["predicted_age_years"] = table["age_years"] + error_years
    growing = 2.0 + 0.1 * table["predicted_age_years"].clip(0.0, 100.0)
    reach = 1.645 * (MAE_YEARS * np.sqrt(np.pi / 2.0) if is_alike else growing)
    table["age_low_years"] = (table["predicted_age_years"] - reach).clip(lower=0.0)
    table["age_high_years"] = table["predicted_age_years"] + reach
    other = np.where(table["gender"] == "male", "female", "male")
    table["predicted_gender"] = np.where(is_right, table["gender"], other)
    confidence = 0.5 + 0.5 * generator.beta(4.0, 1.0, len(table))
    table["gender_probability_female"] = np.where(table["predicted_gender"] == "female", confidence, 1.0 - confidence)
    table["gender_probability_male"] = 1.0 - table["gender_probability_female"]
    return table


def true_null(generator: np.random.Generator, labels: Labels, trial: int) -> pd.DataFrame:
    """Return a table whose errors are dealt without a look at any label; shapes of table and of errors take turns."""
    shape, kind = ("groups", "faces", "columns")[trial % 3], NOISES[trial // 3 % 3]
    table = labels.draw(generator, {"groups": 700, "faces": 3000, "columns": 1000}[shape])
    n = len(table)
    if shape == "groups":
        table["ethnicity"] = np.repeat([f"group {number:02d}" for number in range(14)], 50)
    if shape == "columns":
        for name, count in (("expression", 7), ("mask", 2), ("source", 3)):
            table[name] = generator.choice([f"{name} {number}" for number in range(count)], n)
    error = MAE_YEARS * noise(generator, n, kind)
    return predicted(generator, table, error, generator.random(n) < ACCURACY, is_alike=True)


def by_age_alone(generator: np.random.Generator, labels: Labels, n: int, kind: str = "normal") -> pd.DataFrame:
    """Return a table whose errors depend on age and on nothing else, as real ones do.

    Predictions are drawn to the middle (the old are judged too young, babies too old), their spread grows with age, no
    prediction is below 0, and genders are told worse of children and of the very old.
    """
    table = labels.draw(generator, n)
    age = table["age_years"].to_numpy()
    drawn = generator.uniform(0.1, 0.35) * (38.0 - age) + 3.0 * np.exp(-age / 4.0)
    spread = (2.0 + 0.1 * age) * np.sqrt(2.0 / np.pi)
    error = np.maximum(drawn + spread * noise(generator, n, kind), -age)
    accuracy = 0.96 - 0.3 * np.exp(-age / 7.0) - 0.08 / (1.0 + np.exp((75.0 - age) / 4.0))
    return predicted(generator, table, error, generator.random(n) < accuracy)


def of_persons(
    generator: np.random.Generator, labels: Labels, *, persons: int, photos: int, icc: float, is_masked: bool = False
) -> pd.DataFrame:
    """Return a table without a gap in which each person has several photos, whose errors are alike.

    Parameters
    ----------
    icc : float
        Intraclass correlation: which share of the errors' variance lies between persons.
    is_masked : bool
        Of seven photos five show a mask, one an incorrect one and one none, as in the mask competition.
    """
    people = labels.draw(generator, persons)
    table = people.loc[people.index.repeat(photos)].reset_index(drop=True)
    table["subject_id"] = "person " + table["path"].str.removesuffix(".jpg")
    if is_masked:
        table["mask"] = np.tile(["mask"] * (photos - 2) + ["incorrect", "none"], persons)
    n = len(table)
    table["path"] = [f"{number:07d}.jpg" for number in range(n)]

    def alike() -> Floats:
        own = np.repeat(generator.normal(size=persons), photos)
        return np.sqrt(icc) * own + np.sqrt(1.0 - icc) * generator.normal(size=n)

    error = MAE_YEARS * np.sqrt(np.pi / 2) * alike()
    made = predicted(generator, table, error, alike() < ndtri(ACCURACY), is_alike=True)
    return made.sample(frac=1.0, random_state=generator).reset_index(drop=True)


def of_twins(generator: np.random.Generator, labels: Labels, photos: int = 1000) -> pd.DataFrame:
    """Return a table without a gap in which a fifth of the photos stands twice, judged nearly alike."""
    first = labels.draw(generator, photos)
    error = MAE_YEARS * noise(generator, photos)
    first = predicted(generator, first, error, generator.random(photos) < ACCURACY, is_alike=True)
    first["twin_cluster"] = pd.Series(None, index=first.index, dtype=object)
    rows = generator.choice(photos, photos // 5, replace=False)
    first.loc[rows, "twin_cluster"] = [f"twins-{row}" for row in rows]
    second = first.loc[rows].copy()
    second["path"] = "copy of " + second["path"]
    moved = generator.normal(0.0, 0.3, len(rows))
    second[["predicted_age_years", "age_low_years", "age_high_years"]] += moved[:, None]
    return pd.concat([first, second]).sample(frac=1.0, random_state=generator).reset_index(drop=True)


@dataclass(frozen=True)
class Plant:
    """A table with one group that is misjudged, by whichever names a finding about it may go."""

    table: pd.DataFrame
    group: dict[str, str]
    metrics: tuple[str, ...]

    def is_named(self, columns: Sequence[str], values: Sequence[str], metric: str) -> bool:
        """Return whether a claim is about the group or one that it is a part of; age alone does not count."""
        named = dict(zip(columns, values, strict=True))
        return metric in self.metrics and set(named) != {"age_group"} and named.items() <= self.group.items()


def plant(generator: np.random.Generator, labels: Labels, what: str, n: int = 1200) -> Plant:
    """Return a table of errors that grow with age, and in 100 rows a fact.

    Parameters
    ----------
    what : str
        "shift" (2 years too old), "scale" (2 years more of mean absolute error) and "gender" (10 points less accurate)
        in random rows, which become an ethnicity of their own; "intersection": 4 years more of mean absolute error
        among the women over 60 of one ethnicity, of whom there are 100.
    """
    table = _with_cell(generator, labels, n) if what == "intersection" else labels.draw(generator, n)
    if what == "intersection":
        group = {"ethnicity": "Indian", "gender": "female", "age_group": "≥60"}
        inside = (table["age_years"] >= 60) & (table["ethnicity"] == "Indian") & (table["gender"] == "female")
        rows = np.flatnonzero(inside)
    else:
        group = {"ethnicity": PLANTED}
        rows = generator.choice(n, PLANTED_ROWS, replace=False)
        table.loc[rows, "ethnicity"] = PLANTED
    spread = (2.0 + 0.1 * table["age_years"].to_numpy()) * np.sqrt(2.0 / np.pi)
    error, accuracy = spread * noise(generator, n), np.full(n, ACCURACY)
    if what == "shift":
        error[rows] += 2.0
    elif what == "gender":
        accuracy[rows] -= 0.1
    else:
        mean = spread[rows].mean()  # the mean absolute error of these rows, of which `spread` is the expectation
        error[rows] *= (mean + (2.0 if what == "scale" else 4.0)) / mean
    metrics = {"gender": ("gender.accuracy",)}.get(what, ("age.mean_absolute_error", "age.mean_signed_error"))
    return Plant(predicted(generator, table, error, generator.random(n) < accuracy), group, metrics)


def _with_cell(generator: np.random.Generator, labels: Labels, n: int) -> pd.DataFrame:
    """Return labels with 100 Indian women of 60 and over, drawn again and again from the few that there are."""
    ages, genders, ethnicities = labels.faces.T
    is_cell = (ages >= 60) & (genders == GENDERS.index("female")) & (ethnicities == ETHNICITIES.index("Indian"))
    others = Labels(labels.faces[~is_cell]).draw(generator, n - PLANTED_ROWS)
    cell = labels.faces[generator.choice(np.flatnonzero(is_cell), PLANTED_ROWS)]
    made = pd.DataFrame({"path": [f"cell {number}.jpg" for number in range(PLANTED_ROWS)]})
    made["age_years"], made["gender"], made["ethnicity"] = cell[:, 0].astype(np.float64), "female", "Indian"
    return pd.concat([others, made]).sample(frac=1.0, random_state=generator).reset_index(drop=True)


def two_models(generator: np.random.Generator, labels: Labels, n: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the predictions of two equally good models on the same photos; what is hard for one is for the other."""
    table = labels.draw(generator, n)
    spread = (2.0 + 0.1 * table["age_years"].to_numpy()) * np.sqrt(2.0 / np.pi)
    shared, hard = noise(generator, n), generator.normal(size=n)

    def model() -> pd.DataFrame:
        error = spread * (np.sqrt(0.6) * shared + np.sqrt(0.4) * noise(generator, n))
        is_right = np.sqrt(0.6) * hard + np.sqrt(0.4) * generator.normal(size=n) < ndtri(ACCURACY)
        return predicted(generator, table, error, is_right)

    return model(), model()
