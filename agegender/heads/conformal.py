"""Intervals of a regression as the model card stores them: plain numbers, evaluated without torch.

An interval is wider where the model is worse: along the prediction, with the spread of the predicted distribution, and
by group, as far as these are known for a row. `interval_fitting.fit_intervals` makes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agegender.errors import CardError

Floats = NDArray[np.float64]
MOST_KNOTS, MOST_GROUPS = 1_000, 1_000
LARGEST_LOG_SCALE = 50.0
_AT_KNOTS = ("centre", "low_log_scale", "high_log_scale", "low_score", "high_score", "log_spread")


@dataclass(frozen=True)
class GroupEffect:
    """What is different for the rows of one group; all 0 is a group like the others.

    Attributes
    ----------
    shift : float
        Added to the centre, in the unit.
    log_scale : float
        Added to the logarithm of both scales.
    low_score, high_score : float
        Added to the scores.
    """

    shift: float = 0.0
    log_scale: float = 0.0
    low_score: float = 0.0
    high_score: float = 0.0


@dataclass(frozen=True)
class ConformalIntervals:
    """Numbers at knots of the prediction, with straight lines between them, and what groups add.

    The lower end is `prediction + centre - exp(low_log_scale) * low_score`, the upper end the same with + and high;
    `centre` takes each group's `shift`, the logarithms its `log_scale` and `spread_power` times how far the logarithm
    of the row's spread lies from `log_spread`, the scores their part of each group.

    Attributes
    ----------
    level : float
        Share of labels inside, 0.9; half of the rest lies beyond each end.
    calibration_count : int
        Rows behind it; 0 when there were too few: every interval is then unknown (NaN).
    knots : tuple of float
        Predictions, rising; below the first and above the last nothing changes.
    centre, low_log_scale, high_log_scale, low_score, high_score, log_spread : tuple of float
        One number for each knot.
    spread_power : float
        At least 0: a wider distribution never has a narrower interval.
    spread_range : (float, float)
        How far the logarithm of a spread may count below and above `log_spread`.
    groups : mapping
        Column -> value -> `GroupEffect`. A value that is missing or not known adds nothing.
    """

    level: float
    calibration_count: int
    knots: tuple[float, ...] = ()
    centre: tuple[float, ...] = ()
    low_log_scale: tuple[float, ...] = ()
    high_log_scale: tuple[float, ...] = ()
    low_score: tuple[float, ...] = ()
    high_score: tuple[float, ...] = ()
    log_spread: tuple[float, ...] = ()
    spread_power: float = 0.0
    spread_range: tuple[float, float] = (0.0, 0.0)
    groups: Mapping[str, Mapping[str, GroupEffect]] = field(default_factory=dict)

    def interval(
        self,
        predicted_values: ArrayLike,
        *,
        spread: ArrayLike | None = None,
        groups: Mapping[str, ArrayLike] | None = None,
        lowest: float = 0.0,
    ) -> tuple[Floats, Floats]:
        """Return the lower and upper ends in the unit, not below `lowest`, NaN where the prediction is.

        Parameters
        ----------
        predicted_values : array, shape (rows,)
        spread : array, shape (rows,), optional
            Standard deviation of the predicted distribution, in the unit; NaN where there is none.
        groups : mapping of str to array of str, shape (rows,), optional
            The values of the columns in `groups`.
        """
        predicted = np.asarray(predicted_values, dtype=np.float64)
        if not self.knots:
            return np.full(predicted.shape, np.nan), np.full(predicted.shape, np.nan)
        centre, low_log, high_log, low_score, high_score, log_spread = (
            np.interp(predicted, self.knots, getattr(self, name)) for name in _AT_KNOTS
        )
        more = self.spread_power * spread_deviation(spread, log_spread, self.spread_range)
        for column, effects in self.groups.items():
            values = (groups or {}).get(column)
            if values is None:
                continue
            shift, log_scale, low_more, high_more = _effects(np.asarray(values, dtype=object), effects)
            centre, more = centre + shift, more + log_scale
            low_score, high_score = low_score + low_more, high_score + high_more
        low = predicted + centre - np.exp(_bounded(low_log + more)) * low_score
        high = predicted + centre + np.exp(_bounded(high_log + more)) * high_score
        low, high = np.minimum(low, high), np.maximum(low, high)
        return np.maximum(low, lowest), np.maximum(high, lowest)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary for the model card."""
        return {
            "level": self.level,
            "calibration_count": self.calibration_count,
            "knots": list(self.knots),
            **{name: list(getattr(self, name)) for name in _AT_KNOTS},
            "spread_power": self.spread_power,
            "spread_range": list(self.spread_range),
            "groups": {
                column: {value: vars(effect) for value, effect in effects.items()}
                for column, effects in self.groups.items()
            },
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ConformalIntervals:
        """Return what `to_dict` wrote, of this version or of an earlier one."""
        try:
            intervals = _of_offsets(document) if "centre" not in document else _of_document(document)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise CardError(
                f"the intervals in the model card cannot be read: {error}. Train the model again."
            ) from error
        parts = [getattr(intervals, name) for name in _AT_KNOTS]
        if {len(part) for part in parts} != {len(intervals.knots)} or len(intervals.knots) > MOST_KNOTS:
            raise CardError("the intervals in the model card differ in length. Train the model again.")
        numbers = [intervals.level, intervals.spread_power, *intervals.spread_range, *intervals.knots]
        numbers += [number for part in parts for number in part]
        effects = [effect for values in intervals.groups.values() for effect in values.values()]
        numbers += [number for effect in effects for number in vars(effect).values()]
        is_finite = bool(np.isfinite(numbers).all()) and max(map(abs, numbers)) < 1e12
        if not is_finite or list(intervals.knots) != sorted(intervals.knots):
            raise CardError("the intervals in the model card are no rising row of numbers. Train the model again.")
        if not 0 < intervals.level < 1 or intervals.spread_power < 0 or len(effects) > MOST_GROUPS:
            raise CardError("the intervals in the model card have a level, a power or groups that cannot be.")
        return intervals


def spread_deviation(spread: ArrayLike | None, log_spread: Floats, limits: tuple[float, float]) -> Floats:
    """Return how far the logarithm of each spread lies from the usual one; 0 where it is unknown."""
    if spread is None:
        return np.zeros(log_spread.shape)
    given = np.asarray(spread, dtype=np.float64)
    known = np.isfinite(given) & (given > 0)
    away = np.log(np.where(known, given, 1.0)) - log_spread
    return np.where(known, np.clip(away, *limits), 0.0)


def _bounded(log_scale: Floats) -> Floats:
    return np.clip(log_scale, -LARGEST_LOG_SCALE, LARGEST_LOG_SCALE)


def _effects(values: NDArray[np.object_], effects: Mapping[str, GroupEffect]) -> Floats:
    """Return shift, log scale and scores of each row, shape (4, rows)."""
    table = np.array([[0.0] * 4, *(list(vars(effect).values()) for effect in effects.values())])
    place = {value: number for number, value in enumerate(effects, start=1)}
    rows = [place.get(value, 0) if isinstance(value, str) else 0 for value in values.ravel()]
    return table[np.array(rows, dtype=np.int64)].T.reshape(4, *values.shape)


def _of_document(document: Mapping[str, Any]) -> ConformalIntervals:
    names = tuple(vars(GroupEffect()))
    low, high = map(float, document["spread_range"])
    groups = {
        str(column): {
            str(value): GroupEffect(*(float(effect[name]) for name in names)) for value, effect in values.items()
        }
        for column, values in document["groups"].items()
    }
    at_knots: dict[str, Any] = {name: tuple(map(float, document[name])) for name in _AT_KNOTS}
    return ConformalIntervals(
        level=float(document["level"]),
        calibration_count=int(document["calibration_count"]),
        knots=tuple(map(float, document["knots"])),
        spread_power=float(document["spread_power"]),
        spread_range=(low, high),
        groups=groups,
        **at_knots,
    )


def _of_offsets(document: Mapping[str, Any]) -> ConformalIntervals:
    """Return the intervals of version 0.1: offsets at knots, of the whole unit and without groups."""
    # Before that was decided, the unit was written into the names.
    names = (("knots", "knots_years"), ("low_offsets", "low_offset_years"), ("high_offsets", "high_offset_years"))
    knots, low, high = (tuple(map(float, document[new if new in document else old])) for new, old in names)
    nothing = (0.0,) * len(knots)
    scores = tuple(-value for value in low), high
    return ConformalIntervals(
        float(document["level"]), int(document["calibration_count"]), knots, nothing, nothing, nothing, *scores, nothing
    )
