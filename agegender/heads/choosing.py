"""Which heads there are: those that somebody names, those of a table or a card, and those that labels allow."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from types import UnionType
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

import numpy as np
import pandas as pd

from agegender.errors import CardError, TableError, UsageError, did_you_mean
from agegender.heads.classification import GENDER, Classification, as_names, slug
from agegender.heads.regression import AGE, Regression
from agegender.loss_choices import (
    CLASSIFICATION_LOSSES,
    REGRESSION_LOSSES,
    LossChoice,
    all_settings,
    parse_loss,
    settings_problem,
)
from agegender.settings import POINTS

Head = Regression | Classification
KNOWN_HEADS: tuple[Head, ...] = (AGE, GENDER)
# Columns of version 0.1, and what they are called now; both are understood when a table is read.
FORMER_COLUMNS = {"female_probability": GENDER.probability_columns["female"]}
KINDS = (Regression.kind, Classification.kind)
MOST_CLASSES = 100
MOST_AMBIGUOUS_VALUES = 20  # whole numbers with at most so many values may be either kind
# Columns that group people by what they must not be sorted by; a head on one is trained only on demand.
SENSITIVE_COLUMNS = ("ethnicity", "race", "skin_tone", "religion", "nationality", "disability", "orientation")
UNITS = {"years", "months", "days", "cm", "mm", "m", "kg", "g", "mmhg", "bpm", "score", "points", "percent", "degrees"}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_NO_LABELS = {
    "is_malformed_name",
    "path",
    "source",
    "subject_id",
    "split",
    "file_sha512",
    "phash",
    "dropped_because",
    "twin_cluster",
    "fold",
}


def choose_heads(
    wanted: Sequence[str] | None,
    table: pd.DataFrame,
    *,
    losses: Mapping[str, str] | None = None,
    weights: Mapping[str, float] | None = None,
    allows_sensitive: bool = False,
    auxiliary: Sequence[str] = (),
    point: str = POINTS[0],
) -> tuple[tuple[Head, ...], tuple[str, ...]]:
    """Return the heads to train on a table, with their losses and weights, and a sentence about each left out.

    The auxiliary ones come last, and none of them is left out. `point` is which one of a distribution answers.
    """
    if wanted is None:
        chosen, notes = _default_heads(table)
        known = (*chosen, *KNOWN_HEADS)  # of one that was left out, a sentence tells
    else:
        chosen, notes = _named_heads(wanted, table, allows_sensitive=allows_sensitive), ()
        known = chosen
    helping = _named_heads(auxiliary, table, allows_sensitive=allows_sensitive, option="--auxiliary")
    losses, weights = losses or {}, weights or {}
    check_head_names((*losses, *weights), (*known, *helping))
    _check_auxiliary(helping, known, weights)
    heads = [with_settings(head, loss=losses.get(head.name), weight=weights.get(head.name)) for head in chosen]
    heads = answering_by(point, heads)
    # A head of no weight would be stored with the layers it began with, and speak all the same.
    unused = [
        f"no head for {head.title}: its weight is 0, so it would not be trained." for head in heads if not head.weight
    ]
    if len(unused) == len(heads):
        raise UsageError("all heads have the weight 0, so there is nothing to train. Give one a weight above 0.")
    helping = tuple(with_settings(head, loss=losses.get(head.name), weight=weights.get(head.name)) for head in helping)
    return (*(head for head in heads if head.weight), *helping), (*notes, *unused)


def answering_by(point: str, heads: Sequence[Head]) -> list[Head]:
    """Return the heads such that those which learn a distribution answer by its mean or its median."""
    learn_one = [head for head in heads if head.output_count > 1 and isinstance(head, Regression)]
    if not learn_one and point != POINTS[0]:
        raise UsageError(f"--point {point}: no head learns a distribution, so none has one. Leave it out.")
    return [replace(head, point=point) if head in learn_one else head for head in heads]


def _check_auxiliary(helping: Sequence[Head], heads: Sequence[Head], weights: Mapping[str, float]) -> None:
    for head in helping:
        if any(head.name == other.name or head.column == other.column for other in heads):
            raise UsageError(
                f"--auxiliary {head.name}: {head.column} has a head already, which is stored. Name another column, "
                f"such as age_class, which `agegender prepare --age-classes` makes."
            )
        if weights.get(head.name) == 0:
            raise UsageError(f"the auxiliary head {head.name!r} has the weight 0, so it helps nothing. Leave it out.")


def check_head_names(names: Sequence[str], heads: Sequence[Head]) -> None:
    """Refuse a loss or a weight of a head that is not to be trained."""
    known = sorted({head.name for head in heads})
    for name in names:
        if name not in known:
            raise UsageError(
                f"there is no head {name!r} to set a loss or a weight of.{did_you_mean(name, known)} There are "
                f"{', '.join(known)}; --heads names others."
            )


def heads_of_predictions(table: pd.DataFrame) -> tuple[Head, ...]:
    """Return the heads that a table of predictions has, by its columns alone: `predicted_<column>` names each.

    A head needs no label column: rows without labels are predicted, not judged. Numbers are a regression, texts a
    classification, whose classes are those that its labels, predictions and probability columns name.
    """
    heads: list[Head] = []
    for name in map(str, table.columns):
        if not name.startswith("predicted_"):
            continue
        column = name.removeprefix("predicted_")
        known = next((head for head in KNOWN_HEADS if head.column == column), None)
        head = known or _guessed_head(column, table)
        if isinstance(head, Regression) or head.classes:  # a column without a known cell tells no classes
            heads.append(head)
    told = {*GENDER.probability_columns.values(), *FORMER_COLUMNS} & set(map(str, table.columns))
    if GENDER not in heads and told:
        heads.append(GENDER)
    order = {head.name: place for place, head in enumerate(KNOWN_HEADS)}
    return tuple(sorted(heads, key=lambda head: order.get(head.name, len(order))))


def head_to_dict(head: Head) -> dict[str, Any]:
    """Return a head as JSON-able data, its kind first."""
    entries = {field.name: getattr(head, field.name) for field in fields(head)}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in entries.items()}
    infinite = {name for name, value in plain.items() if isinstance(value, float) and not np.isfinite(value)}
    if head.loss in losses_of(head):  # a card says all of them: another version may have other usual ones
        plain["loss_settings"] = all_settings(losses_of(head)[head.loss], head.loss_settings)
    return {"kind": head.kind, **{name: value for name, value in plain.items() if name not in infinite}}


def head_from_dict(document: Mapping[str, Any]) -> Head:
    """Return the head that `head_to_dict`, or version 0.1, wrote."""
    if not isinstance(document, Mapping):
        raise CardError(f"a head is described by {document!r}, which is no object with a kind, a name and a column.")
    kind = {"years": "regression", "classes": "classification"}.get(str(document.get("kind")), document.get("kind"))
    if kind not in KINDS:
        raise CardError(
            f"the head {document.get('name')!r} is of the kind {document.get('kind')!r}, which this version does not "
            f"know; it knows {' and '.join(KINDS)}. Use the version of agegender that made the model."
        )
    made: Any = Regression if kind == Regression.kind else Classification
    known = next((head for head in KNOWN_HEADS if head.name == document.get("name") and head.kind == kind), None)
    if document.get("kind") in ("years", "classes"):  # version 0.1 stored no more than this of a head
        kept = ("name", "column", "loss", "weight", *(("classes",) if kind == Classification.kind else ()))
        document = {name: document[name] for name in kept if name in document}
        if known is not None:
            # Settings belong to a loss, and the card's may be another one than today's.
            usual = {name: value for name, value in head_to_dict(known).items() if name != "loss_settings"}
            document = {**usual, **document}
    entries = {name: value for name, value in document.items() if name != "kind"}
    unknown = sorted(set(entries) - {field.name for field in fields(made)})
    if unknown:
        raise CardError(
            f"the head {document.get('name')!r} has the entry {unknown[0]!r}, which this version does not know."
        )
    try:
        if "loss_settings" in entries:
            entries["loss_settings"] = _stored_settings(made, entries)
        return checked_head(
            made(**{name: tuple(value) if isinstance(value, list) else value for name, value in entries.items()})
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise CardError(f"the head {document.get('name')!r} cannot be understood: {error}.") from error


def losses_of(head: Head | type[Head]) -> Mapping[str, LossChoice]:
    """Return what a head of this kind can be trained with, by name."""
    return REGRESSION_LOSSES if head.kind == Regression.kind else CLASSIFICATION_LOSSES


def _stored_settings(kind: Any, entries: Mapping[str, Any]) -> Any:
    """Return the loss's settings of a card as a head holds them; what they should be is checked with the head."""
    loss, given = losses_of(kind).get(str(entries.get("loss", kind.loss))), entries["loss_settings"]
    if loss is None:
        return ()
    if not isinstance(given, Mapping):
        return given
    usual = all_settings(loss, ())
    return tuple((name, value) for name, value in given.items() if name not in usual or value != usual[name])


