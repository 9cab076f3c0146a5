"""Predictions from photo files, one network in four ways, side by side in one run.

    python benchmarks/inference.py [--data FOLDER] [--quick] [--json]

The network is a ResNet-34 at 128 px with random weights and two classes, in a fastai Learner as people build one:
`DataBlock(blocks=(ImageBlock, CategoryBlock), item_tfms=Resize(128))` and `Normalize`. `learn_predict` is a loop of
`learn.predict(path)`; `get_preds` is `learn.get_preds(dl=learn.dls.test_dl(paths))` with fastai's own number of worker
processes, their start included; `ours` is `agegender.Model.from_learner(learner).predict(paths)`, which looks for
problems of each photo as well, and `ours_without_problems` leaves that; `decoded` is the same network over photos that
lie in memory, decoded and fitted: what no reading can beat. All in float32, batches of 64, and rounds of all alternate.

`ratio` is the median over the rounds of our photos per second over those of `get_preds`; `ratio_learn_predict` over
those of the loop; `share_of_decoded` is what reading leaves of the network's own rate, without problems, and
`share_of_decoded_with_problems` with them. `photos_per_processor_second` counts what this process and its workers used,
on which other programs have little influence,
and `processor_share_of_decoded` compares these. Without a folder it reads faces that the program draws.
"""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from photo_benchmark import run

from agegender import Model
from agegender.errors import AgeGenderError
from agegender.heads import GENDER
from agegender.memory import kept_memory
from agegender.photos.finding import named_photos
from agegender.photos.reading import read_photo
from agegender.photos.warping import fit_square

SIZE = 128
BATCH_SIZE = 64
FEWEST = 2 * BATCH_SIZE


def measure(root: Path, *, quick: bool) -> dict[str, Any]:
    """Return photos per second of each way, round by round."""
    rounds, singles, many = (2, 8, FEWEST) if quick else (3, 32, 512)
    photos = _sample(root, many)
    learner = their_learner(photos)
    model = Model.from_learner(learner, heads=[GENDER], image_size=SIZE)
    decoded = np.stack([fit_square(read_photo(path), SIZE) for path in photos])
    ways: dict[str, tuple[Callable[[], object], int]] = {
        "learn_predict": (lambda: _loop(learner, photos[:singles]), singles),
        "get_preds": (lambda: _all_at_once(learner, photos), len(photos)),
        "ours": (lambda: model.predict(photos), len(photos)),
        "ours_without_problems": (lambda: model.predict(photos, finds_problems=False), len(photos)),
        "decoded": (lambda: _network_alone(model, decoded), len(photos)),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    worked: dict[str, list[float]] = {name: [] for name in ways}
    model.predict(photos[:BATCH_SIZE])  # the first photos pay for what is loaded once
    for _ in range(rounds):
        for name, (predict, count) in ways.items():
            started, worked_before = time.perf_counter(), _processor_seconds()
            predict()
            rates[name].append(count / (time.perf_counter() - started))
            worked[name].append(count / (_processor_seconds() - worked_before))
    return {
        "benchmark": "inference",
        "ratio": _ratio(rates, "ours", "get_preds"),
        "ratio_learn_predict": _ratio(rates, "ours", "learn_predict"),
        "share_of_decoded": _ratio(rates, "ours_without_problems", "decoded"),
        "share_of_decoded_with_problems": _ratio(rates, "ours", "decoded"),
        "processor_share_of_decoded": _ratio(worked, "ours_without_problems", "decoded"),
        "photos_per_second": {name: statistics.median(values) for name, values in rates.items()},
        "photos_per_processor_second": {name: statistics.median(values) for name, values in worked.items()},
        "rounds": rates,
        "photos": len(photos),
        "image_size": SIZE,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    }


def their_learner(photos: list[Path]) -> Any:
    """Return a fastai Learner over the photos, untrained: how fast it is does not hang on its weights."""
    from fastai.data.block import CategoryBlock, DataBlock
    from fastai.data.transforms import IndexSplitter
    from fastai.learner import Learner
    from fastai.losses import CrossEntropyLossFlat
    from fastai.vision.augment import Normalize, Resize
    from fastai.vision.core import imagenet_stats
    from fastai.vision.data import ImageBlock
    from torchvision.models import resnet34

    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock(vocab=list(GENDER.classes))),
        splitter=IndexSplitter(range(BATCH_SIZE)),
        get_y=lambda path: GENDER.classes[len(path.name) % 2],
        item_tfms=Resize(SIZE),
        batch_tfms=Normalize.from_stats(*imagenet_stats),
    )
    loaders = block.dataloaders(photos, bs=BATCH_SIZE, device="cpu")
    return Learner(loaders, resnet34(num_classes=2), loss_func=CrossEntropyLossFlat())


def _loop(learner: Any, photos: list[Path]) -> None:
    with learner.no_bar():
        for path in photos:
            learner.predict(path)


def _all_at_once(learner: Any, photos: list[Path]) -> None:
    with learner.no_bar():
        learner.get_preds(dl=learner.dls.test_dl(photos))


def _network_alone(model: Model, decoded: np.ndarray) -> None:
    with kept_memory():  # as long predictions have it
        model.predict_images(decoded)


def _sample(root: Path, most: int) -> list[Path]:
    photos = named_photos([root])
    if len(photos) < FEWEST:
        raise AgeGenderError(f"{root} holds {len(photos)} photos; {FEWEST} are needed.")
    return [photos[number] for number in np.random.default_rng(0).permutation(len(photos))[:most]]


def _processor_seconds() -> float:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, kinds))


def _ratio(rates: dict[str, list[float]], ours: str, theirs: str) -> float:
    return statistics.median(one / other for one, other in zip(rates[ours], rates[theirs], strict=True))


def describe(report: dict[str, Any]) -> str:
    """Return the report in one line."""
    rates = ", ".join(f"{name} {rate:,.0f}" for name, rate in report["photos_per_second"].items())
    return (
        f"photos per second: {rates}; {report['ratio']:.1f} times get_preds, "
        f"{report['ratio_learn_predict']:.1f} times learn.predict, {report['share_of_decoded']:.0%} of what is decoded"
    )


if __name__ == "__main__":
    raise SystemExit(run(__doc__, measure, describe, drawn_face_count=160, plot=lambda _: None))
