"""Models on the same faces: who is better, by how much, and on which faces, head by head.

Everything is paired: two models see the same photos, and their errors rise and fall together, so a difference of
errors face by face is known far better than two averages are.

References
----------
McNemar, Psychometrika 1947 (here exact, by the binomial distribution). How groups are told together: see
`paired_differences`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.audit import grouping
from agegender.audit.bias_scores_compared import BiasChange, compare_bias_scores
from agegender.audit.dependence import clusters_of
from agegender.audit.estimates import UNKNOWN, Estimate, mean_of, measure_groups
from agegender.audit.paired_differences import Differences, Family, flip_p_value, measure_together
from agegender.audit.predictions_table import complete_predictions, with_errors
from agegender.errors import TableError
from agegender.heads import Classification, Head, Regression

_LARGE_SHARE = 0.25  # of the labels' standard deviation: a large change of an error where the head has no tolerance
_SAME = 1e-9  # errors nearer than this are equal
_MODELS = ("first", "second")
_WORDS = np.array(["broken", "", "mended", None], dtype=object)


@dataclass(frozen=True)
class Agreement:
    """How far two models say the same of the same faces, whatever the labels are.

    Attributes
    ----------
    n : int
        Faces that both have predicted.
    same : Estimate
        Share of them with one and the same answer.
    distance, shift : Estimate
        Of numbers, the second's answers minus the first's: mean size, and mean with its sign, in the unit; NaN of
        classes.
    """

    n: int
    same: Estimate
    distance: Estimate = UNKNOWN
    shift: Estimate = UNKNOWN

    @property
    def is_identical(self) -> bool:
        """Whether the two answer every face alike."""
        return self.n > 0 and self.same.value == 1.0


@dataclass(frozen=True)
class NumberChange:
    """What a second model changes in the errors of a regression.

    Attributes
    ----------
    n : int
        Faces with a label and both predictions.
    first, second : Estimate
        Mean absolute error of each, in the unit.
    error_difference : Estimate
        That of the second minus that of the first: below 0 the second is better.
    signed_first, signed_second : Estimate
        Mean signed error of each: above 0 its answers are too high.
    nearer, farther : Estimate
        Share of faces on which the second is nearer to the label than the first, or farther away; on the rest both are
        equally far.
    by_group : DataFrame
        Columns `column`, `group`, `n`, `error_difference`, `p_corrected` (of the mean absolute error),
        `signed_difference`, `signed_p_corrected` (of the mean signed error), `gap_difference`, `gap_p_corrected` (of
        the group's mean absolute error minus that of its rest); and of each model, as `_first` and `_second`, `mae`,
        `signed` and `gap`. All but counts and p-values also with `_low` and `_high`. Intervals of differences, and
        p-values, hold for all groups of all heads of the pair together; those of one model are single 95 % intervals.
    """

    n: int
    first: Estimate
    second: Estimate
    error_difference: Estimate
    signed_first: Estimate
    signed_second: Estimate
    nearer: Estimate
    farther: Estimate
    by_group: pd.DataFrame


@dataclass(frozen=True)
class ClassChange:
    """What a second model changes in the predictions of a classification.

    Attributes
    ----------
    n : int
        Faces with a label and both predictions.
    first, second : Estimate
        Share of right answers of each.
    mended, broken : int
        Wrong in the first and right in the second; the other way round.
    mcnemar_p_value : float
        Two-sided and exact; NaN without a face. Where rows hang together, signs of whole clusters are flipped.
    accuracy_difference : Estimate
        Share of right answers of the second minus that of the first, above 0 the second is better.
    by_group : DataFrame
        Columns `column`, `group`, `n`, `mended`, `broken`, `accuracy_difference`, `p_corrected`, `gap_difference`,
        `gap_p_corrected`, and of each model `accuracy` and `gap`, see `NumberChange`.
    """

    n: int
    first: Estimate
    second: Estimate
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
        Those that both models have, with labels.
    changes : mapping of the head's name to NumberChange or ClassChange
    faces : DataFrame
        One row per shared face, most mended first, with the labels of the first table. Of each head
        `<predicted>_first`, `<predicted>_second` and `<name>_change`: of a regression the absolute error of the second
        minus that of the first, beside `<absolute error>_first` and `_second`; of a classification "mended", "broken",
        "" or missing.
    cluster_count : int or None
        Persons and the like, which are drawn whole; None where every face stands alone.
    shared : tuple of Head
        Those that both models have, labels or not.
    agreement : mapping of the head's name to Agreement
        Of those.
    bias : tuple of BiasChange
        ChaLearn's bias scores before and after, of the head that has age bands.
    unshared : tuple of tuples of str
        Heads of the first that cannot be held against the second's, and those of the second.
    """

    heads: tuple[Head, ...]
    changes: Mapping[str, NumberChange | ClassChange]
    faces: pd.DataFrame
    cluster_count: int | None = None
    shared: tuple[Head, ...] = ()
    agreement: Mapping[str, Agreement] = field(default_factory=dict)
    bias: tuple[BiasChange, ...] = ()
    unshared: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())

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
        agreement = {name: {"agreement": asdict(one)} for name, one in self.agreement.items()}
        changes = {
            name: {**asdict(change), "by_group": change.by_group.to_dict(orient="records")}
            for name, change in self.changes.items()
        }
        heads = {name: changes.get(name, {}) | agreement.get(name, {}) for name in {**changes, **agreement}}
        return heads | {"bias_scores": [asdict(one) for one in self.bias]}

    def _large(self, head: Regression) -> float:
        return head.tolerances[0] if head.tolerances else _LARGE_SHARE * float(self.faces[head.column].std())


