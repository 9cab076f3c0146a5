"""Differences of two models in many groups at once: intervals and p-values that hold for all of them together.

Signs of whole clusters are flipped at random, which is what swapping two equal models on a face does. Each group's
mean is held against Student's t with its clusters, and the smallest p-value of any group in each draw says how small
the smallest must be before anything is claimed: less strict than dividing 5 % by the number of groups where they
overlap, and calibrated where errors have long tails.

References
----------
Westfall and Young: Resampling-based multiple testing, 1993. Bonett and Price, British Journal of Mathematical and
Statistical Psychology 2012 (differences of paired rates).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from agegender.audit.estimates import LEVEL, Estimate

Floats = NDArray[np.float64]
_DRAWS = 2000
_MOST_CLUSTERS = 20_000  # with more of them flipped sums are normal, and only how groups go together matters
_CHUNK_VALUES = 4_000_000
_LARGEST_LATTICE = 200_000


@dataclass(frozen=True)
class Differences:
    """Mean differences of groups, shape (groups,): intervals of level 95 % and p-values that hold for all together."""

    means: Floats
    low: Floats
    high: Floats
    p_values: Floats

    def __getitem__(self, chosen: slice) -> Differences:
        """Return some of the groups; they stay corrected for all."""
        return Differences(self.means[chosen], self.low[chosen], self.high[chosen], self.p_values[chosen])

    def of(self, group: int) -> Estimate:
        """Return the difference of one group."""
        return Estimate(float(self.means[group]), float(self.low[group]), float(self.high[group]))


@dataclass(frozen=True)
class Family:
    """The same groups in one head: values of rows, NaN where unknown, and which are changes of a class (-1, 0, 1).

    With `rests`, one for each group, each mean is the group's minus that of its rest.
    """

    values: Floats
    groups: Sequence[NDArray[np.bool_]]
    is_class: bool
    rests: Sequence[NDArray[np.bool_]] = ()


def measure_together(families: Sequence[Family], clusters: NDArray[np.int64] | None, *, seed: int) -> list[Differences]:
    """Return the differences of each family, corrected for the groups of all.

    Parameters
    ----------
    clusters : array, shape (rows,), int, optional
        Rows that hang together.
    """
    parts = [part for family in families for part in _parts(family, clusters)]
    edges = np.cumsum([0, *(len(family.groups) for family in families)])
    if not parts:
        return [Differences(*(np.zeros(0),) * 4) for _ in families]
    means, errors = (np.array([getattr(part, name) for part in parts]) for name in ("mean", "error"))
    freedom = np.array([part.freedom for part in parts])
    p_values, smallest = _p_values(means, errors, freedom), _smallest_p_values(parts, freedom, seed)
    limit = float(np.quantile(smallest, 1.0 - LEVEL)) if smallest.size else 1.0 - LEVEL
    together = np.mean(smallest <= p_values[:, None], axis=1) if smallest.size else p_values
    reach = _student(freedom, 1.0 - limit / 2.0) * errors
    plain = np.array([part.plain_mean for part in parts])
    made = Differences(plain, means - reach, means + reach, np.where(np.isfinite(p_values), together, np.nan))
    return [made[start:stop] for start, stop in itertools.pairwise(edges)]


def flip_p_value(sums: NDArray[np.int64]) -> float:
    """Return how often random signs set the total of whole numbers at least as far from zero: exact, two-sided.

    >>> round(flip_p_value(np.array([1] * 10)), 6), flip_p_value(np.array([2, 2, 2, 2]))
    (0.001953, 0.125)
    """
    from scipy.special import ndtr
    from scipy.stats import binom

    sizes, counts = np.unique(np.abs(sums[sums != 0]), return_counts=True)
    total, observed = int((sizes * counts).sum()), abs(int(sums.sum()))
    if total > _LARGEST_LATTICE:
        return float(2.0 * ndtr(-observed / np.sqrt(float((sizes**2 * counts).sum()))))
    chances = np.ones(1)
    for size, count in zip(sizes, counts, strict=True):
        steps = np.zeros(2 * size * count + 1)
        steps[:: 2 * size] = binom.pmf(np.arange(count + 1), count, 0.5)
        chances = _convolved(chances, steps)
    distances = np.abs(np.arange(-total, total + 1))
    return min(float(chances[distances >= observed].sum()), 1.0)


@dataclass(frozen=True)
class _Sums:
    """One group: each cluster's sum of deviations from the group's mean, and what follows."""

    deviations: Floats
    members: NDArray[np.int64]  # the clusters' numbers
    plain_mean: float
    mean: float  # with one change of each kind more where rows are changes of a class, so that few are not none
    error: float
    freedom: float
    units: float  # whose spread is known anew in each draw
    count: float = 1.0  # what `deviations` are divided by in a mean

    @classmethod
    def of(cls, family: Family, inside: NDArray[np.bool_], clusters: NDArray[np.int64] | None) -> _Sums:
        rows = np.flatnonzero(inside & np.isfinite(family.values))
        if not len(rows):
            return cls(np.zeros(0), rows, *(float("nan"),) * 3, -1.0, 0.0)
        values, counts, members, n = family.values[rows], np.ones(len(rows)), rows, len(rows)
        if clusters is not None:
            members, numbers = np.unique(clusters[rows], return_inverse=True)
            counts = np.bincount(numbers).astype(np.float64)
            values = np.bincount(numbers, weights=values).astype(np.float64)
        mean = float(values.sum() / n)
        deviations = values - mean * counts
        units = n**2 / float(np.sum(counts**2))
        few = len(members) / (len(members) - 1.0) if len(members) > 1 else float("nan")
        more = 2.0 if family.is_class else 0.0
        error = float(np.sqrt(np.sum(deviations**2) * few + more) / (n + more))
        count = len(members)
        return cls(deviations, members, mean, float(values.sum() / (n + more)), error, units - 1.0, count, n + more)

    def minus(self, rest: _Sums) -> _Sums:
        """Return the same of the gap to a rest, in which the rarer side decides how much is known (Welch)."""
        means = (self.plain_mean - rest.plain_mean, self.mean - rest.mean)
        if min(self.freedom, rest.freedom) < 1.0:
            return replace(rest, plain_mean=means[0], mean=float("nan"), error=float("nan"), freedom=-1.0)
        members, places = np.unique(np.concatenate([self.members, rest.members]), return_inverse=True)
        parts = np.concatenate([self._scaled(), -rest._scaled()])
        deviations = np.bincount(places, weights=parts, minlength=len(members)).astype(np.float64)
        # What both sides have in common (a person in both) cancels, and what a class adds does not.
        added = sum(max(one.error**2 - float(np.sum(one._scaled() ** 2)), 0.0) for one in (self, rest))
        error = float(np.sqrt(np.sum(deviations**2) + added))
        squares = [one.error**2 for one in (self, rest)]
        spread = sum(square**2 / one.freedom for square, one in zip(squares, (self, rest), strict=True))
        freedom = sum(squares) ** 2 / spread if spread > 0.0 else min(self.freedom, rest.freedom)
        return _Sums(deviations, members, *means, error, freedom, freedom + 1.0)

    def _scaled(self) -> Floats:
        few = self.units / (self.units - 1.0) if self.units > 1.0 else 0.0
        return np.asarray(self.deviations * np.sqrt(few) / self.count)


def _parts(family: Family, clusters: NDArray[np.int64] | None) -> list[_Sums]:
    own = [_Sums.of(family, inside, clusters) for inside in family.groups]
    if not family.rests:
        return own
    rests = [_Sums.of(family, outside, clusters) for outside in family.rests]
    return [one.minus(rest) for one, rest in zip(own, rests, strict=True)]


def _smallest_p_values(parts: Sequence[_Sums], freedom: Floats, seed: int) -> Floats:
    """Return the smallest p-value of any group in each draw, without groups that cannot be judged."""
    chosen = [number for number, part in enumerate(parts) if part.freedom >= 1.0 and np.any(part.deviations)]
    if not chosen:
        return np.zeros(0)
    generator = np.random.Generator(np.random.SFC64(seed))
    t = np.concatenate(list(_drawn([parts[number] for number in chosen], generator)))
    return np.asarray(_p_values(t, np.ones(len(chosen)), freedom[chosen]).min(axis=1))


def _drawn(parts: Sequence[_Sums], generator: np.random.Generator) -> Iterator[Floats]:
    """Yield t statistics of random signs, shape (draws, groups) in blocks."""
    from scipy.sparse import csr_array

    count = 1 + max(int(part.members.max()) for part in parts)
    starts = np.cumsum([0, *(len(part.members) for part in parts)])
    columns = np.concatenate([part.members for part in parts])
    sums = csr_array((np.concatenate([part.deviations for part in parts]), columns, starts), shape=(len(parts), count))
    squares = np.array([np.sum(part.deviations**2) for part in parts])
    used = np.unique(columns)
    if len(used) > _MOST_CLUSTERS:
        shared = (sums @ sums.T).toarray() / np.sqrt(np.outer(squares, squares))
        yield generator.multivariate_normal(
            np.zeros(len(parts)), shared, size=_DRAWS, method="eigh", check_valid="ignore"
        )
        return
    dense = sums[:, used].toarray().T
    units = np.array([part.units for part in parts])
    step = max(1, _CHUNK_VALUES // len(used))
    for start in range(0, _DRAWS, step):
        signs = generator.integers(0, 2, size=(min(step, _DRAWS - start), len(used))) * 2.0 - 1.0
        totals = signs @ dense
        spread = np.maximum(squares - totals**2 / units, 1e-12 * squares) * units / (units - 1.0)
        yield totals / np.sqrt(spread)


def _p_values(means: Floats, errors: Floats, freedom: Floats) -> Floats:
    from scipy.special import stdtr

    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(errors > 0, means / errors, np.where(means == 0, 0.0, np.inf))
    t = np.where(np.isfinite(means), t, np.nan)
    return np.asarray(2.0 * stdtr(np.where(freedom >= 1.0, freedom, np.nan), -np.abs(t)))


def _student(freedom: Floats, share: float) -> Floats:
    from scipy.special import stdtrit

    return np.asarray(stdtrit(np.where(freedom >= 1.0, freedom, np.nan), share))


def _convolved(first: Floats, second: Floats) -> Floats:
    from scipy.signal import convolve

    return np.maximum(convolve(first, second), 0.0)
