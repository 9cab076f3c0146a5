"""Where the processor time of the first README command goes, part by part, as it was before and as it is.

    python benchmarks/first_report.py [--quick] [--json]

*Before* is what `agegender train --size small` did until the first report was made faster: 96 px and 15 epochs,
channels-last always, norms kept where the network only scores. *After* is what it does now: the defaults of drawn
faces, the layout that is measured to be faster, norms folded.
Each part is measured on a few photos and multiplied out to the 1,200 faces and the explanations of the command: then
12, now 12 and 48 of faces at random, which are sampled lightly. `seconds` are processor seconds, added over cores, so
that other work on the machine hardly matters. `ratio` is the sum before over the sum after. Judging the predictions and
writing the pages is measured on as many copies of the few photos, with answers drawn at random; it is the same before
and after, as are imports and drawing. Without --quick the bars go to benchmarks/results/first_report-<precision>.svg.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from agegender.audit.assessment import assess
from agegender.data.sources import find_source
from agegender.data.sources.drawn_faces import draw_faces
from agegender.explanation.face_explanation import FaceExplanation
from agegender.explanation.lime_explainer import LimeExplainer, LimeSettings
from agegender.heads import KNOWN_HEADS
from agegender.memory import kept_memory
from agegender.model.folding import folded_copy
from agegender.model.losses import CombinedLoss
from agegender.model.network import FaceNetwork, Statistics, make_network
from agegender.model.precision import autocast, choose_precision
from agegender.model.torch_runtime import head_scores
from agegender.model.training_speed import CHANNELS_LAST, choose_layout
from agegender.pages.page_writing import ReportContent
from agegender.pages.report_set import write_report_set
from agegender.photos.reading import read_photo
from agegender.photos.warping import fit_square
from agegender.settings import DRAWN_DEFAULTS
from agegender.writing import to_json

FACES, TRAINED, VALIDATED, TESTED, EXPLAINED, SAMPLED = 1200, 840, 180, 180, 12, 48
BEFORE = {"image_size": 96, "epochs": 15, "batch_size": 32}
DRAWN_FOR_TIMING = 12
CPU = torch.device("cpu")
RESULTS = Path(__file__).parent / "results"
NEEDED = "agegender.api.model, agegender.model.training, agegender.api.explaining, agegender.pages.report_set"


def least_seconds(work: Callable[[], Any], rounds: int) -> float:
    """Return the processor seconds of the fastest of some rounds, after one that does not count."""
    work()
    found = []
    for _ in range(rounds):
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return min(found)


def import_seconds() -> float:
    """Return what importing all parts of the command takes in a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-W", "ignore", "-c", f"import {NEEDED}"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def step_seconds(network: FaceNetwork, size: int, batch_size: int, layout: str, precision: str, rounds: int) -> float:
    """Return what a photo takes in a training step."""
    order = torch.channels_last if layout == CHANNELS_LAST else torch.contiguous_format
    network.train().to(memory_format=order)
    photos = torch.randn(batch_size, 3, size, size).contiguous(memory_format=order)
    targets = torch.rand(batch_size) * 80, torch.randint(0, 2, (batch_size,))
    loss = CombinedLoss(KNOWN_HEADS, {"age": 20.0})
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        with autocast(precision, CPU):
            raw = network(photos)
        loss(tuple(values.float() for values in raw), *targets).backward()
        optimiser.step()
        optimiser.zero_grad()

    return least_seconds(step, rounds) / batch_size


def scoring_seconds(network: torch.nn.Module, size: int, precision: str, rounds: int) -> float:
    """Return what a photo takes that is only scored."""
    photos = torch.randn(64, 3, size, size).contiguous(memory_format=torch.channels_last)

    def score() -> None:
        with torch.inference_mode(), autocast(precision, CPU):
            network(photos)

    return least_seconds(score, rounds) / len(photos)


def explaining_seconds(
    network: torch.nn.Module, photo: np.ndarray, size: int, precision: str, *, is_now: bool
) -> tuple[float, FaceExplanation]:
    """Return what the faces of a report take to explain, and the explanation of one."""

    def scores(images: Tensor) -> Tensor:
        with torch.inference_mode(), autocast(precision, CPU):
            floats = (images.float() / 255).contiguous(memory_format=torch.channels_last)
            raw = network(floats)
        return torch.cat([head_scores(head, part.float()) for head, part in zip(KNOWN_HEADS, raw, strict=True)], dim=1)

    targets = [target for head in KNOWN_HEADS for target in head.targets]
    explainer = LimeExplainer(scores, targets, LimeSettings(device="cpu"))
    fitted = fit_square(photo, size)
    seconds = EXPLAINED * least_seconds(lambda: explainer.explain(fitted), 1)
    if is_now:
        light = replace(explainer, settings=explainer.settings.for_averaging(None))
        seconds += SAMPLED * least_seconds(lambda: light.explain(fitted), 1)
    return seconds, explainer.explain(fitted, "a face")


