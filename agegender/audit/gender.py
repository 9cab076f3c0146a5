"""Owns the scores of predicted classes: the gender label with its probability, and any other head of classes.

`gender` is the dataset's annotated label. A row whose label or prediction is missing does not count, and a score that
the rows cannot tell (a ROC curve with one class only) is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from agegender.audit.calibration import expected_calibration_error
from agegender.errors import TableError

GENDERS = ("male", "female")
UNKNOWN = float("nan")


def gender_metrics(
    labels: ArrayLike, female_probability: ArrayLike | None = None, *, predicted: ArrayLike | None = None
) -> dict[str, float]:
    """Return the usual scores of predicted gender labels.

    Parameters
    ----------
    labels : array of str, shape (rows,)
        "male", "female" or missing.
    female_probability : array, shape (rows,), optional
        0..1, NaN where unknown. Without it the scores that need it are NaN.
    predicted : array of str, shape (rows,), optional
        The predicted label; by default "female" from a probability of 0.5.

    Returns
    -------
    dict
        `n`, `skipped`, per class `support_`, `precision_`, `recall_`, `f1_` with `male` or `female` behind,
        `accuracy`, `macro_f1`, and of the probability `roc_auc`, `pr_auc` (average precision of female), `log_loss`
        (nats), `brier`, `expected_calibration_error` (ten equal bins).

    Raises
    ------
    TableError
        The columns differ in length, or a probability lies outside 0..1.

    Examples
    --------
    >>> scores = gender_metrics(["male", "female", "female"], [0.1, 0.9, 0.4])
    >>> round(scores["accuracy"], 3), scores["recall_female"], scores["roc_auc"]
    (0.667, 0.5, 1.0)
    """
    truth = _texts(labels)
    probability = _probabilities(female_probability, truth.size)
    guess = _texts(predicted) if predicted is not None else _guesses(probability)
    overall = class_metrics(truth, guess, classes=GENDERS)
    scores = {name: overall[name] for name in ("n", "skipped", "accuracy", "macro_f1")}
    by_class = overall["by_class"]
    scores |= {f"{score}_{name}": value for name in GENDERS for score, value in by_class[name].items()}
    known = np.isin(truth, GENDERS) & np.isfinite(probability)
    return scores | _probability_scores(truth[known] == "female", probability[known])


def class_metrics(labels: ArrayLike, predicted: ArrayLike, *, classes: Sequence[str] | None = None) -> dict[str, Any]:
    """Return accuracy, macro F1 and per-class scores of any head of classes.

    Parameters
    ----------
    labels, predicted : array of str, shape (rows,)
        Missing values are skipped.
    classes : sequence of str, optional
        By default those that the labels have.

    Returns
    -------
    dict
        `n`, `skipped`, `accuracy`, `macro_f1` (over classes that occur), `by_class`: class -> `support`, `precision`,
        `recall`, `f1`.

    Examples
    --------
    >>> class_metrics(["happy", "sad"], ["happy", "happy"])["by_class"]["happy"]["precision"]
    0.5
    """
    truth, guess = _texts(labels), _texts(predicted)
    if truth.shape != guess.shape:
        raise TableError(f"{truth.size} labels but {guess.size} predictions: give one of each per row.")
    known = pd.notna(truth) & pd.notna(guess)
    names = list(classes) if classes is not None else sorted(set(truth[known]))
    known &= np.isin(truth, names)
    by_class = {name: _one_class(truth[known] == name, guess[known] == name) for name in names}
    present = [scores["f1"] for scores in by_class.values() if scores["support"]]
    count = int(known.sum())
    return {
        "n": count,
        "skipped": int(truth.size - count),
        "accuracy": float(np.mean(truth[known] == guess[known])) if count else UNKNOWN,
        "macro_f1": float(np.mean(present)) if present else UNKNOWN,
        "by_class": by_class,
    }


def _one_class(is_it: NDArray[np.bool_], is_said: NDArray[np.bool_]) -> dict[str, float]:
    hits, support, said = int(np.sum(is_it & is_said)), int(is_it.sum()), int(is_said.sum())
    return {
        "support": support,
        "precision": hits / said if said else UNKNOWN,
        "recall": hits / support if support else UNKNOWN,
        "f1": 2.0 * hits / (support + said) if support + said else UNKNOWN,
    }


def _probability_scores(is_female: NDArray[np.bool_], probability: NDArray[np.float64]) -> dict[str, float]:
    names = ("roc_auc", "pr_auc", "log_loss", "brier", "expected_calibration_error")
    if not is_female.size:
        return dict.fromkeys(names, UNKNOWN)
    clipped = np.clip(probability, 1e-15, 1.0 - 1e-15)
    return {
        "roc_auc": _roc_auc(is_female, probability),
        "pr_auc": _pr_auc(is_female, probability),
        "log_loss": float(-np.mean(np.where(is_female, np.log(clipped), np.log1p(-clipped)))),
        "brier": float(np.mean((probability - is_female) ** 2)),
        "expected_calibration_error": expected_calibration_error(is_female, probability),
    }


def _roc_auc(is_female: NDArray[np.bool_], probability: NDArray[np.float64]) -> float:
    if is_female.all() or not is_female.any():
        return UNKNOWN
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(is_female, probability))


def _pr_auc(is_female: NDArray[np.bool_], probability: NDArray[np.float64]) -> float:
    if is_female.all() or not is_female.any():
        return UNKNOWN
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(is_female, probability))


def _texts(values: ArrayLike) -> NDArray:
    texts = pd.Series(values, dtype=object).to_numpy(copy=True)
    texts[pd.isna(texts)] = None
    return texts


def _probabilities(values: ArrayLike | None, count: int) -> NDArray[np.float64]:
    if values is None:
        return np.full(count, UNKNOWN)
    probability = np.asarray(values, dtype=np.float64).reshape(-1)
    if probability.size != count:
        raise TableError(f"{count} gender labels but {probability.size} probabilities: give one of each per row.")
    wrong = (probability < 0.0) | (probability > 1.0)
    if wrong.any():
        raise TableError(
            f"{int(wrong.sum())} probabilities of female lie outside 0 to 1, first {probability[wrong][0]}; "
            f"log-odds must be turned into probabilities first."
        )
    return probability


def _guesses(probability: NDArray[np.float64]) -> NDArray:
    guess = np.where(probability >= 0.5, "female", "male").astype(object)
    guess[~np.isfinite(probability)] = None
    return guess
