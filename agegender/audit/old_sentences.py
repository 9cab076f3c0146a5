"""Owns the words of findings: plain sentences from numbers. Group names stand as they are; pages escape them."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from agegender.audit.results import Estimate

_AGE_WORDS = {"<20": "under 20", "≥60": "60+"}
_METRIC_WORDS = {
    "mae": "mean absolute age error",
    "signed_error": "the direction of age errors",
    "gender_accuracy": "gender accuracy",
}
_COLUMN_WORDS = {
    "gender": "gender labels",
    "ethnicity": "ethnicities",
    "age_group": "age groups",
    "expression": "expressions",
    "mask": "faces with and without a mask",
    "source": "sources",
}


def group_words(columns: Sequence[str], values: Sequence[str]) -> str:
    """Return how a sentence begins that speaks of a group.

    >>> group_words(("age_group",), ("≥60",)), group_words(("gender", "age_group"), ("female", "<20"))
    ('Ages 60+', 'Faces labelled female, ages under 20')
    """
    ages = [_AGE_WORDS.get(value, value) for name, value in zip(columns, values, strict=True) if name == "age_group"]
    others = [value for name, value in zip(columns, values, strict=True) if name != "age_group"]
    if not others:
        return f"Ages {ages[0]}"
    words = "Faces labelled " + " and ".join(others)
    if len(columns) == 1 and columns[0] not in {"gender", "ethnicity"}:
        words += f" ({columns[0]})"
    return f"{words}, ages {ages[0]}" if ages else words


def columns_words(columns: Sequence[str]) -> str:
    """Return what is compared: "ethnicities", "combinations of gender and ethnicity"."""
    if not columns:
        return "groups"
    if len(columns) == 1:
        return _COLUMN_WORDS.get(columns[0], f"groups of {columns[0]}")
    names = [name.replace("_", " ") for name in columns]
    return f"combinations of {', '.join(names[:-1])} and {names[-1]}"


def absolute_error_sentence(who: str, n: int, mean: Estimate, gap: Estimate) -> str:
    """Return the sentence about a group whose ages are judged worse or better than the rest's."""
    side = "more" if gap.value > 0 else "less"
    return (
        f"{who} are misjudged by {mean.value:.1f} years on average, {abs(gap.value):.1f} {side} than the rest "
        f"({_facts(n, gap)})."
    )


def signed_error_sentence(who: str, n: int, mean: Estimate) -> str:
    """Return the sentence about a group whose ages are judged too old or too young."""
    side = "overestimated" if mean.value > 0 else "underestimated"
    return f"{who} are {side} by {abs(mean.value):.1f} years ({_facts(n, mean)})."


def signed_gap_sentence(who: str, n: int, gap: Estimate) -> str:
    """Return the sentence about a group that is judged older or younger than the rest, itself being near the truth."""
    side = "older" if gap.value > 0 else "younger"
    return (
        f"{who} are judged {abs(gap.value):.1f} years {side}, against their labels, than the rest ({_facts(n, gap)})."
    )


def accuracy_sentence(who: str, n: int, share: Estimate, gap: Estimate) -> str:
    """Return the sentence about a group whose gender label is predicted less or more often right."""
    side = "above" if gap.value > 0 else "below"
    points = Estimate(*(100.0 * end for end in (gap.value, gap.low, gap.high)))
    return (
        f"{who} are given the labelled gender in {100 * share.value:.1f} % of photos, {abs(points.value):.1f} "
        f"percentage points {side} the rest ({_facts(n, points)})."
    )


def no_gap_sentence(metric: str, columns: Sequence[str], counts: tuple[int, int], gap: tuple[float, float]) -> str:
    """Return the sentence that says that chance alone explains a column.

    Parameters
    ----------
    counts : (groups, rows)
    gap : (largest gap, largest gap that chance alone makes in 95 of 100 cases)
    """
    largest, chance = (_amount(value, metric) for value in gap)
    beside = f"and chance alone makes up to {chance}"
    if gap[0] > gap[1]:
        beside = f"above the {chance} of chance, but not by enough for one of so many comparisons"
    return (
        f"No gap in {_METRIC_WORDS[metric]} between {columns_words(columns)} is distinguishable from chance "
        f"({counts[0]} groups, n = {counts[1]:,}; the largest is {largest}, {beside})."
    )


def untold_sentence(metric: str, columns: Sequence[str], reason: str) -> str:
    """Return the sentence that says why nothing is said."""
    return f"Whether {_METRIC_WORDS[metric]} differs between {columns_words(columns)} cannot be told: {reason}."


def training_words(share: float, here: float) -> str:
    """Return how much of the training photos a group has, beside its share here; both 0..1."""
    return f" It has {100 * share:.1f} % of the training photos and {100 * here:.1f} % of these."


def equal_ages_words(metric: str, gap: Estimate, equal: Estimate | None) -> str:
    """Return what is left of a gap to the rest when both are mixed alike in age; "" where that is not known."""
    if equal is None or isnan(equal.value):
        return ""
    # Told in the direction of the gap: above 0 it stays, below 0 it turns round.
    turn, unit, scale = (1.0 if gap.value > 0 else -1.0), "years", 1.0
    if metric == "gender_accuracy":
        unit, scale = "points", 100.0
    size, one, other = (scale * turn * end for end in (equal.value, equal.low, equal.high))
    low, high = min(one, other), max(one, other)
    what = "the difference from the rest" if metric == "signed_error" else "the difference"
    explained = "; different ages can explain it" if low <= 0.0 else ""
    return f" At the same mix of ages {what} is {_number(size)} {unit} ({_number(low)} to {_number(high)}){explained}."


def _amount(value: float, metric: str) -> str:
    return f"{100 * value:.1f} points" if metric == "gender_accuracy" else f"{value:.1f} years"


def _facts(n: int, estimate: Estimate) -> str:
    low, high = sorted((abs(estimate.low), abs(estimate.high)))
    return f"n = {n:,}, 95 % CI {low:.1f} to {high:.1f}"


def _number(value: float) -> str:
    return f"{value:.1f}".replace("-", "−")
