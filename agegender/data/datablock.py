"""The fastai DataBlock: one photo block, one typed target per head, our loader, and what a person sees of a batch.

Importing it is enough for `dls.show_batch()` and `learn.show_results()` to know photos and heads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from fastai.data.block import DataBlock, TransformBlock
from fastai.data.core import DataLoaders, show_batch, show_results
from fastai.interpret import plot_top_losses
from fastai.torch_core import TitledFloat, TitledStr
from fastai.vision.data import get_grid
from fasttransform import Transform

from agegender.data.faces_table import FacesTable
from agegender.data.loading import (
    FaceItem,
    MeaningfulTensor,
    NormalisePhotos,
    PhotoLoader,
    ReadPhoto,
    TensorPhoto,
    face_items,
)
from agegender.errors import TableError
from agegender.heads import Classification, Head, Regression
from agegender.heads.classification import as_names
from agegender.launching import launched
from agegender.photos.reading_ahead import processor_count
from agegender.progress import say
from agegender.settings import AugmentationSettings, ImageSettings

MOST_THREADS = 12
_SHORT_UNITS = {"years": "y"}


class Numbers(MeaningfulTensor):
    """Labels of a regression for a batch, shape (N,), float32, in the head's unit; NaN where unknown."""


class ClassNumbers(MeaningfulTensor):
    """Labels of a classification for a batch, shape (N,), int64; -1 where unknown."""


class Amount(TitledFloat):
    """A number that shows itself with its unit, "34 y", or with its name where it has none."""

    title, unit = "", ""

    def __str__(self) -> str:
        """Return it as a caption has it."""
        if math.isnan(self):
            return f"{self.title} unknown"
        if not self.unit:
            return f"{self.title} {float(self):.3g}"
        return f"{float(self):.0f} {_SHORT_UNITS.get(self.unit, self.unit)}"


class ClassName(TitledStr):
    """A class that shows itself by its name."""


class NumberTarget(Transform):
    """Item -> Numbers -> Amount."""

    input_types = (object,)

    def __init__(self, place: int, head: Regression) -> None:
        super().__init__()
        # Not `name`: that is what fastai calls the transform itself.
        self.place, self.title, self.unit = place, head.title, head.unit

    def encodes(self, item: FaceItem) -> Numbers:
        """Return the label of one item, shape ()."""
        return Numbers(float(item.labels[self.place]))

    def decodes(self, number: Numbers) -> Amount:
        """Return one number as a person reads it."""
        amount = Amount(float(number))
        amount.title, amount.unit = self.title, self.unit
        return amount

    def batch(self, items: Sequence[FaceItem]) -> Numbers:
        """Return the labels of many items at once, shape (N,)."""
        return torch.tensor([item.labels[self.place] for item in items], dtype=torch.float32).as_subclass(Numbers)


class ClassTarget(Transform):
    """Item -> ClassNumbers -> ClassName."""

    input_types = (object,)

    def __init__(self, place: int, head: Classification) -> None:
        super().__init__()
        self.place, self.title, self.classes = place, head.title, head.classes

    def encodes(self, item: FaceItem) -> ClassNumbers:
        """Return the class number of one item, shape ()."""
        return ClassNumbers(int(item.labels[self.place]))

    def decodes(self, label: ClassNumbers) -> ClassName:
        """Return one class by its name."""
        number = int(label)
        return ClassName(self.classes[number] if number >= 0 else f"{self.title} unknown")

    def batch(self, items: Sequence[FaceItem]) -> ClassNumbers:
        """Return the class numbers of many items at once, shape (N,)."""
        return torch.tensor([item.labels[self.place] for item in items], dtype=torch.int64).as_subclass(ClassNumbers)


def make_data_block(
    heads: Sequence[Head], image: ImageSettings, augmentation: AugmentationSettings | None, *, seed: int
) -> DataBlock:
    """Return the DataBlock alone; its source is a list of `FaceItem`."""
    photo_block = TransformBlock(
        type_tfms=ReadPhoto(),
        batch_tfms=NormalisePhotos(image.mean, image.std),
        dl_type=PhotoLoader,
        dls_kwargs={"image": image, "augmentation": augmentation, "seed": seed},
    )
    targets = [
        TransformBlock(
            type_tfms=NumberTarget(place, head) if isinstance(head, Regression) else ClassTarget(place, head)
        )
        for place, head in enumerate(heads)
    ]
    return DataBlock(blocks=(photo_block, *targets), n_inp=1, splitter=_split_by_column)