def checked_head(head: Head) -> Head:
    """Return the head if its parts make sense."""
    for name, kind in get_type_hints(type(head)).items():
        if get_origin(kind) is not ClassVar and not _fits(kind, getattr(head, name)):
            given, wanted = str(getattr(head, name))[:60], getattr(kind, "__name__", kind)
            raise CardError(f"{name} of the head {head.name!r} is {given!r}; expected {wanted}.")
    losses = losses_of(head)
    names_fit = all(isinstance(name, str) and _NAME.fullmatch(name) for name in (head.name, head.column))
    if not names_fit:
        raise CardError(f"the head {head.name!r} on the column {head.column!r}: a name has letters, digits and _ only.")
    if head.loss not in losses:
        raise CardError(f"the head {head.name!r} has the loss {head.loss!r}; a {head.kind} has {', '.join(losses)}.")
    problem = settings_problem(head.loss, losses[head.loss], dict(head.loss_settings))
    if problem:
        raise CardError(f"the loss settings of the head {head.name!r} make no sense: {problem}")
    if not float(head.weight) >= 0:
        raise CardError(f"the head {head.name!r} has the weight {head.weight!r}; it must be a number from 0.")
    if isinstance(head, Regression):
        if losses[head.loss].has_grid and not (head.grid and 0 < head.grid[1] - head.grid[0] <= 1000):
            raise CardError(f"the head {head.name!r} learns a distribution and has no usable grid of whole units.")
        if head.point not in POINTS:
            raise CardError(f"the head {head.name!r} answers by the {head.point[:60]!r}; there are mean and median.")
    elif not (2 <= len(head.classes) <= 1000 and len(set(head.classes)) == len(head.classes)):
        raise CardError(f"the head {head.name!r} needs two or more different classes; it has {head.classes!r}.")
    return head


