"""Owns the table of ChaLearn bias scores, each beside what chance alone would make of it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from agegender.audit.bias import chalearn_bias, chalearn_scores
from agegender.audit.judged import Audit
from agegender.pages.tables import Column, Row, Table

_ATTRIBUTES = {"gender": "gender", "age": "age_group", "ethnicity": "ethnicity", "expression": "expression"}
_DEAL_COUNT = 200
_MOST_ROWS = 20_000


def chalearn_table(audit: Audit) -> Table | None:
    """Return the scores of the attributes that are known, or None without ages."""
    if not audit.has_age:
        return None
    rows = audit.judged.dropna(subset=["absolute_age_error_years"])
    scores = {name: score for name, score in chalearn_scores(rows).items() if np.isfinite(score)}
    found = [
        Row({"attribute": name, "score": score} | _beside(rows, _ATTRIBUTES[name])) for name, score in scores.items()
    ]
    note = (
        "Mean difference of MAE over all pairs of groups; 0 is best. Small groups count like large ones, so a score is "
        "above zero by chance: read it against the last column."
    )
    columns = (
        Column("attribute", "Attribute"),
        Column("groups", "Groups", 0),
        Column("n", "Photos", 0),
        Column("score", "Bias score, years", 2),
        Column("chance", "Chance alone (95th percentile)", 2),
    )
    return Table("chalearn", "ChaLearn bias scores", columns, found, note) if found else None


def _beside(rows: pd.DataFrame, column: str) -> dict[str, float]:
    known = rows.dropna(subset=[column])
    # Dealing labels at random is costly for many rows, and more of them than this change the percentile little.
    sample = known if len(known) <= _MOST_ROWS else known.sample(_MOST_ROWS, random_state=7)
    errors, labels = sample["absolute_age_error_years"].to_numpy(float), sample[column].astype(str)
    generator = np.random.default_rng(7)
    dealt = [chalearn_bias(generator.permutation(errors), labels) for _ in range(_DEAL_COUNT)]
    # With fewer rows chance makes larger gaps, in proportion to the root of their number.
    shrink = float(np.sqrt(len(sample) / max(len(known), 1)))
    chance = float(np.percentile(dealt, 95)) * shrink if known[column].nunique() > 1 else float("nan")
    return {"groups": int(known[column].nunique()), "n": len(known), "chance": chance}
