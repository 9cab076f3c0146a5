"""What people use today instead of the audit, on the same tables: each returns the groups that it would claim.

They test every group of 30 rows or more against all other rows, in absolute error, signed error and gender accuracy, as
the audit does; intersections only where one is planted, which spares them a correction that the audit always pays for.
fairlearn's interval of the largest difference between ethnicities is told as its users read it: a difference is claimed
where it holds no zero.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtr

Floats = NDArray[np.float64]
Claim = tuple[tuple[str, ...], tuple[str, ...], str]  # columns, values, metric
METRICS = ("age.mean_absolute_error", "age.mean_signed_error", "gender.accuracy")
LEVEL = 0.05
_LEAST_ROWS = 30
_CROSSED = ("gender", "ethnicity", "age_group")
_OTHERS = ("expression", "mask", "source")
_DEALS = 499  # enough for a level of 5 %
_RESAMPLES = 200  # enough for a standard error
_FAIRLEARN_RESAMPLES = 60


class Contrasts:
    """The comparisons of one table: who is in which group (rows, groups), and the values (rows, 3)."""

    def __init__(self, table: pd.DataFrame, *, is_crossed: bool = False) -> None:
        error = (table["predicted_age_years"] - table["age_years"]).to_numpy()
        right = (table["predicted_gender"] == table["gender"]).to_numpy(dtype=np.float64)
        self.values, self.ages = np.stack([np.abs(error), error, right], axis=1), table["age_years"].to_numpy()
        bands = pd.cut(table["age_years"], [-1, 19.5, 39.5, 59.5, 200], labels=["<20", "20–39", "40–59", "≥60"])
        texts = table.assign(age_group=bands.astype(str))
        crossed = [names for size in (2, 3) for names in combinations(_CROSSED, size)] if is_crossed else []
        self.groups: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
        members = []
        for columns in [*((name,) for name in (*_CROSSED, *_OTHERS) if name in texts), *crossed]:
            codes, values = pd.MultiIndex.from_frame(texts[list(columns)]).factorize()
            for number, names in enumerate(values):
                inside = codes == number
                if _LEAST_ROWS <= inside.sum() <= len(table) - _LEAST_ROWS:
                    self.groups.append((columns, tuple(map(str, names))))
                    members.append(inside)
        self.member = np.array(members, dtype=np.float64).T

    def welch(self, values: Floats | None = None) -> tuple[Floats, Floats]:
        """Return Welch's t of every group against the rest and its degrees of freedom, shape (groups, metrics)."""
        values = self.values if values is None else values
        n = self.member.sum(axis=0)[:, None]
        others = len(values) - n
        sums, squares = self.member.T @ values, self.member.T @ values**2
        mean, rest = sums / n, (values.sum(axis=0) - sums) / others
        own = np.maximum(squares - n * mean**2, 0.0) / (n - 1) / n
        other = np.maximum((values**2).sum(axis=0) - squares - others * rest**2, 0.0) / (others - 1) / others
        error = np.maximum(own + other, 1e-12)
        return (mean - rest) / np.sqrt(error), error**2 / (own**2 / (n - 1) + other**2 / (others - 1) + 1e-30)

    def claims(self, is_claimed: NDArray[np.bool_]) -> list[Claim]:
        """Return the claims of a table of decisions, shape (groups, metrics)."""
        return [(*self.groups[group], METRICS[metric]) for group, metric in zip(*np.nonzero(is_claimed), strict=True)]


def welch_holm(tests: Contrasts, _: np.random.Generator) -> list[Claim]:
    """Welch's t-tests with Holm's correction."""
    t, freedom = tests.welch()
    return tests.claims(holm(2.0 * stdtr(freedom, -np.abs(t))))


def max_t(tests: Contrasts, generator: np.random.Generator) -> list[Claim]:
    """Rows dealt at random, the largest of all t statistics of every deal as the yardstick (Westfall and Young)."""
    observed = np.abs(tests.welch()[0])
    largest = [np.abs(tests.welch(generator.permutation(tests.values))[0]).max() for _ in range(_DEALS)]
    return tests.claims(observed > np.quantile(largest, 1.0 - LEVEL, method="higher"))


