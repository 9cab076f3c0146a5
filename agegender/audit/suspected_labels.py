"""Which labels are probably wrong, and how sure that is, from predictions by models that never saw them.

*Classes.* How often a label stands for another class is counted among the confident rows (confident learning: a row is
confidently of a class if its probability is as high as that of the surest quarter labelled so). Probabilities are
calibrated to the labels as they are, mistakes included, so the mistakes are first taken out of them; Bayes' rule then
says how probable it is that this label is wrong.

*Numbers.* A residual counts in units of the row's own interval, towards its side. Right labels scatter around the
prediction as Student's t does, wrong ones are as good as anybody else's label; the shares, the width and the length of
the tails come from the residuals themselves (expectation and maximisation), and Bayes' rule says the rest.

References
----------
Northcutt, Jiang, Chuang: Confident learning, Journal of Artificial Intelligence Research 70, 2021 (the idea; cleanlab
has it too, is AGPL, and nothing is taken from there). Patrini et al.: Making deep networks robust to label noise, CVPR
2017 (taking the mistakes out of probabilities).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.errors import TableError, UsageError
from agegender.heads import Classification, Head, Regression
from agegender.heads.row_metrics import numbers

Floats = NDArray[np.float64]
LEAST_ROWS = 50  # labelled rows; fewer tell nothing about what is usual
# Of a class or of all numbers, at most so many are taken to be wrong. A model that has learnt nothing contradicts half
# of all labels, and without this bound it would be believed.
MOST_WRONG_SHARE = 0.1
_Z_90 = 1.6448536  # standard deviations to the end of a 90 % interval
# Degrees of freedom of Student's t, the longest tails first: far residuals are then usual, and hardly any is suspect.
# Shorter tails are believed where they raise the log-likelihood by so much; less would take the far ends of scores that
# scatter with five degrees for mistakes (decision 0184).
_DEGREES = (3.0, 4.0, 6.0, 10.0, 20.0, 50.0)
_LEAST_GAIN = 10.0
_ROUNDS = 60
# Of a class's own rows: from there on a row is confidently of the class. The mean, which confident learning takes, lets
# in rows that are truly of other classes, and so finds up to twice as many mistakes as there are.
_CONFIDENT = 0.75
COLUMNS = ("path", "column", "label", "suggested", "probability_wrong", "predicted", "low", "high")


def suspected_labels(rows: pd.DataFrame, heads: Sequence[Head], *, least: float = 0.5) -> pd.DataFrame:
    """Return the labels that are wrong with a probability of at least `least`, the surest first.

    Parameters
    ----------
    rows : DataFrame
        Of a completed predictions table, of photos that each prediction's model had not seen.
    heads : sequence of Head
    least : float
        0..1.

    Returns
    -------
    DataFrame
        `path`, `column` (of the label), `label`, `suggested` (a class, or a number), `probability_wrong`, `predicted`,
        and of numbers `low` and `high`, the ends of the 90 % interval. The index is that of `rows`.

    Raises
    ------
    TableError
        No head has labels enough.
    """
    if not 0 <= least <= 1:
        raise UsageError(f"--least {least:g} is no probability from 0 to 1.")
    found = []
    for head in heads:
        part = _numbers(rows, head) if isinstance(head, Regression) else _classes(rows, head)
        if part is not None:
            found.append(part[part["probability_wrong"] >= least])
    if not found:
        raise TableError(
            f"labels of {', '.join(head.title for head in heads)} are too few to tell which are wrong: at least "
            f"{LEAST_ROWS} labelled photos that the model never saw are needed, of classes with every probability."
        )
    return pd.concat(found).sort_values("probability_wrong", ascending=False, kind="stable")[list(COLUMNS)]


def probability_of_wrong_class(labels: NDArray[np.int64], probabilities: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Return how probable it is that each label is wrong, and which other class is the likeliest.

    Parameters
    ----------
    labels : array of int, shape (rows,)
        Class numbers.
    probabilities : array, shape (rows, classes)
        Out of sample, calibrated.
    """
    count = probabilities.shape[1]
    mistaken = mistakes_of_classes(labels, probabilities)  # true class -> label
    # What the model says of labels is what it says of classes, mixed by the mistakes.
    clean = np.clip(np.linalg.solve(mistaken.T, probabilities.T).T, 1e-6, None)
    clean /= clean.sum(axis=1, keepdims=True)
    joint = clean * mistaken[:, labels].T
    own = joint[np.arange(len(labels)), labels]
    others = np.where(np.arange(count)[None, :] == labels[:, None], -1.0, clean)
    return 1.0 - own / joint.sum(axis=1), others.argmax(axis=1)