def make_dataloaders(  # noqa: PLR0913 (the settings of a run, each by its name)
    faces: FacesTable,
    heads: Sequence[Head],
    image: ImageSettings,
    augmentation: AugmentationSettings | None,
    *,
    batch_size: int,
    seed: int,
    workers: int | None = None,
    device: torch.device | str | None = None,
) -> DataLoaders:
    """Return fastai DataLoaders: `train` of the rows split "train", `valid` of those split "valid".

    Parameters
    ----------
    faces : FacesTable
        Kept rows with a split; others are left out.
    heads : sequence of Head
        One target each, in this order.
    image, augmentation
        The size and normalisation; the random changes of training photos, or None for none.
    batch_size : int
        The training set's last batch is left out when it is not full, unless it is the only one.
    seed : int
        Of the order and the changes. Same seed, same batches, whatever `workers` is.
    workers : int, optional
        Reading threads, by default one per usable core, at most `MOST_THREADS`.
    device : torch.device or str, optional
        By default the best there is.

    Returns
    -------
    DataLoaders
        Batches are (photos float32 (N, 3, S, S), one tensor (N,) per head).
    """
    items = face_items(faces, heads)
    training = sum(item.split == "train" for item in items)
    return make_data_block(heads, image, augmentation, seed=seed).dataloaders(
        items,
        bs=batch_size,
        drop_last=training >= batch_size,
        num_workers=_reading_threads() if workers is None else workers,
        device=torch.device(device) if device is not None else None,
    )


def with_known_classes(faces: FacesTable, heads: Sequence[Head]) -> FacesTable:
    """Return the faces, labels of classes that no training photo shows made unknown: nothing is learnt about these."""
    table = faces.table
    for head in heads:
        if not isinstance(head, Classification) or head.column not in table:
            continue
        labels = as_names(table[head.column])
        strangers = labels.notna() & ~labels.isin(head.classes)
        if (strangers & table["dropped_because"].isna()).any():
            names = ", ".join(sorted(labels[strangers].astype(str).unique()))
            say(f"no training photo is labelled {names} in {head.column}, so the model will never say that.")
        table = table.assign(**{head.column: table[head.column].where(~strangers, None)})
    return replace(faces, table=table)


def _reading_threads() -> int:
    return min(max(1, processor_count() // launched().local_count), MOST_THREADS)


def _split_by_column(items: Sequence[FaceItem]) -> tuple[list[int], list[int]]:
    train, valid = (_numbers_of(items, split) for split in ("train", "valid"))
    return train, valid


def _numbers_of(items: Sequence[FaceItem], split: str) -> list[int]:
    numbers = [number for number, item in enumerate(items) if item.split == split]
    if not numbers:
        raise TableError(
            f"none of the {len(items)} kept photos is split {split!r}, so there is nothing to "
            f"{'learn from' if split == 'train' else 'validate on'}. `agegender prepare` splits a table."
        )
    return numbers


def show_photo_batch(
    x: TensorPhoto,  # noqa: ARG001 (fastai chooses by its type)
    y: Any,  # noqa: ARG001
    samples: Sequence[Any],
    ctxs: Any = None,
    max_n: int = 9,
    **kwargs: Any,
) -> Any:
    """Draw photos with their labels, "34 y, female", as titles."""
    axes = ctxs or _grid(min(len(samples), max_n), kwargs)
    for axis, (photo, *labels) in zip(axes, samples, strict=False):
        photo.show(ctx=axis, title=_words(labels), **kwargs)
    return axes


def show_photo_results(
    x: TensorPhoto,  # noqa: ARG001 (fastai chooses by its type)
    y: Any,  # noqa: ARG001
    samples: Sequence[Any],
    outs: Sequence[Any],
    ctxs: Any = None,
    max_n: int = 9,
    **kwargs: Any,
) -> Any:
    """Draw photos with what is true above what was predicted; a title is red where a class is wrong."""
    axes = ctxs or _grid(min(len(samples), max_n), kwargs)
    for axis, (photo, *labels), predicted in zip(axes, samples, outs, strict=False):
        photo.show(ctx=axis, **kwargs)
        is_wrong = any(isinstance(true, str) and true != guess for true, guess in zip(labels, predicted, strict=False))
        title = f"true {_words(labels)}\npredicted {_words(predicted)}"
        axis.set_title(title, color="darkred" if is_wrong else "black", fontsize="medium")
    return axes


def plot_photo_losses(
    x: TensorPhoto,
    y: Any,
    samples: Sequence[Any],
    outs: Sequence[Any],
    raws: Any,  # noqa: ARG001
    losses: torch.Tensor,
    **kwargs: Any,
) -> Any:
    """Draw the photos with the largest losses, as `show_results` does, the loss in front."""
    axes = show_photo_results(x, y, samples, outs, max_n=len(samples), **kwargs)
    for axis, loss in zip(axes, losses, strict=False):
        axis.set_title(f"loss {float(loss):.2f}: {axis.get_title()}", fontsize="medium")
    return axes


def _words(labels: Sequence[Any]) -> str:
    return ", ".join(str(label) for label in labels)


def _grid(count: int, kwargs: dict[str, Any]) -> Any:
    layout = {name: kwargs.pop(name) for name in ("nrows", "ncols", "figsize") if name in kwargs}
    return get_grid(count, **layout)


show_batch.dispatch(show_photo_batch)
show_results.dispatch(show_photo_results)
plot_top_losses.dispatch(plot_photo_losses)