def bootstrap_bonferroni(tests: Contrasts, generator: np.random.Generator) -> list[Claim]:
    """Gaps in bootstrap standard errors, with Bonferroni's correction."""
    n = len(tests.values)
    weights = generator.multinomial(n, np.full(n, 1.0 / n), size=_RESAMPLES).astype(np.float64)
    counts = weights @ tests.member
    gaps = []
    for column in tests.values.T:
        weighted = weights * column
        sums = weighted @ tests.member
        gaps.append(sums / np.maximum(counts, 1.0) - (weighted.sum(axis=1, keepdims=True) - sums) / (n - counts))
    resampled = np.stack(gaps, axis=2)  # (resamples, groups, metrics)
    size = np.maximum(tests.member.sum(axis=0), 1.0)[:, None]
    sums = tests.member.T @ tests.values
    gap = sums / size - (tests.values.sum(axis=0) - sums) / (n - size)
    needed = -ndtri(LEVEL / 2.0 / gap.size)
    return tests.claims(np.abs(gap) > needed * np.maximum(resampled.std(axis=0), 1e-9))


def regression_holm(tests: Contrasts, _: np.random.Generator) -> list[Claim]:
    """Each group's coefficient beside a cubic spline in age, robust errors (HC3), Holm's correction.

    Age bands are left out: beside age itself they mean nothing.
    """
    orthogonal = np.linalg.qr(_spline(tests.ages))[0]
    inside = tests.member - orthogonal @ (orthogonal.T @ tests.member)
    values = tests.values - orthogonal @ (orthogonal.T @ tests.values)
    squared = np.maximum((inside**2).sum(axis=0), 1e-9)
    effect = inside.T @ values / squared[:, None]
    leverage = (orthogonal**2).sum(axis=1)[:, None] + inside**2 / squared
    weight = (inside / squared / np.maximum(1.0 - leverage, 1e-3)) ** 2
    error = np.stack(
        [(weight * (values[:, [m]] - inside * effect[:, m]) ** 2).sum(axis=0) for m in range(len(METRICS))], axis=1
    )
    p_values = 2.0 * ndtr(-np.abs(effect) / np.sqrt(np.maximum(error, 1e-12)))
    is_age = np.array([columns == ("age_group",) for columns, _ in tests.groups])
    is_claimed = np.zeros(p_values.shape, dtype=bool)
    is_claimed[~is_age] = holm(p_values[~is_age])
    return tests.claims(is_claimed)


def fairlearn_interval(table: pd.DataFrame, generator: np.random.Generator) -> list[Claim]:
    """Claim a difference of absolute error between ethnicities where fairlearn's 95 % interval of it holds no zero."""
    from fairlearn.metrics import MetricFrame

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = MetricFrame(
            metrics=lambda true, said: float(np.mean(np.abs(said - true))),
            y_true=table["age_years"],
            y_pred=table["predicted_age_years"],
            sensitive_features=table["ethnicity"],
            n_boot=_FAIRLEARN_RESAMPLES,
            ci_quantiles=[LEVEL / 2, 1 - LEVEL / 2],
            random_state=int(generator.integers(2**31)),
        )
        low = frame.difference_ci()[0]
        worst = str(frame.by_group.idxmax())
    return [(("ethnicity",), (worst,), METRICS[0])] if low > 0 else []


RIVALS: dict[str, Callable[[Contrasts, np.random.Generator], list[Claim]]] = {
    "Welch, Holm": welch_holm,
    "max-T": max_t,
    "bootstrap, Bonferroni": bootstrap_bonferroni,
    "regression on age, Holm": regression_holm,
}
FAIRLEARN = "fairlearn's interval"


def rival_claims(
    table: pd.DataFrame, generator: np.random.Generator, *, is_crossed: bool = False, has_fairlearn: bool = False
) -> dict[str, list[Claim]]:
    """Return what each rival claims; fairlearn is slow and optional."""
    tests = Contrasts(table, is_crossed=is_crossed)
    found = {name: rival(tests, generator) for name, rival in RIVALS.items()}
    if has_fairlearn and find_spec("fairlearn"):
        found[FAIRLEARN] = fairlearn_interval(table, generator)
    return found


def holm(p_values: Floats) -> NDArray[np.bool_]:
    """Return which of many p-values of any shape are claimed at 5 % with Holm's correction."""
    flat = p_values.ravel()
    order = np.argsort(flat, kind="stable")
    is_below = flat[order] <= LEVEL / (flat.size - np.arange(flat.size))
    claimed = np.zeros(flat.size, dtype=bool)
    claimed[order] = np.logical_and.accumulate(is_below)
    return claimed.reshape(p_values.shape)


def _spline(ages: Floats) -> Floats:
    """Return a cubic spline basis with knots at quantiles of age, shape (rows, columns)."""
    knots = np.unique(np.quantile(ages, [0.1, 0.3, 0.5, 0.7, 0.9]))
    scaled, places = ages / 50.0, knots / 50.0
    bent = [np.maximum(scaled - place, 0.0) ** 3 for place in places]
    return np.stack([np.ones_like(scaled), scaled, scaled**2, scaled**3, *bent], axis=1)
