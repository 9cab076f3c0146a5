"""Models on the same faces: who is better, by how much, and on which faces, head by head.

Everything is paired: two models see the same photos, and their errors rise and fall together, so a difference of
errors face by face is known far better than two averages are.

References
----------
McNemar, Psychometrika 1947 (here exact, by the binomial distribution). How groups are told together: see
`paired_differences`.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.audit import grouping
from agegender.audit.chalearn import chalearn_scores
from agegender.audit.dependence import clusters_of
from agegender.audit.estimates import Estimate, mean_of
from agegender.audit.paired_differences import Differences, Family, flip_p_value, measure_together
from agegender.audit.predictions_table import complete_predictions, with_errors
from agegender.errors import TableError
from agegender.heads import Classification, Head, Regression, heads_of_predictions
from agegender.writing import replaced_file

# What ranks models where a head has age bands, as in the ChaLearn course; else every head's main score does.
RANKED_SCORES = ("mae", "bias_gender", "bias_age", "bias_ethnicity", "bias_expression")
_LARGE_SHARE = 0.25  # of the labels' standard deviation: a large change of an error where the head has no tolerance
_WORDS = np.array(["broken", "", "mended", None], dtype=object)


@dataclass(frozen=True)
class NumberChange:
    """What a second model changes in the errors of a regression.

    Attributes
    ----------
    n : int
        Faces with a label and both predictions.
    error_difference : Estimate
        Mean absolute error of the second minus that of the first, in the unit: below 0 the second is better.
    by_group : DataFrame
        Columns `column`, `group`, `n`, `error_difference`, `error_difference_low`, `error_difference_high`,
        `p_corrected`. Interval and p-value hold for all groups of all heads of the pair together.
    """

    n: int
    error_difference: Estimate
    by_group: pd.DataFrame


@dataclass(frozen=True)
class ClassChange:
    """What a second model changes in the predictions of a classification.

    Attributes
    ----------
    n : int
        Faces with a label and both predictions.
    mended, broken : int
        Wrong in the first and right in the second; the other way round.
    mcnemar_p_value : float
        Two-sided and exact; NaN without a face. Where rows hang together, signs of whole clusters are flipped.
    accuracy_difference : Estimate
        Share of right answers of the second minus that of the first, above 0 the second is better.
    by_group : DataFrame
        Columns `column`, `group`, `n`, `mended`, `broken`, `accuracy_difference`, `accuracy_difference_low`,
        `accuracy_difference_high`, `p_corrected`. Interval and p-value hold for all groups of all heads of the pair
        together.
    """

    n: int
    mended: int
    broken: int
    mcnemar_p_value: float
    accuracy_difference: Estimate
    by_group: pd.DataFrame


@dataclass(frozen=True)
class PairedComparison:
    """What a second model changes against a first one, on the faces that both have judged.

    Attributes
    ----------
    heads : tuple of Head
        Those that both models have.
    changes : mapping of the head's name to NumberChange or ClassChange
    faces : DataFrame
        One row per shared face, most mended first, with the labels of the first table. Of each head
        `<predicted>_first`, `<predicted>_second` and `<name>_change`: of a regression the absolute error of the second
        minus that of the first, beside `<absolute error>_first` and `_second`; of a classification "mended", "broken",
        "" or missing.
    cluster_count : int or None
        Persons and the like, which are drawn whole; None where every face stands alone.
    """

    heads: tuple[Head, ...]
    changes: Mapping[str, NumberChange | ClassChange]
    faces: pd.DataFrame
    cluster_count: int | None = None

    def mended(self, head: Head, count: int = 12) -> pd.DataFrame:
        """Return faces that the second model judges better: numbers by a tolerance or more, best first."""
        change = self.faces[change_column(head)]
        if isinstance(head, Classification):
            return self.faces[change == "mended"].head(count)
        return self.faces[change <= -self._large(head)].sort_values(change_column(head), kind="stable").head(count)

    def broken(self, head: Head, count: int = 12) -> pd.DataFrame:
        """Return faces that the second model judges worse: numbers by a tolerance or more, worst first."""
        change = self.faces[change_column(head)]
        if isinstance(head, Classification):
            return self.faces[change == "broken"].head(count)
        worst_last = self.faces.sort_values(change_column(head), kind="stable")
        return worst_last[worst_last[change_column(head)] >= self._large(head)].iloc[::-1].head(count)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers of each head as plain dictionaries; the faces are left to their table."""
        return {
            name: {**asdict(change), "by_group": change.by_group.to_dict(orient="records")}
            for name, change in self.changes.items()
        }

    def _large(self, head: Regression) -> float:
        return head.tolerances[0] if head.tolerances else _LARGE_SHARE * float(self.faces[head.column].std())


