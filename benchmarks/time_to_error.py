"""How long until a network from scratch is as good as asked: a study's recipe against ours, same photos, same clock.

    python benchmarks/time_to_error.py --data UTKFace [--epochs 12] [--limit 6000] [--json]
    python benchmarks/time_to_error.py --quick [--json]

Theirs is what the fastai study of UTKFace writes: a ResNet-34 with one head for years and one for the class, squared
error plus cross-entropy, `Resize(460)` and `aug_transforms(size=224, min_scale=0.75)`, fastai's Adam and one-cycle in
fp32; once at its own 224 px and once at the size and batch where it is fastest. Ours is what `agegender train` does by
itself at that smaller size. All start from scratch, are trained on the same photos and are measured on the same
validation photos after each epoch; the clock runs from the first request for a batch, reading and validation included.

A run *reaches* the targets in the first epoch after which both hold (by default a mean absolute error of 8.0 years and
85 % for the class). `ratio` is the seconds of the faster of theirs over ours; where neither of theirs gets there, the
shorter of their whole runs counts and `ratio_is_lower_bound` is true; where ours does not, there is no ratio. Without
--quick, which is a small task on drawn faces with easier targets, the curves go to benchmarks/results/time_to_error.svg
and .json.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from fastai.callback.core import Callback
from fastai.data.block import CategoryBlock, DataBlock, RegressionBlock
from fastai.data.transforms import FuncSplitter
from fastai.learner import Learner
from fastai.vision.augment import Resize, aug_transforms
from fastai.vision.data import ImageBlock
from fastai.vision.learner import create_head
from torch import Tensor, nn

from agegender.data.datablock import make_dataloaders
from agegender.data.faces_table import FacesTable
from agegender.data.preparing import limit_faces
from agegender.data.sources import drawn_faces, find_source
from agegender.data.splitting import split_faces
from agegender.heads import KNOWN_HEADS
from agegender.model.bodies import make_body
from agegender.model.learner import make_learner
from agegender.model.losses import CombinedLoss
from agegender.model.network import decode, make_network, statistics_of
from agegender.model.precision import choose_device, choose_precision, set_seed
from agegender.model.training_speed import choose_layout, speed_callbacks
from agegender.progress import say
from agegender.settings import AugmentationSettings, ImageSettings, TrainingSettings
from agegender.writing import to_json

RESULTS = Path(__file__).parent / "results"
READ_PIXELS = 460
MIN_SCALE = 0.75
AGE, GENDER = KNOWN_HEADS


@dataclass(frozen=True)
class Task:
    """What is to be reached, and on what terms."""

    body: str
    epochs: int
    study_size: int  # pixels that the study chose
    best_size: int  # pixels at which both are fastest
    study_batch: int
    best_batch: int
    most_years: float
    least_accuracy: float


FULL = Task("resnet34", 12, 224, 96, 64, 32, 8.0, 0.85)
QUICK = Task("resnet18", 3, 96, 64, 32, 16, 22.0, 0.6)


class Curve(Callback):
    """Seconds since the start, years of error and accuracy on the validation photos, after each epoch."""

    order = 80

    def __init__(self, years: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.years = years
        self.points: list[dict[str, float]] = []

    def before_fit(self) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def before_validate(self) -> None:
        """Forget the last epoch."""
        self._errors: list[float] = []
        self._right: list[bool] = []

    def after_batch(self) -> None:
        """Compare a validation batch with its labels."""
        if self.training:
            return
        age, gender = self.pred
        truth, classes = (torch.as_tensor(part).reshape(-1) for part in self.yb)
        self._errors += (self.years(age.detach().float()).reshape(-1) - truth).abs().tolist()
        self._right += (gender.argmax(dim=1) == classes).tolist()

    def after_epoch(self) -> None:
        """Add a point."""
        self.points.append(
            {
                "seconds": time.perf_counter() - self._started,
                "mean_absolute_error": float(np.mean(self._errors)),
                "accuracy": float(np.mean(self._right)),
            }
        )
        say(f"  {self.points[-1]}")


class StudyNetwork(nn.Module):
    """One body and a stock head for each of the two."""

    def __init__(self, body: str) -> None:
        super().__init__()
        self.body, channels = make_body(body)
        self.age, self.gender = create_head(channels, 1), create_head(channels, 2)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return years, shape (N, 1), and logits, shape (N, 2)."""
        features = self.body(images)
        return self.age(features), self.gender(features)


def study_loss(predictions: tuple[Tensor, Tensor], years: Tensor, classes: Tensor) -> Tensor:
    """Return squared error plus cross-entropy."""
    return F.mse_loss(predictions[0].reshape(-1), years.float().reshape(-1)) + F.cross_entropy(predictions[1], classes)


def study_curve(faces: FacesTable, task: Task, size: int, batch_size: int) -> list[dict[str, float]]:
    """Train the study's recipe and return its curve."""
    rows = faces.kept().to_dict("records")
    block = DataBlock(
        blocks=(ImageBlock, RegressionBlock, CategoryBlock(vocab=list(GENDER.classes))),
        n_inp=1,
        get_items=lambda _: rows,
        get_x=lambda row: faces.photo_path(row["path"]),
        get_y=[lambda row: float(row["age_years"]), lambda row: row["gender"]],
        splitter=FuncSplitter(lambda row: row["split"] == "valid"),
        item_tfms=Resize(READ_PIXELS),
        batch_tfms=aug_transforms(size=size, min_scale=MIN_SCALE),
    )
    loaders = block.dataloaders(None, bs=batch_size)
    learner = Learner(loaders, StudyNetwork(task.body), loss_func=study_loss)
    curve = Curve(lambda age: age)
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(task.epochs, lr_max=2e-3, cbs=[curve])
    return curve.points