def pages_seconds(folder: Path, explained: FaceExplanation) -> float:
    """Return what it takes to judge predictions of as many copies of the drawn faces and to write the pages."""
    faces = find_source("drawn_faces")(folder)
    copies = -(-FACES // len(faces.table))
    rows = pd.concat([faces.table] * copies, ignore_index=True).head(FACES)
    generator = np.random.default_rng(0)
    rows["split"] = generator.permutation(np.repeat(["train", "valid", "test"], (TRAINED, VALIDATED, TESTED)))
    for number, path in enumerate(rows["path"]):
        (folder / f"{number}.jpg").hardlink_to(folder / path)
    rows["path"] = [f"{number}.jpg" for number in range(FACES)]
    age, gender = KNOWN_HEADS
    years = rows["age_years"].to_numpy(float) + generator.normal(0, 6, FACES)
    logits = generator.normal(0, 2, (FACES, 2)).astype(np.float32)
    answers = [
        np.stack([years, np.full(FACES, 6.0)], axis=1).astype(np.float32) if age.answer_shape else years,
        logits,
    ]
    columns = [head.columns(values, None) for head, values in zip((age, gender), answers, strict=True)]
    predictions = rows.assign(**columns[0], **columns[1])
    explanations = [replace(explained, path=f"{number}.jpg") for number in range(EXPLAINED)]

    def report() -> None:
        content = ReportContent(assess(predictions, title="timed", is_drawn=True), folder, explanations=explanations)
        write_report_set(folder / "report", content)

    return least_seconds(report, 1)


def parts(
    settings: dict[str, int], photo: np.ndarray, precision: str, rounds: int, *, is_now: bool
) -> tuple[dict[str, float], FaceExplanation]:
    """Return the processor seconds of each part that depends on the settings, and the explanation of the photo."""
    size, batch_size, epochs = (settings[name] for name in ("image_size", "batch_size", "epochs"))
    torch.manual_seed(0)
    network = make_network("resnet34", KNOWN_HEADS, {"age": Statistics(33.0, 20.0)}, image_size=size)
    looks = TRAINED * epochs
    layout = choose_layout(network.body, size, looks, precision=precision, device=CPU) if is_now else CHANNELS_LAST
    with kept_memory() if is_now else nullcontext():
        step = step_seconds(network, size, batch_size, layout, precision, rounds)
    network.eval().to(memory_format=torch.channels_last)
    scoring = (folded_copy(network, size) if is_now else None) or network
    in_epochs = scoring_seconds(network, size, precision, rounds)
    explaining, explained = explaining_seconds(scoring, photo, size, precision, is_now=is_now)
    return {
        "training": step * looks,
        "validation": in_epochs * VALIDATED * epochs,
        "predictions": scoring_seconds(scoring, size, "fp32", rounds) * FACES,
        "explanations": explaining,
    }, explained


def measure(*, quick: bool) -> dict[str, Any]:
    """Return the document."""
    rounds, precision = 1 if quick else 2, choose_precision("auto", CPU)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "drawn"
        started = time.process_time()
        draw_faces(folder, face_count=DRAWN_FOR_TIMING)
        drawing = (time.process_time() - started) / DRAWN_FOR_TIMING * FACES
        photo = read_photo(next(folder.glob("*.jpg")))
        before, _ = parts(BEFORE, photo, precision, rounds, is_now=False)
        after, explained = parts(DRAWN_DEFAULTS, photo, precision, rounds, is_now=True)
        pages = {"pages": pages_seconds(folder, explained)}
    same = {"imports": import_seconds(), "drawing": drawing}
    seconds = {"before": same | before | pages, "after": same | after | pages}
    return {
        "benchmark": "first_report",
        "ratio": sum(seconds["before"].values()) / sum(seconds["after"].values()),
        "seconds": seconds,
        "precision": precision,
        "processor": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }


def draw_plot(document: dict[str, Any]) -> None:
    """Draw the parts as bars, before and after."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    mpl.rcParams["svg.fonttype"] = "none"
    figure, axes = plt.subplots(figsize=(7, 3.2), constrained_layout=True)
    names = list(document["seconds"]["before"])
    for shift, (when, seconds) in zip((-0.2, 0.2), document["seconds"].items(), strict=True):
        bars = axes.barh(np.arange(len(names)) + shift, [seconds[name] for name in names], 0.38, label=when)
        axes.bar_label(bars, fmt="%.0f", padding=2)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set(
        xlabel="processor seconds", title=f"first README command, {document['precision']} on {document['processor']}"
    )
    axes.legend(frameon=False)
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(RESULTS / f"first_report-{document['precision']}.svg")


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round each, no plot")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    document = measure(quick=options.quick)
    if not options.quick:
        draw_plot(document)
    said = {when: {name: round(value, 1) for name, value in of.items()} for when, of in document["seconds"].items()}
    print(to_json(document) if options.json else f"ratio {document['ratio']:.2f} in {document['precision']}; {said}")


if __name__ == "__main__":
    main()
