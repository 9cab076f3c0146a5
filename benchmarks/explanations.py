"""Explanations side by side with stock LIME: time, and how many samples the same stability takes.

    python benchmarks/explanations.py [--quick] [--json] [--device cuda] [--model models/NAME --data FOLDER]

`ratio` is stock `lime` over ours in time, for both heads of one photo: the same ResNet-34 at 224 px, the same
superpixels, the same number of perturbed photos behind each map. Stock runs once per head, as it must, in fp32 and
batches of 10, as it does; ours asks once, in the precision that the program itself chooses. With `--quick` the photos
are few. Without it, both samplings are also fitted to growing numbers of samples under ten seeds, which tells how many
samples stock needs for the stability (Jaccard index of the six strongest regions between seeds) that ours has at 256;
then both explain these photos with as many, in turns: `equal_stability` is the seconds of stock over ours. The curves
go to `explanations.json` and `explanations.png`. That part wants `--model`: a network that has learned nothing has no
stable map to find.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
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
    antithetic_design,
    independent_design,
    photo_generator,
)
from agegender.explanation.superpixels import cover, find_regions
from agegender.explanation.surrogate import Surrogate, fit_targets, r_squared, rank_correlation, top_overlap
from agegender.heads import AGE, GENDER
from agegender.heads import KNOWN_HEADS as HEADS
from agegender.model.model_folder import network_entries
from agegender.model.network import Statistics, make_network
from agegender.model.precision import choose_device, choose_precision
from agegender.model.predictor import Predictor
from agegender.photos.reading import read_photo
from agegender.progress import track
from agegender.settings import ImageSettings
from agegender.writing import to_json, write_json

OUR_COUNTS = (64, 128, 256, 512)
STOCK_COUNTS = (64, 128, 256, 512, 1024, 2048)
OUR_COUNT = 256
SEED_COUNT = 10
HELD_OUT = 128


@dataclass(frozen=True)
class Stability:
    """How stable and how true maps from so many samples are, means over photos and heads."""

    samples: int
    top_jaccard: float
    held_out_r2: float


def random_model(device: str, size: int = 224) -> Predictor:
    ages, image = {"age": Statistics(35.0, 20.0)}, ImageSettings(size=size)
    torch.manual_seed(0)
    network = make_network("resnet34", HEADS, ages, image_size=size).eval()
    place = choose_device(device)
    card = {"name": "random", **network_entries(HEADS, image, ages, "resnet34")}
    return Predictor.of_network(network, card, device=place, precision=choose_precision("auto", place))


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


def time_stock(network: torch.nn.Module, photo: NDArray[np.uint8], samples: int, device: torch.device) -> float:
    started = time.perf_counter()
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
    return time.perf_counter() - started


def time_ours(model: Predictor, photo: NDArray[np.uint8], samples: int) -> float:
    settings = LimeSettings(samples, has_trust=False, device=str(model.device))
    started = time.perf_counter()
    LimeExplainer(model.score_images, (*AGE.targets, *GENDER.targets), settings).explain(photo)
    return time.perf_counter() - started


def measure_time(photo: NDArray[np.uint8], device: str, samples: int, rounds: int) -> dict[str, Any]:
    model, stock = random_model(device), random_model(device)
    network = stock.network.to(memory_format=torch.contiguous_format)
    fitted = model.fit_photo(photo)
    time_ours(model, fitted, 64)
    time_stock(network, fitted, 10, stock.device)
    # In turns, so that a busy machine slows both alike.
    pairs = [
        (time_stock(network, fitted, samples, stock.device), time_ours(model, fitted, samples)) for _ in range(rounds)
    ]
    stock_seconds, our_seconds = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {
        "benchmark": "explanations",
        "ratio": statistics.median(theirs / ours for theirs, ours in pairs),
        "stock_seconds": stock_seconds,
        "our_seconds": our_seconds,
        "samples": samples,
        "device": str(model.device),
        "precision": model.precision,
        "processor": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }


def measure_stability(score_images: ScoreImages, photos: Sequence[NDArray[np.uint8]], device: str) -> dict[str, Any]:
    """Fit growing samples of both kinds under ten seeds; return stability and truth, and the agreement of the two."""
    ours: dict[int, list[tuple[float, float]]] = {count: [] for count in OUR_COUNTS}
    stock: dict[int, list[tuple[float, float]]] = {count: [] for count in STOCK_COUNTS}
    agreement = []
    for photo in track(photos, "measuring stability", total=len(photos)):
        regions = find_regions(photo)
        batch = LimeSettings(device=device).photos_per_call
        evaluator = Evaluator(score_images, photo, cover(photo, regions.region_map), regions, device, batch)
        held_out = independent_design(regions.count, HELD_OUT, photo_generator(photo, 0, "held out"))
        truth = evaluator.scores(held_out)
        paired = [_pairs(evaluator, regions.count, photo, seed) for seed in range(SEED_COUNT)]
        plain = [_rows(evaluator, regions.count, seed) for seed in range(SEED_COUNT)]
        for count in OUR_COUNTS:
            ours[count] += _stability([_fit_pairs(*sample, count) for sample in paired], held_out, truth)
        for count in STOCK_COUNTS:
            stock[count] += _stability([_fit_rows(*sample, count) for sample in plain], held_out, truth)
        best = _fit_pairs(*paired[0], OUR_COUNTS[-1]), _fit_rows(*plain[0], STOCK_COUNTS[-1])
        agreement += [rank_correlation(a.weights, b.weights) for a, b in zip(*best, strict=True)]
    return {
        "photos": len(photos),
        "ours": [_mean(count, found) for count, found in ours.items()],
        "stock": [_mean(count, found) for count, found in stock.items()],
        "rank_correlation": float(np.mean(agreement)),
    }


def equal_samples(measured: dict[str, Any]) -> tuple[float, bool]:
    """Return how many stock samples reach the stability that ours has at `OUR_COUNT`, and whether they do at all."""
    wanted = next(one.top_jaccard for one in measured["ours"] if one.samples == OUR_COUNT)
    counts = [one.samples for one in measured["stock"]]
    reached = np.maximum.accumulate([one.top_jaccard for one in measured["stock"]])
    if reached[-1] < wanted:
        return float(counts[-1]), False
    return float(2 ** np.interp(wanted, reached, np.log2(counts))), True


def time_equal_stability(
    model: Predictor, photos: Sequence[NDArray[np.uint8]], samples: int, rounds: int
) -> dict[str, Any]:
    """Time stock with `samples` and ours with `OUR_COUNT` on the same model and photos, in turns."""
    network = deepcopy(model.network).to(memory_format=torch.contiguous_format)
    time_ours(model, photos[0], 64)
    time_stock(network, photos[0], 10, model.device)
    pairs = [
        (time_stock(network, photo, samples, model.device), time_ours(model, photo, OUR_COUNT))
        for photo in photos[:rounds]
    ]
    stock_seconds, our_seconds = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(theirs / ours for theirs, ours in pairs)
    return {"equal_stability": ratio, "stock_seconds": stock_seconds, "our_seconds": our_seconds, "photos": len(pairs)}


def draw_plot(measured: dict[str, Any], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), constrained_layout=True)
    names = {"top_jaccard": "same six strongest regions\n(Jaccard over seeds)", "held_out_r2": "held-out R²"}
    for axis, (name, label) in zip(axes, names.items(), strict=True):
        for kind, words in (("stock", "stock LIME"), ("ours", "agegender")):
            points = measured[kind]
            axis.plot([p.samples for p in points], [getattr(p, name) for p in points], marker="o", label=words)
        axis.set(xscale="log", xlabel="perturbed photos", ylabel=label, ylim=(None, 1.02))
        axis.set_xticks(STOCK_COUNTS, STOCK_COUNTS)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _pairs(evaluator: Evaluator, region_count: int, photo: NDArray[np.uint8], seed: int) -> tuple[Any, Any]:
    design = antithetic_design(region_count, OUR_COUNTS[-1] // 2, photo_generator(photo, seed))
    return design, evaluator.scores(design)


def _rows(evaluator: Evaluator, region_count: int, seed: int) -> tuple[Any, Any]:
    design = stock_design(region_count, STOCK_COUNTS[-1], np.random.RandomState(seed))
    return design, evaluator.scores(design)


def _fit_pairs(design: Any, scores: Any, count: int) -> list[Surrogate]:
    return fit_targets(design[:count], scores[:count])


def _fit_rows(design: Any, scores: Any, count: int) -> list[Surrogate]:
    return [fit_stock(design[:count], column[:count]) for column in scores.T]


def _stability(fits: list[list[Surrogate]], held_out: Any, truth: Any) -> list[tuple[float, float]]:
    found = []
    for output in range(truth.shape[1]):
        maps = [fit[output] for fit in fits]
        overlaps = [top_overlap(one.weights, other.weights) for one, other in combinations(maps, 2)]
        truths = [r_squared(truth[:, output], one.predict(held_out)) for one in maps]
        found.append((float(np.mean(overlaps)), float(np.mean(truths))))
    return found


def _mean(count: int, found: list[tuple[float, float]]) -> Stability:
    return Stability(count, *np.mean(found, axis=0).tolist())


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
    parser.add_argument("--photos", type=int, default=4, help="for the stability part")
    parser.add_argument("--out", type=Path, default=Path("reports/benchmarks"), help="for the curves")
    parser.add_argument("--quick", action="store_true", help="time only, with few samples")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    photos = _photos(options.data, options.photos)
    document = measure_time(photos[0], options.device, *((60, 2) if options.quick else (500, 3)))
    if not options.quick:
        model = (
            Predictor.load(options.model, device=options.device) if options.model else random_model(options.device, 96)
        )
        measured = measure_stability(model.score_images, [model.fit_photo(p) for p in photos], str(model.device))
        samples, has_reached = equal_samples(measured)
        timed = time_equal_stability(model, [model.fit_photo(p) for p in photos], round(samples), rounds=3)
        document["equal_stability"] = timed.pop("equal_stability")
        document["equal_stability_timed"] = timed
        document["equal_stability_is_lower_bound"] = not has_reached
        document["stock_samples_for_our_stability"] = samples
        document["rank_correlation_of_ours_and_stock"] = measured["rank_correlation"]
        document["stability"] = {kind: [asdict(one) for one in measured[kind]] for kind in ("ours", "stock")}
        options.out.mkdir(parents=True, exist_ok=True)
        write_json(options.out / "explanations.json", document)
        draw_plot(measured, options.out / "explanations.png")
    if options.json:
        print(to_json(document))
        return
    print(f"stock {document['stock_seconds']:.1f} s, ours {document['our_seconds']:.1f} s: {document['ratio']:.1f} x")
    if not options.quick:
        print(f"at equal stability {document['equal_stability']:.1f} x; curves in {options.out}")


if __name__ == "__main__":
    main()
