"""Faces pasted at random size and place into larger scenes: how many are found, how many false finds, how fast.

    python benchmarks/face_cropping.py [--data FOLDER] [--quick] [--json]

Every scene is made of scraps of the photos, an eighth of a side each, upside down, shuffled and blurred. One face
photo, 60 to 400 pixels wide, is pasted at a place that is known. A find is right when it overlaps the pasted photo by
at least a third (intersection over union); every other find is false. Ours is `HaarDetector` as `crop_faces` uses it;
theirs is the same cascade with OpenCV's own defaults and nothing around it, which is faster, since ours searches a
repeated border as well. Tight photos are measured by themselves, unpasted: there the border pays. `ratio` is the median
of their seconds over ours for one scene.

Without a folder it draws faces. Without --quick it makes more scenes and writes benchmarks/results/face_cropping.svg.
"""

from __future__ import annotations

import statistics
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from photo_benchmark import run

from agegender.errors import AgeGenderError, PhotoError
from agegender.photos.face_crops import Margins, face_square
from agegender.photos.face_detection import FaceBox, HaarDetector
from agegender.photos.finding import named_photos
from agegender.photos.reading import read_photo

SCENE = (800, 1000)  # height and width in pixels
SMALLEST_FACE, LARGEST_FACE = 60, 400
LEAST_OVERLAP = 1 / 3
MARGIN = 0.4
PLOT = Path(__file__).parent / "results" / "face_cropping.svg"


@dataclass(frozen=True)
class Scene:
    """A photo with one face pasted in, and where its photo lies."""

    photo: np.ndarray
    face: FaceBox


class PlainCascade:
    """The cascade as OpenCV's tutorial calls it."""

    def __init__(self) -> None:
        file = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_alt2.xml"
        self._cascade = cv2.CascadeClassifier(str(file))

    def detect(self, photo: np.ndarray) -> list[FaceBox]:
        """Return the finds in the order of the cascade."""
        boxes = self._cascade.detectMultiScale(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY))
        return [FaceBox(*(int(side) for side in box), 1.0) for box in boxes]


def measure(root: Path, *, quick: bool) -> dict:
    """Return recall, false finds and seconds of both on the same scenes."""
    generator = np.random.default_rng(7)
    count = 16 if quick else 120
    photos = list(read_some(root, 2 * count, generator))
    scenes = [make_scene(photo, photos, generator) for photo in photos[:count]]
    detectors: dict[str, Any] = {"ours": HaarDetector(), "theirs": PlainCascade()}
    outcomes = {name: [judge(detector, scene) for scene in scenes] for name, detector in detectors.items()}
    found = {name: summarise(judged, scenes) for name, judged in outcomes.items()}
    tight = {name: sum(bool(detector.detect(photo)) for photo in photos) for name, detector in detectors.items()}
    times = {name: [one["seconds"] for one in judged] for name, judged in outcomes.items()}
    return {
        "benchmark": "face_cropping",
        "ratio": statistics.median(theirs / ours for theirs, ours in zip(times["theirs"], times["ours"], strict=True)),
        "scenes": len(scenes),
        "scene_size": list(SCENE),
        "least_overlap": LEAST_OVERLAP,
        **found,
        "tight_photos": len(photos),
        "tight_photos_with_a_face": tight,
        "recall_by_face_width": recall_by_width(outcomes["ours"], scenes),
        "crops_holding_the_whole_face": crops_holding_faces(outcomes["ours"], scenes),
    }


def read_some(root: Path, count: int, generator: np.random.Generator) -> list[np.ndarray]:
    paths = named_photos([root])
    photos = []
    for number in generator.permutation(len(paths))[:count]:
        with suppress(PhotoError):
            photos.append(read_photo(paths[number]))
    if len(photos) < 4:
        raise AgeGenderError(f"{root} holds {len(photos)} readable photos; 4 are needed.")
    return photos


def make_scene(face: np.ndarray, photos: list[np.ndarray], generator: np.random.Generator) -> Scene:
    height, width = SCENE
    photo = background(photos, generator)
    side = int(np.exp(generator.uniform(np.log(SMALLEST_FACE), np.log(LARGEST_FACE))))
    small = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA if side < face.shape[0] else cv2.INTER_CUBIC)
    x, y = int(generator.integers(width - side)), int(generator.integers(height - side))
    photo[y : y + side, x : x + side] = small
    return Scene(photo, FaceBox(x, y, side, side, 1.0))


