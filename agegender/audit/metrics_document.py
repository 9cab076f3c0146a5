"""metrics.json: the first figures of a predictions table, per split, overall and by group.

They are point estimates with group sizes; intervals and claims are the business of an assessment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from agegender.audit import grouping
from agegender.audit.age_checks import AgeCheck, CheckResult, check_ages
from agegender.audit.chalearn import chalearn_scores
from agegender.audit.dependence import clusters_of
from agegender.audit.predictions_table import complete_predictions
from agegender.heads import Head, Regression
from agegender.heads.age_bands import FINE_EDGES, checked_edges, with_age_band
from agegender.settings import SPLITS

STANDARD_GROUPINGS = (("gender",), ("ethnicity",), ("gender", "ethnicity"), ("age_group",), ("age_band",))


def evaluation_metrics(
    predictions: pd.DataFrame, heads: Sequence[Head] | None = None, *, age_bands: Sequence[float] = FINE_EDGES
) -> dict[str, Any]:
    """Return the metrics document of a predictions table.

    Parameters
    ----------
    predictions : DataFrame
        Without `split`, or with none known, everything counts as one split named "all".
    heads : sequence of Head, optional
        By default those of the table.
    age_bands : sequence of float
        The years at which `age_band` begins anew, beside ChaLearn's four groups.

    Returns
    -------
    dict
        Split -> `n`, the scores of each head by its name, `chalearn_bias` where a head has age bands, `groups`:
        "gender × ethnicity" -> group -> `n` and the scores of each head. JSON-able once NaN is written as null, as
        `writing.write_json` does.
    """
    rows, judged, _ = complete_predictions(predictions, heads)
    rows = with_age_band(rows, checked_edges(age_bands))
    return {name: _one_split(part, judged) for name, part in split_rows(rows).items()}


def split_age_checks(
    predictions: pd.DataFrame, heads: Sequence[Head], checks: Sequence[AgeCheck]
) -> dict[str, list[CheckResult]]:
    """Return what checks of ages would do to the people of each split."""
    rows, judged, _ = complete_predictions(predictions, heads)
    return {
        name: check_ages(part, judged, checks, clusters=clusters_of(part)) for name, part in split_rows(rows).items()
    }


def card_metrics(predictions: pd.DataFrame, heads: Sequence[Head]) -> dict[str, Any]:
    """Return the scores of each split for a model's card, without those of groups."""
    return {
        side: {key: value for key, value in figures.items() if key != "groups"}
        for side, figures in evaluation_metrics(predictions, heads).items()
    }


def split_rows(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of each split that there is, train, valid, test; all rows as "all" where no split is known."""
    present = [name for name in SPLITS if (rows["split"] == name).any()]
    return {name: rows[rows["split"] == name] for name in present} or {"all": rows}


def _one_split(rows: pd.DataFrame, heads: Sequence[Head]) -> dict[str, Any]:
    bias = [chalearn_scores(rows, head) for head in heads if isinstance(head, Regression) and head.has_bands]
    return {
        **_scores(rows, heads),
        **({"chalearn_bias": bias[0]} if bias else {}),
        "groups": {
            " × ".join(columns): _by_group(rows, columns, heads)
            for columns in STANDARD_GROUPINGS
            if all(name in rows for name in columns)
        },
    }


def _by_group(rows: pd.DataFrame, columns: Sequence[str], heads: Sequence[Head]) -> dict[str, Any]:
    groups = grouping.make(rows, columns)
    return {
        " × ".join(values): _scores(rows[groups.codes == number], heads) for number, values in enumerate(groups.values)
    }


def _scores(rows: pd.DataFrame, heads: Sequence[Head]) -> dict[str, Any]:
    return {"n": len(rows), **{head.name: head.scores(rows) for head in heads}}
