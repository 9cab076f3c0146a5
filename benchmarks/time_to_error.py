"""How long until a network from scratch is as good as asked: a study's recipe against ours, same photos, same clock.

    python benchmarks/time_to_error.py --data UTKFace [--epochs 12] [--limit 6000] [--json]
    python benchmarks/time_to_error.py --data UTKFace --arms study [--minutes 30]
    python benchmarks/time_to_error.py --quick [--json]

Theirs is what the fastai study of UTKFace writes: a ResNet-34 with one head for years and one for the class, weighted
squared error plus cross-entropy, `Resize(460)` and `aug_transforms(size=224, min_scale=0.75)`, fastai's Adam and
one-cycle in fp32; once at its own 224 px and once at the size and batch where it is fastest, photos read smaller as
well. The weight is one over the variance of the labels, so that both parts start alike. Ours is what `agegender train`
does by itself at that smaller size. All start from scratch, are trained on the same photos and are measured on the
same validation photos after each epoch; the clock runs from the first request for a batch, reading and validation
included.

A run *reaches* the targets in the first epoch after which both hold (by default a mean absolute error of 8.0 years and
85 % for the class). `ratios` has the seconds of each of theirs over ours, `ratio` is the smaller one. Seconds are the
processor's (user and system, reading processes included), because a machine with other work on it stretches the wall's;
those are recorded beside them. A run of theirs that never gets there counts with all its seconds, and a run that
`--minutes` of processor time stopped with those until then; their ratio is a lower bound and says so. Where ours does
not get there, there is no ratio.

Each run is an arm (study, study_at_best, ours) and is recorded after every epoch in
benchmarks/results/time_to_error/<arm>.json, so that arms can be run one by one, on other days or beside each other; an
arm that is recorded whole on the same terms is not run again. The ratio and time_to_error.svg are made of what is
there. With --quick, which is a small task on drawn faces with easier targets, nothing is recorded.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
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
from fastai.callback.core import Callback, CancelFitException, CancelTrainException
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
from agegender.memory import kept_memory
from agegender.model.bodies import make_body
from agegender.model.learner import make_learner
from agegender.model.losses import CombinedLoss
from agegender.model.network import decode, make_network, statistics_of
from agegender.model.precision import choose_device, choose_precision, set_seed
from agegender.model.training_speed import choose_layout, speed_callbacks
from agegender.progress import say
from agegender.settings import AugmentationSettings, ImageSettings
from agegender.training_settings import TrainingSettings
from agegender.writing import to_json, write_json

RESULTS = Path(__file__).parent / "results" / "time_to_error"
ARMS = ("study", "study_at_best", "ours")
READ_SCALE = 460 / 224  # photos are read this much larger than the network sees them
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


FULL = Task("resnet34", 10, 224, 64, 64, 32, 8.0, 0.85)
QUICK = Task("resnet18", 3, 96, 64, 32, 16, 22.0, 0.6)


def processor_seconds() -> float:
    """Return the seconds that this process and its ended children kept a core busy."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


class Curve(Callback):
    """Seconds since the start, years of error and accuracy on the validation photos, after each epoch.

    Parameters
    ----------
    years : callable
        What the first output means.
    keep : callable
        Given the points and whether they are all, after each epoch.
    budget_seconds : float
        Of processor time; beyond it the epoch is broken off, measured as far as it came, and is the last.
    """

    order = 80

    def __init__(
        self,
        years: Callable[[Tensor], Tensor],
        keep: Callable[[list[dict[str, float]], bool], None],
        budget_seconds: float,
    ) -> None:
        super().__init__()
        self.years, self.keep, self.budget_seconds = years, keep, budget_seconds
        self.points: list[dict[str, float]] = []

    def before_fit(self) -> None:
        """Start the clocks."""
        self._started, self._spent_before = time.perf_counter(), processor_seconds()

    def before_validate(self) -> None:
        """Forget the last epoch."""
        self._errors: list[float] = []
        self._right: list[bool] = []

    def after_batch(self) -> None:
        """Compare a validation batch with its labels; break off a training that has spent its time."""
        if self.training:
            if self._spent() > self.budget_seconds:
                raise CancelTrainException
            return
        age, gender = self.pred
        truth, classes = (torch.as_tensor(part).reshape(-1) for part in self.yb)
        self._errors += (self.years(age.detach().float()).reshape(-1) - truth).abs().tolist()
        self._right += (gender.argmax(dim=1) == classes).tolist()

    def after_epoch(self) -> None:
        """Add a point, and stop where the time is spent."""
        self.points.append(
            {
                "epochs": float(self.learn.pct_train * self.n_epoch),
                "seconds": time.perf_counter() - self._started,
                "processor_seconds": self._spent(),
                "mean_absolute_error": float(np.mean(self._errors)),
                "accuracy": float(np.mean(self._right)),
            }
        )
        say(f"  {self.points[-1]}")
        is_last = self.epoch + 1 == self.n_epoch
        self.keep(self.points, is_last and self.points[-1]["epochs"] > self.n_epoch - 0.01)
        if not is_last and self._spent() > self.budget_seconds:
            raise CancelFitException

    def _spent(self) -> float:
        return processor_seconds() - self._spent_before


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


