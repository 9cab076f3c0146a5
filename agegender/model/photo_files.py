"""Owns the way from many files to predictions: threads read and fit photos while the network works on others.

One bad photo never stops a run: it is left out, and said.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from agegender.audit.predictions_table import PREDICTION_COLUMNS
from agegender.errors import PhotoError
from agegender.model.predictor import BATCH_SIZE, Model
from agegender.photos.reading import read_photo
from agegender.progress import track

READING_THREADS = 2
BATCHES_AHEAD = 4


@dataclass(frozen=True)
class FileOutputs:
    """Raw outputs of the photos that could be read.

    Attributes
    ----------
    raw : tuple of Tensor
        One per head, a row for each photo in `places`.
    places : ndarray of int
        Which of the given paths each row belongs to.
    problems : dict of int to str
        Why each other path has no row.
    """

    raw: tuple[Tensor, ...]
    places: NDArray[np.int64]
    problems: dict[int, str]


def outputs_of_files(
    model: Model, paths: Sequence[Path], *, crops: bool = False, label: str = "predicting"
) -> FileOutputs:
    """Run the model over photo files, showing progress; `crops` cuts the faces out first, as training did."""
    raw: list[tuple[Tensor, ...]] = []
    places: list[int] = []
    problems: dict[int, str] = {}
    images: list[NDArray[np.uint8]] = []
    for place, fitted in enumerate(track(_fitted(model, paths, crops=crops), label, total=len(paths))):
        if isinstance(fitted, PhotoError):
            problems[place] = str(fitted)
        else:
            images.append(fitted)
            places.append(place)
        if len(images) == BATCH_SIZE or (images and place == len(paths) - 1):
            raw.append(model.raw_outputs_in_batches(np.stack(images)))
            images = []
    whole = tuple(torch.cat(parts) for parts in zip(*raw, strict=True)) if raw else ()
    return FileOutputs(whole, np.array(places, dtype=np.int64), problems)


def predict_files(
    model: Model, paths: Sequence[Path], *, crops: bool = False, label: str = "predicting"
) -> tuple[pd.DataFrame, dict[int, str]]:
    """Predict photo files.

    Returns
    -------
    predictions : DataFrame
        One row per path, in their order; missing values where the photo could not be read.
    problems : dict of int to str
        The row numbers of those photos, and why.
    """
    outputs = outputs_of_files(model, paths, crops=crops, label=label)
    return place_columns(model, outputs, len(paths)), outputs.problems


def place_columns(model: Model, outputs: FileOutputs, row_count: int) -> pd.DataFrame:
    """Return calibrated columns with `row_count` rows, the unread ones missing."""
    if not outputs.raw:
        return pd.DataFrame(np.nan, index=range(row_count), columns=list(PREDICTION_COLUMNS))
    columns = model.columns(outputs.raw)
    columns.index = pd.Index(outputs.places)
    return columns.reindex(range(row_count))


def _fitted(model: Model, paths: Sequence[Path], *, crops: bool) -> Iterator[NDArray[np.uint8] | PhotoError]:
    def fit(path: Path) -> NDArray[np.uint8] | PhotoError:
        try:
            photo = read_photo(path)
            return model.fit_photo(model.crop_photo(photo) if crops else photo)
        except PhotoError as error:
            return error

    waiting = iter(paths)
    with ThreadPoolExecutor(READING_THREADS) as pool:
        ahead = deque(pool.submit(fit, path) for path in islice(waiting, BATCHES_AHEAD * BATCH_SIZE))
        while ahead:
            yield ahead.popleft().result()
            ahead.extend(pool.submit(fit, path) for path in islice(waiting, 1))
