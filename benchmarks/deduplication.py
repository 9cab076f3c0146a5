"""Twins among photos: ImageHash and a loop over all pairs against our fingerprints and banded search, side by side.

    python benchmarks/deduplication.py [--data FOLDER] [--quick] [--json]

Theirs is what studies of UTKFace write: `imagehash.phash(Image.open(path))` for one photo after another, then a
numba loop with `np.sum(hashes[i] != hashes[j])` for every pair (its compiling is not counted). Ours is
`fingerprint_files`, which also makes the SHA-512, in as many processes as there are processors, and `near_pairs`. Both
must find the same hashes and the same pairs within 5 bits. Rounds alternate; `ratio` is the median over the rounds of
their seconds over ours, for hashing and search together. `search_alone` sets the search against harder rivals: numba
with one exclusive-or and bit count per pair, and numpy over all pairs; `ratio_to_hardest` has the fastest of them in
place of the studies' loop. On a machine that is busy otherwise, `ratio_of_processor_seconds` is the steadier number; it
leaves out that ours uses every processor, and counts what its processes take to start.

Without a folder it hashes 20,000 chips cut from faces that the program draws, of the size of UTKFace's. Without --quick
it takes all photos, more rounds, searches up to 1,000,000 hashes (even ones, and ones perturbed from the real ones,
each with planted twins) with the memory that this takes, and writes benchmarks/results/deduplication.svg.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from photo_benchmark import run
from twin_rivals import image_hash, numpy_pairs, pair_loop, popcount_loop

from agegender.data.twins import distinct_near_pairs, near_pairs
from agegender.errors import AgeGenderError
from agegender.photos.finding import named_photos
from agegender.photos.hashing import fingerprint_files, hash_numbers

RADIUS = 5
QUICK_PHOTOS = 20_000
CHIP_SIZE = (200, 200)
SEARCHED = 23_000
PLANTED_SHARE = 0.01
SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
PLOT = Path(__file__).parent / "results" / "deduplication.svg"


@dataclass
class Clock:
    """How long pieces of work took, by the wall and by all processors together."""

    seconds: list[float] = field(default_factory=list)
    processor_seconds: list[float] = field(default_factory=list)

    def time(self, work: Callable) -> Any:
        """Do the work and return its result."""
        started, worked = time.perf_counter(), processor_seconds()
        result = work()
        self.seconds.append(time.perf_counter() - started)
        self.processor_seconds.append(processor_seconds() - worked)
        return result


def processor_seconds() -> float:
    """Return what this process and those that it has started and ended have worked."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure(root: Path, *, quick: bool) -> dict:
    """Return seconds of both ways, round by round, on the same photos."""
    photos = named_photos([root])
    if quick:
        chosen = np.random.default_rng(0).permutation(len(photos))[:QUICK_PHOTOS]
        photos = [photos[number] for number in sorted(chosen)]
    pair_loop(np.zeros((2, 64), dtype=bool), RADIUS)  # compiled before the clock starts
    load = os.getloadavg()[0]
    clocks = {name: Clock() for name in ("their_hash", "their_search", "our_hash", "our_search")}
    for _ in range(1 if quick else 3):
        their_hashes = clocks["their_hash"].time(lambda: np.array([image_hash(photo) for photo in photos]))
        their_pairs = clocks["their_search"].time(lambda hashes=their_hashes: pair_loop(hashes, RADIUS))
        texts = clocks["our_hash"].time(lambda: [fingerprint.phash for fingerprint in fingerprint_files(photos)])
        our_hashes = hash_numbers(texts)
        our_pairs = clocks["our_search"].time(lambda hashes=our_hashes: near_pairs(hashes, RADIUS))
        check_equal(their_hashes, their_pairs, our_hashes, our_pairs)
    hardest, searches = search_alone(our_hashes)
    seconds = {name: np.array(clock.seconds) for name, clock in clocks.items()}
    ours = seconds["our_hash"] + seconds["our_search"]
    processor = {name: statistics.median(clock.processor_seconds) for name, clock in clocks.items()}
    their_work, our_work = (processor[f"{who}_hash"] + processor[f"{who}_search"] for who in ("their", "our"))
    report = {
        "benchmark": "deduplication",
        "ratio": statistics.median((seconds["their_hash"] + seconds["their_search"]) / ours),
        "ratio_to_hardest": statistics.median((seconds["their_hash"] + hardest(our_hashes)) / ours),
        "ratio_of_processor_seconds": their_work / our_work,
        "photos": len(photos),
        "pairs": len(our_pairs),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": load,
        "seconds": {name: statistics.median(values) for name, values in seconds.items()},
        "processor_seconds": processor,
        "search_alone": searches,
    }
    if quick:
        return report
    rounds = {name: clock.seconds for name, clock in clocks.items()}
    return {**report, "rounds": rounds, "scaling": scaling(our_hashes)}


