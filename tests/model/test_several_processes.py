"""One training in several processes: the same figures as in one, one set of files, and no hang when one dies."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from coded_faces import CPU, HEADS, coded_faces, small_network
from fastai.callback.core import Callback
from torch import nn

from agegender import train
from agegender.data.balancing import apply_balance
from agegender.data.datablock import make_dataloaders
from agegender.data.faces_table import FacesTable, write_faces
from agegender.data.splitting import split_faces
from agegender.errors import DataError, ProcessEndedError, UsageError
from agegender.launching import Launched, check_processes, launched
from agegender.model import several_processes
from agegender.model.epochs import EpochRecorder
from agegender.model.learner import make_learner
from agegender.model.losses import CombinedLoss
from agegender.model.model_folder import read_card, read_history
from agegender.model.run_state import read_state
from agegender.model.several_processes import SharedSteps, check_photo_count, joined, leads, own_device
from agegender.model.training import fit
from agegender.settings import AugmentationSettings, ImageSettings
from agegender.training_settings import TrainingSettings

BATCH = 7  # of which three processes get three, two and two photos; of 8 validation photos the last has none for two
OPTIONS = "--body test_resnet --weights none --image-size 32 --batch-size 8 --epochs 2 --device cpu --precision fp32"

NAMES = {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
FORKED = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


@dataclass(frozen=True)
class Killed:
    """A signal that the process of a rank sends in the second epoch, to itself or to its launcher."""

    by: str
    number: int
    is_launcher: bool = False


def environment(rank: int, count: int, port: int) -> dict[str, str]:
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
    names = {name: str(number) for name, number in numbers.items()}
    return names | {"MASTER_ADDR": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo"}


def without_batch_norm(module: nn.Module) -> nn.Module:
    """Replace what makes a photo's features depend on the rest of its batch, and what is random."""
    for name, child in module.named_children():
        if isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d)):
            # timm's batch norms hold the activation that follows.
            act = getattr(child, "act", nn.Identity())
            setattr(module, name, nn.Sequential(nn.GroupNorm(1, child.num_features), act))
        elif isinstance(child, nn.Dropout):
            child.p = 0.0
        else:
            without_batch_norm(child)
    return module


class Look(Callback):
    """Keep what the last validation measured."""

    order = 25

    def after_epoch(self) -> None:
        self.measures = self.learn.epoch_recorder.valid_measures


# Three batches an epoch: two make a step, the last one is a step of its own.
RECIPE = {"stages": "heads:1,all:1", "accumulate": 2, "l1": 1e-4, "clip": 1.0, "weighting": "uncertainty"}


def train_plainly(
    folder: Path, *, has_norms: bool = False, balance: Sequence[str] = (), **recipe: Any
) -> dict[str, Any]:
    settings = TrainingSettings.of_keywords({"batch_size": BATCH, **(recipe or {"epochs": 2})}, {})
    faces, look = coded_faces(folder), Look()
    image, augmentation = ImageSettings(size=32), AugmentationSettings()
    loaders = make_dataloaders(faces, HEADS, image, augmentation, batch_size=BATCH, seed=1, device=CPU)
    rows = faces.table[faces.table["split"] == "train"].reset_index(drop=True)
    apply_balance(loaders.train, rows.assign(ethnicity=["Black"] * 5 + ["Asian"] * (len(rows) - 5)), settings, balance)
    network = small_network() if has_norms else without_batch_norm(small_network())
    learner = make_learner(loaders, network, CombinedLoss(HEADS, {"age": 17.0}, weighting=settings.weighting))
    with joined():
        history = fit(learner, settings, precision="fp32", device=CPU, callbacks=[look]).history
        assert loaders.train.part == (0, 1)
    weights = {name: value.numpy() for name, value in learner.model.state_dict().items()}
    return {"history": history.drop(columns="seconds"), "measures": look.measures, "weights": weights}


def train_in_part(rank: int, count: int, port: int, folder: Path, results: Any, recipe: dict[str, Any]) -> None:
    os.environ.update(environment(rank, count, port))
    (folder / str(rank)).mkdir()
    results.put((rank, train_plainly(folder / str(rank), **recipe)))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def train_in_three(folder: Path, **recipe: Any) -> dict[int, dict[str, Any]]:
    small_network()  # what is imported here needn't be imported in each of them
    context, port = multiprocessing.get_context("fork"), free_port()
    results = context.Queue()
    processes = [
        context.Process(target=train_in_part, args=(rank, 3, port, folder, results, recipe)) for rank in range(3)
    ]
    for process in processes:
        process.start()
    try:
        return dict(results.get(timeout=40) for _ in processes)
    finally:
        for process in processes:
            process.join(5)
            process.kill()


