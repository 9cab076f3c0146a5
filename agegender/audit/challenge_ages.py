"""What another challenge age would do: rates as a curve, and the age that keeps a wanted rate in every group.

An age that is chosen and measured on the same photos looks better than it is. It is therefore chosen on one half of
the judged people and measured on the other. The halves hang on the names of the photos alone, and keep whole persons
together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.audit.age_checks import CheckResult, CheckRows, Columns, Measure
from agegender.audit.estimates import UNKNOWN, Estimate, mean_of
from agegender.audit.grouping import SMALLEST_RANKED_GROUP
from agegender.errors import UsageError
from agegender.settings import AGE_CHECK_RATE

Floats = NDArray[np.float64]
_YEARS_TRIED = 22  # above the legal age: 18 to 40


@dataclass(frozen=True)
class Curve:
    """Rates of a group at each challenge age.

    Attributes
    ----------
    columns, values : tuple of str
        The group; both empty for everybody.
    counts : tuple of int
        Its photos near the limit, and those of adults past the challenge age that is asked about.
    ages : tuple of int
    let_through, asked : tuple of Estimate
    """

    columns: Columns
    values: tuple[str, ...]
    counts: tuple[int, int]
    ages: tuple[int, ...]
    let_through: tuple[Estimate, ...]
    asked: tuple[Estimate, ...]


@dataclass(frozen=True)
class Kept:
    """Whether a group keeps the wanted rate: people near the limit in either half, and their share that is let through.

    Attributes
    ----------
    first : float
        In the half by which the challenge age was chosen: it flatters.
    second : Estimate
        In the other.
    verdict : str
        "kept", "not kept" or "cannot be told", by the interval of `second`.
    """

    columns: Columns
    values: tuple[str, ...]
    first_n: int
    second_n: int
    first: float
    second: Estimate
    verdict: str


@dataclass(frozen=True)
class ChosenAge:
    """The lowest challenge age that keeps a rate in every group of one half, measured on the other.

    Attributes
    ----------
    wanted : float
        At most such a share of a group near the limit may be let through.
    age : int or None
        None where none of those tried does.
    oldest : int
        The last that was tried.
    groups : tuple of Kept
        Everybody, then every group of 30 near the limit of whom the first half has enough that one may be let through.
    asked : Estimate
        Share of adults past the usual challenge age who are asked for an ID at this one, in the second half.
    asked_n : int
    """

    wanted: float
    age: int | None
    oldest: int
    groups: tuple[Kept, ...]
    asked: Estimate = UNKNOWN
    asked_n: int = 0


def wanted_rate_of(value: float) -> float:
    """Return a rate that is one."""
    if not 0 < value < 1:
        raise UsageError(f"the wanted rate {value:g} is no share between 0 and 1; give one such as {AGE_CHECK_RATE:g}.")
    return float(value)


def challenge_curves(result: CheckResult) -> list[Curve]:
    """Return the curve of everybody and of each group of 30 photos or more near the limit; none of a range."""
    if result.check.is_range or not result.measures[0].everybody.n:
        return []
    near, _, past = result.check.measures
    ages = _ages_tried(result)
    curves = []
    for columns, values, place in _large_groups(result):
        inside = _inside(result, columns, place)
        (near_n, through), (past_n, asked) = (_line(result.source, one, ages, inside) for one in (near, past))
        curves.append(Curve(columns, values, (near_n, past_n), ages, through, asked))
    return curves


def chosen_age(result: CheckResult, wanted: float = AGE_CHECK_RATE) -> ChosenAge | None:
    """Return the challenge age that keeps a rate in every group; None of a range, or with too few near the limit."""
    if result.check.is_range or result.measures[0].everybody.n < SMALLEST_RANKED_GROUP:
        return None
    source, (near, _, past) = result.source, result.check.measures
    is_first = in_first_half(source.rows, source.are_meant(near), source.clusters)
    ages, fewest = _ages_tried(result), 1.0 / wanted
    near_first = source.are_meant(near) & is_first
    groups = [(columns, values, _inside(result, columns, place)) for columns, values, place in _large_groups(result)]
    groups = [one for one in groups if not one[0] or int((one[2] & near_first).sum()) >= fewest]
    keeping = (one for one in ages if all(_rate(source, near, one, own & is_first) <= wanted for *_, own in groups))
    age = next(keeping, None)
    if age is None:
        return ChosenAge(wanted, None, ages[-1], ())
    kept = tuple(_kept(source, near, age, wanted, group, is_first) for group in groups)
    asked = source.outcome(past, source.check.at(age))
    own = ~is_first & np.isfinite(asked)
    return ChosenAge(wanted, age, ages[-1], kept, _mean(source, asked, own), int(own.sum()))


def checks_document(results: Sequence[CheckResult], chosen: Sequence[ChosenAge | None]) -> list[dict[str, Any]]:
    """Return checks of ages as documents hold them: rates, curves, and the age that keeps the wanted rate."""
    return [
        {
            **result.to_dict(),
            "curves": [asdict(one) for one in challenge_curves(result)],
            "chosen": None if found is None else asdict(found),
        }
        for result, found in zip(results, chosen, strict=True)
    ]


def chosen_table(results: Sequence[CheckResult], chosen: Sequence[ChosenAge | None]) -> pd.DataFrame:
    """Return a row for each group by which a challenge age was chosen; see `Audit.challenge_ages`."""
    records = []
    for result, found in zip(results, chosen, strict=True):
        if found is None:
            continue
        about = {"head": result.head.name, "check": result.check.name, "wanted": found.wanted, "age": found.age}
        records += [
            {
                **about,
                "grouping": " × ".join(one.columns),
                "group": " × ".join(one.values),
                "first_n": one.first_n,
                "first_rate": one.first,
                "n": one.second_n,
                "rate": one.second.value,
                "rate_low": one.second.low,
                "rate_high": one.second.high,
                "verdict": one.verdict,
            }
            for one in found.groups
        ] or [about]
    return pd.DataFrame(records)


def in_first_half(
    rows: pd.DataFrame, are_near: NDArray[np.bool_], clusters: NDArray[np.int64] | None = None
) -> NDArray[np.bool_]:
    """Return which rows are of the first half, however the table is sorted: clusters whole, the near in halves too."""
    units = np.arange(len(rows)) if clusters is None else np.unique(clusters, return_inverse=True)[1].reshape(-1)
    paths = (
        rows["path"] if "path" in rows and rows["path"].notna().all() else pd.Series(np.arange(len(rows)).astype(str))
    )
    keys = pd.util.hash_array(paths.astype(str).to_numpy(dtype=object))
    key_of = np.full(units.max(initial=-1) + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(key_of, units, keys)
    has_near = np.zeros(len(key_of), dtype=bool)
    np.logical_or.at(has_near, units, are_near)
    place = np.empty(len(key_of), dtype=np.int64)
    place[np.lexsort((key_of, ~has_near))] = np.arange(len(key_of))
    return place[units] % 2 == 0


def _ages_tried(result: CheckResult) -> tuple[int, ...]:
    return tuple(range(result.check.first, result.check.first + _YEARS_TRIED + 1))


def _large_groups(result: CheckResult) -> list[tuple[Columns, tuple[str, ...], int]]:
    """Return everybody and each group that is large enough near the limit, with its code."""
    found = result.measures[0].by_columns
    ranked = [
        (columns, group.values, place)
        for columns, one in found.items()
        for place, group in enumerate(one.groups)
        if group.is_ranked
    ]
    return [((), (), 0), *ranked]


def _inside(result: CheckResult, columns: Columns, place: int) -> NDArray[np.bool_]:
    if not columns:
        return np.ones(len(result.source.rows), dtype=bool)
    return np.asarray(result.source.groupings[columns].codes == place)


def _line(
    source: CheckRows, measure: Measure, ages: Sequence[int], inside: NDArray[np.bool_]
) -> tuple[int, tuple[Estimate, ...]]:
    """Return how many of a group a measure counts, and their rate at each age."""
    meant = source.are_meant(measure) & inside
    return int(meant.sum()), tuple(_mean(source, source.outcome(measure, source.check.at(age)), meant) for age in ages)


def _rate(source: CheckRows, measure: Measure, age: int, inside: NDArray[np.bool_]) -> float:
    outcome = source.outcome(measure, source.check.at(age))[inside]
    known = np.isfinite(outcome)
    return float(outcome[known].mean()) if known.any() else 0.0


def _kept(
    source: CheckRows,
    near: Measure,
    age: int,
    wanted: float,
    group: tuple[Columns, tuple[str, ...], NDArray[np.bool_]],
    is_first: NDArray[np.bool_],
) -> Kept:
    columns, values, inside = group
    outcome = source.outcome(near, source.check.at(age))
    meant = inside & np.isfinite(outcome)
    first, second = meant & is_first, meant & ~is_first
    rate = _mean(source, outcome, second)
    verdict = "kept" if rate.high <= wanted else "not kept" if rate.low > wanted else "cannot be told"
    return Kept(columns, values, int(first.sum()), int(second.sum()), _rate(source, near, age, first), rate, verdict)


def _mean(source: CheckRows, outcome: Floats, chosen: NDArray[np.bool_]) -> Estimate:
    own = None if source.clusters is None else source.clusters[chosen]
    return mean_of(outcome[chosen], is_rate=True, clusters=own)
