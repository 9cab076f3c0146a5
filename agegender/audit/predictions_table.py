"""The predictions table: what was predicted beside what is labelled, for any model, ours or somebody else's.

It has the label columns of the faces table and the prediction columns of each head; errors are derived each time they
are needed, never stored. `complete_predictions` is the one check of a table that anybody may have made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from agegender.audit.dependence import TIES, dependence_words
from agegender.audit.predictions_files import with_facts
from agegender.errors import TableError, UsageError, did_you_mean
from agegender.heads import (
    FORMER_COLUMNS,
    KNOWN_HEADS,
    Classification,
    Head,
    Regression,
    head_from_dict,
    heads_of_predictions,
)
from agegender.heads.age_bands import with_age_group
from agegender.reading_tables import read_table
from agegender.table_cells import nested_columns, numbers_of, plain_name, with_known_names, write_csv
from agegender.writing import replaced_file

TEXTS = ("path", "source", "ethnicity", "expression", "mask", "split")
# What a foreign column can be mapped to: `report --columns OURS=THEIRS`.
COLUMN_NAMES = (
    *dict.fromkeys((*TEXTS, *TIES)),
    *(name for head in KNOWN_HEADS for name in dict.fromkeys((head.column, *head.prediction_columns))),
    *FORMER_COLUMNS,
)
_LONGEST_NAME = 60  # characters of a column in a message
_ATTRIBUTE = "heads"  # where a table in memory keeps the heads of its file
_NOTICES = "notices"  # and what was unusual about it
_RUN = "run_id"  # and which training run its model is from
_OF_THE_FILE = (_ATTRIBUTE, _NOTICES, _RUN)
_LONGEST_RUN = 32  # letters
_OUR_MANNER = re.compile(r"predicted_.+|.+_probability_.+|.+_(low|high)_.+|subject_id|twin_cluster")


def read_predictions(path: str | Path) -> pd.DataFrame:
    """Read a predictions table of any usual kind, see `reading_tables`, without judging its values yet.

    The heads that a Parquet file carries, and what was unusual about the file, are kept in the table's `attrs`, where
    `complete_predictions` finds them.
    """
    hint = f"`agegender evaluate --out {path}` makes one."
    read = read_table(path, what="predictions table", hint=hint)
    table, notices = _with_our_spelling(read.rows)
    table.attrs = {name: value for name, value in table.attrs.items() if name not in _OF_THE_FILE}
    if isinstance(read.facts.get(_ATTRIBUTE), list):
        table.attrs[_ATTRIBUTE] = read.facts[_ATTRIBUTE]
    if isinstance(read.facts.get(_RUN), str):
        table.attrs[_RUN] = read.facts[_RUN][:_LONGEST_RUN]
    if read.notices or notices:
        table.attrs[_NOTICES] = [*read.notices, *notices]
    return table


def write_predictions(predictions: pd.DataFrame, path: str | Path, heads: Sequence[Head] | None = None) -> None:
    """Write the table as Parquet with its heads, or as CSV without when the name ends in .csv; whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    with replaced_file(path) as temporary:
        if path.suffix.lower() == ".csv":
            write_csv(predictions, temporary)  # `read_predictions` takes the apostrophes off again
            return
        known = _own_heads(predictions) if heads is None else tuple(heads)
        run_id = predictions.attrs.get(_RUN)
        bare = predictions.copy(deep=False)
        bare.attrs = {name: value for name, value in predictions.attrs.items() if name not in _OF_THE_FILE}
        arrow = with_facts(pa.Table.from_pandas(bare, preserve_index=False), known, run_id and str(run_id))
        pq.write_table(arrow, temporary)


