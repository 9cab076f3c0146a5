"""How often each training photo is drawn and how much it counts, so that rare groups are not rare in training.

It weighs rows; the loader draws. Rare faces are seen again and again, each time changed by augmentation, or they are
seen once and count for more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.data.faces_table import label_columns
from agegender.errors import UsageError, did_you_mean
from agegender.heads.age_bands import with_age_group
from agegender.training_settings import TrainingSettings

MOST_REPEATS = 10.0  # beyond that a handful of faces is learnt by heart
_MOST_ROUNDS = 1000


def apply_balance(loader: Any, rows: pd.DataFrame, settings: TrainingSettings, balance: Sequence[str]) -> None:
    """Tell the training loader of these rows how often each is drawn and how much it counts."""
    drawn = balance or settings.oversample
    if drawn:
        loader.weights = balancing_weights(rows, drawn)
        loader.strengthens_repeats = bool(settings.oversample)
    if settings.weigh:
        loader.photo_weights = photo_weights(rows, settings.weigh, settings.weigh_cap)


def check_balance(rows: pd.DataFrame, settings: TrainingSettings, balance: Sequence[str]) -> None:
    """Refuse columns that photos cannot be balanced, oversampled or weighed by."""
    settings.check_with_balance(balance)
    for verb, columns in (("balance", balance), ("oversample", settings.oversample), ("weigh", settings.weigh)):
        if columns:
            balancing_weights(rows, columns, verb=verb)


def photo_weights(rows: pd.DataFrame, columns: Sequence[str], cap: float) -> NDArray[np.float64]:
    """Return what each training row counts for: the inverse frequency of its group, the mean 1, none above the cap.

    >>> rows = pd.DataFrame({"age_years": 30.0, "gender": ["male", "male", "male", "female"], "ethnicity": None})
    >>> photo_weights(rows, ["gender"], 10.0).round(2).tolist()
    [0.67, 0.67, 0.67, 2.0]
    """
    weights = _inverse_frequencies(rows, columns, verb="weigh")
    for _ in range(_MOST_ROUNDS):  # what the cap takes goes to those below it
        weights = np.minimum(weights / weights.mean(), cap)
        if abs(weights.mean() - 1) < 1e-9:
            break
    return weights


def balancing_weights(rows: pd.DataFrame, columns: Sequence[str], *, verb: str = "balance") -> NDArray[np.float64]:
    """Return a weight per training row with which every combination of the columns is drawn equally often.

    The columns are labels of classes, `age_group` or `source`; unknown labels are a group of their own. Shape (rows,),
    mean 1 before the cap, none above `MOST_REPEATS`.

    >>> rows = pd.DataFrame({"age_years": 30.0, "gender": ["male", "male", "male", "female"], "ethnicity": None})
    >>> balancing_weights(rows, ["gender"]).round(2).tolist()
    [0.67, 0.67, 0.67, 2.0]
    """
    return np.minimum(_inverse_frequencies(rows, columns, verb=verb), MOST_REPEATS)


def _inverse_frequencies(rows: pd.DataFrame, columns: Sequence[str], *, verb: str) -> NDArray[np.float64]:
    table = with_age_group(rows)
    classes = [name for name in label_columns(table) if not pd.api.types.is_float_dtype(table[name])]
    choices = [*classes, *(["source"] if "source" in table else [])]
    wrong = [name for name in columns if name not in choices]
    if wrong or not columns:
        hint = did_you_mean(wrong[0], choices) if wrong else ""
        raise UsageError(f"cannot {verb} by {', '.join(wrong) or 'nothing'}.{hint} Choose of {', '.join(choices)}.")
    cells = table[list(columns)].astype(object).where(table[list(columns)].notna(), "unknown").astype(str)
    joined = cells.agg("\0".join, axis=1)
    counts = joined.map(joined.value_counts()).to_numpy(dtype=np.float64)
    return len(rows) / (counts * joined.nunique())
