"""What is held equal when groups are compared, by default the labelled age: fine bins of it, and smooth curves over it.

Groups were photographed at different ages, and errors depend on age, so a raw gap between groups is often one between
ages. Rows are therefore dealt to the groups only among rows alike (`strata`), of values from which the curve over age
is taken out (`levelled`). A grouping that is nothing but bands of what is held equal cannot be compared so.

References
----------
Freedman and Lane, Journal of Business & Economic Statistics 1983 (permuting what a model leaves). Harrell: Regression
modeling strategies, 2015, chapter 2 (restricted cubic splines).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.heads.row_metrics import numbers

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
_ROWS_IN_A_BIN = 25
_BINS = (12, 40)  # at most so many while rows are few, and ever
_ROWS_IN_A_BIN_OF_MANY = 100  # beyond the first 12 bins
_LOWEST_LEVEL = 0.1  # of the overall one: a curve through few rows may fall to nothing
# Divided by its usual size once, a gap in proportion to that size would be found best; twice, one of as many years at
# every age. Between the two, either is found nearly as well as it can be.
_TRUST = 1.5
_MOST_POINTS = (400, 40, 12)  # of one number, of two, of more: nearer values are one in regressions
_MOST_KINDS = 30  # different texts; rarer ones are held equal together


@dataclass(frozen=True)
class Support:
    """The different values that are held equal: what a regression needs to know of rows.

    Attributes
    ----------
    points : array, shape (rows,), int
        Which value a row has, -1 where it is not known.
    basis : array, shape (points, columns)
        A constant and splines.
    places : array, shape (points, numbers)
    kinds : array, shape (points, texts), int
    """

    points: Codes
    basis: Floats
    places: Floats
    kinds: Codes

    def of_rows(self, chosen: NDArray[np.bool_]) -> Support:
        """Return the same of some of the rows."""
        return replace(self, points=self.points[chosen])

    def shared(self, first: NDArray[np.bool_], second: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which points lie among the values of both of two sets of points, shape (points,)."""
        shared = np.ones(len(self.basis), dtype=bool)
        for place in self.places.T:
            for one in (first, second):
                if one.any():
                    shared &= (place >= place[one].min()) & (place <= place[one].max())
        for kind in self.kinds.T:
            shared &= np.isin(kind, np.intersect1d(kind[first], kind[second]))
        return shared


