"""Whatever the recipe, a training in legs comes to the weights of one that nothing interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import agegender as ag
from agegender.data.faces_table import make_table
from agegender.errors import DivergedError, TrainingStopped, UsageError
from agegender.model.epochs import EpochRecorder

TINY = {"body": "test_resnet", "weights": "none", "image_size": 32, "batch_size": 8, "device": "cpu"}
TINY |= {"precision": "fp32", "heads": ["age", "gender"]}

RECIPES: dict[str, dict[str, Any]] = {
    "stages": {"stages": "heads:1,last-block:1,all:2", "layer_rates": 10.0, "schedule": "cosine", "warmup": 0.2},
    "stages of one-cycles": {"stages": "heads:2,all:2", "div": 5.0},
    "steps": {"schedule": "step", "step_size": 1, "step_gamma": 0.5},
    "plateau": {"schedule": "plateau", "plateau_patience": 1, "step_gamma": 0.5, "learning_rate": 0.05},
    "everything on the gradients": {"ema": 0.9, "accumulate": 2, "clip": 0.5, "l1": 1e-5, "dropout": 0.3},
    "sgd": {"optimiser": "sgd", "learning_rate": 0.01},
    "lamb": {"optimiser": "lamb", "schedule": "constant"},
    "adan": {"optimiser": "adan"},
    "adamp": {"optimiser": "adamp"},
    "lookahead": {"optimiser": "lookahead_radam"},
    "factors": {"optimiser": "adafactorbv"},
}


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> ag.Faces:
    """56 photos, light for the old, of which 28 train: three batches of 8."""
    root = tmp_path_factory.mktemp("coded")
    rows = []
    for number in range(56):
        Image.fromarray(np.full((32, 32, 3), number * 4, np.uint8)).save(root / f"{number}.png")
        row = {
            "path": f"{number}.png",
            "source": "coded",
            "age_years": number,
            "gender": ("male", "female")[number % 2],
        }
        rows.append(row | {"split": ("train", "train", "valid", "test")[number // 2 % 4]})
    return ag.Faces.from_frame(make_table(rows), root=root)


def spoil_third_epoch(patched: pytest.MonkeyPatch) -> None:
    before_epoch = EpochRecorder.before_epoch

    def spoil(self: EpochRecorder) -> None:
        before_epoch(self)
        if self.epoch == 2:
            next(self.learn.model.parameters()).data.fill_(float("nan"))

    patched.setattr(EpochRecorder, "before_epoch", spoil)


def test_a_loss_that_is_no_number_keeps_the_epochs_before_it(
    faces: ag.Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patched:
        spoil_third_epoch(patched)
        message = r"in epoch 3, step 1, with the photos .*png.* Epoch 2 is kept: .*--resume first"
        with pytest.raises(DivergedError, match=message):
            ag.Model.train(faces, name="first", models_dir=tmp_path, epochs=4, learning_rate=0.02, **TINY)
    with pytest.raises(TrainingStopped):
        ag.Model.resume(tmp_path / "first", learning_rate=0.001, clip=1.0, stop_after=1)
    assert "learning_rate 0.02 then and 0.001 now, clip None then and 1.0 now" in capsys.readouterr().err
    model = ag.Model.resume(tmp_path / "first")  # the later legs remember
    assert model.card["changed"] == [{"learning_rate": [0.02, 0.001], "clip": [None, 1.0]}]
    assert model.card["training"]["learning_rate"] == 0.001
    assert model.history["learning_rate"][1] > 0.01
    assert model.history["learning_rate"][2] < 0.001
    model._run.close()


def test_only_what_a_run_in_trouble_needs_can_change(faces: ag.Faces, tmp_path: Path) -> None:
    with pytest.raises(TrainingStopped):
        ag.Model.train(
            faces, name="first", models_dir=tmp_path, runs_dir=tmp_path / "runs", epochs=2, stop_after=1, **TINY
        )
    with pytest.raises(UsageError, match="goes on with the epochs that it began with"):
        ag.Model.resume(tmp_path / "first", epochs=5)
    with pytest.raises(UsageError, match="--learning-rate -1 is out of range"):
        ag.Model.resume(tmp_path / "first", learning_rate=-1.0)
    model = ag.Model.resume(tmp_path / "first", batch_size=4, accumulate=2, runs_dir=tmp_path / "runs")
    model._run.close()
    assert (len(model.history), model.card["training"]["batch_size"]) == (2, 4)
    shown = EventAccumulator(str(tmp_path / "runs" / "first" / "train")).Reload().Scalars("loss/total")
    assert [one.step for one in shown] == list(range(1, 11))  # 3 batches of 8, 7 of 4


def test_a_run_that_has_stopped_early_stays_so(
    faces: ag.Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    after_epoch = EpochRecorder.after_epoch

    def worse(self: EpochRecorder) -> None:
        after_epoch(self)
        self.rows[-1]["valid_loss"] = float(len(self.rows))

    monkeypatch.setattr(EpochRecorder, "after_epoch", worse)
    settings = TINY | {"epochs": 9, "early_stopping": 1, "mixup": 0.4}
    model = ag.Model.train(faces, name="first", models_dir=tmp_path, stop_after=8, **settings)
    model._run.close()  # as if killed before it was stored
    done = len(model.history)
    assert model.card["epochs_trained"] == done == 2
    again = ag.Model.resume(tmp_path / "first", stop_after=1)
    again._run.close()
    assert len(again.history) == done
    assert all(torch.equal(value, weights(model)[key]) for key, value in weights(again).items())


def weights(model: ag.Model) -> dict[str, torch.Tensor]:
    return model.learner.model.state_dict()


@pytest.mark.parametrize("name", RECIPES)
def test_in_legs_it_comes_to_the_same_weights(faces: ag.Faces, tmp_path: Path, name: str) -> None:
    settings = TINY | RECIPES[name] | ({} if "stages" in RECIPES[name] else {"epochs": 4})
    whole = ag.Model.train(faces, name="whole", **settings)
    with pytest.raises(TrainingStopped):
        ag.Model.train(faces, name="legs", models_dir=tmp_path, stop_after=1, **settings)
    with pytest.raises(TrainingStopped):
        ag.Model.resume(tmp_path / "legs", stop_after=2)
    torch.manual_seed(1)
    legs = ag.Model.resume(tmp_path / "legs")
    legs._run.close()
    assert all(torch.equal(value, weights(whole)[key]) for key, value in weights(legs).items())
    pd.testing.assert_frame_equal(legs.history.drop(columns="seconds"), whole.history.drop(columns="seconds"))
    assert legs.card["training"] == whole.card["training"]
