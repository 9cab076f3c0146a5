"""The words of findings: plain sentences from numbers. Group names stand as they are; pages escape them."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from agegender.audit.estimates import Estimate
from agegender.heads import Classification, Head, Regression, RowMetric

_AGE_WORDS = {"<20": "under 20", "≥60": "60+"}
_METRIC_WORDS = {
    "mean_absolute_error": "mean absolute {} error",
    "mean_signed_error": "the direction of {} errors",
    "accuracy": "{} accuracy",
}
_COLUMN_WORDS = {
    "gender": "gender labels",
    "ethnicity": "ethnicities",
    "age_group": "age groups",
    "expression": "expressions",
    "mask": "faces with and without a mask",
    "source": "sources",
}
_NAMED_BY_VALUE = {"gender", "ethnicity"}  # “Faces labelled Black” needs no “(ethnicity)”


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
    if len(columns) == 1 and columns[0] not in _NAMED_BY_VALUE:
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


def absolute_error_sentence(head: Regression, who: str, n: int, mean: Estimate, gap: Estimate) -> str:
    """Return the sentence about a group whose numbers are predicted worse or better than the rest's."""
    side = "more" if gap.value > 0 else "less"
    return (
        f"{who} are misjudged by {_amount(mean.value, head)} on average, {abs(gap.value):.1f} {side} than the rest "
        f"({_facts(n, gap)})."
    )


def signed_error_sentence(head: Regression, who: str, n: int, mean: Estimate) -> str:
    """Return the sentence about a group whose numbers are predicted too high or too low."""
    side = "overestimated" if mean.value > 0 else "underestimated"
    return f"{who} are {side} by {_amount(abs(mean.value), head)} ({_facts(n, mean)})."


def signed_gap_sentence(head: Regression, who: str, n: int, gap: Estimate) -> str:
    """Return the sentence about a group that is judged higher or lower than the rest, itself being near the truth."""
    more, less = head.words
    side = more if gap.value > 0 else less
    return (
        f"{who} are judged {abs(gap.value):.1f} {f'{head.unit} {side}'.strip()}{_in_what(head)}, against their labels, "
        f"than the rest ({_facts(n, gap)})."
    )


def accuracy_sentence(head: Classification, who: str, n: int, share: Estimate, gap: Estimate) -> str:
    """Return the sentence about a group whose label is predicted less or more often right."""
    side, points = "above" if gap.value > 0 else "below", gap.scaled(100.0)
    return (
        f"{who} are given the labelled {head.title} in {100 * share.value:.1f} % of photos, {abs(points.value):.1f} "
        f"percentage points {side} the rest ({_facts(n, points)})."
    )


def no_gap_sentence(
    head: Head, metric: RowMetric, columns: Sequence[str], counts: tuple[int, int], gap: tuple[float, float]
) -> str:
    """Return the sentence that says that chance alone explains a column."""
    scale, unit = (100.0, "points") if metric.is_rate else (1.0, metric.unit)
    largest, chance = (f"{scale * value:.1f} {unit}".rstrip() for value in gap)
    beside = f"and chance alone makes up to {chance}"
    if gap[0] > gap[1]:
        beside = f"above the {chance} of chance, but not by enough for one of so many comparisons"
    return (
        f"No gap in {metric_words(head, metric)} between {columns_words(columns)} is distinguishable from chance "
        f"({counts[0]} groups, n = {counts[1]:,}; the largest is {largest}, {beside})."
    )


def untold_sentence(head: Head, metric: RowMetric, columns: Sequence[str], reason: str) -> str:
    """Return the sentence that says why nothing is said."""
    return f"Whether {metric_words(head, metric)} differs between {columns_words(columns)} cannot be told: {reason}."


def training_words(share: float, here: float) -> str:
    """Return how much of the training photos a group has, beside its share here; both 0..1."""
    return f" The group has {100 * share:.1f} % of the training photos and {100 * here:.1f} % of these."


def equal_ages_words(metric: RowMetric, gap: Estimate, equal: Estimate) -> str:
    """Return what is left of a gap to the rest when both are mixed alike in age; "" where that is not known."""
    if isnan(equal.value):
        return ""
    # Told in the direction of the gap: above 0 it stays, below 0 it turns round.
    turned = equal.scaled((1.0 if gap.value > 0 else -1.0) * (100.0 if metric.is_rate else 1.0))
    low, high = sorted((turned.low, turned.high))
    what = "the difference from the rest" if metric.better == "zero" else "the difference"
    size = f"{_number(turned.value)} {'points' if metric.is_rate else metric.unit}".rstrip()
    explained = "; different ages can explain it" if low <= 0.0 else ""
    return f" At the same mix of ages {what} is {size} ({_number(low)} to {_number(high)}){explained}."


def metric_words(head: Head, metric: RowMetric) -> str:
    """Return a tested metric as a sentence has it: "mean absolute age error"."""
    return _METRIC_WORDS[metric.key].format(head.title)


def _amount(value: float, head: Regression) -> str:
    return f"{value:.1f} {head.unit}".rstrip() + _in_what(head)


def _in_what(head: Regression) -> str:
    # Years of misjudging are of age; centimetres could be of anything.
    return "" if head.has_bands else f" in {head.title}"


def _facts(n: int, estimate: Estimate) -> str:
    low, high = sorted((abs(estimate.low), abs(estimate.high)))
    return f"n = {n:,}, 95 % CI {low:.1f} to {high:.1f}"


def _number(value: float) -> str:
    return f"{value:.1f}".replace("-", "−")