def cut_chips(folder: Path) -> None:
    """Cut every drawn face at many places, so that there are as many photos as a study has, and of their size."""
    generator = np.random.default_rng(0)
    photos = [cv2.imread(str(photo)) for photo in named_photos([folder])]
    for number in range(QUICK_PHOTOS - len(photos)):
        photo = photos[number % len(photos)]
        side = int(min(photo.shape[:2]) * generator.uniform(0.6, 1))
        top, left = (generator.integers(0, length - side + 1) for length in photo.shape[:2])
        chip = cv2.resize(photo[top : top + side, left : left + side], CHIP_SIZE, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f"chip-{number:05}.jpg"), chip)


def check_equal(their_hashes: np.ndarray, their_pairs: list, our_hashes: np.ndarray, our_pairs: np.ndarray) -> None:
    numbers = np.packbits(their_hashes, axis=1).view(">u8").ravel()
    if not np.array_equal(numbers, our_hashes) or their_pairs != [tuple(pair) for pair in our_pairs.tolist()]:
        raise AgeGenderError("the two ways differ in a hash or a pair; the times mean nothing.")


def search_alone(hashes: np.ndarray) -> tuple[Callable[[np.ndarray], float], dict]:
    """Return the seconds of the hardest rival for given hashes, and all searches of 23,000 like the real ones."""
    sample = hashes[:SEARCHED]
    if len(sample) < SEARCHED:
        sample = np.concatenate([sample, perturbed(hashes, SEARCHED - len(sample), np.random.default_rng(1))])
    popcount_loop(sample[:2], RADIUS)
    rivals = {"numba_popcount": popcount_loop, "numpy": numpy_pairs, "ours": our_pair_count}
    counts, seconds = {}, {}
    for name, search in rivals.items():
        clock = Clock()
        counts[name] = {clock.time(lambda search=search: search(sample, RADIUS)) for _ in range(3)}
        seconds[name] = min(clock.seconds)
    if len(set.union(*counts.values())) > 1:
        raise AgeGenderError(f"the searches differ in the number of pairs: {counts}.")
    hardest = min(("numba_popcount", "numpy"), key=seconds.__getitem__)
    outcome = {"hashes": SEARCHED, "pairs": counts["ours"].pop(), "seconds": seconds}
    return lambda given: seconds[hardest] * (len(given) / SEARCHED) ** 2, outcome


def our_pair_count(hashes: np.ndarray, radius: int) -> int:
    return distinct_near_pairs(hashes, radius).pair_count()


def perturbed(hashes: np.ndarray, count: int, generator: np.random.Generator, bits: int = 12) -> np.ndarray:
    """Return hashes distributed like the given ones: each is one of them with up to `bits` bits turned over."""
    return turned_over(generator.choice(hashes, count), bits, generator)


def turned_over(hashes: np.ndarray, bits: int, generator: np.random.Generator) -> np.ndarray:
    hashes = hashes.copy()
    for _ in range(bits):
        hashes ^= np.uint64(1) << generator.integers(0, 64, len(hashes), dtype=np.uint64)
    return hashes


