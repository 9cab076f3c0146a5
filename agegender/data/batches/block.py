"""Puts the DataBlock together: one photo block, one target block per head, our loader."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from fastai.data.block import DataBlock, TransformBlock
from fastai.data.core import DataLoaders, Datasets
from fastai.torch_core import default_device

from agegender.data.batches.items import FaceItem, face_items
from agegender.data.batches.loader import PhotoLoader
from agegender.data.batches.photos import NormalisePhotos, ReadPhoto
from agegender.data.batches.targets import target_block
from agegender.data.faces_table import FacesTable
from agegender.errors import TableError
from agegender.settings import AugmentationSettings, Head, ImageSettings

MOST_THREADS = 12


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

    Raises
    ------
    TableError
        No kept row is split "train", or none "valid"; or a label is of no class of its head.
    PhotoError
        While iterating: a photo cannot be read; the message names it.
    """
    block = make_data_block(heads, image, augmentation, seed=seed)
    items = face_items(faces, heads)
    training = sum(item.split == "train" for item in items)
    return block.dataloaders(
        items,
        bs=batch_size,
        drop_last=training >= batch_size,
        num_workers=_threads(workers),
        device=torch.device(device) if device is not None else None,
    )


def make_test_dataloader(
    faces: FacesTable,
    heads: Sequence[Head],
    image: ImageSettings,
    *,
    batch_size: int,
    workers: int | None = None,
    device: torch.device | str | None = None,
) -> PhotoLoader:
    """Return a loader over all kept rows in the table's order, whatever their split, photos unchanged.

    Raises
    ------
    TableError
        No row is kept, or a label is of no class of its head.
    """
    items = face_items(faces, heads)
    if not items:
        raise TableError("no photo is left in the faces table: every row was dropped.")
    block = make_data_block(heads, image, None, seed=0)
    return PhotoLoader(
        Datasets(items, tfms=block._combine_type_tfms(), n_inp=1),
        bs=batch_size,
        num_workers=_threads(workers),
        image=image,
        after_batch=block.batch_tfms,
        device=torch.device(device) if device is not None else default_device(),
    )


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
    targets = [target_block(head, place) for place, head in enumerate(heads)]
    return DataBlock(blocks=(photo_block, *targets), n_inp=1, splitter=_split_by_column)


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


def _threads(workers: int | None) -> int:
    if workers is not None:
        return workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_THREADS)