def study_loss(predictions: tuple[Tensor, Tensor], years: Tensor, classes: Tensor, *, weight: float) -> Tensor:
    """Return squared error, weighted, plus cross-entropy."""
    squared = F.mse_loss(predictions[0].reshape(-1), years.float().reshape(-1))
    return weight * squared + F.cross_entropy(predictions[1], classes)


def study_curve(faces: FacesTable, task: Task, size: int, batch_size: int, make_curve: Callable[..., Curve]) -> None:
    """Train the study's recipe, in fp32."""
    rows = faces.kept().to_dict("records")
    block = DataBlock(
        blocks=(ImageBlock, RegressionBlock, CategoryBlock(vocab=list(GENDER.classes))),
        n_inp=1,
        get_items=lambda _: rows,
        get_x=lambda row: faces.photo_path(row["path"]),
        get_y=[lambda row: float(row["age_years"]), lambda row: row["gender"]],
        splitter=FuncSplitter(lambda row: row["split"] == "valid"),
        item_tfms=Resize(round(READ_SCALE * size)),
        batch_tfms=aug_transforms(size=size, min_scale=MIN_SCALE),
    )
    loaders = block.dataloaders(None, bs=batch_size)
    # In years squared alone the first part starts some 600 times the second, and gender is never learnt.
    spread = float(np.std([row["age_years"] for row in rows if row["split"] == "train"]))
    loss = partial(study_loss, weight=1 / spread**2)
    learner = Learner(loaders, StudyNetwork(task.body), loss_func=loss)
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(task.epochs, lr_max=2e-3, cbs=[make_curve(lambda age: age)])


def our_curve(faces: FacesTable, task: Task, size: int, batch_size: int, make_curve: Callable[..., Curve]) -> None:
    """Train as `agegender train` does."""
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
    during = [*speed_callbacks(precision, layout, device), make_curve(partial(decode, AGE))]
    with learner.no_bar(), learner.no_logging(), kept_memory():
        learner.fit_one_cycle(task.epochs, lr_max=settings.learning_rate, wd=settings.weight_decay, cbs=during)


@dataclass
class Record:
    """One arm: its terms, where it ran, and its curve so far."""

    terms: dict[str, Any]
    place: dict[str, Any]
    points: list[dict[str, float]]
    is_whole: bool = False


def terms_of(faces: FacesTable, task: Task) -> dict[str, Any]:
    """Return what has to be equal for two arms to be compared."""
    photos = {split: int(count) for split, count in sorted(faces.kept()["split"].value_counts().items())}
    return {"photos": photos, **vars(task)}