def mistakes_of_classes(labels: NDArray[np.int64], probabilities: Floats) -> Floats:
    """Return how often each class is labelled as each, shape (true classes, labels), rows summing to 1."""
    count = probabilities.shape[1]
    known = [class_ for class_ in range(count) if (labels == class_).any()]
    own = [probabilities[labels == one, one] for one in range(count)]
    usual = np.array([np.quantile(own[one], _CONFIDENT) if one in known else np.inf for one in range(count)])
    reached = np.where(probabilities >= usual[None, :], probabilities, -1.0)
    confident = reached.max(axis=1) >= 0
    counts = np.zeros((count, count))
    np.add.at(counts, (reached.argmax(axis=1)[confident], labels[confident]), 1.0)
    # Half a row more of each: a class that nobody confuses is not free of mistakes for ever.
    counts += np.where(np.eye(count, dtype=bool), 0.5 * count, 0.5)
    shares = counts / counts.sum(axis=1, keepdims=True)
    wrong = 1.0 - np.diag(shares)
    scale = np.minimum(1.0, MOST_WRONG_SHARE / np.maximum(wrong, 1e-12))
    off = shares * scale[:, None]
    np.fill_diagonal(off, 1.0 - wrong * scale)
    return np.asarray(off, dtype=np.float64)


def probability_of_wrong_number(labels: Floats, predicted: Floats, low: Floats, high: Floats) -> Floats:
    """Return how probable it is that each label is wrong; ends that are not known are those of the usual residual."""
    residual = labels - predicted
    usual = max(1.4826 * float(np.median(np.abs(residual))), 1e-9)
    middle = np.where(np.isfinite(low + high), (low + high) / 2, predicted)
    half = np.where(np.isfinite(low + high), (high - low) / 2, _Z_90 * usual)
    scale = np.maximum(half / _Z_90, 0.05 * usual)
    score = (labels - middle) / scale
    chance = _density_of(labels)(labels) * scale  # of such a label, whoever is in the photo, per unit of the score
    return _wrong_of_mixture(score, chance)


def _wrong_of_mixture(score: Floats, chance: Floats) -> Floats:
    """Return who is wrong, where right labels scatter as t with a width and tails that the scores tell."""
    fits = [_fitted(score, chance, degrees) for degrees in _DEGREES]
    enough = max(likelihood for _, likelihood in fits) - _LEAST_GAIN
    return next(wrong for wrong, likelihood in fits if likelihood >= enough)  # the longest tails that do


def _fitted(score: Floats, chance: Floats, degrees: float) -> tuple[Floats, float]:
    """Return who is wrong, and the log-likelihood, for tails of so many degrees of freedom."""
    from scipy.stats import t

    wrong_share, width, wrong, together = 0.05, 1.0, np.zeros(len(score)), np.ones(len(score))
    squares, height = score**2, float(t.pdf(0.0, degrees))  # t.pdf itself takes ten times as long
    for _ in range(_ROUNDS):
        excess = 1.0 + squares / (degrees * width**2)
        right = (1.0 - wrong_share) * height / width * excess ** (-(degrees + 1.0) / 2.0)
        together = right + wrong_share * chance
        wrong = wrong_share * chance / together
        wrong_share = float(np.clip(wrong.mean(), 1e-4, MOST_WRONG_SHARE))
        # The weights of t's own expectation and maximisation: far residuals say little about the width.
        weight = (1.0 - wrong) * (1.0 + 1.0 / degrees) / excess
        width = float(np.sqrt(np.sum(weight * squares) / np.sum(1.0 - wrong)))
    return wrong, float(np.log(together).sum())


def _density_of(values: Floats) -> Any:
    """Return the density of values as a histogram of a few tens of bars, smoothed over the neighbours."""
    ends = np.linspace(values.min(), values.max() + 1e-9, 31)
    counts, _ = np.histogram(values, ends)
    smooth = np.convolve(np.pad(counts + 0.5, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    density = smooth / smooth.sum() / (ends[1] - ends[0])
    return lambda at: density[np.clip(np.digitize(at, ends) - 1, 0, len(density) - 1)]


def _classes(rows: pd.DataFrame, head: Classification) -> pd.DataFrame | None:
    probabilities = head.probabilities(rows)
    if probabilities is None:
        return None
    names = head.classes_of(rows[head.column])
    known = (names.notna() & np.isfinite(probabilities).all(axis=1)).to_numpy(dtype=bool)
    labels = head.labels(names[known])
    if known.sum() < LEAST_ROWS or len(np.unique(labels)) < 2:
        return None
    wrong, other = probability_of_wrong_class(labels, probabilities[known])
    part = rows[known]
    return _table(part, head, wrong, [head.classes[place] for place in other])


def _numbers(rows: pd.DataFrame, head: Regression) -> pd.DataFrame | None:
    label, predicted = numbers(rows, head.column), numbers(rows, head.predicted)
    known = np.isfinite(label) & np.isfinite(predicted)
    if known.sum() < LEAST_ROWS or np.ptp(label[known]) == 0:
        return None
    part = rows[known]
    low, high = (numbers(part, name) for name in head.interval_columns)
    wrong = probability_of_wrong_number(label[known], predicted[known], low, high)
    return _table(part, head, wrong, predicted[known].tolist()).assign(low=low, high=high)


def _table(part: pd.DataFrame, head: Head, wrong: Floats, suggested: list[Any]) -> pd.DataFrame:
    columns = {
        "path": part["path"], "column": head.column, "label": part[head.column].astype(object),
        "suggested": pd.Series(suggested, index=part.index, dtype=object), "probability_wrong": wrong,
        "predicted": part[head.predicted].astype(object), "low": np.nan, "high": np.nan,
    }  # fmt: skip
    return pd.DataFrame(columns, index=part.index)