def our_curve(faces: FacesTable, task: Task, size: int, batch_size: int) -> tuple[list[dict[str, float]], str]:
    """Train as `agegender train` does; return the curve and the precision."""
    device = choose_device("auto")
    precision = choose_precision("auto", device)
    rows = faces.kept()
    statistics = statistics_of(KNOWN_HEADS, rows[rows["split"] == "train"])
    network = make_network(task.body, KNOWN_HEADS, statistics, image_size=size).to(device)
    image, settings = ImageSettings(size=size), TrainingSettings(task.epochs, batch_size)
    loaders = make_dataloaders(
        faces, KNOWN_HEADS, image, AugmentationSettings(), batch_size=batch_size, seed=7, device=device
    )
    learner = make_learner(loaders, network, CombinedLoss(KNOWN_HEADS, {AGE.name: statistics[AGE.name].std}))
    looks = int((rows["split"] == "train").sum()) * task.epochs
    layout = choose_layout(network.body, size, looks, precision=precision, device=device)
    curve = Curve(partial(decode, AGE))
    during = [*speed_callbacks(precision, layout, device), curve]
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(task.epochs, lr_max=settings.learning_rate, wd=settings.weight_decay, cbs=during)
    return curve.points, precision


def reached(points: list[dict[str, float]], task: Task) -> tuple[float, bool]:
    """Return the seconds until both targets held, or all of them and False."""
    for point in points:
        if point["mean_absolute_error"] <= task.most_years and point["accuracy"] >= task.least_accuracy:
            return point["seconds"], True
    return points[-1]["seconds"], False


def measure(faces: FacesTable, task: Task) -> dict[str, Any]:
    """Run all three and return the document."""
    curves = {}
    arms = (("study", task.study_size, task.study_batch), ("study_at_best", task.best_size, task.best_batch))
    for name, size, batch_size in arms:
        set_seed(7)
        say(f"{name}: {size} px, batches of {batch_size}")
        curves[name] = study_curve(faces, task, size, batch_size)
    set_seed(7)
    say(f"ours: {task.best_size} px, batches of {task.best_batch}")
    curves["ours"], precision = our_curve(faces, task, task.best_size, task.best_batch)
    seconds = {name: reached(points, task) for name, points in curves.items()}
    theirs = [seconds[name] for name, _, _ in arms]
    got_there = [one for one, is_there in theirs if is_there]
    return {
        "benchmark": "time_to_error",
        "ratio": (min(got_there or [one for one, _ in theirs]) / seconds["ours"][0]) if seconds["ours"][1] else None,
        "ratio_is_lower_bound": not got_there,
        "targets": {"mean_absolute_error": task.most_years, "accuracy": task.least_accuracy},
        "seconds": {name: {"seconds": one, "reached": is_there} for name, (one, is_there) in seconds.items()},
        "precision": precision,
        "processor": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "photos": {split: int(count) for split, count in faces.kept()["split"].value_counts().items()},
        "task": vars(task),
        "curves": curves,
    }


def draw_plot(document: dict[str, Any], path: Path) -> None:
    """Draw error and accuracy over minutes, all three in one picture."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), constrained_layout=True)
    names = {"mean_absolute_error": "mean absolute error, years", "accuracy": "gender accuracy"}
    for axis, (name, label) in zip(axes, names.items(), strict=True):
        for arm, points in document["curves"].items():
            axis.plot([p["seconds"] / 60 for p in points], [p[name] for p in points], marker="o", label=arm)
        axis.axhline(document["targets"][name], color="grey", linestyle=":")
        axis.set(xlabel="minutes", ylabel=label)
    axes[0].legend(frameon=False)
    figure.suptitle(f"ours in {document['precision']} on {document['processor']}, {document['threads']} threads")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FOLDER", type=Path, help="a UTKFace folder (default: faces are drawn)")
    parser.add_argument("--epochs", type=int, help=f"of each run (default: {FULL.epochs})")
    parser.add_argument("--limit", type=int, help="only this many photos")
    parser.add_argument("--quick", action="store_true", help="a small task on drawn faces, within a minute, no plot")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    task = QUICK if options.quick else FULL
    if options.epochs:
        task = replace(task, epochs=options.epochs)
    with tempfile.TemporaryDirectory() as folder:
        root = options.data or Path(folder) / "drawn"
        if not options.data:
            drawn_faces.draw_faces(root, face_count=200 if options.quick else 1200)
        faces = split_faces(find_source("utkface" if options.data else "drawn_faces")(root))
        faces = limit_faces(faces, options.limit) if options.limit else faces
        document = measure(faces, task)
    if not options.quick:
        draw_plot(document, RESULTS / "time_to_error.svg")
        (RESULTS / "time_to_error.json").write_text(to_json(document) + "\n", encoding="utf-8")
    if options.json:
        print(to_json(document))
        return
    said = f"{document['ratio']:.2f}" if document["ratio"] else "none: ours did not reach the targets"
    print(f"ratio {said} in {document['precision']}; {document['seconds']}")


if __name__ == "__main__":
    main()
