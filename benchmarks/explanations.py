"""Explanations side by side with stock LIME: time, and how many evaluations the same stability takes.

    python benchmarks/explanations.py [--quick] [--json] [--device cuda] [--model models/NAME --data FOLDER]

*Equal evaluations*: seconds of stock `lime` over ours for both heads of one photo: the same ResNet-34 at 224 px, the
same superpixels, the same number of perturbed photos behind each map. Stock runs once per head, as it must, in fp32 and
batches of 10, as it does; ours asks once.

*Equal stability*: ours as it comes ("auto" samples) and stock with growing numbers of samples explain the same photos
under several seeds. `spread` is how far a region's weight moves between two seeds' maps: its standard deviation over
the seeds (root mean square over regions) as a share of the regions' own; `rank_correlation` is what two such maps have
in common. The samples at which stock's spread falls to that of ours are interpolated on its curve, and both then
explain the photos with as many, in turns. This part wants `--model`: a network that has learned nothing has no stable
map to find.

Both ratios are given for fp32 and, where the device has it, for the precision that the program itself chooses; `ratio`
and `equal_stability` are those of the latter, in wall seconds, and `of_processor` has the same in processor seconds,
which other work on the machine stretches less (with one thread; waiting threads count as busy). With `--quick` photos,
samples and seeds are few; without it the curves go to `explanations.json` and `explanations.png`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lime.lime_image import LimeImageExplainer
from numpy.typing import NDArray
from stock_lime import fit_stock, stock_design

from agegender.data.sources.drawn_faces import draw_faces
from agegender.explanation.lime_explainer import LimeExplainer, LimeSettings
from agegender.explanation.perturbing import (
    Evaluator,
    ScoreImages,
    draw_until_settled,
    photo_generator,
)
from agegender.explanation.superpixels import cover, find_regions
from agegender.explanation.surrogate import Surrogate, fit_targets, rank_correlation
from agegender.heads import AGE, GENDER
from agegender.heads import KNOWN_HEADS as HEADS
from agegender.model.model_folder import network_entries
from agegender.model.network import Statistics, make_network
from agegender.model.precision import choose_device
from agegender.model.predictor import Predictor
from agegender.photos.reading import read_photo
from agegender.progress import track
from agegender.settings import ImageSettings
from agegender.writing import to_json, write_json

STOCK_COUNTS = (128, 256, 512, 1024, 2048, 4096)


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    samples: int  # at equal evaluations
    rounds: int
    photos: int  # for stability
    seeds: int
    stock_counts: tuple[int, ...]


FULL = Effort(500, 3, 4, 8, STOCK_COUNTS)
QUICK = Effort(60, 2, 1, 4, STOCK_COUNTS[:4])


@dataclass(frozen=True)
class Stability:
    """How far maps from so many samples differ from seed to seed, means over photos and heads."""

    samples: float
    spread: float
    rank_correlation: float


@dataclass(frozen=True)
class Seconds:
    """What something took, of the wall's clock and of the processor's."""

    wall: float
    processor: float


def random_model(device: str, size: int = 224, precision: str = "auto") -> Predictor:
    ages, image = {"age": Statistics(35.0, 20.0)}, ImageSettings(size=size)
    torch.manual_seed(0)
    network = make_network("resnet34", HEADS, ages, image_size=size).eval()
    card = {"name": "random", **network_entries(HEADS, image, ages, "resnet34")}
    return Predictor.of_network(network, card, device=choose_device(device), precision=precision)


def stock_classifier(network: torch.nn.Module, head: int, device: torch.device) -> Any:
    """Return a head as stock LIME wants it: photos (N, S, S, 3) in, an array (N, 1) or (N, 2) out; plain fp32."""
    mean = torch.tensor(ImageSettings().mean, device=device).view(1, 3, 1, 1)
    std = torch.tensor(ImageSettings().std, device=device).view(1, 3, 1, 1)

    def classify(photos: NDArray[np.uint8]) -> NDArray[np.float32]:
        images = torch.from_numpy(photos).to(device).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            raw = network((images - mean) / std)[head].float()
        return (raw[:, None] if raw.ndim == 1 else raw.softmax(dim=1)).cpu().numpy()

    return classify


def time_stock(network: torch.nn.Module, photo: NDArray[np.uint8], samples: int, device: torch.device) -> Seconds:
    def explain() -> None:
        for head in range(len(HEADS)):
            LimeImageExplainer(random_state=0).explain_instance(
                photo,
                stock_classifier(network, head, device),
                labels=(head,),
                top_labels=None,
                num_samples=samples,
                segmentation_fn=lambda image: find_regions(image).region_map,
                random_seed=0,
            )

    return _timed(explain)


def time_ours(model: Predictor, photo: NDArray[np.uint8], samples: int | str) -> Seconds:
    settings = LimeSettings(samples, has_trust=False, device=str(model.device))
    explainer = LimeExplainer(model.score_images, (*AGE.targets, *GENDER.targets), settings)
    return _timed(lambda: explainer.explain(photo))


def _timed(work: Callable[[], Any]) -> Seconds:
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return Seconds(time.perf_counter() - wall, time.process_time() - processor)


def compare(
    models: Mapping[str, Predictor],
    network: torch.nn.Module,
    photos: Sequence[NDArray[np.uint8]],
    counts: tuple[int, int | str],
    rounds: int,
) -> dict[str, Any]:
    """Time stock with the first count and ours with the second in each precision, in turns, photo by photo."""
    device = next(iter(models.values())).device
    for model in models.values():
        time_ours(model, photos[0], 64)  # kernels are chosen and norms folded in the first calls
    time_stock(network, photos[0], 10, device)
    stock: list[Seconds] = []
    ours: dict[str, list[Seconds]] = {precision: [] for precision in models}
    for turn in range(rounds):
        photo = photos[turn % len(photos)]
        # So that a busy machine slows all alike.
        stock.append(time_stock(network, photo, counts[0], device))
        for precision, model in models.items():
            ours[precision].append(time_ours(model, photo, counts[1]))
    return {
        "stock": asdict(_median(stock)),
        "ours": {precision: asdict(_median(found)) for precision, found in ours.items()},
        "ratios": {precision: asdict(_ratio(stock, found)) for precision, found in ours.items()},
    }


def _median(found: Sequence[Seconds]) -> Seconds:
    return Seconds(statistics.median(one.wall for one in found), statistics.median(one.processor for one in found))


def _ratio(stock: Sequence[Seconds], ours: Sequence[Seconds]) -> Seconds:
    pairs = list(zip(stock, ours, strict=True))
    return _median([Seconds(theirs.wall / our.wall, theirs.processor / our.processor) for theirs, our in pairs])


def measure_stability(
    score_images: ScoreImages, photos: Sequence[NDArray[np.uint8]], device: str, effort: Effort
) -> dict[str, Any]:
    """Explain each photo under some seeds, ours as it comes and stock with growing samples; return both's stability."""
    ours: list[Stability] = []
    stock: dict[int, list[Stability]] = {count: [] for count in effort.stock_counts}
    agreement = []
    for photo in track(photos, "measuring stability", total=len(photos)):
        regions = find_regions(photo)
        batch = LimeSettings(device=device).photos_per_call
        evaluator = Evaluator(score_images, photo, cover(photo, regions.region_map), regions, device, batch)
        samples = [draw_until_settled(evaluator, photo_generator(photo, seed)) for seed in range(effort.seeds)]
        mean_count = float(np.mean([len(sample.design) for sample in samples]))
        our_maps = [fit_targets(sample.design, sample.scores) for sample in samples]
        ours += _stability(our_maps, mean_count)
        rows = [_rows(evaluator, regions.count, effort.stock_counts[-1], seed) for seed in range(effort.seeds)]
        for count in effort.stock_counts:
            stock_maps = [[fit_stock(design[:count], column[:count]) for column in scores.T] for design, scores in rows]
            stock[count] += _stability(stock_maps, count)
        agreement += [rank_correlation(a.weights, b.weights) for a, b in zip(our_maps[0], stock_maps[0], strict=True)]
    return {
        "photos": len(photos),
        "seeds": effort.seeds,
        "ours": asdict(_mean(ours)),
        "stock": [asdict(_mean(found)) for found in stock.values()],
        "rank_correlation_of_both": float(np.mean(agreement)),
    }


