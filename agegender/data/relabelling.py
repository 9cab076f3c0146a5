"""Training labels that are learnt as another one: ages of 58 and 59 as 60, a rare class as its neighbour.

Only what is learnt changes. Validation, test and the stored table keep their labels, so every figure is about these.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agegender.data.faces_table import FacesTable
from agegender.errors import UsageError, did_you_mean
from agegender.heads import Classification, Head
from agegender.heads.classification import as_names

_NUMBER = r"-?\d+(?:\.\d+)?"
_RANGE = re.compile(rf"({_NUMBER})(?:-({_NUMBER}))?=({_NUMBER})")


@dataclass(frozen=True)
class Relabelling:
    """One rule: labels of a head from `low` to `high`, or the class `low`, are learnt as `new`."""

    text: str
    head: Head
    low: float | str
    high: float | str
    new: float | str

    def matches(self, labels: pd.Series) -> NDArray[np.bool_]:
        """Return which labels it changes."""
        return ((labels >= self.low) & (labels <= self.high)).to_numpy(dtype=bool, na_value=False)


def relabelled(faces: FacesTable, heads: Sequence[Head], texts: Sequence[str]) -> tuple[FacesTable, dict[str, int]]:
    """Return the faces as they are learnt, and how many training photos each rule has changed.

    A label is changed once at most, by the first rule that it fits.
    """
    table = faces.table.copy() if texts else faces.table
    is_training = (table["dropped_because"].isna() & (table["split"] == "train")).to_numpy(dtype=bool, na_value=False)
    rules = [relabelling_of(text, heads) for text in texts]
    left = {rule.head.column: is_training.copy() for rule in rules}
    counts = {}
    for rule in rules:
        column = rule.head.column
        labels = _labels(table[column], rule.head)
        changed = left[column] & rule.matches(labels)
        left[column] &= ~changed
        table[column] = labels.mask(changed, rule.new)
        counts[rule.text] = int(changed.sum())
    for head in {rule.head for rule in rules}:
        if len(set(table[head.column][is_training].dropna())) < 2:
            raise UsageError(f"--relabel leaves one label of {head.name} to learn. Leave a rule out.")
    return replace(faces, table=table), counts


def _labels(column: pd.Series, head: Head) -> pd.Series:
    if isinstance(head, Classification):
        return as_names(column).astype(object)
    return pd.Series(head.labels(column), index=column.index)


def relabelling_of(text: str, heads: Sequence[Head]) -> Relabelling:
    """Return the rule that HEAD:OLD=NEW or HEAD:LOW-HIGH=NEW says."""
    name, _, rest = text.partition(":")
    head = next((one for one in heads if one.name == name), None)
    if head is None:
        known = [one.name for one in heads]
        raise UsageError(
            f"--relabel {text}: there is no head {name!r}.{did_you_mean(name, known)} There are {', '.join(known)}."
        )
    if isinstance(head, Classification):
        pairs = {f"{old}={new}": (old, new) for old in head.classes for new in head.classes if old != new}
        if rest not in pairs:
            raise UsageError(f"--relabel {text}: expected {name}:OLD=NEW of the classes {', '.join(head.classes)}.")
        return Relabelling(text, head, pairs[rest][0], *pairs[rest])
    match = _RANGE.fullmatch(rest)
    if match is None:
        raise UsageError(
            f"--relabel {text}: expected {name}:LOW-HIGH=NEW or {name}:OLD=NEW in numbers, such as 58-59=60."
        )
    low, new = float(match[1]), float(match[3])
    high = low if match[2] is None else float(match[2])
    if high < low or not head.low <= new <= head.high:
        raise UsageError(f"--relabel {text}: no {name} lies from {low:g} to {high:g} and becomes {new:g}.")
    return Relabelling(text, head, low, high, new)
