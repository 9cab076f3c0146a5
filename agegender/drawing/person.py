"""Who is drawn: the labels of face number `index`, and how they come to show.

Labels are spread evenly over the indices (Sobol's sequence), so that any number of faces is a balanced sample and
face number 7 is the same person whether 10 or 10,000 are drawn. Nothing here knows of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

GENDERS = ("male", "female")
ETHNICITIES = ("White", "Black", "Asian", "Indian", "Others")
EXPRESSIONS = ("neutral", "slightlyhappy", "happy")

# UTKFace's fifth label, Others, is no look of its own, so that none is drawn.
ETHNICITY_SHARES = (0.36, 0.23, 0.225, 0.185, 0.0)
EXPRESSION_SHARES = (0.45, 0.30, 0.25)
# First age of each band and its share; within a band every year is as likely. The last band ends with 90.
AGE_BANDS = (
    (1, 0.15),
    (10, 0.12),
    (20, 0.15),
    (30, 0.15),
    (40, 0.13),
    (50, 0.11),
    (60, 0.09),
    (70, 0.065),
    (80, 0.035),
)
END_OF_AGES = 91

# The planted group: half as many as the largest, and its adults look younger than they are, by this many years once
# they are grown up. Skin tone gives the group away only in part, so that a model cannot simply learn it.
PLANTED_ETHNICITY = "Indian"
PLANTED_DELAY_YEARS = 11.0
PLANTED_FROM_YEARS, PLANTED_FULLY_FROM_YEARS = 18, 36

_TONES = {  # mean and standard deviation of skin tone
    "White": (0.14, 0.08),
    "Black": (0.70, 0.14),
    "Asian": (0.30, 0.10),
    "Indian": (0.44, 0.17),
    "Others": (0.40, 0.15),
}
_LABELS_STREAM, _PERSON_STREAM = 0, 1
_LEAST_BITS = 11  # enough for the 1,200 faces of the default


@dataclass(frozen=True)
class Labels:
    """What is annotated: whole years, one of `GENDERS`, `ETHNICITIES` and `EXPRESSIONS`."""

    age_years: int
    gender: str
    ethnicity: str
    expression: str


@dataclass(frozen=True)
class Person:
    """How the labels show in one face. Strengths lie in 0..1 unless said otherwise.

    Attributes
    ----------
    labels : Labels
        What is annotated.
    looks_years : float
        The age that the face shows: the labelled one with some scatter, and less in the planted group.
    growth : float
        0 at birth to 1 in adults: proportions of the face.
    grey, recession, forehead_lines, crows_feet, under_eye, nasolabial_folds, spots, droop, jowls : float
        Signs of age.
    hair_style : str
        One of the styles of `hair`.
    brow_weight, lash_weight, lip_colour, beard, jaw_width : float
        Signs of the gender label.
    has_earrings, has_hair_bow : bool
        Further signs of the gender label.
    skin_tone : float
        0 light to 1 dark.
    hair_tone : float
        0 black to 1 blond.
    eye_narrowness : float
        Shape of the eyes.
    smile : float
        0 neutral to 1 happy.
    """

    labels: Labels
    looks_years: float
    growth: float
    grey: float
    recession: float
    forehead_lines: float
    crows_feet: float
    under_eye: float
    nasolabial_folds: float
    spots: float
    droop: float
    jowls: float
    hair_style: str
    brow_weight: float
    lash_weight: float
    lip_colour: float
    beard: float
    jaw_width: float
    has_earrings: bool
    has_hair_bow: bool
    skin_tone: float
    hair_tone: float
    eye_narrowness: float
    smile: float


def sample_labels(seed: int, index: int) -> Labels:
    """Return the labels of face number `index`: independent of each other and of how many faces are drawn."""
    offsets = np.random.default_rng((seed, _LABELS_STREAM)).random(4)
    points = _sobol_points(max(index.bit_length(), _LEAST_BITS))
    age, gender, ethnicity, expression = (offsets + points[index]) % 1.0
    return Labels(
        _age(age),
        GENDERS[int(gender >= 0.5)],
        _choose(ETHNICITIES, ETHNICITY_SHARES, ethnicity),
        _choose(EXPRESSIONS, EXPRESSION_SHARES, expression),
    )


def sample_person(seed: int, index: int) -> Person:
    """Return face number `index`: its labels and how they show."""
    labels = sample_labels(seed, index)
    generator = np.random.default_rng((seed, _PERSON_STREAM, index))
    looks = _looks_years(labels, generator)
    female = labels.gender == "female"
    return Person(
        labels=labels,
        looks_years=looks,
        recession=_recession(looks, female, generator),
        hair_style=_hair_style(looks, female, generator),
        smile={"neutral": 0.0, "slightlyhappy": 0.5, "happy": 1.0}[labels.expression],
        **age_signs(looks, generator.normal(0.0, 1.0, 8)),
        **_gender_signs(looks, female, generator),
        **_ethnicity_signs(labels.ethnicity, generator),
    )


def age_signs(looks_years: float, scatter: NDArray[np.float64]) -> dict[str, Any]:
    """Return the signs of age of a face that looks `looks_years` old.

    Parameters
    ----------
    looks_years : float
        Age that shows, in years.
    scatter : ndarray, shape (8,)
        How far each sign is ahead or behind, in units of about one and a half years.
    """
    ages = looks_years + scatter * np.array([1.5, 1.5, 1.5, 1.5, 1.5, 2.0, 1.5, 2.0])
    return {
        "growth": float(1.0 - np.exp(-max(looks_years, 0.5) / 8.0)),
        "grey": float(1.0 / (1.0 + np.exp(-(ages[0] - 52.0) / 7.5))),
        "forehead_lines": _ramp(ages[1], 22, 70),
        "crows_feet": _ramp(ages[2], 24, 78),
        "under_eye": _ramp(ages[3], 18, 72),
        "nasolabial_folds": _ramp(ages[4], 14, 70),
        "spots": _ramp(ages[5], 48, 88),
        "droop": _ramp(ages[6], 28, 88),
        "jowls": _ramp(ages[7], 42, 85),
    }


@lru_cache(maxsize=2)
def _sobol_points(bits: int) -> NDArray[np.float64]:
    """Return the first 2**bits points of Sobol's sequence in the order of the plain binary code: shape (2**bits, 4)."""
    from scipy.stats import qmc

    numbers, points = np.arange(2**bits), np.empty((2**bits, 4))
    points[numbers ^ (numbers >> 1)] = qmc.Sobol(4, scramble=False).random_base2(bits)  # SciPy's order is Gray's code
    return points


