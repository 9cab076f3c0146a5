"""What a tracking service is sent: numbers, and nothing that says whose they are."""

from __future__ import annotations

import importlib.util
import socket
import time
from pathlib import Path

import pytest
from coded_faces import CPU, coded_faces, small_learner

from agegender.errors import MissingExtraError, UsageError
from agegender.model.tracking import WandbRun, check_tracking
from agegender.model.training import fit
from agegender.training_settings import TrainingSettings

pytestmark = pytest.mark.filterwarnings("ignore")


def test_an_offline_run_holds_numbers_and_no_path_name_or_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb").teardown()  # it reads its environment once; an earlier test may have begun a run
    (tmp_path / "secretfaces").mkdir()
    home = tmp_path / "secrethome"
    home.mkdir()
    for name, value in {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "HOME": str(home)}.items():
        monkeypatch.setenv(name, value)
    settings = {"learning_rate": 0.0125, "weights": "/home/somebody/model.pth", "relabel": ("age=58,59>60",)}
    sent = WandbRun(settings, "0123456789abcdef")
    learner = small_learner(coded_faces(tmp_path / "secretfaces"))
    fit(learner, TrainingSettings(epochs=2, batch_size=8), precision="fp32", device=CPU, callbacks=[sent])
    (record,) = tmp_path.rglob("*.wandb")
    until = time.monotonic() + 30
    while record.read_bytes().count(b"valid_age_mae") < 2 and time.monotonic() < until:
        time.sleep(0.2)  # a process of wandb's own writes it
    written = record.read_bytes()
    assert written.count(b"valid_age_mae") >= 2
    assert b"0.0125" in written
    for secret in ("secretfaces", "secrethome", "somebody", "58,59", ".png", socket.gethostname(), "female"):
        assert secret.encode() not in written, secret


def test_a_service_that_is_not_installed_is_refused_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    check_tracking(None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr("agegender.model.tracking.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'agegender\[wandb\]'"):
        check_tracking("wandb")


def test_a_service_that_does_not_know_who_sends_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    wandb.teardown()
    with pytest.raises(UsageError, match=r"--track wandb: No API key.*WANDB_MODE=offline"):
        check_tracking("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    wandb.teardown()
    check_tracking("wandb")
