"""Owns which group comparisons a report makes, and makes each of them once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agegender.audit.judged import Audit
from agegender.audit.old_groups import compare_many, group_columns
from agegender.audit.results import Estimate, Group, GroupResult
from agegender.audit.rows import is_known
from agegender.pages.words import Interval

AGE_METRICS = ("mae", "signed_error", "within_8")
GENDER_METRICS = ("gender_accuracy", "recall_male", "recall_female")
INTERVAL_METRICS = ("interval_coverage", "interval_width")
INTERSECTIONS = (("ethnicity", "gender"), ("gender", "age_group"), ("ethnicity", "gender", "age_group"))
_MANY_ROWS = 20_000  # above it intervals are narrow, and resampling takes long
TITLES = {
    "gender": "gender label",
    "ethnicity": "ethnicity",
    "age_group": "age",
    "expression": "expression",
    "mask": "mask",
    "source": "source",
}


@dataclass(frozen=True)
class Comparisons:
    """All comparisons of one audit: columns -> metric -> result."""

    by_columns: Mapping[tuple[str, ...], Mapping[str, GroupResult]]

    def get(self, columns: tuple[str, ...], metric: str) -> GroupResult | None:
        """Return one result, or None where it could not be made."""
        return self.by_columns.get(columns, {}).get(metric)

    @property
    def single(self) -> list[tuple[str, ...]]:
        """Groupings by one column."""
        return [columns for columns in self.by_columns if len(columns) == 1]


def compare_all(audit: Audit) -> Comparisons:
    """Return every comparison that the judged rows allow."""
    single = group_columns(audit.judged)
    groupings: list[tuple[str, ...]] = [(name,) for name in single]
    groupings += [names for names in INTERSECTIONS if set(names) <= set(single)]
    metrics = [name for name in (*AGE_METRICS, *GENDER_METRICS, *INTERVAL_METRICS) if is_known(audit.judged, name)]
    resample_count = 2000 if len(audit.judged) <= _MANY_ROWS else 500
    results = compare_many(audit.judged, metrics, groupings, resample_count=resample_count)
    return Comparisons(
        {
            columns: {metric: results[metric, columns] for metric in metrics if _is_wanted(metric, columns)}
            for columns in groupings
        }
    )


def _is_wanted(metric: str, columns: tuple[str, ...]) -> bool:
    if metric.startswith("recall"):
        return "gender" not in columns and len(columns) == 1
    return metric not in INTERVAL_METRICS or len(columns) == 1


def identifier(columns: tuple[str, ...]) -> str:
    """Return what anchors and table ids of a grouping start with."""
    return "-".join(columns).replace("_", "-")


def title(columns: tuple[str, ...]) -> str:
    """Return how a grouping is called on the page.

    >>> title(("ethnicity", "age_group"))
    'ethnicity × age'
    """
    return " × ".join(TITLES.get(name, name.replace("_", " ")) for name in columns)


def as_interval(estimate: Estimate) -> Interval:
    """Return a metrics estimate as pages write it."""
    return Interval(estimate.value, estimate.low, estimate.high)


def group_anchor(columns: tuple[str, ...], position: int) -> str:
    """Return the anchor of one group's faces, built of positions since values may be any text.

    Groups of three columns are too many to show: their anchor is empty.
    """
    return f"faces-{identifier(columns)}-{position}" if len(columns) < 3 else ""


def faces_address(columns: tuple[str, ...], position: int, page: str = "") -> str:
    """Return the link to one group's faces, empty where they aren't shown."""
    anchor = group_anchor(columns, position)
    return f"{page}#{anchor}" if anchor else ""


def ranked(result: GroupResult | None) -> list[Group]:
    """Return the groups that are large enough to be compared."""
    return [group for group in result.groups if group.is_ranked] if result else []
