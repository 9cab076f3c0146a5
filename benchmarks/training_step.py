"""One training step of a two-headed ResNet-34 at 128 px: plain fp32 against ours, side by side in one run.

    python benchmarks/training_step.py [--data FOLDER] [--device cuda] [--quick] [--json]

Both are the same network, the same combined loss and a fastai Learner on the same random batches; theirs trains as a
Learner does by itself (fp32, fastai's Adam), ours as `agegender train --precision auto` does: fused AdamW, bf16 and
channels-last on a CPU that has bf16, fp16 and channels-last on CUDA, else fp32 in the layout measured to be faster,
its memory kept between steps.
Rounds alternate. `ratio` is the median over the rounds of their seconds over ours, and `ratio_with_our_optimizer` the
same where theirs has our optimiser too, so that precision and layout alone are compared; `precision` says what ours
was. `share_of_convolutions` is what part of our step its convolutions take when they run alone, one after the other: 1
would be a step that does nothing else.

On a GPU it also trains on real batches, from the folder given or from drawn faces, and says what share of the rate on
random tensors they reach: what reading photos costs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from fastai.callback.progress import ProgressCallback
from fastai.data.core import DataLoaders
from fastai.learner import Learner, Recorder
from fastai.optimizer import Adam

from agegender.data.datablock import make_dataloaders
from agegender.data.sources import drawn_faces, find_source
from agegender.data.splitting import split_faces
from agegender.heads import KNOWN_HEADS as HEADS
from agegender.memory import kept_memory
from agegender.model.learner import make_learner
from agegender.model.losses import CombinedLoss
from agegender.model.network import Statistics, make_network
from agegender.model.precision import autocast, choose_device, choose_precision
from agegender.model.training_speed import CHANNELS_LAST, choose_layout, speed_callbacks
from agegender.settings import AugmentationSettings, ImageSettings

BODY = "resnet34"
SIZE = 128
PLOT = Path(__file__).parent / "results" / "training_step.svg"


class RandomBatches:
    """As many batches of random photos as asked for, made once, on the device."""

    def __init__(self, count: int, batch_size: int, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(0)
        self.device, self.count = device, count
        self.batch = (
            torch.randn(batch_size, 3, SIZE, SIZE, generator=generator).to(device),
            (torch.rand(batch_size, generator=generator) * 80).to(device),
            torch.randint(0, 2, (batch_size,), generator=generator).to(device),
        )

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        return iter([self.batch] * self.count)


def measure(device: torch.device, *, quick: bool) -> dict[str, Any]:
    """Return the ratio, and photos per second of both, round by round."""
    rounds, steps = (3, 2) if quick else (7, 6)
    batch_size = 128 if device.type == "cuda" else 32 if quick else 64
    precision = choose_precision("auto", device)
    steps *= 20 if device.type == "cuda" else 1
    batches = RandomBatches(steps, batch_size, device)
    # A real run is long enough for the layout to be measured first.
    body = make_network(BODY, HEADS, {"age": Statistics(33.0, 20.0)}, image_size=SIZE).body
    layout = choose_layout(body, SIZE, 10**6, precision=precision, device=device)
    learners = {
        "theirs": _learner(batches, "fp32", optimizer=Adam),
        "theirs_with_our_optimizer": _learner(batches, "fp32"),
        "ours": _learner(batches, precision, layout),
    }
    for learner in learners.values():
        _seconds(learner)  # kernels are chosen and memory is taken in the first steps
    rates: dict[str, list[float]] = {name: [] for name in learners}
    shares = []
    for _ in range(rounds):
        for name, learner in learners.items():
            with kept_memory() if name == "ours" else nullcontext():
                rates[name].append(steps * batch_size / _seconds(learner))
        step_seconds = batch_size / rates["ours"][-1]
        shares.append(convolution_seconds(learners["ours"], batches.batch[0], precision) / step_seconds)
    return {
        "benchmark": "training_step",
        "ratio": _ratio(rates, "theirs"),
        "ratio_with_our_optimizer": _ratio(rates, "theirs_with_our_optimizer"),
        "precision": precision,
        "memory_layout": layout,
        "share_of_convolutions": statistics.median(shares),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "batch_size": batch_size,
        "image_size": SIZE,
        "photos_per_second": {name: statistics.median(values) for name, values in rates.items()},
        "rounds": rates,
    }


def convolution_seconds(learner: Learner, photos: torch.Tensor, precision: str) -> float:
    """Return how long the convolutions of a batch take alone, forward and backward: what no step can be faster than."""
    found: list[tuple[torch.nn.Conv2d, torch.Tensor]] = []
    hooks = [
        module.register_forward_hook(lambda seen, given, _: found.append((seen, given[0].detach().clone())))
        for module in learner.model.modules()
        if isinstance(module, torch.nn.Conv2d)
    ]
    with torch.no_grad(), autocast(precision, photos.device):
        learner.model(photos)
    for hook in hooks:
        hook.remove()
    seconds = 0.0
    for place, (convolution, given) in enumerate(found):
        given.requires_grad_(place > 0)  # nobody asks for the gradient of photos
        with autocast(precision, photos.device):
            started = time.perf_counter()
            out = convolution(given)
        out.backward(torch.ones_like(out))
        if photos.device.type == "cuda":
            torch.cuda.synchronize()
        seconds += time.perf_counter() - started
    return seconds


def _ratio(rates: dict[str, list[float]], other: str) -> float:
    return statistics.median(ours / theirs for ours, theirs in zip(rates["ours"], rates[other], strict=True))


def real_share(root: Path, source: str, device: torch.device, random_rate: float) -> dict[str, float]:
    """Return photos per second of an epoch on real batches, and its share of the rate on random tensors."""
    faces = split_faces(find_source(source)(root))
    loaders = make_dataloaders(
        faces, HEADS, ImageSettings(size=SIZE), AugmentationSettings(), batch_size=128, seed=0, device=device
    )
    learner = _learner(loaders.train, choose_precision("auto", device), CHANNELS_LAST)
    _seconds(learner)
    rate = len(loaders.train) * 128 / _seconds(learner)
    return {"real_photos_per_second": rate, "share_of_random_rate": rate / random_rate}


def _learner(
    batches: Any, precision: str, layout: str | None = None, optimizer: Callable[..., Any] | None = None
) -> Learner:
    """Return a Learner; without a layout it trains as a Learner does by itself."""
    torch.manual_seed(0)
    network = make_network(BODY, HEADS, {"age": Statistics(33.0, 20.0)}, image_size=SIZE).to(batches.device)
    loaders = DataLoaders(batches, batches, device=batches.device)
    loaders.n_inp = 1
    learner = make_learner(loaders, network, CombinedLoss(HEADS, {"age": 20.0}))
    learner.remove_cbs([ProgressCallback, Recorder])  # neither is what is timed
    learner.opt_func = optimizer or learner.opt_func
    learner.create_opt()
    learner.add_cbs(speed_callbacks(precision, layout, batches.device) if layout else [])
    return learner


def _seconds(learner: Learner) -> float:
    """Return how long one epoch of training takes, without validation."""
    on_gpu = learner.dls.device.type == "cuda"
    learner.epoch, learner.n_epoch = 0, 1
    learner("before_fit")
    learner("before_epoch")
    if on_gpu:
        torch.cuda.synchronize()
    started = time.perf_counter()
    learner._do_epoch_train()
    if on_gpu:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    learner("after_epoch")
    return seconds


def draw_plot(result: dict[str, Any]) -> None:
    """Draw photos per second of both, round by round."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.2))
    for name, rates in result["rounds"].items():
        axes.plot(range(1, len(rates) + 1), rates, marker="o", label=name)
    axes.set(xlabel="round", ylabel="photos per second", title=f"{BODY}, {SIZE} px, ours in {result['precision']}")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    figure.tight_layout()
    PLOT.parent.mkdir(exist_ok=True)
    figure.savefig(PLOT)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FOLDER", type=Path, help="a UTKFace folder for real batches on a GPU")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda (default: auto)")
    parser.add_argument("--quick", action="store_true", help="within a minute, no plot")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    device = choose_device(options.device)
    result = measure(device, quick=options.quick)
    if device.type == "cuda":
        with tempfile.TemporaryDirectory() as folder:
            root, source = (options.data, "utkface") if options.data else (Path(folder) / "drawn", "drawn_faces")
            if not options.data:
                drawn_faces.draw_faces(root)
            result |= real_share(root, source, device, result["photos_per_second"]["ours"])
    if not options.quick:
        draw_plot(result)
    print(json.dumps(result, indent=2) if options.json else f"ratio {result['ratio']:.2f} in {result['precision']}")


if __name__ == "__main__":
    main()
