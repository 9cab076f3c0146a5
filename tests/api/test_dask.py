"""Photos in shards, predicted by several processes: every photo once, as one process predicts it."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from golden_model import write_golden, write_noisy_photos

import agegender as ag
from agegender import predict
from agegender.api import dask_engine, prediction_shards
from agegender.api.predicting import Counts
from agegender.errors import MissingExtraError, PhotoError, ShardError, TableError, UsageError
from agegender.model.model_folder import CARD_FILE, WEIGHTS_FILE

distributed = pytest.importorskip("distributed")
psutil = pytest.importorskip("psutil")

# Sockets of a worker that was killed, and of a cluster that is being closed.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_golden(tmp_path_factory.mktemp("golden") / "model")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of drawn heads, of which no two are alike and one cannot be read."""
    place = write_noisy_photos(tmp_path_factory.mktemp("archive"), 59)
    (place / "030b.png").write_bytes(b"no photo")
    return place


@pytest.fixture
def model(folder: Path) -> ag.Model:
    return ag.Model.load(folder, device="cpu")


@pytest.fixture
def here() -> Iterator[str]:
    """The address of a cluster in this very process, which a test can look into."""
    prediction_shards._loaded.clear()
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
    ) as local:
        yield local.scheduler_address


def read_all(out: Path) -> pd.DataFrame:
    return pd.read_parquet(out)


def manifest_of(out: Path) -> dict:
    return json.loads((out / prediction_shards.MANIFEST).read_text(encoding="utf-8"))


