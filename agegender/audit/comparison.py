"""Owns the comparison of models on the same faces: who is better, by how much, and on which faces.

Everything is paired: two models see the same photos, and their errors rise and fall together, so a difference of
errors face by face is known far better than two averages are. `compare` calls it.

References
----------
McNemar, Psychometrika 1947 (here exact, by the binomial distribution).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.audit import grouping, intervals
from agegender.audit.age import age_metrics
from agegender.audit.bias import chalearn_scores
from agegender.audit.predictions_table import with_errors
from agegender.audit.results import Estimate
from agegender.audit.tables import completed
from agegender.errors import TableError

RANKED_SCORES = ("mae", "bias_gender", "bias_age", "bias_ethnicity", "bias_expression")
_MENDED_YEARS = 5.0


@dataclass(frozen=True)
class PairedComparison:
    """What a second model changes against a first one, on the faces that both have judged.

    Attributes
    ----------
    n : int
        Faces with an age label and both predictions.
    error_difference : Estimate
        Mean absolute error of the second minus that of the first, years: below 0 the second is better.
    gender_n, mended_genders, broken_genders : int
        Faces with a gender label and both predictions; wrong in the first and right in the second; the other way round.
    mcnemar_p_value : float
        Two-sided and exact; NaN without a labelled face.
    by_group : DataFrame
        Columns `column`, `group`, `n`, `error_difference`, `error_difference_low`, `error_difference_high`,
        `gender_n`, `mended_genders`, `broken_genders`, `mcnemar_p_value`. Not corrected for how many there are.
    faces : DataFrame
        One row per shared face, most mended first: the labels, `absolute_error_first_years`,
        `absolute_error_second_years`, `error_change_years`, `predicted_gender_first`, `predicted_gender_second`,
        `gender_change` ("mended", "broken", "" or missing).
    """

    n: int
    error_difference: Estimate
    gender_n: int
    mended_genders: int
    broken_genders: int
    mcnemar_p_value: float
    by_group: pd.DataFrame
    faces: pd.DataFrame

    def mended(self, count: int = 12) -> pd.DataFrame:
        """Return the faces whose age the second model judges better by 5 years or more, best first."""
        return self.faces[self.faces["error_change_years"] <= -_MENDED_YEARS].head(count)

    def broken(self, count: int = 12) -> pd.DataFrame:
        """Return the faces whose age the second model judges worse by 5 years or more, worst first."""
        return self.faces[self.faces["error_change_years"] >= _MENDED_YEARS].iloc[::-1].head(count)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain dictionaries; the faces are left to their table."""
        names = ("n", "gender_n", "mended_genders", "broken_genders", "mcnemar_p_value")
        return {
            **{name: getattr(self, name) for name in names},
            "error_difference": asdict(self.error_difference),
            "by_group": self.by_group.to_dict(orient="records"),
        }