def _fits(kind: Any, value: Any) -> bool:
    """Return whether a value is of the type that a dataclass says its field has; no number is NaN."""
    if get_origin(kind) is UnionType:
        return any(_fits(one, value) for one in get_args(kind))
    if get_origin(kind) is tuple:
        of = get_args(kind)
        kinds = of[:1] * len(value) if of[-1] is Ellipsis and isinstance(value, tuple) else of
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(_fits, kinds, value))
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value  # noqa: PLR0124
    return isinstance(value, kind) and (kind is not int or not isinstance(value, bool))


def with_settings(head: Head, *, loss: str | None = None, weight: float | None = None) -> Head:
    """Return the head with another loss ("focal:gamma=1") or weight; a number's loss brings its own weight."""
    if loss is not None:
        usable = {name: one for name, one in losses_of(head).items() if not one.has_grid or getattr(head, "grid", None)}
        name, settings = parse_loss(loss, usable, head.name)
        usual = usable[name].weight if isinstance(head, Regression) else head.weight
        head = replace(head, loss=name, loss_settings=settings, weight=usual)
    if weight is not None:
        if not 0 <= weight < float("inf"):
            raise UsageError(f"the weight {weight:g} of the head {head.name!r} is out of range; it must be 0 or more.")
        head = replace(head, weight=float(weight))
    return head


