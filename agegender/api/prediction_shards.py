"""A prediction in shards: each is some photos in and one Parquet file out, computed by whoever sees both places.

A shard is done when its file is there, and a file takes its place when it is whole; so shards can be computed in any
order, by any process, and twice, and every photo still stands there once. Its file's name has a digest of what it was
computed from. `_manifest.json` beside the files says of which models they are, by their weights. Nothing here knows who
computes.
"""

from __future__ import annotations

import hashlib
import os
import platform
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import Any

from agegender.api.predicting import Counts, heads_of_all, predicted_parts
from agegender.audit.predictions_files import ENDINGS, predictions_file
from agegender.errors import ModelError, PhotoError, TableError, UsageError
from agegender.model.face_rows import Looking
from agegender.model.model_folder import CARD_FILE, WEIGHTS_FILE, is_exported
from agegender.model.onnx_runtime import OnnxRuntime
from agegender.model.prediction_parts import check_plan, model_digest
from agegender.model.predictor import Predictor
from agegender.model.shipped import is_shipped, shipped_folder
from agegender.photos.finding import has_photo_suffix, photo_names, printable
from agegender.settings import VERSION
from agegender.writing import check_writable, hold, write_json

MANIFEST = "_manifest.json"  # what reads a folder of Parquet files passes over names that begin so
_LISTS = ".parquet"
_DIGITS = 16


@dataclass(frozen=True)
class ModelPlace:
    """Where a worker finds a model, and the weights that it must have there.

    Attributes
    ----------
    path : str or None
        None is the model that comes with agegender, which each worker has at a place of its own.
    """

    path: str | None
    weights_sha256: str
    device: str
    precision: str
    detector_file: str | None


@dataclass(frozen=True)
class ShardJob:
    """What all shards of a prediction have in common.

    Attributes
    ----------
    out : str
        The folder that their files go to.
    root : str
        Where relative paths of photos start.
    """

    version: str
    models: dict[str, ModelPlace]
    looking: Looking
    checks: dict[str, float]
    out: str
    root: str


@dataclass(frozen=True)
class Shard:
    """Some photos: named here, or listed in the column `path` of a Parquet file."""

    file: str  # the name of what it becomes
    photos: tuple[str, ...] = ()
    listed: str = ""


def make_job(models: Mapping[str, Predictor], looking: Looking, checks: Mapping[str, float], out: Path) -> ShardJob:
    """Return what workers are told; each model must have been loaded from a place that they see too."""
    places = {name: _place_of(name, model) for name, model in models.items()}
    return ShardJob(VERSION, places, looking, dict(checks), os.path.abspath(out), os.getcwd())  # noqa: PTH100, PTH109


def plan_of_job(job: ShardJob, models: Mapping[str, Predictor], shard_photos: int) -> dict[str, Any]:
    """Return what the rows depend on, as the manifest keeps it."""
    return {
        "version": job.version,
        "models": {
            name: {"card": model_digest(models[name].card), "weights_sha256": place.weights_sha256}
            for name, place in job.models.items()
        },
        "precision": [place.precision for place in job.models.values()],
        "looking": asdict(job.looking),
        "checks": job.checks,
        "shard_photos": shard_photos,
    }


def plan_shards(given: Sequence[Any], shard_photos: int) -> list[Shard]:
    """Return the shards of what a call names: each Parquet file of paths is one, photos are dealt in their order.

    Raises
    ------
    TableError
        A Parquet file lists no paths.
    FolderError, UsageError
        As for any photos.
    """
    lists: list[str] = []
    others: list[Any] = []
    for item in given:
        if not isinstance(item, (str, Path)):
            raise UsageError("only files are predicted in shards: what is in memory is on this machine alone.")
        found = _lists_of(str(item))
        lists += found
        others += [] if found else [item]
    for one in lists[:1]:  # the others are read by the workers
        _check_list(one)
    names = photo_names(others)
    dealt = (names[start : start + shard_photos] for start in range(0, len(names), shard_photos))
    shards = [
        Shard(f"shard-{number:06d}-{_digest(map(os.fsencode, photos))}{_LISTS}", photos=tuple(photos))
        for number, photos in enumerate(dealt)
    ]
    return [*shards, *map(_shard_of_list, dict.fromkeys(map(os.path.abspath, lists)))]


@contextmanager
def opened_shards(out: Path, plan: Mapping[str, Any], shards: Sequence[Shard]) -> Iterator[list[Shard]]:
    """Give the shards that are not done yet, and keep other processes off the folder meanwhile.

    Raises
    ------
    UsageError
        The folder has shards of another model, of other options or of other photos, or is no folder of shards.
    """
    if out.suffix.lower() in ENDINGS or out.is_file():
        raise UsageError(
            f"--out {out}: shards go to a folder, one Parquet file each. Name a folder, without an ending."
        )
    check_writable(out)
    handle = hold(out)
    if handle is None:
        raise UsageError(f"another process is predicting into {out}: wait for it, or name another --out.")
    try:
        there = {name for name in os.listdir(out) if not name.startswith(".")}  # noqa: PTH208 (a hundred thousand names)
        if there - {MANIFEST} and MANIFEST not in there:
            raise UsageError(f"--out {out} is a folder with other files in it. Name a new one for the shards.")
        if MANIFEST in there:
            check_plan(out / MANIFEST, plan)
        strange = there - {MANIFEST} - {shard.file for shard in shards}
        if strange:
            raise UsageError(
                f"{out} has {len(strange)} files that are no shards of these photos (the first is {min(strange)}): the "
                f"photos or lists are others than before. Name another --out, or remove what is not wanted."
            )
        write_json(out / MANIFEST, {**plan, "shards": len(shards), "is_whole": False})
        yield [shard for shard in shards if shard.file not in there]
        write_json(out / MANIFEST, {**plan, "shards": len(shards), "is_whole": True})
    finally:
        os.close(handle)