def _age(quantile: float) -> int:
    starts = [band[0] for band in AGE_BANDS] + [END_OF_AGES]
    cumulative = np.concatenate([[0.0], np.cumsum([band[1] for band in AGE_BANDS])])
    return int(np.interp(quantile, cumulative / cumulative[-1], starts))


def _choose(choices: tuple[str, ...], shares: tuple[float, ...], quantile: float) -> str:
    return choices[int(np.searchsorted(np.cumsum(shares)[:-1], quantile, side="right"))]


def _ramp(looks: float, start: float, end: float) -> float:
    return float(np.clip((looks - start) / (end - start), 0.0, 1.0))


def _looks_years(labels: Labels, generator: np.random.Generator) -> float:
    age = labels.age_years + 0.5
    looks = age + generator.normal(0.0, 0.3 + 0.02 * age)
    if labels.ethnicity == PLANTED_ETHNICITY:
        looks -= PLANTED_DELAY_YEARS * _ramp(looks, PLANTED_FROM_YEARS, PLANTED_FULLY_FROM_YEARS)
    return float(max(looks, 0.3))


def _recession(looks: float, female: bool, generator: np.random.Generator) -> float:
    disposition = generator.uniform(0.0, 0.2) if female else generator.uniform(0.15, 1.0)
    return float(disposition * _ramp(looks, 24, 75))


def _hair_style(looks: float, female: bool, generator: np.random.Generator) -> str:
    if looks < 2.5:
        return "wisps"
    unusual = generator.random() < 0.06
    if female and not unusual:
        girls = ("long", "bob", "pigtails", "fringe", "ponytail")
        women = ("long", "bob", "wavy", "fringe", "bun", "ponytail", "curls")
        return str(generator.choice(girls if looks < 14 else women))
    if female:
        return "pixie"
    if unusual:
        return "shoulder"
    return str(
        generator.choice(("crop", "parted", "bowl") if looks < 14 else ("crop", "parted", "quiff", "buzz", "curly"))
    )


def _gender_signs(looks: float, female: bool, generator: np.random.Generator) -> dict[str, Any]:
    grown = _ramp(looks, 9, 20)
    beard = 0.0
    if not female and looks > 17:
        beard = float(generator.choice((0.15, 0.45, 1.0), p=(0.40, 0.30, 0.30)) * _ramp(looks, 15, 22))
    made_up = female and generator.random() < 0.85
    return {
        "brow_weight": float(np.clip(generator.normal(0.18 if female else 0.82, 0.10), 0, 1)),
        "lash_weight": float(np.clip(generator.normal(0.50 + 0.35 * grown if female else 0.05, 0.12), 0, 1)),
        "lip_colour": float(np.clip(generator.normal((0.45 + 0.40 * grown * made_up) if female else 0.05, 0.12), 0, 1)),
        "beard": beard,
        "jaw_width": float((-0.6 if female else 0.7) * (0.3 + 0.7 * grown) + generator.normal(0.0, 0.2)),
        "has_earrings": bool(generator.random() < (0.25 + 0.35 * grown if female else 0.02)),
        "has_hair_bow": bool(female and looks < 12 and generator.random() < 0.6),
    }


def _ethnicity_signs(ethnicity: str, generator: np.random.Generator) -> dict[str, Any]:
    mean, spread = _TONES[ethnicity]
    dark = ethnicity != "White"
    return {
        "skin_tone": float(np.clip(generator.normal(mean, spread), 0.02, 1.0)),
        "hair_tone": float(generator.uniform(0.0, 0.22) if dark else generator.beta(1.2, 1.7)),
        "eye_narrowness": float(np.clip(generator.normal(0.75 if ethnicity == "Asian" else 0.15, 0.12), 0, 1)),
    }
