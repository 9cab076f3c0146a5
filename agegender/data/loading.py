"""From rows of a faces table to batches of bytes: what an item is, how a photo is read, and a loader made of threads.

Bytes stay bytes until the batch is whole: threads decode photos with OpenCV, which lets go of Python's lock, and warp
them straight into one uint8 array, which becomes float once, where the network is. Random numbers belong to the batch
and not to the thread: same seed, same batches, however many threads.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from fastai.data.core import TfmdDL
from fastai.data.transforms import ToTensor
from fastai.torch_core import TensorBase, TensorImage
from fastai.vision.core import PILImage
from fasttransform import Pipeline, Transform
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from agegender.data.faces_table import FacesTable
from agegender.data.normalisation import Normalisation
from agegender.errors import TableError, UsageError
from agegender.heads import Head
from agegender.photos.reading import as_photo
from agegender.photos.reading_ahead import read_ahead
from agegender.photos.warping import draw_changes, fit_square, stronger
from agegender.settings import AugmentationSettings, ImageSettings

_FIRST_FLIPS = 2404  # keeps this draw apart from the epochs' own
BATCHES_AHEAD = 2  # beyond those in the threads' hands
# How much wider the changes are of a photo that an epoch has had before, for each time, and for how many times.
REPEAT_STRENGTH, MOST_STRENGTHENED = 0.5, 2
# Moving, cutting and unpacking leave the meaning of a tensor as it is.
_MEANING_STAYS = {
    Tensor.__getitem__,
    Tensor.clone,
    Tensor.contiguous,
    Tensor.cpu,
    Tensor.cuda,
    Tensor.detach,
    Tensor.pin_memory,
    Tensor.to,
    Tensor.unbind,
}


@dataclass(frozen=True, slots=True)
class FaceItem:
    """A photo (of any kind that `as_photo` takes), one label per head as `head.labels` gives it, and its split."""

    photo: Any
    labels: tuple[float | int, ...]
    split: str | None


def face_items(faces: FacesTable, heads: Sequence[Head]) -> list[FaceItem]:
    """Return the kept rows as items, in the order of the table."""
    table = faces.kept()
    for head in heads:
        if head.column not in table:
            raise TableError(
                f"the faces table has no column {head.column!r} for the head {head.name!r}; "
                f"it has {', '.join(table.columns)}."
            )
    labels = zip(*(head.labels(table[head.column]).tolist() for head in heads), strict=True)
    splits = [None if pd.isna(split) else str(split) for split in table["split"]]
    photos = [faces.photo_path(path) for path in table["path"]]
    return [FaceItem(*parts) for parts in zip(photos, labels, splits, strict=True)]


class MeaningfulTensor(TensorBase):
    """A tensor whose type says what it means; what is computed from it is a plain tensor.

    fastai's own types spread through the whole network and loss, where they cost time at every operation and where
    two of them (a photo's logits and a number) refuse to meet.
    """

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run any torch function on plain tensors; give the type back where only place or extent has changed."""
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **(kwargs or {}))
        if func not in _MEANING_STAYS:
            return result
        if isinstance(result, Tensor):
            return result.as_subclass(cls)
        return tuple(part.as_subclass(cls) for part in result)  # unpacked, one tensor per photo


class TensorPhoto(MeaningfulTensor, TensorImage):
    """A batch of photos, shape (N, 3, S, S): uint8 until it is normalised, float32 after."""


class PhotoWeights(MeaningfulTensor):
    """What each photo of a training batch counts for, shape (N,), float32; it follows the labels."""


class TeacherAnswers(MeaningfulTensor):
    """What a teacher says of each photo of a training batch, shape (N, K), float32; NaN where it says nothing."""


class ReadPhoto(Transform):
    """Item -> photo. An item is a `FaceItem`, a path, the bytes of a file, an array or a Pillow image."""

    input_types = (object,)

    def encodes(self, item: object) -> PILImage:
        """Return one photo as fastai shows it; batches use `read_item` and never come here."""
        return PILImage(Image.fromarray(read_item(item)))


def read_item(item: Any, *, smallest_side: int | None = None) -> NDArray[np.uint8]:
    """Return the photo of an item; see `as_photo`."""
    return as_photo(item.photo if isinstance(item, FaceItem) else item, smallest_side=smallest_side)