def background(photos: list[np.ndarray], generator: np.random.Generator) -> np.ndarray:
    """Return a busy ground without a face: scraps of photos, too small to show one, upside down and blurred."""
    height, width = SCENE
    ground = np.zeros((height, width, 3), dtype=np.uint8)
    tile = int(generator.choice([25, 50, 100]))
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            source = photos[generator.integers(len(photos))]
            scrap = min(source.shape[:2]) // 8
            row, column = generator.integers(source.shape[0] - scrap), generator.integers(source.shape[1] - scrap)
            piece = source[row : row + scrap, column : column + scrap][::-1]
            ground[top : top + tile, left : left + tile] = cv2.resize(piece, (tile, tile))
    return cv2.GaussianBlur(ground, (0, 0), float(generator.uniform(0.5, 6)))


def judge(detector: Any, scene: Scene) -> dict:
    started = time.perf_counter()
    finds = detector.detect(scene.photo)
    seconds = time.perf_counter() - started
    overlaps = [overlap(find, scene.face) for find in finds]
    right = [find for find, share in zip(finds, overlaps, strict=True) if share >= LEAST_OVERLAP]
    return {"seconds": seconds, "right": right, "false": len(finds) - len(right), "largest_is_right": _first(overlaps)}


def _first(overlaps: list[float]) -> bool:
    return bool(overlaps) and overlaps[0] >= LEAST_OVERLAP


def overlap(one: FaceBox, other: FaceBox) -> float:
    """Return the intersection over union of two boxes."""
    across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    shared = max(0, across) * max(0, down)
    return shared / (one.area() + other.area() - shared)


def summarise(judged: list[dict], scenes: list[Scene]) -> dict:
    return {
        "recall": sum(bool(one["right"]) for one in judged) / len(scenes),
        "found": sum(bool(one["right"]) for one in judged),
        "false_finds": sum(one["false"] for one in judged),
        "scenes_where_the_largest_is_right": sum(one["largest_is_right"] for one in judged),
        "median_seconds": statistics.median(one["seconds"] for one in judged),
    }


def recall_by_width(judged: list[dict], scenes: list[Scene]) -> dict[str, dict[str, int]]:
    bins: dict[str, dict[str, int]] = {}
    for low, high in ((60, 100), (100, 160), (160, 250), (250, 401)):
        inside = [
            bool(one["right"]) for one, scene in zip(judged, scenes, strict=True) if low <= scene.face.width < high
        ]
        bins[f"{low} to {high - 1} px"] = {"faces": len(inside), "found": sum(inside)}
    return bins


def crops_holding_faces(judged: list[dict], scenes: list[Scene]) -> int:
    """Return how many crops, margin 0.4, hold nine tenths of the pasted photo."""
    held = 0
    for one, scene in zip(judged, scenes, strict=True):
        if one["right"]:
            square = face_square(one["right"][0], Margins.of(MARGIN))
            crop = FaceBox(square.left, square.top, square.side, square.side, 1.0)
            across = min(crop.x + crop.width, scene.face.x + scene.face.width) - max(crop.x, scene.face.x)
            down = min(crop.y + crop.height, scene.face.y + scene.face.height) - max(crop.y, scene.face.y)
            held += max(0, across) * max(0, down) >= 0.9 * scene.face.area()
    return held


def _plot(report: dict, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.fonttype"] = "none"
    mpl.rcParams["svg.hashsalt"] = "agegender"
    import matplotlib.pyplot as plt

    bins = report["recall_by_face_width"]
    figure, axis = plt.subplots(figsize=(6.4, 2.6), layout="constrained")
    for line, (name, numbers) in enumerate(bins.items()):
        share = numbers["found"] / max(1, numbers["faces"])
        axis.barh(name, share, color="#2b6ca3", height=0.6)
        axis.annotate(f"{numbers['found']} of {numbers['faces']}", (share, line), (4, 0), textcoords="offset points")
    axis.set(xlim=(0, 1.2), xlabel=f"share of pasted faces found, {report['scenes']} scenes of 1000 x 800 px")
    axis.set_ylabel("width of the face photo")
    axis.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def describe(report: dict) -> str:
    """Return the report in one line."""
    ours = report["ours"]
    found = f"found {ours['found']} of {report['scenes']}, {ours['false_finds']} false finds"
    return f"{found}; ratio {report['ratio']:.2f}"


if __name__ == "__main__":
    raise SystemExit(run(__doc__, measure, describe, drawn_face_count=80, plot=lambda report: _plot(report, PLOT)))