def with_twins(kind: str, count: int, real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `count` hashes of a kind, one in a hundred a twin of another within the radius, and those pairs."""
    generator = np.random.default_rng(count)
    if kind == "even":
        hashes = generator.integers(0, 2**64, count, dtype=np.uint64)
    else:
        hashes = perturbed(real, count, generator)
    chosen = generator.permutation(count)[: 2 * int(count * PLANTED_SHARE)].reshape(2, -1)
    hashes[chosen[1]] = turned_over(hashes[chosen[0]], RADIUS, generator)
    return hashes, chosen


def search_planted(kind: str, count: int, real: np.ndarray) -> dict:
    """Search in a process of its own, so that its memory is its own."""
    hashes, planted = with_twins(kind, count, real)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clock = Clock()
    found = clock.time(lambda: distinct_near_pairs(hashes, RADIUS))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    width = np.int64(len(found.values))
    first, second = np.sort(found.place[planted], axis=0)
    known = found.pairs[:, 0] * width + found.pairs[:, 1]
    missing = int((~np.isin(first * width + second, known) & (first != second)).sum())
    more = {"planted": planted.shape[1], "missing": missing, "pairs": found.pair_count()}
    return {"seconds": clock.seconds[0], **more, "peak_gib": peak / 2**20, "search_gib": (peak - before) / 2**20}


def scaling(real: np.ndarray) -> dict:
    """Return the cost of the search against the number of hashes, and of the loop as far as it is bearable."""
    outcome: dict[str, dict[int, dict]] = {"even": {}, "skewed": {}, "pair_loop": {}}
    spawn = multiprocessing.get_context("spawn")
    for kind in ("even", "skewed"):
        for count in SIZES:
            with ProcessPoolExecutor(1, mp_context=spawn) as pool:
                outcome[kind][count] = pool.submit(search_planted, kind, count, real).result()
    for count in (5_000, 10_000, 20_000):
        hashes = with_twins("even", count, real)[0]
        bits = np.unpackbits(hashes[:, None].view(np.uint8), axis=1).astype(bool)
        clock = Clock()
        clock.time(lambda bits=bits: pair_loop(bits, RADIUS))
        outcome["pair_loop"][count] = {"seconds": clock.seconds[0]}
    return outcome


def _plot(report: dict, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.fonttype"] = "none"
    mpl.rcParams["svg.hashsalt"] = "agegender"
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    looks = {
        "even": ("#2b6ca3", "o", "agegender, even hashes"),
        "skewed": ("#d55e00", "s", "agegender, like real photos"),
    }
    looks["pair_loop"] = ("#888888", "^", "numba loop over all pairs")
    for kind, (colour, marker, label) in looks.items():
        points = report["scaling"][kind]
        axis.plot(
            list(points), [point["seconds"] for point in points.values()], marker, color=colour, ls="-", label=label
        )
    largest = max(report["scaling"]["pair_loop"])
    per_pair = report["scaling"]["pair_loop"][largest]["seconds"] / largest**2
    axis.plot([largest, SIZES[-1]], [per_pair * largest**2, per_pair * SIZES[-1] ** 2], ":", color="#888888")
    axis.axhline(60, color="#222222", lw=0.8)
    axis.annotate("one minute", (SIZES[0], 60), (0, 3), textcoords="offset points", fontsize=8)
    axis.set(xscale="log", yscale="log", xlabel="hashes", ylabel=f"seconds for all pairs within {RADIUS} bits")
    axis.legend(frameon=False, fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def describe(report: dict) -> str:
    """Return the report in one line."""
    seconds = ", ".join(f"{name} {value:.2f} s" for name, value in report["seconds"].items())
    return f"{seconds}; ratio {report['ratio']:.1f}"


if __name__ == "__main__":
    drawn = {"drawn_face_count": 300, "after_drawing": cut_chips}
    raise SystemExit(run(__doc__, measure, describe, plot=lambda report: _plot(report, PLOT), **drawn))
