"""Owns the speed: a fastai loader whose threads read, warp and light a whole batch into one array.

OpenCV lets go of Python's lock, so threads do it without processes to start, pickle or lose. Random numbers belong to
the batch and not to the thread: same seed, same batches, however many threads.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from fastai.data.core import TfmdDL
from numpy.typing import NDArray

from agegender.data.batches.photos import ReadPhoto, TensorPhoto
from agegender.photos.warping import draw_changes, fit_square
from agegender.settings import AugmentationSettings, ImageSettings

Given = TypeVar("Given")
Made = TypeVar("Made")
BATCHES_AHEAD = 2  # beyond those in the threads' hands


class PhotoLoader(TfmdDL):
    """A `TfmdDL` that makes batches, not items. `num_workers` are threads.

    Photos are changed at random in the training set while it is shuffled; whoever reads it in order is evaluating.

    Parameters
    ----------
    dataset : Datasets
        Its first pipeline ends in `ReadPhoto`, each further one in a target with `batch(items)`.
    bs : int
    num_workers : int
        Threads; 0 reads in the caller's.
    image : ImageSettings
    augmentation : AugmentationSettings or None
        None never changes a photo.
    seed : int

    Attributes
    ----------
    weights : ndarray, shape (items,), or None
        When set, a shuffled epoch draws items with these probabilities, with replacement, instead of each once.
    """

    def __init__(
        self,
        dataset: Any = None,
        bs: int = 64,
        *,
        num_workers: int = 0,
        image: ImageSettings | None = None,
        augmentation: AugmentationSettings | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        self.threads = num_workers
        self.image = image or ImageSettings()
        self.augmentation = augmentation
        self.seed = seed
        self.epoch = 0
        self.weights: NDArray[np.float64] | None = None
        super().__init__(dataset, bs=bs, num_workers=0, **kwargs)

    def new(self, dataset: Any = None, cls: type | None = None, **kwargs: Any) -> PhotoLoader:
        """Return a loader like this one, over another dataset or with other settings."""
        mine = {"num_workers": self.threads, "image": self.image, "augmentation": self.augmentation, "seed": self.seed}
        return super().new(dataset, cls, **{**mine, **kwargs})

    @property
    def n_inp(self) -> int:
        """Return 1: only the photo goes into the network. `dls.test_dl(..., with_labels=True)` would forget it."""
        return 1

    def before_iter(self) -> None:
        """Count the epoch: each has its own order and its own changes."""
        super().before_iter()
        self.epoch += 1

    def shuffle_fn(self, idxs: Sequence[int]) -> list[int]:
        """Return the items of a shuffled epoch, from the seed and the epoch alone."""
        generator = np.random.default_rng([self.seed, self.epoch])
        if self.weights is None:
            return generator.permutation(idxs).tolist()
        return generator.choice(idxs, size=len(idxs), p=self.weights / self.weights.sum()).tolist()

    def do_item(self, s: int | None) -> int:
        """Return the item's number: photos are read by the batch."""
        return s or 0

    def create_batches(self, samps: Iterable[int]) -> Iterator[tuple[Any, ...]]:
        """Yield batches in order, made by threads ahead of time."""
        # One photo is too small to be split; OpenCV's own threads would only fight ours.
        cv2.setNumThreads(1)
        numbers = self.chunkify(map(self.do_item, samps))
        return _made_ahead(self.do_batch, numbers, self.threads) if self.threads else map(self.do_batch, numbers)

    def do_batch(self, b: Sequence[int]) -> tuple[Any, ...]:
        """Return photos, uint8 (N, 3, S, S), and one tensor (N,) per head, of the items with these numbers."""
        items = [self.dataset.items[number] for number in b]
        targets = (pipeline.tfms.fs[-1].batch(items) for pipeline in self.dataset.tls[1:])
        return (self._photos(items, b), *targets)

    def _photos(self, items: Sequence[Any], numbers: Sequence[int]) -> TensorPhoto:
        size = self.image.size
        pinned = self.device is not None and self.device.type == "cuda"
        batch = torch.empty((len(items), size, size, 3), dtype=torch.uint8, pin_memory=pinned)
        self._fill(batch.numpy(), items, numbers)
        return batch.permute(0, 3, 1, 2).as_subclass(TensorPhoto)

    def _fill(self, batch: NDArray[np.uint8], items: Sequence[Any], numbers: Sequence[int]) -> None:
        reader: ReadPhoto = self.dataset.tls[0].tfms.fs[-1]
        size = self.image.size
        if self.augmentation is None or not self.shuffle or getattr(self.dataset, "split_idx", None) != 0:
            for item, out in zip(items, batch, strict=True):
                fit_square(reader.read(item, smallest_side=size), size, out=out)
            return
        changes = draw_changes(np.random.default_rng([self.seed, self.epoch, *numbers]), len(items), self.augmentation)
        smallest_side = math.ceil(size * self.augmentation.zoom)
        for place, item in enumerate(items):
            changes.apply(reader.read(item, smallest_side=smallest_side), place, batch[place])


def _made_ahead(make: Callable[[Given], Made], given: Iterable[Given], threads: int) -> Iterator[Made]:
    waiting: deque[Future[Made]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="photos")
    try:
        for one in given:
            waiting.append(pool.submit(make, one))
            if len(waiting) >= threads + BATCHES_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # Also when the reader stops early, or Ctrl-C: nothing is left reading behind its back.
        pool.shutdown(wait=True, cancel_futures=True)