def _rows(evaluator: Evaluator, region_count: int, count: int, seed: int) -> tuple[Any, Any]:
    design = stock_design(region_count, count, np.random.RandomState(seed))
    return design, evaluator.scores(design)


def _stability(fits: Sequence[Sequence[Surrogate]], samples: float) -> list[Stability]:
    found = []
    for maps in zip(*fits, strict=True):  # one target under all seeds
        weights = np.stack([one.weights for one in maps])
        spread = float(np.sqrt(weights.var(axis=0, ddof=1).mean()) / weights.mean(axis=0).std())
        ranks = [rank_correlation(one.weights, other.weights) for one, other in combinations(maps, 2)]
        found.append(Stability(samples, spread, float(np.mean(ranks))))
    return found


def _mean(found: Sequence[Stability]) -> Stability:
    # Geometric for the spread: photos differ by factors.
    samples, ranks = (np.mean([getattr(one, name) for one in found]) for name in ("samples", "rank_correlation"))
    return Stability(float(samples), float(np.exp(np.mean([np.log(one.spread) for one in found]))), float(ranks))


def equal_samples(measured: dict[str, Any]) -> tuple[int, bool]:
    """Return how many stock samples reach the spread of ours as it comes, and whether they do at all."""
    wanted = measured["ours"]["spread"]
    counts = [one["samples"] for one in measured["stock"]]
    reached = np.minimum.accumulate([one["spread"] for one in measured["stock"]])
    if reached[-1] > wanted:
        return round(counts[-1]), False
    # A power of the samples between two points; interpolation wants rising ones.
    return round(float(np.exp(np.interp(-np.log(wanted), -np.log(reached), np.log(counts))))), True


