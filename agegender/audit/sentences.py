"""The words of findings: plain sentences from numbers. Group names stand as they are; pages escape them."""

from __future__ import annotations

from collections.abc import Sequence

from agegender.audit.estimates import Estimate
from agegender.audit.grouping import AGE_COLUMNS
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
    "age_band": "age bands",
    "expression": "expressions",
    "mask": "faces with and without a mask",
    "source": "sources",
}
_BARELY_CLEAR = 0.25  # of its size: how near to zero the interval of such a gap comes
_EQUAL_WORDS = {"age_years": "ages", "age_group": "age groups"}
_NAMED_BY_VALUE = {"gender", "ethnicity"}  # “Faces labelled Black” needs no “(ethnicity)”


def group_words(columns: Sequence[str], values: Sequence[str]) -> str:
    """Return how a sentence begins that speaks of a group.

    >>> group_words(("age_group",), ("≥60",)), group_words(("gender", "age_group"), ("female", "<20"))
    ('Ages 60+', 'Faces labelled female, ages under 20')
    """
    ages = [_AGE_WORDS.get(value, value) for name, value in zip(columns, values, strict=True) if name in AGE_COLUMNS]
    others = [value for name, value in zip(columns, values, strict=True) if name not in AGE_COLUMNS]
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


def equal_words(columns: Sequence[str]) -> str:
    """Return how a comparison is made that holds columns equal; "" where it holds none.

    >>> equal_words(["age_years"]), equal_words(["age_years", "camera"]), equal_words([])
    (' at equal ages', ' at equal ages and camera', '')
    """
    names = [_EQUAL_WORDS.get(name, name.replace("_", " ")) for name in columns]
    return f" at equal {' and '.join(names)}" if names else ""


def absolute_error_sentence(head: Regression, who: str, n: int, mean: Estimate, gap: Estimate, equal: str) -> str:
    """Return the sentence about a group whose numbers are predicted worse or better than the rest's."""
    side = "more" if gap.value > 0 else "less"
    return (
        f"{who} are misjudged by {_amount(mean.value, head)} on average, {abs(gap.value):.1f} {side} than the rest"
        f"{equal} ({_facts(n, gap)})."
    )


def signed_error_sentence(head: Regression, who: str, n: int, mean: Estimate) -> str:
    """Return the sentence about a group whose numbers are predicted too high or too low."""
    side, (low, high) = "overestimated" if mean.value > 0 else "underestimated", _sizes(mean)
    return f"{who} are {side} by {_amount(abs(mean.value), head)} (n = {n:,}, 95 % CI {low:.1f} to {high:.1f})."


def signed_gap_sentence(head: Regression, who: str, n: int, gap: Estimate, equal: str) -> str:
    """Return the sentence about a group that is judged higher or lower than the rest."""
    return f"{who} are judged {_apart(head, gap)}, against their labels, than the rest{equal} ({_facts(n, gap)})."


def signed_rest_words(head: Regression, gap: Estimate, equal: str) -> str:
    """Return what to add to a signed error: how far it is off the rest's."""
    low, high = _sizes(gap)
    words = f"{equal.strip()} they".strip()
    return (
        f" {words[0].upper()}{words[1:]} are judged {_apart(head, gap)} than the rest "
        f"(corrected 95 % CI {low:.1f} to {high:.1f})."
    )


def accuracy_sentence(head: Classification, who: str, n: int, share: Estimate, gap: Estimate, equal: str) -> str:
    """Return the sentence about a group whose label is predicted less or more often right."""
    side, points = "above" if gap.value > 0 else "below", gap.scaled(100.0)
    return (
        f"{who} are given the labelled {head.title} in {100 * share.value:.1f} % of photos, {abs(points.value):.1f} "
        f"percentage points {side} the rest{equal} ({_facts(n, points)})."
    )


def share_sentence(metric: RowMetric, who: str, n: int, share: Estimate, gap: Estimate, equal: str) -> str:
    """Return the sentence about any other share, such as the recall of one class."""
    side, points = "above" if gap.value > 0 else "below", gap.scaled(100.0)
    return (
        f"{who}: {metric.title} {100 * share.value:.1f} %, {abs(points.value):.1f} percentage points {side} the rest"
        f"{equal} ({_facts(n, points)})."
    )


