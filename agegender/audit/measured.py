"""Owns the measuring of a sample of rows: each group's estimate and gaps, with their intervals.

Rates get Wilson's and Newcombe's intervals, all other metrics a studentised bootstrap. `groups` builds its results from
it, and `findings` measures what it claims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agegender.audit import intervals, rates
from agegender.audit.grouping import Grouping
from agegender.audit.results import SMALLEST_RANKED_GROUP, UNKNOWN, Estimate
from agegender.audit.rows import RowMetric

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """The rows that count for a metric, their groups, and how often to resample them.

    Attributes
    ----------
    metric : RowMetric
    values : array, shape (rows,)
        Without NaN.
    groups : Grouping
        Of the same rows.
    resample_count, seed : int
    """

    metric: RowMetric
    values: Floats
    groups: Grouping
    resample_count: int
    seed: int

    @property
    def counts(self) -> NDArray[np.int64]:
        """Return the rows of each group, the left-over ones last."""
        return np.bincount(self.groups.codes[self.groups.codes >= 0], minlength=self.groups.size)

    @property
    def is_ranked(self) -> NDArray[np.bool_]:
        """Return which groups are large enough, with a rest that is, too."""
        named = np.arange(self.groups.size) < len(self.groups.values)
        return named & (self.counts >= SMALLEST_RANKED_GROUP)


def measure(sample: Sample, reference: int | None) -> tuple[list[Estimate], list[Estimate], list[Estimate]]:
    """Return every group's estimate, gap to the rest and gap to the reference."""
    known = sample.groups.codes >= 0
    values, codes, size = sample.values[known], sample.groups.codes[known], sample.groups.size
    if sample.metric.is_rate:
        return _measure_rates(
            np.bincount(codes, weights=values, minlength=size).astype(np.float64), sample.counts, reference
        )
    grouped = intervals.resample_groups(values, codes, size, resample_count=sample.resample_count, seed=sample.seed)
    own = (grouped.means, *intervals.mean_intervals(grouped))
    gaps = intervals.gap_intervals(grouped)
    to_reference = None if reference is None else intervals.reference_intervals(grouped, reference)
    return _estimates(size, own), _estimates(size, gaps), _estimates(size, to_reference)


def _measure_rates(
    hits: Floats, counts: NDArray[np.int64], reference: int | None
) -> tuple[list[Estimate], list[Estimate], list[Estimate]]:
    size = len(counts)
    own = (_rate(hits, counts), *rates.wilson(hits, counts))
    rest_hits, rest_counts = hits.sum() - hits, counts.sum() - counts
    gap = _rate(hits, counts) - _rate(rest_hits, rest_counts)
    gaps = (gap, *rates.newcombe(hits, counts, rest_hits, rest_counts))
    if reference is None:
        return _estimates(size, own), _estimates(size, gaps), _estimates(size, None)
    one_hits, one_count = hits[[reference]], counts[[reference]]
    difference = (own[0] - own[0][reference], *rates.newcombe(hits, counts, one_hits, one_count))
    for part in difference:
        part[reference] = np.nan
    return _estimates(size, own), _estimates(size, gaps), _estimates(size, difference)


def _rate(hits: Floats, counts: NDArray[np.int64]) -> Floats:
    return hits / np.where(counts > 0, counts, np.nan)


def _estimates(size: int, parts: Sequence[Floats] | None) -> list[Estimate]:
    return [UNKNOWN if parts is None else estimate_at(place, *parts) for place in range(size)]


def estimate_at(place: int, value: Floats, low: Floats, high: Floats) -> Estimate:
    """Return the numbers of one group out of arrays of all groups."""
    return Estimate(float(value[place]), float(low[place]), float(high[place]))