def change_column(head: Head) -> str:
    """Return the column of `PairedComparison.faces` that says what became of a face."""
    return f"{head.name}_change"


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
    faces, judged, shared, unshared = _shared(first, second, heads)
    chosen = grouping.group_columns(faces[_first_columns(faces)]) if columns is None else tuple(columns)
    groupings = [grouping.make(faces, (name,)) for name in chosen]
    clusters, numbers = clusters_of(faces), (resample_count, seed)
    changes = _changes(faces, judged, groupings, clusters, numbers)
    agreement = {head.name: _agreement(faces, head, clusters, numbers) for head in shared}
    bias = compare_bias_scores(faces, banded_head(judged) if chosen else None, clusters, seed=seed)
    by_number = [change_column(head) for head in judged if isinstance(head, Regression)]
    if by_number:
        faces = faces.sort_values(by_number[0], kind="stable", ignore_index=True)
    count = None if clusters is None else int(clusters.max()) + 1
    return PairedComparison(judged, changes, faces, count, shared, agreement, bias, unshared)


def mcnemar(mended: int, broken: int) -> float:
    """Return the exact two-sided p-value of McNemar's test from the two counts of changes.

    >>> mcnemar(10, 0), mcnemar(0, 0)
    (0.001953125, 1.0)
    """
    from scipy.stats import binomtest

    return float(binomtest(mended, mended + broken, 0.5).pvalue) if mended + broken else 1.0


def banded_head(heads: Iterable[Head]) -> Regression | None:
    """Return the first head of a number that has age bands."""
    return next((head for head in heads if isinstance(head, Regression) and head.has_bands), None)


def _first_columns(faces: pd.DataFrame) -> list[str]:
    return [name for name in faces if not str(name).endswith(("_first", "_second", "_change"))]