def complete_predictions(
    predictions: pd.DataFrame, heads: Sequence[Head] | None = None
) -> tuple[pd.DataFrame, tuple[Head, ...], tuple[str, ...]]:
    """Return the table with every column that its heads have, its heads, and what is unusual as sentences.

    Parameters
    ----------
    predictions : DataFrame
        Of anybody; columns of version 0.1 and other spellings of classes are understood.
    heads : sequence of Head, optional
        By default those that its file carried, or else those that its columns tell.

    Returns
    -------
    rows : DataFrame
        A copy with a new index: numbers as float64, NaN where they are none or out of range; classes as texts, None
        where they are none; a missing predicted class filled from the probabilities; `age_group` where ages are known.
    heads : tuple of Head
        Whether any row can be judged by one is not asked here.
    notices : tuple of str
    """
    predictions = predictions.rename(columns=str)
    twice = predictions.columns[predictions.columns.duplicated()]
    if len(twice):
        raise TableError(f"the column {twice[0]} stands in the predictions table twice: keep one of them.")
    predictions, renamed = _with_our_spelling(predictions)
    own, others = _heads(predictions, heads)
    if not own:
        raise TableError(unjudgeable(predictions))
    former = {old: new for old, new in FORMER_COLUMNS.items() if old in predictions and new not in predictions}
    rows = predictions.reset_index(drop=True).rename(columns=former)
    nested = nested_columns(rows)
    rows = rows.drop(columns=nested)
    notices = [*rows.attrs.pop(_NOTICES, []), *renamed]
    notices += [f"the column {name} holds lists, and is left out." for name in nested]
    filled = dict.fromkeys((*own, *others))
    for name in TEXTS:
        rows[name] = _texts(rows, name)
    for head in filled:
        notices += _fill_numbers(rows, head, {new: old for old, new in former.items()})
    for head in filled:
        notices += _fill_classes(rows, head) if isinstance(head, Classification) else []
    for head in filled:
        notices += _missing_words(rows, head)
    if any(rows[head.column].notna().any() for head in filled if isinstance(head, Regression) and head.has_bands):
        rows = with_age_group(rows.drop(columns="age_group", errors="ignore"))
    return rows, own, (*notices, *dependence_words(rows, own))


def with_errors(rows: pd.DataFrame, heads: Sequence[Head]) -> pd.DataFrame:
    """Return completed rows with the derived columns of each head: errors, whether it is right, its confidence."""
    for head in heads:
        rows = head.with_errors(rows)
    return rows


def unjudgeable(predictions: pd.DataFrame, heads: Sequence[Head] = ()) -> str:
    """Return what to say of a table in which no row has a label beside its prediction."""
    known = dict.fromkeys((*KNOWN_HEADS, *heads))
    there = [head for head in known if {head.column, head.predicted} <= set(predictions.columns)]
    if there:
        pairs = [f"{head.column} beside {head.predicted}" for head in there]
        return (
            f"no row of the predictions table has a usable {' or '.join(pairs)}: all are missing, no numbers, out of "
            f"range or of no known class."
        )
    pairs = [f"{head.column} and {head.predicted}" for head in known]
    names = [str(name)[:_LONGEST_NAME] for name in predictions.columns[:20]]
    return (
        f"the predictions table has neither {' nor '.join(pairs)}; its columns are {', '.join(names) or 'none'}. Map "
        f"them: --columns {KNOWN_HEADS[0].predicted}=NAME."
    )


def _own_heads(predictions: pd.DataFrame) -> tuple[Head, ...]:
    stored = predictions.attrs.get(_ATTRIBUTE)
    return heads_of_predictions(predictions) if stored is None else tuple(head_from_dict(one) for one in stored)


def _heads(predictions: pd.DataFrame, heads: Sequence[Head] | None) -> tuple[tuple[Head, ...], tuple[Head, ...]]:
    """Return the table's heads, and the known ones that are none of them but whose columns are filled all the same."""
    own = _own_heads(predictions) if heads is None else tuple(heads)
    others = tuple(head for head in KNOWN_HEADS if head.column not in {one.column for one in own})
    if own and heads is None and _ATTRIBUTE not in predictions.attrs:
        # Labels that nobody predicted: it is said that they can't be judged.
        own = (*own, *(head for head in others if head.column in predictions))
    return own, others


