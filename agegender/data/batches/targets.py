"""Owns one typed target per head: from an item to a number, from a number to what a person reads."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from fastai.data.block import TransformBlock
from fastai.torch_core import TitledFloat, TitledStr
from fasttransform import Transform

from agegender.data.batches.items import FaceItem
from agegender.data.batches.typed import MeaningfulTensor
from agegender.settings import Head


class AgeYears(MeaningfulTensor):
    """Ages of a batch in years, shape (N,), float32; NaN where unknown."""


class ClassLabel(MeaningfulTensor):
    """Class numbers of a batch, shape (N,), int64; -1 where unknown."""


class Years(TitledFloat):
    """An age that shows itself as "34 y"."""

    def __str__(self) -> str:
        """Return whole years, or that they are unknown."""
        return "age unknown" if math.isnan(self) else f"{float(self):.0f} y"


class ClassName(TitledStr):
    """A class that shows itself by its name."""


class YearsTarget(Transform):
    """Item -> AgeYears -> Years."""

    input_types = (object,)

    def __init__(self, place: int) -> None:
        super().__init__()
        self.place = place

    def encodes(self, item: FaceItem) -> AgeYears:
        """Return the age of one item, shape ()."""
        return AgeYears(float(item.labels[self.place]))

    def decodes(self, years: AgeYears) -> Years:
        """Return one age as a person reads it."""
        return Years(float(years))

    def batch(self, items: Sequence[FaceItem]) -> AgeYears:
        """Return the ages of many items at once, shape (N,)."""
        return torch.tensor([item.labels[self.place] for item in items], dtype=torch.float32).as_subclass(AgeYears)


class ClassTarget(Transform):
    """Item -> ClassLabel -> ClassName."""

    input_types = (object,)

    def __init__(self, place: int, name: str, classes: tuple[str, ...]) -> None:
        super().__init__()
        # Not `name`: that is what fastai calls the transform itself.
        self.place, self.head_name, self.classes = place, name, classes

    def encodes(self, item: FaceItem) -> ClassLabel:
        """Return the class number of one item, shape ()."""
        return ClassLabel(int(item.labels[self.place]))

    def decodes(self, label: ClassLabel) -> ClassName:
        """Return one class by its name."""
        number = int(label)
        return ClassName(self.classes[number] if number >= 0 else f"{self.head_name} unknown")

    def batch(self, items: Sequence[FaceItem]) -> ClassLabel:
        """Return the class numbers of many items at once, shape (N,)."""
        return torch.tensor([item.labels[self.place] for item in items], dtype=torch.int64).as_subclass(ClassLabel)


def target_block(head: Head, place: int) -> TransformBlock:
    """Return the DataBlock's block for a head, whose labels stand at `place` in every item."""
    if head.kind == "years":
        return TransformBlock(type_tfms=YearsTarget(place))
    return TransformBlock(type_tfms=ClassTarget(place, head.name, head.classes))