class NormalisePhotos(Transform):
    """`Normalisation` as fastai runs it behind every batch."""

    order = 99
    # fastai moves what is named here to the device together with the loader.
    parameters = ("normalisation",)

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.mean, self.std = tuple(mean), tuple(std)
        self.normalisation = Normalisation(mean, std)

    def encodes(self, photos: TensorPhoto) -> TensorPhoto:
        """Normalise a batch."""
        return self.normalisation.normalise(photos.as_subclass(Tensor)).as_subclass(TensorPhoto)

    def decodes(self, photos: TensorPhoto) -> TensorPhoto:
        """Return the photos as they were, float32 in [0, 1]."""
        return self.normalisation.undo(photos.as_subclass(Tensor)).as_subclass(TensorPhoto)


class NoVocabularyError(UsageError, AttributeError):
    """Something of fastai's asked several heads for their one list of classes."""


class PhotoLoader(TfmdDL):
    """A `TfmdDL` that makes batches, not items. `num_workers` are threads.

    Photos are changed at random in the training set while it is shuffled; whoever reads it in order is evaluating.

    Parameters
    ----------
    dataset : Datasets
        Its first pipeline ends in `ReadPhoto`, each further one in a target with `batch(items)`.
    num_workers : int
        Threads; 0 reads in the caller's.
    augmentation : AugmentationSettings or None
        None never changes a photo.
    always_changes : bool
        Change photos also in order and outside the training set, for test-time augmentation.

    Attributes
    ----------
    weights : ndarray, shape (items,), or None
        When set, a shuffled epoch draws items with these probabilities, with replacement, instead of each once.
    strengthens_repeats : bool
        Whether an item that an epoch draws again is changed more strongly.
    photo_weights : ndarray, shape (items,), or None
        When set, a training batch has one more tensor behind its labels, what each photo counts for in the loss.
    teacher_answers : ndarray, shape (items, K), float32, or None
        When set, a training batch has the rows of its photos behind its labels.
    part : (int, int)
        (r, n): of each batch make every n-th photo from the r-th on, as they are in the whole batch.

    Raises
    ------
    UsageError
        There are `item_tfms`, which would never run.
    """

    part: tuple[int, int] = (0, 1)

    def __init__(
        self,
        dataset: Any = None,
        bs: int = 64,
        *,
        num_workers: int = 0,
        image: ImageSettings | None = None,
        augmentation: AugmentationSettings | None = None,
        seed: int = 0,
        always_changes: bool = False,
        **kwargs: Any,
    ) -> None:
        _refuse_item_transforms(kwargs.get("after_item"))
        self.threads = num_workers
        self.image = image or ImageSettings()
        self.augmentation = augmentation
        self.seed = seed
        self.always_changes = always_changes
        self.epoch = 0
        self.weights: NDArray[np.float64] | None = None
        self._first_flips: NDArray[np.int64] | None = None
        self.strengthens_repeats = False
        self.photo_weights: NDArray[np.float64] | None = None
        self.teacher_answers: NDArray[np.float32] | None = None
        super().__init__(dataset, bs=bs, num_workers=0, **kwargs)

    def new(self, dataset: Any = None, cls: type | None = None, **kwargs: Any) -> PhotoLoader:
        """Return a loader like this one, over another dataset or with other settings."""
        mine = {name: getattr(self, name) for name in ("image", "augmentation", "seed", "always_changes")}
        return super().new(dataset, cls, **{"num_workers": self.threads, **mine, **kwargs})

    @property
    def n_inp(self) -> int:
        """Return 1: only the photo goes into the network. `dls.test_dl(..., with_labels=True)` would forget it."""
        return 1

    def __getattr__(self, name: str) -> Any:
        """Return what the dataset has; asked for classes, say why there is no one list of them."""
        if name == "vocab":
            raise NoVocabularyError(
                "there is no one set of classes: every head has its own. fastai's ClassificationInterpretation cannot "
                "look at several heads; use agegender.Audit(model.predict(faces)) instead."
            )
        return super().__getattr__(name)

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
        # A last batch may be too small to have a photo for everybody.
        pairs = (batch for batch in self.chunkify(_with_repeats(map(self.do_item, samps))) if len(batch) > self.part[0])
        return read_ahead(self._batch_of_pairs, pairs, threads=self.threads, ahead=self.threads + BATCHES_AHEAD)

    def _batch_of_pairs(self, pairs: Sequence[tuple[int, int]]) -> tuple[Any, ...]:
        return self.do_batch([number for number, _ in pairs], [repeat for _, repeat in pairs])

    def do_batch(self, b: Sequence[int], repeats: Sequence[int] | None = None) -> tuple[Any, ...]:
        """Return photos, uint8 (N, 3, S, S), and one tensor (N,) per head, of the items with these numbers.

        `repeats` are how often the epoch has had each before. Where photos are weighed or taught, their weights and
        the teacher's answers come last.
        """
        mine = b[self.part[0] :: self.part[1]]
        items = [self.dataset.items[number] for number in mine]
        targets = [pipeline.tfms.fs[-1].batch(items) for pipeline in self.dataset.tls[1:]]
        if self.photo_weights is not None and self._is_training():
            weights = torch.from_numpy(self.photo_weights[list(mine)].astype(np.float32))
            targets.append(weights.as_subclass(PhotoWeights))
        if self.teacher_answers is not None and self._is_training():
            targets.append(torch.from_numpy(self.teacher_answers[list(mine)]).as_subclass(TeacherAnswers))
        return (self._photos(items, b, repeats), *targets)

    def decode(self, b: Sequence[Any]) -> Any:
        """Return a batch as it is shown: photos and labels."""
        return super().decode(tuple(part for part in b if not isinstance(part, (PhotoWeights, TeacherAnswers))))

    def _is_training(self) -> bool:
        return bool(self.shuffle) and getattr(self.dataset, "split_idx", None) == 0

    def _photos(self, items: Sequence[Any], numbers: Sequence[int], repeats: Sequence[int] | None) -> TensorPhoto:
        size = self.image.size
        pinned = self.device is not None and self.device.type == "cuda"
        batch = torch.empty((len(items), size, size, 3), dtype=torch.uint8, pin_memory=pinned)
        self._fill(batch.numpy(), items, numbers, repeats)
        return batch.permute(0, 3, 1, 2).as_subclass(TensorPhoto)

    def _fill(
        self, batch: NDArray[np.uint8], items: Sequence[Any], numbers: Sequence[int], repeats: Sequence[int] | None
    ) -> None:
        size, settings = self.image.size, self.augmentation
        if settings is None or not (self._is_training() or self.always_changes):
            for item, out in zip(items, batch, strict=True):
                fit_square(read_item(item, smallest_side=size), size, out=out)
            return
        levels = np.minimum(repeats or 0, MOST_STRENGTHENED if self.strengthens_repeats else 0)
        levels = np.broadcast_to(levels, len(numbers))
        mine = {place: row for row, place in enumerate(range(len(numbers))[self.part[0] :: self.part[1]])}
        for level in np.unique(levels).tolist():
            places = np.flatnonzero(levels == level).tolist()
            ranges = stronger(settings, 1 + REPEAT_STRENGTH * level) if level else settings
            seed = [self.seed, self.epoch, *numbers, *[level] * bool(level)]
            changes = draw_changes(
                np.random.default_rng(seed),
                len(places),
                ranges,
                mirrored=self._mirrored([numbers[place] for place in places]),
            )
            smallest_side = math.ceil(size * ranges.zoom)
            for number, place in enumerate(places):
                if (row := mine.get(place)) is not None:
                    changes.apply(read_item(items[row], smallest_side=smallest_side), number, batch[row])

    def _mirrored(self, numbers: Sequence[int]) -> NDArray[np.bool_] | None:
        """Return which photos are flipped in this epoch where every one is in every other; at first it is chance.

        Jordan: 94 % on CIFAR-10 in 3.29 seconds on a single GPU, arXiv 2404.00498 (2024).
        """
        if self.augmentation is None or self.augmentation.flip != "alternating":
            return None
        if self._first_flips is None:
            generator = np.random.default_rng([self.seed, _FIRST_FLIPS])
            self._first_flips = generator.integers(0, 2, len(self.dataset.items), dtype=np.int64)
        return (self._first_flips[list(numbers)] + self.epoch) % 2 == 1


def _with_repeats(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield each number with how often it was there before."""
    counts: Counter[int] = Counter()
    for number in numbers:
        yield number, counts[number]
        counts[number] += 1


def _refuse_item_transforms(given: Any) -> None:
    names = [type(one).__name__ for one in Pipeline(given).fs if not isinstance(one, ToTensor)]
    if names:
        raise UsageError(
            f"item_tfms ({', '.join(names)}) would never run: photos are read, fitted and changed by the batch. The "
            f"size is ImageSettings(size=…), random changes are AugmentationSettings(…), and batch_tfms "
            f"work behind an IntToFloatTensor()."
        )
