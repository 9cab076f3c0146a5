"""Training batches from photo files: fastai's usual DataBlock against ours, side by side in one run.

    python benchmarks/input_pipeline.py [--data FOLDER] [--quick] [--json]

Theirs is what fastai studies of UTKFace write: `DataBlock(blocks=(ImageBlock, RegressionBlock, CategoryBlock),
item_tfms=Resize(460), batch_tfms=aug_transforms(size=224, min_scale=0.75))` with fastai's own number of worker
processes. Ours is `make_dataloaders` at the same size, with the same ranges of zoom, rotation, flip and light and with
as many threads; it also normalises, and does not imitate the perspective warp. Both read batches of 64 and end in
float32 tensors. Rounds of both alternate, so that whatever else the machine does meets both alike, and a round is
timed from the first request to the last batch, start and end of the workers included. `ratio` is the median over the
rounds of our photos per second over theirs.

Without a folder it reads faces that the program draws. Without --quick it runs more and longer rounds, measures
`Resize(256)` beside them, and writes benchmarks/results/input_pipeline.svg.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
from photo_benchmark import run

from agegender.data.datablock import make_dataloaders
from agegender.data.faces_table import FacesTable, make_table
from agegender.errors import AgeGenderError
from agegender.heads import KNOWN_HEADS
from agegender.photos.finding import named_photos
from agegender.settings import AugmentationSettings, ImageSettings

SIZE = 224
BATCH_SIZE = 64
MIN_SCALE = 0.75  # of the area, in theirs: 1.155 of the side
PLOT = Path(__file__).parent / "results" / "input_pipeline.svg"


def measure(root: Path, *, quick: bool) -> dict:
    """Return photos per second of both, round by round."""
    rounds, few, many = (3, 3, 20) if quick else (7, 8, 80)
    # Every epoch is read to its end: batches that workers made ahead for nobody would count against their maker.
    loaders = {
        "theirs": (their_batches(_sample(root, few), 460), few),
        "ours": (our_batches(_sample(root, many), root), many),
    }
    if not quick:
        loaders["theirs_resize_256"] = (their_batches(_sample(root, few), 256), few)
    rates: dict[str, list[float]] = {name: [] for name in loaders}
    for _ in range(rounds):
        for name, (loader, batches) in loaders.items():
            rates[name].append(_photos_per_second(loader, batches))
    return {
        "benchmark": "input_pipeline",
        "ratio": statistics.median(ours / theirs for ours, theirs in zip(rates["ours"], rates["theirs"], strict=True)),
        "photos_per_second": {name: statistics.median(values) for name, values in rates.items()},
        "rounds": rates,
        "image_size": SIZE,
        "batch_size": BATCH_SIZE,
        "cores": _cores(),
    }


def their_batches(paths: list[Path], item_size: int) -> Iterable[tuple]:
    """Return a fastai loader as studies build it; the last batch of photos is its validation set."""
    from fastai.data.block import CategoryBlock, DataBlock, RegressionBlock
    from fastai.data.transforms import IndexSplitter
    from fastai.vision.augment import Resize, aug_transforms
    from fastai.vision.data import ImageBlock

    block = DataBlock(
        blocks=(ImageBlock, RegressionBlock, CategoryBlock),
        n_inp=1,
        splitter=IndexSplitter(range(len(paths) - BATCH_SIZE, len(paths))),
        get_y=[_age, _gender],
        item_tfms=Resize(item_size),
        batch_tfms=aug_transforms(size=SIZE, min_scale=MIN_SCALE),
    )
    return block.dataloaders(paths, bs=BATCH_SIZE, device="cpu").train


def our_batches(paths: list[Path], root: Path) -> Iterable[tuple]:
    """Return our loader over the same photos."""
    rows = [
        {
            "path": path.relative_to(root).as_posix(),
            "source": "benchmark",
            "age_years": _age(path),
            "gender": _gender(path),
            "split": "train" if number < len(paths) - BATCH_SIZE else "valid",
        }
        for number, path in enumerate(paths)
    ]
    zoom = 1 / np.sqrt(MIN_SCALE)
    ranges = AugmentationSettings(rotation_degrees=10, zoom=zoom, shift=(1 - 1 / zoom) / 2, lighting=0.2, flip=True)
    faces = FacesTable(make_table(rows), root)
    heads = KNOWN_HEADS
    image = ImageSettings(size=SIZE)
    return make_dataloaders(faces, heads, image, ranges, batch_size=BATCH_SIZE, seed=1, device="cpu").train


def _photos_per_second(loader: Iterable[tuple], batches: int) -> float:
    started = time.perf_counter()
    left = batches
    while left:
        left -= sum(1 for _ in islice(loader, left))
    return batches * BATCH_SIZE / (time.perf_counter() - started)


def _sample(root: Path, batches: int) -> list[Path]:
    photos = named_photos([root])
    if len(photos) < 2 * BATCH_SIZE:
        raise AgeGenderError(f"{root} holds {len(photos)} photos; {2 * BATCH_SIZE} are needed.")
    # Whole batches, and one more for validation. A small folder is read several times over.
    count = min(batches + 1, len(photos) // BATCH_SIZE) * BATCH_SIZE
    return [photos[number] for number in np.random.default_rng(0).permutation(len(photos))[:count]]


def _age(path: Path) -> float:
    first = path.name.split("_")[0]
    return float(first) if first.isdigit() and int(first) < 120 else 30.0


def _gender(path: Path) -> str:
    return "female" if path.name.split("_")[1:2] == ["1"] else "male"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _plot(report: dict, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.fonttype"] = "none"
    mpl.rcParams["svg.hashsalt"] = "agegender"
    import matplotlib.pyplot as plt

    names = {"theirs": "Resize(460)", "theirs_resize_256": "Resize(256)", "ours": "agegender"}
    figure, axis = plt.subplots(figsize=(6.4, 2.6), layout="constrained")
    for line, name in enumerate(name for name in names if name in report["rounds"]):
        median = report["photos_per_second"][name]
        label = f"{names[name]}\n{median:,.0f} per second"
        axis.barh(label, median, color="#2b6ca3" if name == "ours" else "#b8b8b8", height=0.6)
        axis.plot(report["rounds"][name], [line] * len(report["rounds"][name]), "|", color="#222222", markersize=9)
    axis.set_title(
        f"{SIZE} px, batches of {BATCH_SIZE}, {report['cores']} cores: {report['ratio']:.0f} times", loc="left"
    )
    axis.set_xlabel("training photos per second (bar: median, ticks: rounds)")
    axis.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def describe(report: dict) -> str:
    """Return the report in one line."""
    rates = ", ".join(f"{name} {rate:,.0f}" for name, rate in report["photos_per_second"].items())
    return f"photos per second: {rates}; ratio {report['ratio']:.1f}"


if __name__ == "__main__":
    raise SystemExit(run(__doc__, measure, describe, drawn_face_count=256, plot=lambda report: _plot(report, PLOT)))
