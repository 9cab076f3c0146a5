"""Owns the words of the page of explanations: regions, trust figures and labels as people say them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from agegender.explanation.results import OutputMap, RegionWeight
from agegender.pages.words import Interval, interval, number


def region_words(region: RegionWeight, unit: str) -> str:
    """Return one region's weight as a sentence.

    >>> region_words(RegionWeight(3, "hair", 6.21, 4.8, 7.5, 0.2), "years")
    'hair: +6.2 years (+4.8 to +7.5)'
    """
    digits = 1 if unit == "years" else 2
    value = Interval(region.weight, region.low, region.high)
    name = region.name or f"region {region.region}"
    estimate, _, ends = interval(value, digits, signed=True).partition(" ")
    return f"{name}: {estimate} {unit} {ends}".rstrip()


def photo_words(labels: Mapping[str, Any], predictions: Mapping[str, Any]) -> tuple[str, str]:
    """Return what is labelled and what was guessed, each in a few words."""
    labelled = _words(labels.get("age_years"), labels.get("gender"))
    probability = predictions.get("female_probability")
    guessed = _words(predictions.get("predicted_age_years"), predictions.get("predicted_gender"))
    if _is_number(probability):
        sure = max(float(probability), 1 - float(probability))  # type: ignore[arg-type]
        guessed += f" ({number(sure, 0, is_percent=True)} sure)"
    return labelled, guessed


def trust_lines(one: OutputMap) -> list[tuple[str, str]]:
    """Return the trust figures of a map, each with what it should be; nothing where none were asked for."""
    trust = one.trust
    if trust is None:
        return []
    found = [
        ("Held-out R²", trust.held_out_r2, f"in-sample {number(trust.in_sample_r2, 2)}, which flatters"),
        ("Deletion", trust.deletion_auc, f"random order {number(trust.random_deletion_auc, 2)}; lower is better"),
        ("Insertion", trust.insertion_auc, f"random order {number(trust.random_insertion_auc, 2)}; higher is better"),
        ("Strongest regions repeat", trust.top_jaccard, "1 is the same set in both halves of the samples"),
        (
            "Relevance on the background",
            trust.background_share,
            f"{_percent(trust.background_pixel_share)} of the pixels",
        ),
        ("Likeness to an untrained network", trust.untrained_correlation, "should be far from 1"),
    ]
    lines = [(name, f"{number(value, 2)} ({more})") for name, value, more in found if _is_number(value)]
    opinions = [(other.method, other.rank_correlation) for other in one.second_opinions]
    return lines + [(f"{name} agrees", f"{number(value, 2)} (rank correlation)") for name, value in opinions]


def _percent(share: float) -> str:
    return number(share, 0, is_percent=True)


def _words(age_years: Any, gender: Any) -> str:
    age = number(age_years, 0) if _is_number(age_years) else ""
    gender_word = gender if isinstance(gender, str) else ""
    return ", ".join(part for part in (age, gender_word) if part) or "unknown"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