def change_column(head: Head) -> str:
    """Return the column of `PairedComparison.faces` that says what became of a face."""
    return f"{head.name}_change"


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
    banded = next((head for head in judged.values() if isinstance(head, Regression) and head.has_bands), None)
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


def compare_pair(
    first: pd.DataFrame,
    second: pd.DataFrame,
    *,
    heads: Sequence[Head] | None = None,
    columns: Sequence[str] | None = None,
    resample_count: int = 2000,
    seed: int = 7,
) -> PairedComparison:
    """Return what the second model changes against the first, on the photos that both tables name in `path`."""
    faces, judged = _shared(first, second, heads)
    chosen = grouping.group_columns(faces[_first_columns(faces)]) if columns is None else tuple(columns)
    groupings = [grouping.make(faces, (name,)) for name in chosen]
    clusters = clusters_of(faces)
    changes = _changes(faces, judged, groupings, clusters, (resample_count, seed))
    by_number = [change_column(head) for head in judged if isinstance(head, Regression)]
    if by_number:
        faces = faces.sort_values(by_number[0], kind="stable", ignore_index=True)
    return PairedComparison(judged, changes, faces, None if clusters is None else int(clusters.max()) + 1)


def mcnemar(mended: int, broken: int) -> float:
    """Return the exact two-sided p-value of McNemar's test from the two counts of changes.

    >>> mcnemar(10, 0), mcnemar(0, 0)
    (0.001953125, 1.0)
    """
    from scipy.stats import binomtest

    return float(binomtest(mended, mended + broken, 0.5).pvalue) if mended + broken else 1.0


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


def _first_columns(faces: pd.DataFrame) -> list[str]:
    return [name for name in faces if not str(name).endswith(("_first", "_second", "_change"))]


def _shared(
    first: pd.DataFrame, second: pd.DataFrame, heads: Sequence[Head] | None
) -> tuple[pd.DataFrame, tuple[Head, ...]]:
    """Return the shared photos with the labels, both models' predictions and the change, and the heads of both."""
    for name, table in (("first", first), ("second", second)):
        if "path" not in table or table["path"].duplicated().any():
            raise TableError(f"the {name} predictions table needs a column path that names every photo once.")
    old, old_heads, _ = complete_predictions(first, heads)
    new, new_heads, _ = complete_predictions(second, heads)
    theirs = {head.name for head in new_heads if head.metrics[0].is_known(new)}
    judged = tuple(head for head in old_heads if head.name in theirs and head.metrics[0].is_known(old))
    old, new = with_errors(old, judged), with_errors(new, judged)
    wanted = [name for head in judged for name in (head.column, head.predicted, *head.derived_columns)]
    both = old.merge(new[["path", *wanted]], on="path", suffixes=("", "_second"), validate="one_to_one")
    if both.empty:
        raise TableError("the two predictions tables share no photo: their columns path have nothing in common.")
    for head in judged:
        both = _with_change(both, head)
    return both, judged


def _with_change(both: pd.DataFrame, head: Head) -> pd.DataFrame:
    """Return the shared rows with a head's change, and its predictions named after the first and the second model."""
    label, other = both[head.column], both[f"{head.column}_second"]
    kept = [head.predicted]
    if isinstance(head, Regression):
        is_other = (label - other).abs() > 1e-6
        error = head.absolute_error_column
        kept, change = [*kept, error], (both[f"{error}_second"] - both[error]).to_numpy()
    else:
        is_other = label.notna() & other.notna() & (label != other)
        change = _class_change(both[f"{head.right_column}_second"] - both[head.right_column])
    if is_other.any():
        raise TableError(
            f"{int(is_other.sum())} photos have another {head.title} label in the second table, first "
            f"{both['path'][is_other].iloc[0]!r}; compare models on the same labels."
        )
    both = both.rename(columns={name: f"{name}_first" for name in kept}).assign(**{change_column(head): change})
    gone = {head.column, *head.derived_columns} - set(kept)
    return both.drop(columns=[f"{name}_second" for name in gone])


def _class_change(change: pd.Series) -> NDArray[np.object_]:
    numbers = change.to_numpy(dtype=np.float64)
    return _WORDS[np.where(np.isfinite(numbers), np.nan_to_num(numbers) + 1, 3).astype(int)]


