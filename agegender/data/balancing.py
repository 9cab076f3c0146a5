"""How often each training photo is drawn, so that groups that are rare in the data are not rare in training.

It weighs rows; the loader draws. Rare faces are seen again and again, each time changed by augmentation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.data.faces_table import label_columns
from agegender.errors import UsageError, did_you_mean
from agegender.heads.age_bands import with_age_group

MOST_REPEATS = 10.0  # beyond that a handful of faces is learnt by heart


def balancing_weights(rows: pd.DataFrame, columns: Sequence[str]) -> NDArray[np.float64]:
    """Return a weight per training row with which every combination of the columns is drawn equally often.

    The columns are labels of classes, `age_group` or `source`; unknown labels are a group of their own. Shape (rows,),
    mean 1 before the cap, none above `MOST_REPEATS`.

    >>> rows = pd.DataFrame({"age_years": 30.0, "gender": ["male", "male", "male", "female"], "ethnicity": None})
    >>> balancing_weights(rows, ["gender"]).round(2).tolist()
    [0.67, 0.67, 0.67, 2.0]
    """
    table = with_age_group(rows)
    classes = [name for name in label_columns(table) if not pd.api.types.is_float_dtype(table[name])]
    choices = [*classes, *(["source"] if "source" in table else [])]
    wrong = [name for name in columns if name not in choices]
    if wrong or not columns:
        hint = did_you_mean(wrong[0], choices) if wrong else ""
        raise UsageError(f"cannot balance by {', '.join(wrong) or 'nothing'}.{hint} Choose of {', '.join(choices)}.")
    cells = table[list(columns)].astype(object).where(table[list(columns)].notna(), "unknown").astype(str)
    joined = cells.agg("\0".join, axis=1)
    counts = joined.map(joined.value_counts()).to_numpy(dtype=np.float64)
    weights = len(rows) / (counts * joined.nunique())
    return np.minimum(weights, MOST_REPEATS)