def predict_shard(job: ShardJob, shard: Shard) -> Counts:
    """Predict a shard into its file and return what it came to; in a process of any machine that sees the places."""
    counts = Counts()
    file = Path(job.out) / shard.file
    if file.is_file():  # of a worker that was thought to be dead
        import pandas as pd

        counts.add(pd.read_parquet(file))
        return counts
    if job.version != VERSION:
        raise ModelError(f"a worker has agegender {VERSION}, and {job.version} was asked for. Install the same on all.")
    models = loaded_models(job.models)
    names = shard.photos or listed_photos(shard.listed)
    files = names if job.root == os.getcwd() else tuple(os.path.join(job.root, name) for name in names)  # noqa: PTH109, PTH118
    if not any(map(os.path.lexists, files)):
        raise PhotoError(
            f"{platform.node()} sees none of the {len(files)} photos of {shard.file}, the first of them "
            f"{printable(files[0])}. "
            f"All workers must see the photos at the same place as this machine does, on a shared disk."
        )
    as_named = {printable(one): printable(name) for one, name in zip(files, names, strict=True)}
    run_ids = [model.card.get("run_id") for model in models.values()]
    run_id = str(run_ids[0]) if len(run_ids) == 1 and run_ids[0] else None
    with predictions_file(file, heads_of_all(models.values()), run_id) as write:
        for table in predicted_parts(models, files, job.looking, job.checks):
            named = table.assign(path=table["path"].map(as_named))
            counts.add(named)
            write(named)
    return counts


def listed_photos(file: str) -> tuple[str, ...]:
    """Return the column `path` of a Parquet file."""
    import pyarrow.parquet as pq

    try:
        paths = pq.read_table(file, columns=["path"])["path"].to_pylist()
    except (OSError, ValueError, KeyError) as error:
        raise TableError(f"the list {printable(file)} cannot be read: {error}.") from error
    if not paths or not all(isinstance(path, str) and path for path in paths):
        raise TableError(
            f"the list {printable(file)} has rows without a path, or none at all: mend it or leave it out."
        )
    return tuple(paths)


_loaded: dict[tuple[tuple[str, ModelPlace], ...], dict[str, Predictor]] = {}
_loading = threading.Lock()


def loaded_models(places: Mapping[str, ModelPlace]) -> dict[str, Predictor]:
    """Return a process's models, loaded when they are first asked for.

    Raises
    ------
    ModelError
        What lies at a place has other weights.
    """
    wanted = tuple(places.items())
    with _loading:
        if wanted not in _loaded:
            _loaded.clear()
            _loaded[wanted] = {name: _loaded_model(name, place) for name, place in wanted}
        return _loaded[wanted]


def _loaded_model(name: str, place: ModelPlace) -> Predictor:
    path = Path(place.path) if place.path is not None else shipped_folder() / "model.onnx"
    if not path.exists():
        raise ModelError(
            f"{platform.node()} sees no model at {path}. All workers must see the model at the same place as this "
            f"machine does, on a shared disk."
        )
    if weights_digest(path) != place.weights_sha256:
        raise ModelError(f"{platform.node()} has other weights at {path} than those that {name} began with.")
    detector = None if place.detector_file is None else Path(place.detector_file)
    return Predictor.load(path, device=place.device, precision=place.precision, detector_file=detector)


def weights_digest(model: Path) -> str:
    """Return the SHA-256 of a model's weights and cards, or of its .onnx file, which has both."""
    files = [model] if is_exported(model) else sorted(one for name in _PARTS for one in model.rglob(name))
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


_PARTS = (CARD_FILE, WEIGHTS_FILE)


def _place_of(name: str, model: Predictor) -> ModelPlace:
    if model.place is None:
        raise UsageError(
            f"workers load {name} from its folder, and it has none yet: save it, and load it from where they see it."
        )
    detector = None if model.detector_file is None else os.path.abspath(model.detector_file)  # noqa: PTH100
    path = model.place.absolute()
    return ModelPlace(
        None if is_shipped(path) and is_exported(path) else str(path),
        weights_digest(path),
        "auto" if isinstance(model.runtime, OnnxRuntime) else model.runtime.device.type,
        model.runtime.precision,
        detector,
    )


def _lists_of(name: str) -> list[str]:
    """Return the Parquet files that a name stands for, none where it stands for photos."""
    if name.lower().endswith(_LISTS):
        if has_magic(name) and not os.path.lexists(name):
            return sorted(glob(name, recursive=True))  # noqa: PTH207 (Path.glob knows no absolute patterns)
        return [name]
    if not os.path.isdir(name):  # noqa: PTH112
        return []
    with os.scandir(name) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith((".", "_"))]
    if any(map(has_photo_suffix, names)):
        return []
    return sorted(os.path.join(name, one) for one in names if one.lower().endswith(_LISTS))  # noqa: PTH118


def _check_list(file: str) -> None:
    import pyarrow.parquet as pq

    try:
        columns = pq.read_schema(file).names
    except (OSError, ValueError) as error:
        raise TableError(f"the list {printable(file)} cannot be read as Parquet: {error}.") from error
    if "path" not in columns:
        raise TableError(f"the list {printable(file)} has no column path; it has {', '.join(columns)[:200]}.")


def _shard_of_list(file: str) -> Shard:
    facts = os.stat(file)  # noqa: PTH116
    digest = _digest([os.fsencode(file), f"{facts.st_size} {facts.st_mtime_ns}".encode()])
    return Shard(f"{Path(file).stem}-{digest}{_LISTS}", listed=file)


def _digest(parts: Any) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:_DIGITS]