@dataclass(frozen=True)
class HeldEqual:
    """What rows must have alike to be compared.

    Attributes
    ----------
    columns : tuple of str
    numbers : tuple of arrays, shape (rows,)
        Its numeric columns, NaN where unknown.
    kinds : tuple of arrays, shape (rows,), int
        Its columns of texts as codes; an unknown one is a kind like any other.
    """

    columns: tuple[str, ...]
    numbers: tuple[Floats, ...]
    kinds: tuple[Codes, ...]

    @classmethod
    def of_table(cls, rows: pd.DataFrame, columns: Sequence[str]) -> HeldEqual:
        """Return these columns of a table; one without any known value says nothing and is left out."""
        told = tuple(name for name in columns if rows[name].notna().any())
        is_number = {name: pd.api.types.is_numeric_dtype(rows[name].dtype) for name in told}
        is_number = {name: one and not pd.api.types.is_bool_dtype(rows[name].dtype) for name, one in is_number.items()}
        return cls(
            told,
            tuple(numbers(rows, name) for name in told if is_number[name]),
            tuple(_kinds(rows[name]) for name in told if not is_number[name]),
        )

    def __bool__(self) -> bool:
        return bool(self.columns)

    def of_rows(self, chosen: NDArray[np.bool_] | Codes) -> HeldEqual:
        """Return the same for some of the rows."""
        return replace(
            self,
            numbers=tuple(one[chosen] for one in self.numbers),
            kinds=tuple(one[chosen] for one in self.kinds),
        )

    def of_clusters(self, rows: Codes) -> HeldEqual:
        """Return the same for clusters instead of rows, those of each given as an array of shape (clusters, size)."""
        return replace(
            self,
            numbers=tuple(np.sort(one[rows], axis=1)[:, rows.shape[1] // 2] for one in self.numbers),
            kinds=tuple(one[rows[:, 0]] for one in self.kinds),
        )

    def tells(self, codes: Codes) -> bool:
        """Return whether the groups are nothing but bands or values of one thing that is held equal."""
        known = codes >= 0
        return any(_are_bands(one[known], codes[known]) for one in self.numbers) or any(
            _is_told_by(one[known], codes[known]) for one in self.kinds
        )

    def strata(self, row_count: int) -> Codes:
        """Return which rows are alike, as a code: the same fine bin of each number, the same text."""
        together = np.zeros(row_count, dtype=np.int64)
        for kind in self.kinds:
            together = _joined(together, kind)
        for one in self.numbers:
            bins = np.zeros(row_count, dtype=np.int64)
            for code in np.unique(together):
                inside = together == code
                bins[inside] = quantile_bins(one[inside])
            together = _joined(together, bins)
        return together

    def basis(self, row_count: int) -> Floats:
        """Return the columns of a regression on what is held equal: a constant, splines, a column per further text."""
        parts = [np.ones((row_count, 1))]
        for one in self.numbers:
            known = np.isfinite(one)
            parts.append(spline(np.where(known, one, np.median(one[known]) if known.any() else 0.0)))
            if not known.all():
                parts.append((~known)[:, None].astype(np.float64))
        parts += [(kind[:, None] == np.unique(kind)[1:]).astype(np.float64) for kind in self.kinds]
        return np.concatenate(parts, axis=1)

    @cached_property
    def support(self) -> Support | None:
        """The different values of all rows; None where nothing is held equal."""
        if not self:
            return None
        most = _MOST_POINTS[min(max(len(self.numbers), 1), len(_MOST_POINTS)) - 1]
        coarse = replace(self, numbers=tuple(_rounded(one, most) for one in self.numbers))
        row_count = len((*self.numbers, *self.kinds)[0])
        known = np.all([np.isfinite(one) for one in self.numbers], axis=0) if self.numbers else np.ones(row_count, bool)
        together = np.zeros(int(known.sum()), dtype=np.int64)
        for one in (*coarse.numbers, *coarse.kinds):
            together = _joined(together, np.unique(one[known], return_inverse=True)[1].reshape(-1))
        points = np.full(row_count, -1, dtype=np.int64)
        points[known] = together
        first = np.unique(together, return_index=True)[1]
        there = coarse.of_rows(np.flatnonzero(known))
        return Support(
            points,
            there.basis(int(known.sum()))[first],
            np.stack([one[first] for one in there.numbers], axis=1) if there.numbers else np.empty((first.size, 0)),
            np.stack([one[first] for one in there.kinds], axis=1) if there.kinds else np.empty((first.size, 0), int),
        )

    def levelled(self, values: Floats, kind: str, strata: Codes) -> Floats:
        """Return values without what is held equal, comparable over all strata, whose means are equal.

        Parameters
        ----------
        values : array, shape (rows,)
            Without NaN.
        kind : str
            "positive": each is divided by the level at its age, so that the level is 1 everywhere. "signed": the level
            is taken off, and what is left divided by a power of its usual size. "rate": the level is taken off.
        """
        if not self:
            return values
        basis = self.basis(values.size)
        level = _curve(basis, values)
        if kind == "positive":
            share = values / np.maximum(level, _LOWEST_LEVEL * values.mean() or 1.0)
            means = _stratum_means(share, strata)
            return np.where(means > 0.0, share / np.where(means > 0.0, means, 1.0), 1.0)
        left = values - (np.clip(level, 0.0, 1.0) if kind == "rate" else level)
        left -= _stratum_means(left, strata)
        if kind == "rate" or not left.any():
            return left
        sizes = np.abs(left)
        left /= np.maximum(_curve(basis, sizes), _LOWEST_LEVEL * sizes.mean()) ** _TRUST
        return left - _stratum_means(left, strata)


def quantile_bins(values: Floats, *, rows_in_a_bin: int = _ROWS_IN_A_BIN) -> Codes:
    """Return fine bins of about equally many rows, equal values together; the unknown ones are a bin of their own.

    >>> quantile_bins(np.array([3.0, 1.0, 1.0, np.nan, 2.0]), rows_in_a_bin=2).tolist()
    [1, 0, 0, 2, 1]
    """
    known = np.isfinite(values)
    n = int(known.sum())
    most = int(np.clip(n // _ROWS_IN_A_BIN_OF_MANY, *_BINS))
    count = int(np.clip(n // rows_in_a_bin, 1, most))
    bins = np.full(values.size, count, dtype=np.int64)
    if n:
        edges = np.unique(np.quantile(values[known], np.arange(1, count) / count, method="higher"))
        bins[known] = np.searchsorted(edges, values[known], side="right")
    return bins


def spline(values: Floats) -> Floats:
    """Return a natural cubic spline's columns without the constant; of few different values a column for each but one.

    The more rows, the more knots: the curve must come nearer to the truth as chance does.
    """
    different = np.unique(values)
    columns = int(np.clip(round(values.size ** (1 / 3) / 2), 3, 16))
    if different.size <= columns + 1:
        return (values[:, None] == different[1:]).astype(np.float64)
    knots = np.unique(np.quantile(values, np.linspace(0.01, 0.99, columns + 1)))
    # Many are young and few old: where quantiles leave a wide gap, the curve must still be able to bend.
    between = np.linspace(different[0], np.quantile(values, 0.995), 8)
    lonely = np.abs(between[:, None] - knots).min(axis=1) > np.ptp(between) / 8
    knots = np.sort(np.concatenate([knots, between[lonely]]))
    knots = (knots - different[0]) / (different[-1] - different[0])
    place = (values - different[0]) / (different[-1] - different[0])

    def bent(at: Floats) -> Floats:
        cubes = np.maximum(place[:, None] - at, 0.0) ** 3
        last = np.maximum(place - knots[-1], 0.0)[:, None] ** 3
        return (cubes - last) / (knots[-1] - at)

    return np.concatenate([place[:, None], bent(knots[:-2]) - bent(knots[-2:-1])], axis=1)


def _rounded(values: Floats, most: int) -> Floats:
    """Return values of which at most so many are different: the means of equally filled bins, were there more."""
    known = np.isfinite(values)
    different = np.unique(values[known])
    if different.size <= most:
        return values
    edges = np.unique(np.quantile(values[known], np.arange(1, most) / most))
    bins = np.searchsorted(edges, values[known], side="right")
    rounded = values.copy()
    rounded[known] = _stratum_means(values[known], bins)
    return rounded


def _curve(basis: Floats, values: Floats) -> Floats:
    coefficients, *_ = np.linalg.lstsq(basis, values, rcond=1e-10)
    return np.asarray(basis @ coefficients)


def _stratum_means(values: Floats, strata: Codes) -> Floats:
    counts = np.bincount(strata)
    return np.asarray((np.bincount(strata, weights=values) / np.maximum(counts, 1))[strata])


def _kinds(cells: pd.Series) -> Codes:
    texts = cells.astype(object).where(cells.notna(), None).map(str)
    counts = texts.value_counts()
    return pd.factorize(texts.where(texts.isin(counts.index[:_MOST_KINDS]), ""), sort=True)[0].astype(np.int64)


def _joined(first: Codes, second: Codes) -> Codes:
    _, codes = np.unique(first * (int(second.max(initial=0)) + 1) + second, return_inverse=True)
    return codes.reshape(-1).astype(np.int64)


def _are_bands(values: Floats, codes: Codes) -> bool:
    """Whether the groups lie one after another along the values, without overlap."""
    known = np.isfinite(values)
    values, codes = values[known], codes[known]
    if not values.size:
        return False
    low, high = np.full(codes.max() + 1, np.inf), np.full(codes.max() + 1, -np.inf)
    np.minimum.at(low, codes, values)
    np.maximum.at(high, codes, values)
    there = np.isfinite(low)
    order = np.argsort(low[there])
    return bool(there.sum() > 1 and (low[there][order][1:] > high[there][order][:-1]).all())


def _is_told_by(kinds: Codes, codes: Codes) -> bool:
    """Whether each value that is held equal belongs to one group alone."""
    pairs = np.unique(np.stack([kinds, codes], axis=1), axis=0)
    return bool(len(pairs)) and len(np.unique(pairs[:, 0])) == len(pairs) and len(np.unique(codes)) > 1
