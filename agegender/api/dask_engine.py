"""`predict --engine dask`: shards of photos, computed by the workers of a Dask cluster or by local ones.

Dask hands out shards and hears how they went; photos and rows never pass through it. It hands a shard out again when
its worker dies or it fails. Few shards are with Dask at a time, so that a hundred million paths need not lie in the
scheduler.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from agegender.api.predicting import Counts
from agegender.api.prediction_shards import (
    Shard,
    ShardJob,
    make_job,
    opened_shards,
    plan_of_job,
    plan_shards,
    predict_shard,
)
from agegender.errors import AgeGenderError, MissingExtraError, ShardError, UsageError
from agegender.heads import limits_to_check
from agegender.model.face_rows import Looking
from agegender.model.predictor import Predictor
from agegender.photos.reading_ahead import processor_count
from agegender.progress import say, track

if TYPE_CHECKING:
    from distributed import Client, Future

SHARD_PHOTOS = 2048  # a minute's work; a multiple of the parts of a local run, so that its batches are the same
_RETRIES = 2
_AHEAD = 4  # shards with Dask for each thread that computes
_HOPELESS = 10  # so many failures without a success, and the others would fail too
_PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Cluster:
    """Who computes: the workers of the scheduler at an address, or so many processes here (None: one per core)."""

    scheduler: str | None = None
    workers: int | None = None


@dataclass
class ShardCounts:
    """What a prediction in shards came to; photos are counted of the shards that were computed now."""

    shards: int
    skipped: int
    counts: Counts = field(default_factory=Counts)

    def document(self) -> dict[str, Any]:
        """Return the counts, JSON-able."""
        return {**self.counts.document(), "shards": self.shards, "skipped_shards": self.skipped}


def check_dask_extra() -> None:
    """Refuse to begin where Dask is not installed."""
    if find_spec("distributed") is None:
        raise MissingExtraError('--engine dask needs the extra dask: pip install "agegender[dask]".')


def predict_in_shards(
    models: Mapping[str, Predictor],
    photos: Any,
    out: Path,
    looking: Looking,
    checks: Mapping[str, float],
    *,
    cluster: Cluster,
    shard_photos: int = SHARD_PHOTOS,
) -> ShardCounts:
    """Write a Parquet file for each shard into the folder `out`, those that are missing; see `Model.predict_shards`."""
    check_dask_extra()
    if shard_photos < 1 or (cluster.workers is not None and cluster.workers < 1):
        raise UsageError("a shard has at least one photo, and there is at least one worker.")
    if cluster.scheduler and cluster.workers:
        raise UsageError("workers starts processes here, and a scheduler has workers of its own: give one of them.")
    for model in models.values():
        limits_to_check(checks, model.heads)
    shards = plan_shards(photos if isinstance(photos, (list, tuple)) else [photos], shard_photos)
    if not shards:
        raise UsageError("there is no photo to predict: the list is empty.")
    job = make_job(models, looking, checks, out)
    with opened_shards(out, plan_of_job(job, models, shard_photos), shards) as missing:
        done = ShardCounts(len(shards), len(shards) - len(missing))
        if done.skipped:
            say(f"{done.skipped:,} of {done.shards:,} shards are in {out} already")
        if missing:
            try:
                _compute(job, missing, cluster, done)
            except KeyboardInterrupt:
                say(f"{out} keeps the shards that are done; the same command goes on with it.")
                raise
    return done


def _compute(job: ShardJob, shards: Sequence[Shard], cluster: Cluster, done: ShardCounts) -> None:
    failed: dict[str, str] = {}
    succeeded = 0
    with _client(cluster) as client:
        flights = _flights(client, job, shards)
        for shard, future in track(flights, "predicting", total=done.shards, done=done.skipped, unit="shard"):
            error = future.exception()
            if error is None:
                done.counts.merge(future.result())
                succeeded += 1
                continue
            failed[shard.file] = _words(error)
            if len(failed) >= _HOPELESS and not succeeded:
                break
    if failed:
        raise ShardError(
            f"{len(failed)} of {len(shards)} shards failed at each of {1 + _RETRIES} tries. "
            f"{next(iter(failed.values()))} {job.out} keeps the others; the same command goes on with it."
        )


def _flights(client: Client, job: ShardJob, shards: Sequence[Shard]) -> Iterator[tuple[Shard, Future]]:
    """Yield shards in the order in which they end, new ones being handed out all the time."""
    from distributed import as_completed

    waiting = iter(shards)
    flying: dict[Any, Shard] = {}
    ended = as_completed()
    run = uuid4().hex  # an earlier run's failures are not this one's
    while True:
        room = _AHEAD * max(1, sum(client.nthreads().values())) - len(flying)  # workers come and go
        for shard in islice(waiting, max(0, room)):
            future = client.submit(predict_shard, job, shard, key=f"{shard.file}-{run}", retries=_RETRIES, pure=False)
            flying[future.key] = shard
            ended.add(future)
        if not flying:
            return
        future = next(ended)
        yield flying.pop(future.key), future


@contextmanager
def _client(cluster: Cluster) -> Iterator[Client]:
    from distributed import Client, LocalCluster

    if cluster.scheduler is None:
        # Its status pages on this machine alone; no limit of memory: Dask holds none of our data, and would only stop
        # workers.
        count = cluster.workers or processor_count()
        local = LocalCluster(
            n_workers=count, threads_per_worker=1, processes=True, memory_limit=0,
            dashboard_address="127.0.0.1:0", worker_dashboard_address="127.0.0.1:0", silence_logs=logging.ERROR,
        )  # fmt: skip
        with local, Client(local) as client:
            yield client
        return
    try:
        client = Client(cluster.scheduler, timeout=_PATIENCE_SECONDS / 6)
    except (OSError, ValueError) as error:
        raise UsageError(f"--scheduler {cluster.scheduler}: no Dask scheduler answers there ({error}).") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_PATIENCE_SECONDS)
        except TimeoutError:
            raise UsageError(
                f"no worker has come to {cluster.scheduler} in {_PATIENCE_SECONDS} seconds: start some, "
                f"`dask worker {cluster.scheduler} --nthreads 1`."
            ) from None
        yield client


def _words(error: BaseException) -> str:
    from distributed.scheduler import KilledWorker

    if isinstance(error, KilledWorker):
        return "Each worker that began it died: it may need more memory than there is."
    return str(error) if isinstance(error, AgeGenderError) else f"{type(error).__name__}: {error}."
