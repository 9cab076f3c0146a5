"""Owns metrics.json: the first figures of a predictions table, per split, overall and by group.

They are point estimates with group sizes; intervals and claims are the business of `groups` and `findings`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from agegender.audit import grouping
from agegender.audit.age import age_metrics, cumulative_scores
from agegender.audit.bias import chalearn_scores
from agegender.audit.gender import gender_metrics
from agegender.audit.tables import completed
from agegender.data.faces_table import SPLITS

STANDARD_GROUPINGS = (("gender",), ("ethnicity",), ("gender", "ethnicity"), ("age_group",))


def evaluation_metrics(
    predictions: pd.DataFrame, *, groupings: Sequence[Sequence[str]] = STANDARD_GROUPINGS
) -> dict[str, Any]:
    """Return the metrics document of a predictions table.

    Parameters
    ----------
    predictions : DataFrame
        Without `split`, or with none known, everything counts as one split named "all".
    groupings : sequence of column tuples

    Returns
    -------
    dict
        Split -> `n`, `age` (`age_metrics` and `cumulative_scores`), `gender` (`gender_metrics`), `interval`
        (`coverage`, `mean_width_years`, `n`), `chalearn_bias`, `groups`: "gender × ethnicity" -> group -> `n`, `age`,
        `gender`. JSON-able once NaN is written as null, as `writing.write_json` does.

    Raises
    ------
    TableError
        Neither ages nor genders were predicted, or ages are no numbers. Of two heads one may be absent.
    """
    table = grouping.with_age_group(completed(predictions))
    return {name: _one_split(rows, groupings) for name, rows in split_rows(table).items()}


def split_rows(predictions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of each split that there is, train, valid, test; all rows as "all" where no split is known."""
    if "split" not in predictions or predictions["split"].isna().all():
        return {"all": predictions}
    present = [name for name in SPLITS if (predictions["split"] == name).any()]
    return {name: predictions[predictions["split"] == name] for name in present}


def _one_split(rows: pd.DataFrame, groupings: Sequence[Sequence[str]]) -> dict[str, Any]:
    ages = age_metrics(rows["age_years"], rows["predicted_age_years"])
    scores = cumulative_scores(rows["age_years"], rows["predicted_age_years"])
    return {
        "n": len(rows),
        "age": {**ages, "cumulative_scores": scores.tolist()},
        "gender": _gender(rows),
        "interval": _interval(rows),
        "chalearn_bias": chalearn_scores(rows),
        "groups": {
            " × ".join(columns): _by_group(rows, columns)
            for columns in groupings
            if all(name in rows for name in columns)
        },
    }


def _by_group(rows: pd.DataFrame, columns: Sequence[str]) -> dict[str, Any]:
    groups = grouping.make(rows, columns)
    return {
        " × ".join(values): {
            "n": int((groups.codes == place).sum()),
            "age": age_metrics(*_ages(rows[groups.codes == place])),
            "gender": _gender(rows[groups.codes == place]),
        }
        for place, values in enumerate(groups.values)
    }


def _ages(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    return rows["age_years"], rows["predicted_age_years"]


def _gender(rows: pd.DataFrame) -> dict[str, float]:
    probability = rows.get("female_probability")
    return gender_metrics(rows["gender"], probability, predicted=rows["predicted_gender"])


def _interval(rows: pd.DataFrame) -> dict[str, float]:
    if "age_low_years" not in rows or "age_high_years" not in rows:
        return {"n": 0, "coverage": float("nan"), "mean_width_years": float("nan")}
    ends = rows[["age_years", "age_low_years", "age_high_years"]].dropna()
    inside = (ends["age_low_years"] <= ends["age_years"]) & (ends["age_years"] <= ends["age_high_years"])
    width = ends["age_high_years"] - ends["age_low_years"]
    return {
        "n": len(ends),
        "coverage": float(np.mean(inside)) if len(ends) else float("nan"),
        "mean_width_years": float(np.mean(width)) if len(ends) else float("nan"),
    }