def _default_heads(table: pd.DataFrame) -> tuple[tuple[Head, ...], tuple[str, ...]]:
    kept, notes = [], []
    for head in KNOWN_HEADS:
        values = table[head.column].nunique() if head.column in table else 0
        if values > 1:
            kept.append(head)
        else:
            why = "there are no labels" if not values else "all labels are equal"
            notes.append(f"no head for {head.title}: {why} in the column {head.column}.")
    if not kept:
        raise TableError(
            f"there is nothing to learn: {' '.join(notes)} Label the photos, or name other heads with --heads."
        )
    return tuple(kept), tuple(notes)


def _named_heads(
    wanted: Sequence[str], table: pd.DataFrame, *, allows_sensitive: bool, option: str = "--heads"
) -> tuple[Head, ...]:
    names = [text.partition(":")[0] for text in wanted]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise UsageError(f"the head {min(twice)!r} is named twice; name each head once.")
    heads = tuple(_named_head(text, table, allows_sensitive=allows_sensitive, option=option) for text in wanted)
    columns = [head.column for head in heads]
    if len(set(columns)) < len(columns):
        raise UsageError(f"two heads are about the column {max(columns, key=columns.count)!r}; name it once.")
    return heads


def _named_head(text: str, table: pd.DataFrame, *, allows_sensitive: bool, option: str) -> Head:
    name, colon, kind = text.partition(":")
    if not _NAME.fullmatch(name) or (colon and kind not in KINDS):
        hint = did_you_mean(kind, KINDS) if colon else ""
        raise UsageError(f"{option} {text!r} is no NAME, NAME:regression or NAME:classification.{hint}")
    column = _column_of(name, table, option)
    known = next((head for head in KNOWN_HEADS if head.column == column and kind in ("", head.kind)), None)
    head = known or _made_head(name, column, kind, table, option)
    is_sensitive = column in SENSITIVE_COLUMNS
    if is_sensitive and not allows_sensitive:
        raise UsageError(
            f"{option} {name}: a head on {column} sorts people by what groups are made of here to be treated alike. If "
            f"the model is for research on just that, say --sensitive-head; such a head is neither exported nor served."
        )
    if is_sensitive and isinstance(head, Classification):
        head = replace(head, is_sensitive=True, caution=_SENSITIVE_WORDS.format(head.title.capitalize()))
    head.labels(table[column])  # a label of the wrong kind is found out here, before anything long
    labels = table[column].dropna().unique()
    if len(labels) < 2:
        found = f"all that have a label in {column} are {labels[0]}" if len(labels) else f"none has a label in {column}"
        raise TableError(
            f"{option} {text} has nothing to learn: of {len(table):,} photos {found}. Label others, or leave it out."
        )
    return head


_SENSITIVE_WORDS = (
    "“{}” here is the dataset's annotated label. A prediction of it is no fact about anybody, must not be used to sort "
    "people, and is neither exported nor served."
)


def _column_of(name: str, table: pd.DataFrame, option: str) -> str:
    columns = [str(column) for column in table.columns if str(column) not in _NO_LABELS]
    if name in columns:
        return name
    known = next((head.column for head in KNOWN_HEADS if head.name == name), "")
    if known in columns:
        return known
    with_unit = [
        column
        for column in columns
        if column.startswith(f"{name}_")
        and "_" not in column.removeprefix(f"{name}_")
        and pd.api.types.is_numeric_dtype(table[column])
    ]
    if len(with_unit) == 1:
        return with_unit[0]
    if with_unit:
        raise UsageError(f"{option} {name}: which of {', '.join(with_unit)}? Name the column.")
    hint = did_you_mean(name, [*columns, *(head.name for head in KNOWN_HEADS if head.column in columns)])
    raise UsageError(
        f"{option} {name}: the faces have no column {name} or {name}_<unit>.{hint} They have {', '.join(columns)}."
    )


