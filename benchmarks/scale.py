"""What a prediction of very many photos costs, from rates measured here: docs/scale.md has its tables.

    python benchmarks/scale.py [--data FOLDER] [--quick] [--json]

Rates are milliseconds of one processor core per photo, as the process counts them, so that other programs matter
little: opening and decoding a file (a face photo as it comes, and the same enlarged to 12 megapixels), finding the
face and cutting it out, judging what is doubtful, and the network: a ResNet-34 at 128 px, in torch with one thread,
and a small body (`resnet18-narrow` at 128 px, that of the model that comes with agegender) in torch and in
onnxruntime. Weights are random, which changes no time. Dask's share is what 1,000 tasks that do nothing take.

`cost` adds them up for a number of photos. It assumes what its arguments say: all cores equal this one, photos are
read once over a network of a given rate, and nothing waits for anything else. Without a folder it reads faces that the
program draws.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from photo_benchmark import run

import agegender as ag
from agegender.api.dask_engine import SHARD_PHOTOS
from agegender.api.predicting import heads_of_all
from agegender.audit.predictions_files import predictions_file
from agegender.heads import AGE, GENDER, head_to_dict
from agegender.model.network import Statistics, make_network
from agegender.model.predictor import BATCH_SIZE
from agegender.photos.face_crops import Margins, cut_out, cuts_of
from agegender.photos.face_detection import HaarDetector
from agegender.photos.finding import list_photos
from agegender.photos.problems import pixel_problems
from agegender.photos.reading import as_photo
from agegender.settings import IMAGENET_MEAN, IMAGENET_STD, ImageSettings

SIZE, LARGE = 128, (4000, 3000)
BODIES = ("resnet34", "resnet18-narrow")
TASKS = 1000
PATH_BYTES = 80  # of a path in the memory of Python


@dataclass(frozen=True)
class Work:
    """Milliseconds of a core for each photo, and bytes; what a prediction of one kind of photo costs."""

    read_ms: float
    find_ms: float
    judge_ms: float
    network_ms: float
    photo_bytes: float
    row_bytes: float
    task_ms: float
    list_ms: float

    @property
    def photo_ms(self) -> float:
        """All that a worker does for a photo."""
        return self.read_ms + self.find_ms + self.judge_ms + self.network_ms


def cost(
    photos: float, work: Work, *, cores: int, shard_photos: int = SHARD_PHOTOS, disk_bytes_per_second: float = 1e8
) -> dict[str, float]:
    """Return what `photos` cost: hours of one core, hours on so many, and what else grows with their number.

    >>> half = Work(1, 0, 0, 4, photo_bytes=1e5, row_bytes=100, task_ms=1, list_ms=0.01)
    >>> round(cost(1e6, half, cores=10)["hours"], 3), round(cost(1e6, half, cores=10)["read_hours"], 3)
    (0.139, 0.278)
    """
    shards = -(-photos // shard_photos)
    core_hours = photos * work.photo_ms / 3.6e6
    return {
        "core_hours": core_hours,
        "hours": core_hours / cores,
        "read_gigabytes": photos * work.photo_bytes / 1e9,
        "read_hours": photos * work.photo_bytes / disk_bytes_per_second / 3600,
        "files_per_second": photos / (core_hours / cores * 3600),
        "list_minutes": photos * work.list_ms / 6e4,
        "path_gigabytes": photos * PATH_BYTES / 1e9,
        "shards": shards,
        "scheduler_minutes": shards * work.task_ms / 6e4,
        "shard_seconds": shard_photos * work.photo_ms / 1e3,
        "row_gigabytes": photos * work.row_bytes / 1e9,
        "shard_kilobytes": shard_photos * work.row_bytes / 1e3,
    }


def measure(root: Path, *, quick: bool) -> dict[str, Any]:
    """Return the rates, and the work of each kind of photo and network."""
    listed, list_ms = _timed(lambda: list_photos(root), 1)
    files = [root / one.path for one in listed if one.dropped_because is None][: 64 if quick else 256]
    with tempfile.TemporaryDirectory() as folder:
        models = {body: _model(body) for body in BODIES}
        exported = Path(folder) / "small.onnx"
        models[BODIES[1]].export(exported, photos=files[:4])
        models[f"{BODIES[1]}, onnxruntime"] = ag.Model.load(exported)
        kinds = {"small": files, "12 MP": _enlarged(files[: 4 if quick else 8], Path(folder))}
        photos = {kind: _photo_rates(some, models[BODIES[1]]) for kind, some in kinds.items()}
        row_bytes = _row_bytes(models[BODIES[1]], files, Path(folder) / "rows.parquet")
    faces = np.stack([models[BODIES[0]].fit_photo(as_photo(file)) for file in files[:BATCH_SIZE]])
    networks = {name: _network_rate(model, faces, 1 if quick else 2) for name, model in models.items()}
    shared = {"row_bytes": row_bytes, "task_ms": _task_ms(200 if quick else TASKS), "list_ms": list_ms / len(listed)}
    photos["faces cut out"] = photos["small"] | {"find_ms": 0.0}
    works = {
        f"{kind}, {name}": Work(**rates, network_ms=network_ms, **shared)
        for kind, rates in photos.items()
        for name, network_ms in networks.items()
    }
    return {"photos": len(files), "works": {name: asdict(work) for name, work in works.items()}}


def _timed(work: Callable[[], Any], count: int) -> tuple[Any, float]:
    """Return a result and the milliseconds of the processor for each of `count`."""
    started = time.process_time()
    result = work()
    return result, (time.process_time() - started) * 1e3 / count


def _photo_rates(files: Sequence[Path], model: ag.Model) -> dict[str, float]:
    detector, margins = HaarDetector(), Margins.of(0.4)
    photos, read_ms = _timed(lambda: [as_photo(file) for file in files], len(files))
    faces, find_ms = _timed(lambda: [_largest(detector, photo, margins) for photo in photos], len(files))
    _, judge_ms = _timed(lambda: [pixel_problems(face, SIZE) for face in faces], len(files))
    _, fit_ms = _timed(lambda: [model.fit_photo(face) for face in faces], len(files))
    photo_bytes = float(np.mean([file.stat().st_size for file in files]))
    return {"read_ms": read_ms + fit_ms, "find_ms": find_ms, "judge_ms": judge_ms, "photo_bytes": photo_bytes}


def _largest(detector: HaarDetector, photo: Any, margins: Any) -> Any:
    return cut_out(photo, cuts_of(photo, detector.detect(photo)[:1], margins)[0])


def _enlarged(files: Sequence[Path], folder: Path) -> list[Path]:
    """Write the photos as a camera would, as JPEGs of 12 megapixels with the face a third of the height."""
    written = []
    for number, file in enumerate(files):
        photo = cv2.cvtColor(as_photo(file), cv2.COLOR_RGB2BGR)
        canvas = cv2.resize(cv2.GaussianBlur(photo, (0, 0), 4), LARGE)
        side = LARGE[1] // 3
        canvas[side : 2 * side, side : 2 * side] = cv2.resize(photo, (side, side))
        noise = np.random.default_rng(number).normal(0, 4, canvas.shape[:2])[..., None]
        written.append(folder / f"{number}.jpg")
        cv2.imwrite(str(written[-1]), (canvas + noise).clip(0, 255).astype(np.uint8))
    return written


def _model(body: str) -> ag.Model:
    heads = (AGE, GENDER)
    network = make_network(body, heads, {"age": Statistics(33.0, 20.0)}, image_size=SIZE)
    card = {
        "name": body,
        "heads": [head_to_dict(head) for head in heads],
        "body": body,
        "image": asdict(ImageSettings(size=SIZE, mean=IMAGENET_MEAN, std=IMAGENET_STD)),
    }
    return ag.Model.of_network(network, card, device="cpu", precision="fp32")


def _network_rate(model: ag.Model, faces: Any, rounds: int) -> float:
    model.runtime.answers(faces)  # what is made once
    return min(_timed(lambda: model.runtime.answers(faces), len(faces))[1] for _ in range(rounds))


def _row_bytes(model: ag.Model, files: Sequence[Path], out: Path) -> float:
    table = model.predict(list(files), faces_in_photo="largest")
    with predictions_file(out, heads_of_all([model])) as write:
        write(table)
    return out.stat().st_size / len(table)


def _task_ms(count: int) -> float:
    """Return the processor time of a task that does nothing: scheduler, worker and client."""
    from distributed import Client, LocalCluster

    local = LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0")
    with local, Client(local) as client:
        client.gather(client.map(_nothing, range(10)))
        return _timed(lambda: client.gather(client.map(_nothing, range(10, 10 + count))), count)[1]


def _nothing(number: int) -> int:
    return number


def describe(report: Mapping[str, Any]) -> str:
    """Return both tables as Markdown."""
    works = {name: Work(**work) for name, work in report["works"].items()}
    lines = [
        "| photos, network | read | find | judge | network | together | KB read |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {name} | {one.read_ms:.2f} | {one.find_ms:.1f} | {one.judge_ms:.2f} | {one.network_ms:.1f} | "
        f"{one.photo_ms:.1f} | {one.photo_bytes / 1e3:,.0f} |"
        for name, one in works.items()
    ]
    first = next(iter(works.values()))
    lines += [
        "",
        f"a row {first.row_bytes:.0f} bytes, a task {first.task_ms:.2f} ms, a file to list {first.list_ms:.4f} ms",
    ]
    head = "| photos | photos, network | core hours | hours, 64 cores | GB read | hours at 100 MB/s | files/s | "
    lines += ["", head + "listing, minutes | GB of paths | shards | scheduler, minutes | a shard, s | GB of rows |"]
    lines.append("|---:|---|" + "---:|" * 11)
    for photos in (1e6, 1e7, 1e8):
        for name, one in works.items():
            c = cost(photos, one, cores=64)
            lines.append(
                f"| 10^{len(str(int(photos))) - 1} | {name} | {c['core_hours']:,.0f} | {c['hours']:,.1f} | "
                f"{c['read_gigabytes']:,.0f} | {c['read_hours']:,.1f} | {c['files_per_second']:,.0f} | "
                f"{c['list_minutes']:,.1f} | {c['path_gigabytes']:.2g} | {c['shards']:,.0f} | "
                f"{c['scheduler_minutes']:.2g} | {c['shard_seconds']:,.0f} | {c['row_gigabytes']:,.1f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(run(__doc__, measure, describe, drawn_face_count=256))