@FORKED
@pytest.mark.parametrize(
    "recipe", [{}, RECIPE, {"epochs": 2, "balance": ("ethnicity",)}], ids=["plain", "recipe", "balanced"]
)
def test_three_processes_learn_what_one_learns(tmp_path: Path, recipe: dict[str, Any]) -> None:
    of_each = train_in_three(tmp_path, **recipe)
    (tmp_path / "alone").mkdir()
    alone = train_plainly(tmp_path / "alone", **recipe)
    for one in of_each.values():
        pd.testing.assert_frame_equal(one["history"], alone["history"], rtol=1e-4)
        for name, measured in alone["measures"].items():  # each photo once, in the order of the table
            np.testing.assert_allclose(one["measures"][name], measured, rtol=1e-4)
        for name, weights in of_each[0]["weights"].items():
            np.testing.assert_array_equal(one["weights"][name], weights, err_msg=name)


@FORKED
@pytest.mark.parametrize(
    "recipe", [{"ema": 0.9, "mixup": 0.4}, {"weigh": ("ethnicity",)}], ids=["averaged, mixed", "weighed"]
)
def test_weights_are_one_for_all_processes_averages_and_running_means_included(
    tmp_path: Path, recipe: dict[str, Any]
) -> None:
    first, *others = train_in_three(tmp_path, has_norms=True, epochs=2, **recipe).values()
    for other in others:
        for name, weights in first["weights"].items():
            np.testing.assert_array_equal(other["weights"][name], weights, err_msg=name)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    faces = coded_faces(folder)
    split = split_faces(FacesTable(faces.table.drop(columns="height_cm"), folder), shares=(60, 20, 20), seed=1)
    write_faces(split, folder / "faces.parquet")
    return folder / "faces.parquet"


def places(folder: Path) -> list[str]:
    return ["--runs-dir", str(folder / "runs"), "--reports-dir", str(folder / "reports")]