def limits_to_check(checks: Mapping[str, float], heads: Sequence[Head]) -> list[tuple[Regression, float]]:
    """Return the regressions that predictions are checked against a limit of, with it."""
    numbers = {head.name: head for head in heads if isinstance(head, Regression)}
    for name, limit in checks.items():
        if name not in numbers:
            hint = did_you_mean(name, numbers)
            raise UsageError(
                f"there is no number {name!r} to check against {limit:g}.{hint} This model predicts the numbers "
                f"{', '.join(numbers) or '(none)'}."
            )
        if not np.isfinite(limit):
            raise UsageError(f"{name} can't be checked against {limit}; give a number, such as age=25.")
    return [(numbers[name], float(limit)) for name, limit in checks.items()]


def _made_head(name: str, column: str, kind: str, table: pd.DataFrame, option: str) -> Head:
    cells = table[column].dropna()
    numbers = pd.to_numeric(cells, errors="coerce")
    is_number = len(cells) > 0 and bool(numbers.notna().all()) and not pd.api.types.is_bool_dtype(cells)
    if not kind:
        is_whole = is_number and bool((numbers == numbers.round()).all())
        if is_whole and numbers.nunique() <= MOST_AMBIGUOUS_VALUES:
            raise UsageError(
                f"the column {column} holds {numbers.nunique()} different whole numbers: are they amounts or classes? "
                f"Say {option} {name}:regression or {option} {name}:classification."
            )
        kind = Regression.kind if is_number else Classification.kind
    if kind == Regression.kind:
        if not is_number:
            wrong = cells[numbers.isna()].iloc[0] if len(cells) else "nothing"
            raise TableError(f"the head {name!r} is a regression, and the column {column} holds {wrong!r}, no number.")
        return _regression(name, column)
    classes = as_names(cells).astype(str).unique()
    if len(classes) > MOST_CLASSES:
        raise TableError(
            f"the head {name!r} would have {len(classes)} classes; at most {MOST_CLASSES} can be told apart. "
            f"Is {column} a name or a note and no class?"
        )
    return Classification(name, column, tuple(sorted(classes, key=_natural)))


def _guessed_head(column: str, table: pd.DataFrame) -> Head:
    predicted = table[f"predicted_{column}"].dropna()
    unit = column.rpartition("_")[2]
    name = column.removesuffix(f"_{unit}") if unit.lower() in UNITS and unit != column else column
    labels = table[column].dropna() if column in table else predicted[:0]
    if all(
        pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells) for cells in (predicted, labels)
    ):
        return _regression(name, column)
    classes = sorted({*labels.astype(str), *predicted.astype(str)}, key=_natural)
    named = {slug(one) for one in classes}
    prefix = f"{column}_probability_"
    rest = [str(one).removeprefix(prefix) for one in table.columns if str(one).startswith(prefix)]
    classes += [one for one in rest if one not in named]
    return Classification(column, column, tuple(classes))


def _regression(name: str, column: str) -> Regression:
    unit = column.removeprefix(f"{name}_") if column.startswith(f"{name}_") else ""
    if not unit and column.rpartition("_")[2].lower() in UNITS:
        name, _, unit = column.rpartition("_")
    return Regression(name, column, unit)


def _natural(name: str) -> tuple[int, float, str]:
    """Order class names as people do: "<30" first, then by the first number, then by letters."""
    number = re.search(r"\d+(\.\d+)?", name)
    if not number:
        return (2, 0.0, name)
    return (0 if name.startswith(("<", "under")) else 1, float(number[0]), name)