def models_to_time(make: Callable[[str], Predictor]) -> dict[str, Predictor]:
    """Return a model that scores in fp32 and, where there is another, one in the precision that is chosen here."""
    models = [make("fp32"), make("auto")]
    return {model.in_torch.scoring_precision: model for model in models}


def draw_plot(measured: dict[str, Any], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), constrained_layout=True)
    names = {
        "spread": "spread of weights between seeds,\nshare of the regions' own",
        "rank_correlation": "rank correlation",
    }
    for axis, (name, label) in zip(axes, names.items(), strict=True):
        points, ours = measured["stock"], measured["ours"]
        axis.plot([p["samples"] for p in points], [p[name] for p in points], marker="o", label="stock LIME")
        axis.plot([ours["samples"]], [ours[name]], marker="D", linestyle="", label="agegender as it comes")
        axis.axhline(ours[name], color="grey", linestyle=":")
        axis.set(xscale="log", xlabel="perturbed photos", ylabel=label)
        axis.set_xticks([p["samples"] for p in points], [str(round(p["samples"])) for p in points])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set_yscale("log")
    axes[0].legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _photos(data: Path | None, count: int) -> list[NDArray[np.uint8]]:
    folder = data or Path("data/drawn-faces-12-seed7")
    if data is None:
        draw_faces(folder, face_count=12, seed=7)
    paths = sorted(folder.glob("*.jpg"))
    step = max(1, len(paths) // count)
    return [read_photo(path) for path in paths[::step][:count]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of photos (default: a few faces are drawn)")
    parser.add_argument("--model", type=Path, help="a trained model, for the stability part")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--photos", type=int, help="for the stability part")
    parser.add_argument("--out", type=Path, default=Path("reports/benchmarks"), help="for the curves")
    parser.add_argument("--quick", action="store_true", help="few photos, samples and seeds, no curves")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    effort = QUICK if options.quick else FULL
    photos = _photos(options.data, options.photos or effort.photos)
    document = measure(options, effort, photos)
    if not options.quick:
        options.out.mkdir(parents=True, exist_ok=True)
        write_json(options.out / "explanations.json", document)
        draw_plot(document["stability"], options.out / "explanations.png")
    if options.json:
        print(to_json(document))
        return
    bound = " or more" if document["equal_stability_is_lower_bound"] else ""
    for precision, ratio in document["equal_evaluations"]["ratios"].items():
        stability = document["equal_stability_timed"]["ratios"][precision]
        print(
            f"{precision}: {ratio['wall']:.1f} x at equal evaluations, {stability['wall']:.1f} x{bound} at equal "
            f"stability (of processor seconds {ratio['processor']:.1f} and {stability['processor']:.1f})"
        )


def measure(options: argparse.Namespace, effort: Effort, photos: Sequence[NDArray[np.uint8]]) -> dict[str, Any]:
    """Return the document of one run: both comparisons on the same photos."""
    models = models_to_time(lambda precision: random_model(options.device, precision=precision))
    chosen = list(models)[-1]
    network = _as_stock_gets_it(models[chosen])
    fitted = [models[chosen].fit_photo(photo) for photo in photos[:1]]
    evaluations = compare(models, network, fitted, (effort.samples, effort.samples), effort.rounds)

    def trained(precision: str) -> Predictor:
        if options.model:
            return Predictor.load(options.model, device=options.device, precision=precision)
        return random_model(options.device, 96, precision)

    models = models_to_time(trained)
    fitted = [models[chosen].fit_photo(photo) for photo in photos]
    measured = measure_stability(models[chosen].score_images, fitted, str(models[chosen].device), effort)
    samples, has_reached = equal_samples(measured)
    stability = compare(models, _as_stock_gets_it(models[chosen]), fitted, (samples, "auto"), effort.rounds)
    return {
        "benchmark": "explanations",
        "ratio": evaluations["ratios"][chosen]["wall"],
        "equal_stability": stability["ratios"][chosen]["wall"],
        "of_processor": {
            "ratio": evaluations["ratios"][chosen]["processor"],
            "equal_stability": stability["ratios"][chosen]["processor"],
        },
        "equal_stability_is_lower_bound": not has_reached,
        "samples": effort.samples,
        "stock_samples_for_our_stability": samples,
        "equal_evaluations": evaluations,
        "equal_stability_timed": stability,
        "stability": measured,
        "precision": chosen,
        "device": str(models[chosen].device),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }


def _as_stock_gets_it(model: Predictor) -> torch.nn.Module:
    return deepcopy(model.network).to(memory_format=torch.contiguous_format)


if __name__ == "__main__":
    main()