def kill_one_worker(out: Path, killed: list[int]) -> None:
    """Kill, as kill -9 does, the first process that has a shard's unfinished file open, once one shard is done."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        done = len(list(out.glob("shard-*.parquet"))) if out.is_dir() else 0
        for child in psutil.Process().children(recursive=True) if done else []:
            try:
                opened = {Path(file.path).name for file in child.open_files()}
            except psutil.Error:
                continue
            if any(name.startswith(".shard-") for name in opened):
                os.kill(child.pid, signal.SIGKILL)
                killed += [child.pid, done]
                return
        time.sleep(0.01)


@pytest.mark.slow
def test_a_worker_killed_in_mid_run_costs_no_photo_and_adds_none(model: ag.Model, photos: Path, tmp_path: Path) -> None:
    out, killed = tmp_path / "faces", list[int]()
    killer = threading.Thread(target=kill_one_worker, args=(out, killed))
    killer.start()
    done = model.predict_shards(out, photos, workers=2, shard_photos=4)
    killer.join()
    assert killed, "no worker was killed"
    assert killed[1] < 14
    assert {name: done[name] for name in ("photos", "faces", "unreadable", "shards")} == {
        "photos": 60, "faces": 59, "unreadable": 1, "shards": 15,
    }  # fmt: skip
    table = read_all(out)
    assert table["path"].tolist() == sorted(str(path) for path in photos.iterdir())
    alone = pd.concat([model.predict(list(part)) for part in np.array_split(sorted(photos.iterdir()), 15)])
    pd.testing.assert_frame_equal(table, alone.reset_index(drop=True), check_dtype=False, check_exact=True)
    assert manifest_of(out)["is_whole"] is True


def test_shards_equal_a_local_prediction_whatever_is_asked(
    model: ag.Model, photos: Path, tmp_path: Path, here: str
) -> None:
    asked = {"faces_in_photo": "all", "checks": {"age": 25}}
    done = model.predict_shards(tmp_path / "faces", photos, scheduler=here, **asked)
    alone = model.predict(photos, **asked)
    pd.testing.assert_frame_equal(read_all(tmp_path / "faces"), alone, check_dtype=False, check_exact=True)
    assert done["shards"] == 1
    assert done["faces"] == len(alone) - 1


def test_a_folder_of_parquet_lists_becomes_a_file_for_each(
    model: ag.Model, photos: Path, tmp_path: Path, here: str
) -> None:
    names = sorted(str(path) for path in photos.iterdir())
    lists = tmp_path / "lists"
    lists.mkdir()
    for number in range(3):
        listed = pd.DataFrame({"path": names[number::3], "label": "x"})
        listed.to_parquet(lists / f"part-{number}.parquet")
    done = model.predict_shards(tmp_path / "faces", lists, scheduler=here)
    assert done["shards"] == 3
    assert done["photos"] == 60
    assert [name.name[:6] for name in sorted((tmp_path / "faces").glob("*.parquet"))] == ["part-0", "part-1", "part-2"]
    assert read_all(tmp_path / "faces")["path"].tolist() == names[0::3] + names[1::3] + names[2::3]


def test_what_is_done_is_not_done_again_and_a_new_list_is_added(
    model: ag.Model, photos: Path, tmp_path: Path, here: str
) -> None:
    names = sorted(str(path) for path in photos.iterdir())
    lists, out = tmp_path / "lists", tmp_path / "faces"
    lists.mkdir()
    pd.DataFrame({"path": names[:20]}).to_parquet(lists / "a.parquet")
    model.predict_shards(out, lists, scheduler=here)
    (first,) = out.glob("a-*.parquet")
    made = first.stat().st_mtime_ns
    pd.DataFrame({"path": names[20:30]}).to_parquet(lists / "b.parquet")
    done = model.predict_shards(out, lists, scheduler=here)
    assert (done["shards"], done["skipped_shards"], done["photos"]) == (2, 1, 10)
    assert first.stat().st_mtime_ns == made
    # Where nothing is missing no cluster is asked for.
    assert model.predict_shards(out, lists, scheduler="tcp://127.0.0.1:1")["skipped_shards"] == 2
    assert read_all(out)["path"].tolist() == names[:30]


def test_shards_of_two_models_are_never_mixed(
    model: ag.Model, folder: Path, photos: Path, tmp_path: Path, here: str
) -> None:
    out = tmp_path / "faces"
    model.predict_shards(out, photos, scheduler=here)
    card = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
    other = tmp_path / "other"
    other.mkdir()
    (other / CARD_FILE).write_text(json.dumps({**card, "name": "other"}), encoding="utf-8")
    (other / WEIGHTS_FILE).write_bytes((folder / WEIGHTS_FILE).read_bytes())
    with pytest.raises(UsageError, match="keeps what another model has predicted"):
        ag.Model.load(other, device="cpu").predict_shards(out, photos, scheduler=here)
    with pytest.raises(UsageError, match="predicted with other options"):
        model.predict_shards(out, photos, scheduler=here, finds_problems=False)
    with pytest.raises(UsageError, match="no shards of these photos"):
        model.predict_shards(out, sorted(photos.iterdir())[:5], scheduler=here)
    assert manifest_of(out)["models"][model.name]["weights_sha256"] == prediction_shards.weights_digest(folder)


def test_a_model_that_changes_under_the_workers_is_noticed(model: ag.Model, folder: Path, tmp_path: Path) -> None:
    job = prediction_shards.make_job({"m": model}, prediction_shards.Looking(), {}, tmp_path)
    assert prediction_shards.loaded_models(job.models)["m"].card == model.card
    assert prediction_shards.loaded_models(job.models) is prediction_shards.loaded_models(job.models)
    changed = {"m": replace(job.models["m"], weights_sha256="0" * 64)}
    with pytest.raises(Exception, match="has other weights at"):
        prediction_shards.loaded_models(changed)
    with pytest.raises(Exception, match="sees no model at"):
        prediction_shards.loaded_models({"m": replace(job.models["m"], path=str(tmp_path / "gone"))})


def test_a_shard_that_fails_is_tried_again(
    model: ag.Model, photos: Path, tmp_path: Path, here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = dict.fromkeys(range(15), 0)
    whole = prediction_shards.predicted_parts

    def flaky(models, files, *more):
        number = int(Path(files[0]).stem[:3]) // 4
        tried[number] += 1
        if tried[number] < 3:
            raise OSError("the network is down")
        return whole(models, files, *more)

    monkeypatch.setattr(prediction_shards, "predicted_parts", flaky)
    done = model.predict_shards(tmp_path / "faces", photos, scheduler=here, shard_photos=4)
    assert done["photos"] == 60
    assert read_all(tmp_path / "faces")["path"].is_unique


def test_one_shard_that_always_fails_stops_no_other_and_is_all_that_is_left(
    model: ag.Model, photos: Path, tmp_path: Path, here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, whole = tmp_path / "faces", prediction_shards.predicted_parts

    def broken(models, files, *more):
        if files[0].endswith("000.png"):
            raise MemoryError("too large")
        return whole(models, files, *more)

    with monkeypatch.context() as patched:
        patched.setattr(prediction_shards, "predicted_parts", broken)
        with pytest.raises(ShardError, match=r"1 of 4 shards failed at each of 3 tries. MemoryError: too large"):
            model.predict_shards(out, photos, scheduler=here, shard_photos=16)
    assert manifest_of(out)["is_whole"] is False
    assert len(read_all(out)) == 44
    done = model.predict_shards(out, photos, scheduler=here, shard_photos=16)
    assert (done["skipped_shards"], done["photos"]) == (3, 16)
    assert len(read_all(out)) == 60


def test_when_all_shards_fail_the_rest_is_not_tried(
    model: ag.Model, photos: Path, tmp_path: Path, here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_engine, "_HOPELESS", 2)
    monkeypatch.setattr(prediction_shards, "VERSION", "9.9")
    job = dask_engine.make_job({model.name: model}, prediction_shards.Looking(), {}, tmp_path / "faces")
    monkeypatch.setattr(dask_engine, "make_job", lambda *_: replace(job, version="9.8"))
    with pytest.raises(ShardError, match=r"2 of 60 shards failed.* a worker has agegender 9.9, and 9.8 was asked for"):
        model.predict_shards(tmp_path / "faces", photos, scheduler=here, shard_photos=1)


def test_a_worker_that_does_not_see_the_photos_says_so_and_writes_nothing(model: ag.Model, tmp_path: Path) -> None:
    job = prediction_shards.make_job({"m": model}, prediction_shards.Looking(), {}, tmp_path)
    shard = prediction_shards.Shard("shard-0.parquet", photos=("/mnt/faces/1.jpg", "/mnt/faces/2.jpg"))
    with pytest.raises(
        PhotoError, match=r"sees none of the 2 photos of shard-0\.parquet, the first of them /mnt/faces/1"
    ):
        prediction_shards.predict_shard(job, shard)
    assert not list(tmp_path.iterdir())


def test_relative_paths_start_where_the_command_was_given(
    model: ag.Model, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    job = prediction_shards.make_job({"m": model}, prediction_shards.Looking(), {}, tmp_path / "faces")
    monkeypatch.chdir(tmp_path)
    names = tuple(f"{photos.name}/{number:03}.png" for number in range(3))
    assert prediction_shards.predict_shard(job, prediction_shards.Shard("s.parquet", photos=names)).photos == 3
    assert read_all(tmp_path / "faces")["path"].tolist() == list(names)


def test_a_shard_that_another_worker_has_finished_is_counted_and_left(
    model: ag.Model, photos: Path, tmp_path: Path
) -> None:
    job = prediction_shards.make_job({"m": model}, prediction_shards.Looking(), {}, tmp_path / "faces")
    shard = prediction_shards.Shard("s.parquet", photos=tuple(map(str, sorted(photos.iterdir())[28:34])))
    first = prediction_shards.predict_shard(job, shard)
    made = (tmp_path / "faces" / "s.parquet").stat().st_ino
    assert prediction_shards.predict_shard(job, shard) == first
    assert (first.photos, first.unreadable) == (6, 1)
    assert (tmp_path / "faces" / "s.parquet").stat().st_ino == made


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ({"file": ["a.png"]}, "has no column path; it has file"),
        ({"path": ["a.png", None]}, "rows without a path"),
        ({"path": [1, 2]}, "rows without a path"),
    ],
)
def test_a_list_without_paths_is_refused(tmp_path: Path, listed: dict, message: str) -> None:
    file = tmp_path / "list.parquet"
    pd.DataFrame(listed).to_parquet(file)
    with pytest.raises(TableError, match=message):
        prediction_shards.listed_photos(prediction_shards.plan_shards([file], 4)[0].listed)


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.parquet").write_bytes(b"no table")
    with pytest.raises(TableError, match="cannot be read as Parquet"):
        prediction_shards.plan_shards([tmp_path], 4)


def test_every_photo_is_in_one_shard_in_its_order(photos: Path) -> None:
    names = sorted(str(path) for path in photos.iterdir())
    for size in (1, 7, 60, 100):
        shards = prediction_shards.plan_shards([photos], size)
        assert [name for shard in shards for name in shard.photos] == names
        assert [shard.file for shard in shards] == sorted({shard.file for shard in shards})
        assert max(len(shard.photos) for shard in shards) <= size


def test_a_folder_with_other_files_is_no_place_for_shards(model: ag.Model, photos: Path) -> None:
    with pytest.raises(UsageError, match="is a folder with other files in it"):
        model.predict_shards(photos, photos)


def test_a_model_without_a_folder_is_refused(model: ag.Model, photos: Path, tmp_path: Path) -> None:
    unsaved = ag.Model(model.runtime, model.card)
    with pytest.raises(UsageError, match="save it"):
        unsaved.predict_shards(tmp_path / "faces", photos)


def test_no_scheduler_is_said(model: ag.Model, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_engine, "_PATIENCE_SECONDS", 3)
    with pytest.raises(UsageError, match="no Dask scheduler answers there"):
        model.predict_shards(tmp_path / "faces", photos, scheduler="tcp://127.0.0.1:1")


def test_a_missing_dask_is_said_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_engine, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r'pip install "agegender\[dask\]"'):
        dask_engine.check_dask_extra()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "2"], "--workers is for --engine dask"),
        (["--engine", "dask"], "name it with --out"),
        (["--engine", "dask", "--out", "x", "--workers", "0"], "--workers must be at least 1, not 0"),
        (["--engine", "dask", "--out", "x", "--report", "r.html"], "--report is made on one machine"),
        (["--engine", "dask", "--out", "x", "--scheduler", "tcp://a:1", "--workers", "2"], "give one of them"),
        (["--engine", "dask", "--out", "x.csv"], "shards go to a folder"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    folder: Path, photos: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert predict.main([str(photos), "--model", str(folder), "--device", "cpu", *options]) == 2
    assert message in capsys.readouterr().err


def test_the_command_says_what_it_wrote(
    folder: Path, photos: Path, tmp_path: Path, here: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(photos), "--model", str(folder), "--device", "cpu", "--engine", "dask", "--scheduler", here]
    assert predict.main([*command, "--out", str(tmp_path / "faces"), "--shard-photos", "32", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["shards"], document["photos"], document["unreadable"]) == (2, 60, 1)
    facts = pq.read_schema(next((tmp_path / "faces").glob("*.parquet"))).metadata
    assert facts is not None
    assert predict.main([*command, "--out", str(tmp_path / "faces"), "--shard-photos", "32"]) == 0
    assert "2 shards, 2 there before" in capsys.readouterr().out


def test_counts_of_two_shards_are_those_of_both() -> None:
    table = pd.DataFrame(
        {"path": ["a", "a", "b"], "error": [None, None, "bad"], "problems": ["dark, tiny", None, None]}
    )
    together, apart = Counts(), Counts()
    together.add(table)
    together.add(table.assign(path=["c", "c", "d"]))
    for one in (table, table.assign(path=["c", "c", "d"])):
        part = Counts()
        part.add(one)
        apart.merge(part)
    assert apart == together
