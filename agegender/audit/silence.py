"""Owns what an audit cannot claim: columns without a clear gap, and columns that cannot be judged at all.

To say that nothing was found, and how large a gap chance alone makes here, is as much a result as a gap is.
"""

from __future__ import annotations

import pandas as pd

from agegender.audit import grouping
from agegender.audit import old_sentences as sentences
from agegender.audit.claims import Trial
from agegender.audit.results import SMALLEST_RANKED_GROUP, Finding
from agegender.audit.rows import METRICS, is_known


def no_gap(trial: Trial) -> Finding:
    """Return the finding that a column has no clear gap, or that it cannot be judged."""
    columns, rows = trial.groups.columns, int((trial.groups.codes >= 0).sum())
    if len(trial.claims) < 2:
        reason = f"it takes two groups of {SMALLEST_RANKED_GROUP} or more, and there are not"
        return _nothing(
            "unknown", trial.metric, columns, rows, sentences.untold_sentence(trial.metric, columns, reason)
        )
    gap = (trial.largest_gap, trial.null_95)
    words = sentences.no_gap_sentence(trial.metric, columns, (len(trial.claims), rows), gap)
    smallest = min(claim.p_value for claim in trial.claims)
    return _nothing("none", trial.metric, columns, rows, words, size=trial.largest_gap, p_value=smallest)


def without_rows(table: pd.DataFrame) -> list[Finding]:
    """Return a finding for ages and for genders where no row has both the label and the prediction."""
    reason = "no row has both the label and the prediction"
    return [
        _nothing("unknown", name, (), 0, sentences.untold_sentence(name, (), reason))
        for name in ("mae", "gender_accuracy")
        if not is_known(table, name)
    ]


def too_many(table: pd.DataFrame, column: str) -> Finding:
    """Return the finding that a column has more values than can be compared."""
    count = grouping.value_count(table, column)
    reason = f"it has {count} different values, and at most {grouping.MOST_VALUES} can be compared"
    rows = int(table[column].notna().sum())
    return _nothing("unknown", "mae", (column,), rows, sentences.untold_sentence("mae", (column,), reason))


def _nothing(
    kind: str,
    metric: str,
    columns: tuple[str, ...],
    n: int,
    sentence: str,
    *,
    size: float = float("nan"),
    p_value: float = float("nan"),
) -> Finding:
    unknown, unit = float("nan"), METRICS[metric].unit
    return Finding(kind, metric, columns, (), n, size, unknown, unknown, unit, p_value, 0.0, sentence)