def _changes(
    faces: pd.DataFrame,
    heads: Sequence[Head],
    groupings: Sequence[grouping.Grouping],
    clusters: NDArray[np.int64] | None,
    numbers: tuple[int, int],
) -> dict[str, NumberChange | ClassChange]:
    """Return what changes by each head, overall and in groups that are corrected for each other."""
    named = [(one.columns[0], values[0], one.codes == number) for one in groupings
             for number, values in enumerate(one.values)]  # fmt: skip
    words = pd.DataFrame([words for *words, _ in named], columns=["column", "group"])
    families = [
        Family(_change_values(faces, head), [inside for *_, inside in named], isinstance(head, Classification))
        for head in heads
    ]
    together = measure_together(families, clusters, seed=numbers[1])
    return {
        head.name: _change(family, pd.concat([words, _group_table(family, groups)], axis=1), clusters, numbers)
        for head, family, groups in zip(heads, families, together, strict=True)
    }


def _change(
    family: Family, by_group: pd.DataFrame, clusters: NDArray[np.int64] | None, numbers: tuple[int, int]
) -> NumberChange | ClassChange:
    everyone = np.ones(len(family.values), dtype=bool)
    counts = _counts(family, everyone)
    if not family.is_class:
        mean = mean_of(family.values, is_rate=False, clusters=clusters, resample_count=numbers[0], seed=numbers[1])
        return NumberChange(counts["n"], mean, by_group)
    whole = measure_together([replace(family, groups=[everyone])], clusters, seed=numbers[1])[0]
    p_value = _flip_p_value(family.values, clusters) if counts["n"] else float("nan")
    return ClassChange(**counts, mcnemar_p_value=p_value, accuracy_difference=whole.of(0), by_group=by_group)


def _group_table(family: Family, groups: Differences) -> pd.DataFrame:
    counts = pd.DataFrame(
        [_counts(family, inside) for inside in family.groups], columns=list(_counts(family, slice(0)))
    )
    name = "accuracy_difference" if family.is_class else "error_difference"
    measured = {name: groups.means, f"{name}_low": groups.low, f"{name}_high": groups.high}
    return counts.assign(**measured, p_corrected=groups.p_values)


def _change_values(faces: pd.DataFrame, head: Head) -> NDArray[np.float64]:
    """Return what became of each face as a number, above 0 where it is worse by a number and better by a class."""
    change = faces[change_column(head)]
    if isinstance(head, Regression):
        return change.to_numpy(dtype=np.float64)
    return change.map({"broken": -1.0, "": 0.0, "mended": 1.0}).to_numpy(dtype=np.float64)


def _counts(family: Family, inside: NDArray[np.bool_] | slice) -> dict[str, int]:
    values = family.values[inside]
    known = int(np.isfinite(values).sum())
    if not family.is_class:
        return {"n": known}
    return {"n": known, "mended": int((values == 1.0).sum()), "broken": int((values == -1.0).sum())}


def _flip_p_value(values: NDArray[np.float64], clusters: NDArray[np.int64] | None) -> float:
    known = np.isfinite(values)
    changes = values[known]
    if clusters is None:
        return mcnemar(int((changes == 1.0).sum()), int((changes == -1.0).sum()))
    return flip_p_value(np.bincount(clusters[known], weights=changes).astype(np.int64))


def write_submission(predictions: pd.DataFrame, path: Path, *, expected: int | None = None) -> int:
    """Write the ChaLearn course's file: `predictions.csv` inside a zip, one age in years a line, no header, CRLF.

    It is refused where there are not as many ages as `expected`: the scorer goes by the order of the lines alone.
    """
    column = _head_with_ages(predictions).predicted
    ages = pd.to_numeric(predictions.sort_values("path")[column], errors="coerce")
    if ages.isna().any():
        raise TableError(f"{int(ages.isna().sum())} photos have no predicted age, and a submission needs all of them.")
    if expected is not None and len(ages) != expected:
        raise TableError(
            f"the submission would have {len(ages)} ages, and {expected} photos are to be judged, so that lines would "
            f"stand for the wrong photos. Where `prepare` has dropped some, predict the photos themselves (`agegender "
            f"predict`) and compare that table; --submission-rows says how many there are."
        )
    text = io.StringIO()
    csv.writer(text).writerows([[age] for age in ages])
    with replaced_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("predictions.csv", text.getvalue())
    return len(ages)


def _head_with_ages(predictions: pd.DataFrame) -> Regression:
    heads = [head for head in heads_of_predictions(predictions) if isinstance(head, Regression) and head.has_bands]
    if not heads:
        raise TableError("the first model predicts no ages, and a submission is made of them.")
    return heads[0]