def _shared(
    first: pd.DataFrame, second: pd.DataFrame, heads: Sequence[Head] | None
) -> tuple[pd.DataFrame, tuple[Head, ...], tuple[Head, ...], tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return the shared photos with the labels, both models' predictions and the change; which heads are judged.

    Behind these the heads that both have, labels or not, and the names of the others of each.
    """
    for name, table in (("first", first), ("second", second)):
        if "path" not in table or table["path"].duplicated().any():
            raise TableError(f"the {name} predictions table needs a column path that names every photo once.")
    old, old_heads, _ = complete_predictions(first, heads)
    new, new_heads, _ = complete_predictions(second, heads)
    theirs = {head.name: head for head in new_heads if new[head.predicted].notna().any()}
    shared = tuple(
        head for head in old_heads
        if old[head.predicted].notna().any() and head.name in theirs and _is_alike(head, theirs[head.name])
    )  # fmt: skip
    judged = tuple(head for head in shared if head.metrics[0].is_known(old) and head.metrics[0].is_known(new))
    old, new = with_errors(old, shared), with_errors(new, shared)
    wanted = [name for head in shared for name in (head.column, head.predicted, *head.derived_columns)]
    both = old.merge(new[["path", *wanted]], on="path", suffixes=("", "_second"), validate="one_to_one")
    if both.empty:
        raise TableError("the two predictions tables share no photo: their columns path have nothing in common.")
    for head in shared:
        both = _with_change(both, head)
    there = {head.name for head in shared}
    alone = [tuple(head.name for head in own if head.name not in there) for own in (old_heads, new_heads)]
    return both, judged, shared, (alone[0], alone[1])


def _is_alike(head: Head, other: Head) -> bool:
    """Return whether two heads of one name are about the same: numbers in one unit, or classes."""
    if isinstance(head, Regression) and isinstance(other, Regression):
        return head.unit == other.unit
    return head.kind == other.kind


def _agreement(
    faces: pd.DataFrame, head: Head, clusters: NDArray[np.int64] | None, numbers: tuple[int, int]
) -> Agreement:
    first, second = (faces[f"{head.predicted}_{which}"] for which in ("first", "second"))
    known = (first.notna() & second.notna()).to_numpy()

    def mean(values: Any, *, is_rate: bool) -> Estimate:
        of_known = np.where(known, np.asarray(values, dtype=np.float64), np.nan)
        return mean_of(of_known, is_rate=is_rate, clusters=clusters, resample_count=numbers[0], seed=numbers[1])

    same = mean(first == second, is_rate=True)
    if not isinstance(head, Regression):
        return Agreement(int(known.sum()), same)
    moved = (second - first).to_numpy(dtype=np.float64)
    return Agreement(int(known.sum()), same, mean(np.abs(moved), is_rate=False), mean(moved, is_rate=False))


def _with_change(both: pd.DataFrame, head: Head) -> pd.DataFrame:
    """Return the shared rows with a head's change, and its predictions named after the first and the second model."""
    label, other = both[head.column], both[f"{head.column}_second"]
    kept = [head.predicted]
    if isinstance(head, Regression):
        is_other = (label - other).abs() > 1e-6
        error = head.absolute_error_column
        kept = [*kept, error, head.error_column]
        change = (both[f"{error}_second"] - both[error]).to_numpy()
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
    named = [(one.columns[0], values[0], one.codes == number, (one.codes >= 0) & (one.codes != number))
             for one in groupings for number, values in enumerate(one.values)]  # fmt: skip
    words = pd.DataFrame([(column, group) for column, group, *_ in named], columns=["column", "group"])
    groups, rests = [inside for *_, inside, _ in named], [rest for *_, rest in named]
    families = {head.name: _families(faces, head, groups, rests) for head in heads}
    every = [family for own in families.values() for family in own.values()]
    told = iter(measure_together(every, clusters, seed=numbers[1]))
    measured = {name: {kind: next(told) for kind in own} for name, own in families.items()}
    changes: dict[str, NumberChange | ClassChange] = {}
    for head in heads:
        parts = [words, _group_counts(faces, head, groups), *_group_columns(measured[head.name])]
        parts += [_own_columns(faces, head, which, groupings, clusters, numbers) for which in _MODELS]
        by_group = pd.concat(parts, axis=1)
        if isinstance(head, Classification):
            changes[head.name] = _class_change_of(faces, head, by_group, clusters, numbers)
        else:
            changes[head.name] = _number_change_of(faces, head, by_group, clusters, numbers)
    return changes


def _families(
    faces: pd.DataFrame, head: Head, groups: Sequence[NDArray[np.bool_]], rests: Sequence[NDArray[np.bool_]]
) -> dict[str, Family]:
    """Return what is tested in every group: change of the main score, of the signed error, of the gap to the rest."""
    values, is_class = _change_values(faces, head), isinstance(head, Classification)
    families = {"accuracy" if is_class else "error": Family(values, groups, is_class)}
    if isinstance(head, Regression):
        signed = _of_model(faces, head.error_column, "second") - _of_model(faces, head.error_column, "first")
        families["signed"] = Family(signed, groups, is_class=False)
    return families | {"gap": Family(values, groups, is_class, rests)}


def _group_columns(measured: Mapping[str, Differences]) -> Iterator[pd.DataFrame]:
    for kind, one in measured.items():
        name, p_value = f"{kind}_difference", f"{kind}_p_corrected" if kind in ("signed", "gap") else "p_corrected"
        yield pd.DataFrame({name: one.means, f"{name}_low": one.low, f"{name}_high": one.high, p_value: one.p_values})


def _own_columns(
    faces: pd.DataFrame,
    head: Head,
    which: str,
    groupings: Sequence[grouping.Grouping],
    clusters: NDArray[np.int64] | None,
    numbers: tuple[int, int],
) -> pd.DataFrame:
    """Return the figures of one model by itself in every group, and its gaps to the rest."""
    is_class = isinstance(head, Classification)
    wanted = [("accuracy", _rights(faces, head, which))] if isinstance(head, Classification) else [
        ("mae", _of_model(faces, head.absolute_error_column, which)),
        ("signed", _of_model(faces, head.error_column, which)),
    ]  # fmt: skip
    columns: dict[str, list[float]] = {}
    for name, values in wanted:
        for one in groupings:
            codes = np.where(np.isfinite(values), one.codes, -1)
            own, gaps = measure_groups(
                values, codes, one.size, is_rate=is_class, clusters=clusters, resample_count=numbers[0], seed=numbers[1]
            )
            for kind, found in ({name: own} | ({"gap": gaps} if name != "signed" else {})).items():
                for end, ends in (("", found.values), ("_low", found.low), ("_high", found.high)):
                    columns.setdefault(f"{kind}_{which}{end}", []).extend(ends[: len(one.values)].tolist())
    return pd.DataFrame(columns)


def _number_change_of(
    faces: pd.DataFrame,
    head: Regression,
    by_group: pd.DataFrame,
    clusters: NDArray[np.int64] | None,
    numbers: tuple[int, int],
) -> NumberChange:
    change = _change_values(faces, head)
    known = np.isfinite(change)

    def mean(values: NDArray[np.float64], *, is_rate: bool = False) -> Estimate:
        values = np.where(known, values, np.nan)
        return mean_of(values, is_rate=is_rate, clusters=clusters, resample_count=numbers[0], seed=numbers[1])

    own = [mean(_of_model(faces, name, which)) for name in (head.absolute_error_column, head.error_column)
           for which in _MODELS]  # fmt: skip
    nearer, farther = (mean(side.astype(np.float64), is_rate=True) for side in (change < -_SAME, change > _SAME))
    return NumberChange(int(known.sum()), own[0], own[1], mean(change), own[2], own[3], nearer, farther, by_group)


def _class_change_of(
    faces: pd.DataFrame,
    head: Classification,
    by_group: pd.DataFrame,
    clusters: NDArray[np.int64] | None,
    numbers: tuple[int, int],
) -> ClassChange:
    values = _change_values(faces, head)
    known = np.isfinite(values)
    first, second = (
        mean_of(np.where(known, _rights(faces, head, which), np.nan), is_rate=True, clusters=clusters)
        for which in _MODELS
    )
    family = Family(values, [np.ones(len(values), dtype=bool)], is_class=True)
    whole = measure_together([family], clusters, seed=numbers[1])[0]
    mended, broken = int((values == 1.0).sum()), int((values == -1.0).sum())
    p_value = _flip_p_value(values, clusters) if known.any() else float("nan")
    return ClassChange(int(known.sum()), first, second, mended, broken, p_value, whole.of(0), by_group)


def _of_model(faces: pd.DataFrame, column: str, which: str) -> NDArray[np.float64]:
    return faces[f"{column}_{which}"].to_numpy(dtype=np.float64)


def _rights(faces: pd.DataFrame, head: Classification, which: str) -> NDArray[np.float64]:
    """Return whether a model is right about each face, 1.0 or 0.0; NaN where that is not known."""
    label, said = faces[head.column], faces[f"{head.predicted}_{which}"]
    return np.where(label.notna() & said.notna(), (label == said).to_numpy(dtype=np.float64), np.nan)


def _change_values(faces: pd.DataFrame, head: Head) -> NDArray[np.float64]:
    """Return what became of each face as a number, above 0 where it is worse by a number and better by a class."""
    change = faces[change_column(head)]
    if isinstance(head, Regression):
        return change.to_numpy(dtype=np.float64)
    return change.map({"broken": -1.0, "": 0.0, "mended": 1.0}).to_numpy(dtype=np.float64)


def _group_counts(faces: pd.DataFrame, head: Head, groups: Sequence[NDArray[np.bool_]]) -> pd.DataFrame:
    values = _change_values(faces, head)
    counts: dict[str, list[int]] = {"n": [int(np.isfinite(values[inside]).sum()) for inside in groups]}
    if isinstance(head, Classification):
        for name, size in (("mended", 1.0), ("broken", -1.0)):
            counts[name] = [int((values[inside] == size).sum()) for inside in groups]
    return pd.DataFrame(counts)


def _flip_p_value(values: NDArray[np.float64], clusters: NDArray[np.int64] | None) -> float:
    known = np.isfinite(values)
    changes = values[known]
    if clusters is None:
        return mcnemar(int((changes == 1.0).sum()), int((changes == -1.0).sum()))
    return flip_p_value(np.bincount(clusters[known], weights=changes).astype(np.int64))
