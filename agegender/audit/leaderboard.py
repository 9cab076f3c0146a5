"""Many models side by side: ranked as the ChaLearn course does, and which of them leads by each head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from agegender.audit.chalearn import chalearn_scores
from agegender.audit.models_compared import PairedComparison, banded_head, compare_pair
from agegender.audit.predictions_table import complete_predictions
from agegender.errors import TableError
from agegender.heads import Head, Regression

# What ranks models where a head has age bands, as in the ChaLearn course; else every head's main score does.
RANKED_SCORES = ("mae", "bias_gender", "bias_age", "bias_ethnicity", "bias_expression")


def leaderboard(models: Mapping[str, pd.DataFrame], heads: Sequence[Head] | None = None) -> pd.DataFrame:
    """Return the models ordered by their average rank.

    Parameters
    ----------
    models : mapping of name to predictions table
        Of the same rows (the test split).
    heads : sequence of Head, optional
        By default those of each table.

    Returns
    -------
    DataFrame
        `model`, `n`, the scores, a `rank_` of each ranked one, `average_rank`. Where a head has age bands its `mae` and
        four bias scores are ranked, as the ChaLearn course does (`RANKED_SCORES`), and every other head's main score
        stands beside them (`gender_accuracy`); else the main scores are ranked (`height_mae`). Equal scores share the
        mean of their ranks; a score that no model has does not count, one that a model lacks ranks it last there.
    """
    if not models:
        raise TableError("no predictions to compare: name at least one model.")
    completed = {name: complete_predictions(table, heads)[:2] for name, table in models.items()}
    judged: dict[str, Head] = {}
    for rows, own in completed.values():
        judged |= {head.name: head for head in own if head.metrics[0].is_known(rows) and head.name not in judged}
    banded = banded_head(judged.values())
    scores = [{"model": name, **_scores(rows, judged, banded)} for name, (rows, _) in completed.items()]
    board = pd.DataFrame(scores)
    lower_is_better = {_score_name(head): head.metrics[0].better == "lower" for head in judged.values()}
    ranked = dict.fromkeys(RANKED_SCORES, True) if banded else lower_is_better
    for name, is_rising in ranked.items():
        ranks = board[name].rank(method="average", na_option="bottom", ascending=is_rising)
        board[f"rank_{name}"] = ranks if board[name].notna().any() else np.nan
    counted = [f"rank_{name}" for name in ranked if board[name].notna().any()]
    board["average_rank"] = board[counted].mean(axis=1) if counted else np.nan
    order = ["average_rank", *list(ranked)[:1]]
    others = [name for name in lower_is_better if name in board and name not in ranked]
    columns = [*(name for name in board if name not in others), *others]
    return board[columns].sort_values(order, kind="stable", ignore_index=True)


def leaders(models: Mapping[str, pd.DataFrame], board: pd.DataFrame) -> list[tuple[Head, str, str, PairedComparison]]:
    """Return of each head which model does best, which comes next, and the first of them held against the second.

    Only heads that three models or more have are asked for: of two the pair itself says it.
    """
    completed = [complete_predictions(table)[1] for table in models.values()]
    heads = dict.fromkeys(head for own in completed for head in own)
    found, seen = [], set()
    for head in heads:
        name = _score_name(head)
        if name in seen or name not in board or board[name].notna().sum() < 3:
            continue
        seen.add(name)
        is_rising = head.metrics[0].better == "lower"
        best, following = board.sort_values(name, ascending=is_rising, kind="stable")["model"].head(2)
        pair = compare_pair(models[following], models[best], columns=())
        if head.name in pair.changes:
            found.append((head, str(best), str(following), pair))
    return found


def _score_name(head: Head) -> str:
    short = head.metrics[0].short
    return short if isinstance(head, Regression) and head.has_bands else f"{head.name}_{short}"


def _scores(rows: pd.DataFrame, heads: Mapping[str, Head], banded: Regression | None) -> dict[str, float]:
    values = {_score_name(head): head.metrics[0].values(rows) if head.metrics[0].is_known(rows) else np.full(1, np.nan)
              for head in heads.values()}  # fmt: skip
    means = {
        name: float(one[np.isfinite(one)].mean()) if np.isfinite(one).any() else np.nan for name, one in values.items()
    }
    count = int(np.isfinite(next(iter(values.values()), np.empty(0))).sum())
    bias = {f"bias_{name}": score for name, score in chalearn_scores(rows, banded).items()} if banded else {}
    return {"n": count, **means, **bias}