def _with_our_spelling(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the table with columns that are ours but for case and blanks called as ours, and what to say of it."""
    labels = {plain_name(name).removeprefix("predicted_") for name in table.columns if "predicted" in plain_name(name)}
    known = {*COLUMN_NAMES, *labels}
    table, renamed = with_known_names(table, lambda name: name in known or bool(_OUR_MANNER.fullmatch(name)))
    if not renamed:
        return table, []
    pairs = ", ".join(f"{theirs!r} as {ours}" for theirs, ours in renamed)
    return table, [f"columns were read by another name: {pairs}."]


def _texts(rows: pd.DataFrame, name: str) -> pd.Series:
    if name not in rows:
        return pd.Series(None, index=rows.index, dtype=object)
    values = rows[name].astype(object)
    return values.where(values.notna(), None).map(lambda value: None if value is None else str(value)).astype(object)


def _fill_numbers(rows: pd.DataFrame, head: Head, called: Mapping[str, str]) -> list[str]:
    """Write a head's numbers as floats within their range, and say how many values are none."""
    notices = []
    for name in head.number_columns:
        given = rows[name] if name in rows else pd.Series(np.nan, index=rows.index)
        numbers = numbers_of(given)
        if isinstance(head, Classification):
            numbers = numbers.where(numbers.between(0.0, 1.0))
        elif name == head.column:
            numbers = numbers.where(numbers.between(head.low, head.high))
        rows[name] = numbers
        lost, said = int((given.notna() & numbers.isna()).sum()), called.get(name, name)
        if lost:
            notices.append(f"{lost:,} values of {said} are no numbers or out of range, and count as unknown.")
        if isinstance(head, Regression) and name == head.predicted:
            notices += _unlikely_words(numbers, head)
    return notices


def _unlikely_words(numbers: pd.Series, head: Regression) -> list[str]:
    """Say how many predictions nobody could have; they stay, since leaving them out would flatter."""
    outside = numbers[(numbers < head.low) | (numbers > head.high)]
    if outside.empty:
        return []
    return [
        f"{len(outside):,} values of {head.predicted} lie outside {head.low:g} to {head.high:g} {head.unit}".rstrip()
        + f", first {outside.iloc[0]:g}; they count as they are."
    ]


def _fill_classes(rows: pd.DataFrame, head: Classification) -> list[str]:
    """Write a head's classes as they are spelt in the head, and fill what its other columns tell."""
    notices = []
    for name in (head.column, head.predicted):
        given = _texts(rows, name) if name not in rows else rows[name]
        rows[name] = head.classes_of(given)
        lost = int((given.notna() & rows[name].isna()).sum())
        if lost:
            kinds = f"neither {' nor '.join(head.classes)}" if head.is_binary else f"none of {', '.join(head.classes)}"
            notices.append(f"{lost:,} values of {name} are {kinds} and count as unknown.")
    if head.is_binary:
        first, second = head.number_columns
        rows[first] = rows[first].fillna(1.0 - rows[second])
        rows[second] = rows[second].fillna(1.0 - rows[first])
    likeliest = pd.Series(head.likeliest(rows), index=rows.index, dtype=object)
    rows[head.predicted] = rows[head.predicted].where(rows[head.predicted].notna(), likeliest)
    return notices


def _missing_words(rows: pd.DataFrame, head: Head) -> list[str]:
    label, prediction = rows[head.column].notna(), rows[head.predicted].notna()
    unpredicted, unlabelled, notices = int((label & ~prediction).sum()), int((~label).sum()), []
    if unpredicted and prediction.any():
        notices.append(f"{unpredicted:,} rows have no {head.predicted}: they don't count, which may flatter.")
    if unlabelled and label.any():
        notices.append(f"{unlabelled:,} of {len(rows):,} rows have no {head.column} to judge a prediction by.")
    return notices


def with_our_names(table: pd.DataFrame, ours_to_theirs: Mapping[str, str]) -> pd.DataFrame:
    """Return a table whose columns have our names.

    Ours are the columns that every table may have, and those of each head that the table has once it is mapped: with
    `predicted_height_cm` and `height_cm` named there is one for height.
    """
    # A name that was read by another one, since only case or blanks differ, is found under that one.
    plainly = {plain_name(name): name for name in reversed(table.columns)}
    ours_to_theirs = {
        ours: theirs if theirs in table else plainly.get(plain_name(theirs), theirs)
        for ours, theirs in ours_to_theirs.items()
    }
    there = {ours: theirs for ours, theirs in ours_to_theirs.items() if theirs in table}
    gone = [name for name in table if name in there.values() and name not in there]
    renamed = table.assign(**{ours: table[theirs] for ours, theirs in there.items()}).drop(columns=gone)
    for ours in there:
        label = ours.removeprefix("predicted_")
        if ours not in COLUMN_NAMES and label != ours and label not in renamed:
            meant = [head.predicted for head in KNOWN_HEADS if label.rstrip("s") == head.name]
            hint = did_you_mean(ours, [*meant] or [*COLUMN_NAMES, *(f"predicted_{name}" for name in renamed)])
            raise UsageError(
                f"{ours} is a prediction of the label {label!r}, and the table has no such column.{hint} Name the "
                f"labels too: {label}=THEIRS. The table has {', '.join(map(str, table.columns[:20]))}."
            )
    names = [name for head in heads_of_predictions(renamed) for name in (head.column, *head.prediction_columns)]
    known = list(dict.fromkeys((*COLUMN_NAMES, *names)))
    for ours, theirs in ours_to_theirs.items():
        if ours not in known:
            raise UsageError(
                f"{ours!r} is no column of ours, for which the table's {theirs!r} could stand."
                f"{did_you_mean(ours, known)} Ours are {', '.join(known)}, and "
                f"predicted_<column> beside any column of labels."
            )
        if theirs not in table:
            hint = did_you_mean(theirs, table.columns)
            raise TableError(
                f"the table has no column {theirs!r}.{hint} It has {', '.join(map(str, table.columns[:20]))}."
            )
    return renamed