def torchrun(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    return subprocess.run(
        [*start, "-m", "agegender.train", *words], cwd=folder, env=os.environ | NAMES, capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip


def launch(folder: Path, *words: str, killed: Killed | None = None) -> subprocess.CompletedProcess[str]:
    """Do as torchrun does, by its own agent, in forks of this process: none of three has to load torch and fastai."""
    launcher = multiprocessing.get_context("fork").Process(target=_launch, args=(folder, words, killed))
    launcher.start()
    launcher.join(240)
    launcher.kill()
    said = [(folder / name).read_text(encoding="utf-8") for name in ("stdout", "stderr")]
    return subprocess.CompletedProcess(words, launcher.exitcode, *said)


def _launch(folder: Path, words: Sequence[str], killed: Killed | None) -> None:
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.chdir(folder)
    os.environ.update(NAMES)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    config = LaunchConfig(
        1, 1, 2, run_id=folder.name, rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0,
        start_method="fork",
    )  # fmt: skip
    elastic_launch(config, _train)(words, killed)


def _train(words: Sequence[str], killed: Killed | None) -> int:
    # A process that is started by its name inherits no handlers.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if killed and os.environ["RANK"] == killed.by:
        after_batch = EpochRecorder.after_batch

        def kill(self: EpochRecorder) -> None:
            after_batch(self)
            if self.epoch == 1:
                os.kill(os.getppid() if killed.is_launcher else os.getpid(), killed.number)
                time.sleep(20)

        EpochRecorder.after_batch = kill
    code = train.main(list(words))
    if code:
        sys.stdout.flush()
        os._exit(code)
    return code


@pytest.mark.slow
@FORKED
def test_two_processes_write_one_model_and_go_on_where_they_stopped(table: Path, tmp_path: Path) -> None:
    words = ["--no-report", "--processes", "2"]
    whole = torchrun(tmp_path, *words, "--faces", str(table), "--name", "whole", *OPTIONS.split())
    assert whole.returncode == 0, whole.stderr
    assert "2 processes with 4 of the 8 photos of each batch, learning rate 0.002" in whole.stderr
    assert whole.stdout.count("model    models/whole") == whole.stderr.count("epoch 2/2") == 1
    stopped = launch(tmp_path, *words, "--faces", str(table), "--name", "parts", "--stop-after", "1", *OPTIONS.split())
    assert (stopped.returncode, stopped.stdout.count("stopped after epoch 1 of 2")) == (0, 1)
    resumed = launch(tmp_path, *words, "--resume", "parts")
    assert resumed.returncode == 0, resumed.stderr
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["parts", "whole"]
    whole_folder, parts_folder = tmp_path / "models" / "whole", tmp_path / "models" / "parts"
    histories = [read_history(folder).drop(columns="seconds") for folder in (whole_folder, parts_folder)]
    pd.testing.assert_frame_equal(*histories)
    assert read_card(parts_folder)["processes"] == 2
    events = sorted((tmp_path / "runs" / "whole").rglob("events.*"))
    assert len({path.name.split(".")[-2] for path in events}) == 1  # of one process


@pytest.mark.slow
@FORKED
@pytest.mark.parametrize(("rank", "number"), [("1", 9), ("0", 9)], ids=["other dies", "first dies"])
def test_when_one_process_dies_all_end_at_once_and_the_last_epoch_is_kept(
    table: Path, tmp_path: Path, rank: str, number: int
) -> None:
    started = time.monotonic()
    words = ["--faces", str(table), "--name", "torn", "--no-report", *OPTIONS.split()]
    ended = launch(tmp_path, *words, killed=Killed(rank, number))
    assert ended.returncode != 0
    assert time.monotonic() - started < 120
    assert "another process of this run has ended" in ended.stderr
    if rank == "1":
        assert "torn.unfinished keeps every whole epoch" in ended.stderr
    assert read_state(tmp_path / "models" / "torn.unfinished" / "state.safetensors").epochs_done == 1


@pytest.mark.slow
@FORKED
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_launcher_that_is_told_to_stop_ends_all_and_the_run_goes_on_later(
    table: Path, tmp_path: Path, stop: signal.Signals
) -> None:
    started = time.monotonic()
    words = ["--faces", str(table), "--name", "stopped", "--no-report", *OPTIONS.split()]
    ended = launch(tmp_path, *words, killed=Killed("0", int(stop), is_launcher=True))
    assert ended.returncode != 0
    assert time.monotonic() - started < 120
    assert "stopped.unfinished keeps every whole epoch" in ended.stderr
    said = "interrupted; nothing half-written" if stop == signal.SIGINT else "or torchrun was told to stop"
    assert said in ended.stderr
    folder = tmp_path / "models" / "stopped.unfinished"
    assert read_state(folder / "state.safetensors").epochs_done == 1
    assert train.main(["--resume", "stopped", "--models-dir", str(folder.parent), *places(tmp_path)]) == 0
    assert read_history(tmp_path / "models" / "stopped")["epoch"].tolist() == [1, 2]


def test_torchrun_s_signal_within_a_callback_is_said_in_the_same_words() -> None:
    assert ProcessEndedError().args == (str(ProcessEndedError()),)


def test_the_parts_of_a_batch_are_the_photos_of_the_whole_one(tmp_path: Path) -> None:
    faces, image, changes = coded_faces(tmp_path), ImageSettings(size=32), AugmentationSettings()
    loaders = [
        make_dataloaders(faces, HEADS, image, changes, batch_size=BATCH, seed=1, device=CPU, workers=0)
        for _ in range(4)
    ]
    for number, one in enumerate(loaders[:3]):
        one.train.part = one.valid.part = (number, 3)
    for side in ("train", "valid"):
        *parts, whole = (list(getattr(one, side)) for one in loaders)
        assert [len(part) for part in parts] == ([3, 3, 3] if side == "train" else [2, 1, 1])
        for number, part in enumerate(parts):
            for mine, everybodys in zip(part, whole, strict=False):
                for one, other in zip(mine, everybodys, strict=True):
                    assert torch.equal(torch.as_tensor(one), torch.as_tensor(other)[number::3])


@pytest.mark.parametrize("said", ["", "two", "-1", "2.5"])
def test_what_no_launcher_writes_into_the_environment_starts_one_process(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(1, 2, 29500).items():
        monkeypatch.setenv(name, value)
    assert launched() == Launched(1, 2, 1, 2)
    monkeypatch.setenv("WORLD_SIZE", said)
    assert launched() == Launched()


def test_a_run_in_other_numbers_than_asked_for_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launched() == Launched()
    assert train.main(["--processes", "4"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "--processes 4, and this run is in 1. Start it with `torchrun --nproc_per_node 4" in said
    for name, value in environment(0, 4, 1).items():
        monkeypatch.setenv(name, value)
    check_processes(4, 64)
    with pytest.raises(UsageError, match=r"--processes 2, and this run is in 4"):
        check_processes(2, 64)
    with pytest.raises(UsageError, match=r"--batch-size 7 is too small for 4 processes.*at least 8"):
        check_processes(4, 7)


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_device(torch.device("cuda")) == torch.device("cuda")
    assert leads()
    for name, value in environment(1, 2, 1).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert own_device(torch.device("cuda")) == torch.device("cuda", 1)
    assert own_device(CPU) == CPU
    with pytest.raises(UsageError, match="a GPU of its own"):
        own_device(torch.device("cuda:0"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match="--nproc_per_node 1"):
        own_device(torch.device("cuda"))


def test_what_is_drawn_in_each_process_hangs_on_the_seed_of_the_run() -> None:
    drawn = set()
    for seed, rank, epoch in [(7, 1, 0), (8, 1, 0), (7, 2, 0), (7, 1, 1)]:
        steps = SharedSteps(seed)
        steps.learn = SimpleNamespace(epoch=epoch, first_epoch=-1)
        steps.rank = rank
        for _ in range(2):
            steps.before_epoch()
            drawn.add(float(torch.rand(1)))
    assert len(drawn) == 4


def test_too_few_photos_for_so_many_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(several_processes, "process_count", lambda: 4)
    check_photo_count(8, 64)
    with pytest.raises(DataError, match="7 training photos a batch are too few for 4 processes"):
        check_photo_count(7, 64)