def own_words(metric: RowMetric, raw: Estimate, *, is_own: bool, equal: str) -> str:
    """Return whether a gap at equal ages is the group's own, and what it is when ages are as they are."""
    value, unit = (100.0 * raw.value, "points") if metric.is_rate else (raw.value, metric.unit)
    what = "the difference from the rest" if metric.better == "zero" and not metric.is_rate else "the difference"
    held = equal.removeprefix(" at equal ")
    plain = f"with {held} as they are {what} is {_number(value)} {unit}".rstrip()
    if is_own:
        return f" That is the group's own; {plain}."
    return f" How much of it is the group's own is uncertain: different {held} can explain a part; {plain}."


def flattering_words(gap: Estimate) -> str:
    """Return the caution about a gap that is barely clear; "" about others."""
    near = min(abs(gap.low), abs(gap.high))
    is_barely = near < _BARELY_CLEAR * abs(gap.value)
    return " It is barely clear, and such gaps look larger than they are." if is_barely else ""


def no_gap_sentence(
    head: Head, metric: RowMetric, columns: Sequence[str], counts: tuple[int, int], gap: tuple[float, float], equal: str
) -> str:
    """Return the sentence that says that chance alone explains a column, or that nothing there can differ."""
    if max(gap) < 1e-9:  # what is left of equal numbers is rounding
        what = metric_words(head, metric)
        return (
            f"{what[0].upper()}{what[1:]} is the same for every photo, so it cannot differ between "
            f"{columns_words(columns)} ({counts[0]} groups, n = {counts[1]:,})."
        )
    scale, unit = (100.0, "points") if metric.is_rate else (1.0, metric.unit)
    largest, chance = (f"{scale * value:.1f} {unit}".rstrip() for value in gap)
    different = equal.replace(" at equal", " and different")
    beside = f"and chance{different} {'make' if different else 'alone makes'} up to {chance}"
    if gap[0] > gap[1]:
        beside = f"above the {chance} of chance{different}, but not by enough for one of so many comparisons"
    return (
        f"No gap in {metric_words(head, metric)} between {columns_words(columns)} is distinguishable from chance "
        f"({counts[0]} groups, n = {counts[1]:,}{',' * bool(equal)}{equal}; the largest is {largest}, {beside})."
    )


def untold_sentence(head: Head, metric: RowMetric, columns: Sequence[str], reason: str) -> str:
    """Return the sentence that says why nothing is said."""
    return f"Whether {metric_words(head, metric)} differs between {columns_words(columns)} cannot be told: {reason}."


def training_words(share: float | None, here: float | None) -> str:
    """Return how much of the training photos a group has, beside its share here; both 0..1."""
    if share is None or here is None:
        return ""
    return f" The group has {100 * share:.1f} % of the training photos and {100 * here:.1f} % of these."


def metric_words(head: Head, metric: RowMetric) -> str:
    """Return a tested metric as a sentence has it: "mean absolute age error"."""
    return _METRIC_WORDS[metric.key].format(head.title)


def _amount(value: float, head: Regression) -> str:
    return f"{value:.1f} {head.unit}".rstrip() + _in_what(head)


def _in_what(head: Regression) -> str:
    # Years of misjudging are of age; centimetres could be of anything.
    return "" if head.has_bands else f" in {head.title}"


def _apart(head: Regression, gap: Estimate) -> str:
    more, less = head.words
    side = more if gap.value > 0 else less
    return f"{abs(gap.value):.1f} {f'{head.unit} {side}'.strip()}{_in_what(head)}"


def _facts(n: int, gap: Estimate) -> str:
    low, high = _sizes(gap)
    return f"n = {n:,}, corrected 95 % CI {low:.1f} to {high:.1f}"


def _sizes(estimate: Estimate) -> tuple[float, float]:
    low, high = sorted((abs(estimate.low), abs(estimate.high)))
    return low, high


def _number(value: float) -> str:
    return f"{value:.1f}".replace("-", "−")