def place_of(precision: str) -> dict[str, Any]:
    """Return where an arm runs."""
    names = [line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")]
    capability = torch.backends.cpu.get_cpu_capability()
    name = names[0] if names else platform.processor()
    facts = {"threads": torch.get_num_threads(), "torch": str(torch.__version__), "precision": precision}
    return {"processor": f"{name}, {capability}"} | facts


def _cpu_lines() -> list[str]:
    facts = Path("/proc/cpuinfo")
    return facts.read_text(encoding="utf-8").splitlines() if facts.is_file() else []


def with_both_labels(faces: FacesTable) -> FacesTable:
    """Return the faces that the study's recipe can train on: it knows no unknown label."""
    return replace(faces, table=faces.table.dropna(subset=[AGE.column, GENDER.column]).reset_index(drop=True))


def run_arm(arm: str, faces: FacesTable, task: Task, folder: Path, budget_seconds: float) -> None:
    """Train one arm and record its curve, unless it is recorded whole."""
    path, terms = folder / f"{arm}.json", terms_of(faces, task)
    if path.is_file() and (known := read_record(path)).is_whole and known.terms == terms:
        say(f"{arm}: recorded already in {path}")
        return
    size, batch_size = (task.study_size, task.study_batch) if arm == "study" else (task.best_size, task.best_batch)
    place = place_of(choose_precision("auto", choose_device("auto")) if arm == "ours" else "fp32")

    def keep(points: list[dict[str, float]], is_whole: bool) -> None:
        write_json(path, vars(Record(terms, place, points, is_whole)))

    say(f"{arm}: {size} px, batches of {batch_size}")
    set_seed(7)
    train = our_curve if arm == "ours" else study_curve
    train(faces, task, size, batch_size, lambda years: Curve(years, keep, budget_seconds))


def read_record(path: Path) -> Record:
    """Read one arm."""
    return Record(**json.loads(path.read_text(encoding="utf-8")))


def reached(points: list[dict[str, float]], terms: dict[str, Any]) -> tuple[dict[str, float], bool]:
    """Return the first point at which both targets hold, or the last one and False."""
    for point in points:
        if point["mean_absolute_error"] <= terms["most_years"] and point["accuracy"] >= terms["least_accuracy"]:
            return point, True
    return points[-1], False


def compare(folder: Path, terms: dict[str, Any]) -> dict[str, Any]:
    """Return the document of the arms that are recorded on these terms."""
    records = {arm: read_record(folder / f"{arm}.json") for arm in ARMS if (folder / f"{arm}.json").is_file()}
    records = {arm: record for arm, record in records.items() if record.terms == terms}
    ends = {arm: reached(record.points, terms) for arm, record in records.items()}
    ratios = {}
    if "ours" in ends and ends["ours"][1]:
        ours = ends["ours"][0]
        for arm, (point, is_there) in ends.items():
            if arm != "ours":
                clocks = {clock: point[clock] / ours[clock] for clock in ("processor_seconds", "seconds")}
                ratios[arm] = clocks | {"is_lower_bound": not is_there}
    least = min(ratios.values(), key=lambda one: one["processor_seconds"], default=None)
    return {
        "benchmark": "time_to_error",
        "ratio": least and least["processor_seconds"],
        "ratio_is_lower_bound": least and least["is_lower_bound"],
        "ratios": ratios,
        "terms": terms,
        "ends": {arm: {**point, "reached": is_there} for arm, (point, is_there) in ends.items()},
        "arms": {arm: vars(record) for arm, record in records.items()},
    }


def draw_plot(document: dict[str, Any], path: Path) -> None:
    """Draw error and accuracy over minutes of processor time, all arms in one picture."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), constrained_layout=True)
    names = {"mean_absolute_error": ("mean absolute error, years", "most_years")}
    names["accuracy"] = ("gender accuracy", "least_accuracy")
    for axis, (name, (label, target)) in zip(axes, names.items(), strict=True):
        for arm, record in document["arms"].items():
            points, place = record["points"], record["place"]
            minutes = [point["processor_seconds"] / 60 for point in points]
            axis.plot(minutes, [point[name] for point in points], marker="o", label=f"{arm}, {place['precision']}")
        axis.axhline(document["terms"][target], color="grey", linestyle=":")
        axis.set(xlabel="minutes of processor time", ylabel=label)
    axes[0].legend(frameon=False)
    place = next(iter(document["arms"].values()))["place"]
    figure.suptitle(f"{document['terms']['body']}, {place['processor']}, {place['threads']} thread(s)")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FOLDER", type=Path, help="a UTKFace folder (default: faces are drawn)")
    parser.add_argument("--epochs", type=int, help=f"of each run (default: {FULL.epochs})")
    parser.add_argument("--limit", type=int, help="only this many photos")
    parser.add_argument("--most-years", type=float, help=f"mean absolute error to reach (default: {FULL.most_years})")
    parser.add_argument("--least-accuracy", type=float, help=f"for the class (default: {FULL.least_accuracy})")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS, help="which to run (default: all)")
    parser.add_argument("--minutes", type=float, help="of processor time after which an arm is stopped")
    parser.add_argument("--quick", action="store_true", help="a small task on drawn faces, within a minute, no record")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    task = QUICK if options.quick else FULL
    asked = {name: getattr(options, name) for name in ("epochs", "most_years", "least_accuracy")}
    task = replace(task, **{name: value for name, value in asked.items() if value})
    with tempfile.TemporaryDirectory() as folder:
        root = options.data or Path(folder) / "drawn"
        if not options.data:
            drawn_faces.draw_faces(root, face_count=200 if options.quick else 1200)
        faces = split_faces(find_source("utkface" if options.data else "drawn_faces")(root))
        faces = limit_faces(with_both_labels(faces), options.limit)
        records = Path(folder) if options.quick else RESULTS
        records.mkdir(exist_ok=True)
        for arm in options.arms:
            run_arm(arm, faces, task, records, 60 * options.minutes if options.minutes else float("inf"))
        document = compare(records, terms_of(faces, task))
    if not options.quick:
        draw_plot(document, RESULTS.with_suffix(".svg"))
    if options.json:
        print(to_json(document))
        return
    bound = " or more" if document["ratio_is_lower_bound"] else ""
    said = f"{document['ratio']:.2f}{bound}" if document["ratio"] else "none: ours has not reached the targets"
    print(f"ratio {said} in processor seconds; {document['ratios']}; {document['ends']}")


if __name__ == "__main__":
    main()