def leaderboard(models: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the models ordered by their average rank over MAE and the four bias scores, as the ChaLearn course does.

    Parameters
    ----------
    models : mapping of name to predictions table
        Of the same rows (the test split).

    Returns
    -------
    DataFrame
        `model`, `n`, `mae`, `bias_gender`, `bias_age`, `bias_ethnicity`, `bias_expression` (years), a `rank_` of each,
        `average_rank`, `gender_accuracy`. Equal scores share the mean of their ranks; a score that no model has does
        not count, one that a model lacks ranks it last there.
    """
    if not models:
        raise TableError("no predictions to compare: name at least one model.")
    board = pd.DataFrame([{"model": name, **_scores(table)} for name, table in models.items()])
    counted = [name for name in RANKED_SCORES if board[name].notna().any()]
    for name in RANKED_SCORES:
        board[f"rank_{name}"] = board[name].rank(method="average", na_option="bottom") if name in counted else np.nan
    ranks = board[[f"rank_{name}" for name in counted]]
    board["average_rank"] = ranks.mean(axis=1) if counted else np.nan
    return board.sort_values(["average_rank", "mae"], kind="stable", ignore_index=True)


def compare_pair(
    first: pd.DataFrame,
    second: pd.DataFrame,
    *,
    columns: Sequence[str] | None = None,
    resample_count: int = 2000,
    seed: int = 7,
) -> PairedComparison:
    """Return what the second model changes against the first, on the photos that both tables name in `path`.

    Raises
    ------
    TableError
        A table has no `path`, names a photo twice, the tables share no photo, or their labels disagree.
    """
    faces = _shared(first, second)
    chosen = grouping.group_columns(first) if columns is None else tuple(columns)
    numbers = (resample_count, seed)
    rows = [row for name in chosen for row in _by_column(faces, name, numbers)]
    overall = _row("", "", faces, _interval(faces["error_change_years"].to_numpy(dtype=np.float64), numbers))
    return PairedComparison(
        n=overall["n"],
        error_difference=Estimate(*(overall[f"error_difference{end}"] for end in ("", "_low", "_high"))),
        gender_n=overall["gender_n"],
        mended_genders=overall["mended_genders"],
        broken_genders=overall["broken_genders"],
        mcnemar_p_value=overall["mcnemar_p_value"],
        by_group=pd.DataFrame(rows, columns=list(overall)),
        faces=faces.sort_values("error_change_years", kind="stable", ignore_index=True),
    )


def mcnemar(mended: int, broken: int) -> float:
    """Return the exact two-sided p-value of McNemar's test from the two counts of changes.

    >>> mcnemar(10, 0), mcnemar(0, 0)
    (0.001953125, 1.0)
    """
    from scipy.stats import binomtest

    return float(binomtest(mended, mended + broken, 0.5).pvalue) if mended + broken else 1.0


def _scores(predictions: pd.DataFrame) -> dict[str, float]:
    table = completed(predictions)
    ages = age_metrics(table["age_years"], table["predicted_age_years"])
    bias = {f"bias_{name}": score for name, score in chalearn_scores(table).items()}
    right = with_errors(table)["is_gender_right"]
    return {"n": ages["n"], "mae": ages["mae"], **bias, "gender_accuracy": float(right.mean())}


def _shared(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Return the shared photos with the labels, both models' errors and the change."""
    for name, table in (("first", first), ("second", second)):
        if "path" not in table or table["path"].duplicated().any():
            raise TableError(f"the {name} predictions table needs a column path that names every photo once.")
    new = with_errors(completed(second))[
        ["path", "age_years", "absolute_age_error_years", "predicted_gender", "is_gender_right"]
    ]
    both = with_errors(completed(first)).merge(new, on="path", suffixes=("", "_second"), validate="one_to_one")
    if both.empty:
        raise TableError("the two predictions tables share no photo: their columns path have nothing in common.")
    moved = (both["age_years"] - both["age_years_second"]).abs() > 1e-6
    if moved.any():
        raise TableError(
            f"{int(moved.sum())} photos have another age label in the second table, first "
            f"{both['path'][moved].iloc[0]!r}; compare models on the same labels."
        )
    both = both.drop(columns="age_years_second").rename(
        columns={
            "absolute_age_error_years": "absolute_error_first_years",
            "absolute_age_error_years_second": "absolute_error_second_years",
            "predicted_gender": "predicted_gender_first",
        }
    )
    both["error_change_years"] = both["absolute_error_second_years"] - both["absolute_error_first_years"]
    both["gender_change"] = _gender_change(both)
    return grouping.with_age_group(both)


def _gender_change(both: pd.DataFrame) -> NDArray[np.object_]:
    change = (both["is_gender_right_second"] - both["is_gender_right"]).to_numpy(dtype=np.float64)
    words = np.array(["broken", "", "mended", None], dtype=object)
    return words[np.where(np.isfinite(change), np.nan_to_num(change) + 1, 3).astype(int)]


def _by_column(faces: pd.DataFrame, column: str, numbers: tuple[int, int]) -> list[dict[str, Any]]:
    groups = grouping.make(faces, (column,))
    members = [faces[groups.codes == place] for place in range(len(groups.values))]
    changes = [rows["error_change_years"].to_numpy(dtype=np.float64) for rows in members]
    return [
        _row(column, values[0], rows, _interval(change, numbers))
        for values, rows, change in zip(groups.values, members, changes, strict=True)
    ]


def _interval(changes: NDArray[np.float64], numbers: tuple[int, int]) -> tuple[int, Estimate]:
    known = changes[np.isfinite(changes)]
    if not known.size:
        return 0, Estimate(float("nan"))
    one_group = np.zeros(known.size, dtype=np.int64)
    grouped = intervals.resample_groups(known, one_group, 1, resample_count=numbers[0], seed=numbers[1])
    low, high = intervals.mean_intervals(grouped)
    return known.size, Estimate(float(known.mean()), float(low[0]), float(high[0]))


def _row(column: str, group: str, rows: pd.DataFrame, measured: tuple[int, Estimate]) -> dict[str, Any]:
    n, difference = measured
    known = int(rows["gender_change"].notna().sum())
    mended, broken = (int((rows["gender_change"] == word).sum()) for word in ("mended", "broken"))
    return {
        "column": column,
        "group": group,
        "n": int(n),
        "error_difference": difference.value,
        "error_difference_low": difference.low,
        "error_difference_high": difference.high,
        "gender_n": known,
        "mended_genders": mended,
        "broken_genders": broken,
        "mcnemar_p_value": mcnemar(mended, broken) if known else float("nan"),
    }
