"""Fits on a handful of coded photos: what is recorded, kept, and done in which precision."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from coded_faces import CPU, ETHNICITY, HEADS, HEIGHT, coded_faces, small_learner, small_network
from fastai.callback.core import Callback, CancelBatchException

from agegender.data.faces_table import FacesTable
from agegender.errors import ModelError, OutputError, UsageError
from agegender.heads import AGE, GENDER, with_settings
from agegender.model.epochs import TrainingBar
from agegender.model.network import body_and_heads
from agegender.model.precision import choose_device, choose_precision, has_fast_bfloat16
from agegender.model.tensorboard import TensorBoardRun, group_gaps
from agegender.model.training import fit
from agegender.model.training_speed import CHANNELS_LAST, FIRST_CPU_SCALE, CpuAutocast, speed_callbacks
from agegender.training_settings import TrainingSettings

mpl.use("Agg")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> FacesTable:
    return coded_faces(tmp_path_factory.mktemp("coded"))


def test_history_holds_both_losses_and_both_metrics_of_every_epoch(faces: FacesTable) -> None:
    history = fit(small_learner(faces), TrainingSettings(epochs=2, batch_size=8), precision="fp32", device=CPU).history
    assert history["epoch"].tolist() == [1, 2]
    parts = [f"{side}_loss_{head.name}" for side in ("train", "valid") for head in HEADS]
    wanted = ["train_loss", "valid_loss", "valid_age_mae", "valid_gender_accuracy", "learning_rate", "seconds", *parts]
    assert np.isfinite(history[wanted].to_numpy()).all()
    assert history["train_loss"].to_numpy() == pytest.approx(
        (history[parts[0]] + history[parts[1]]).to_numpy(), rel=1e-5
    )


def test_a_run_that_slows_down_says_once_more_how_long_it_takes(
    faces: FacesTable, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Before the fit, then before and twice after each epoch; the third of four takes five times as long.
    ticks = iter([0, 0, 100, 100, 100, 200, 200, 200, 700, 700, 700, 1200, 1200])
    monkeypatch.setattr(TrainingBar, "_clocks", lambda _: (float(next(ticks)), 0.0))
    settings = TrainingSettings(epochs=4, batch_size=8)
    fit(small_learner(faces), settings, precision="fp32", device=CPU, callbacks=[TrainingBar(has_report=False)])
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("this ")]
    assert [line.split(",")[0] for line in said] == [
        "this takes about 5 minutes",
        "this goes slower than it began: about 8 minutes more",
    ]


def test_the_best_epoch_is_kept(faces: FacesTable) -> None:
    class Spoil(Callback):
        """Ruin the weights after the first epoch."""

        order = 100

        def before_epoch(self) -> None:
            if self.epoch == 1:
                self.learn.model.heads["age"][-1].bias.data[0] = 1e4

    learner = small_learner(faces)
    result = fit(learner, TrainingSettings(epochs=2), precision="fp32", device=CPU, callbacks=[Spoil()])
    assert result.best_epoch == 1
    assert learner.model.heads["age"][-1].bias.max() < 100


def test_the_same_seed_gives_the_same_weights(faces: FacesTable) -> None:
    settings = TrainingSettings(epochs=1, batch_size=8, seed=5)
    first, second = small_learner(faces), small_learner(faces)
    for learner in (first, second):
        fit(learner, settings, precision="fp32", device=CPU)
    for before, after in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(before, after)


def test_a_loss_that_is_no_number_is_an_error(faces: FacesTable) -> None:
    with pytest.raises(ModelError, match="--learning-rate"):
        fit(small_learner(faces), TrainingSettings(epochs=1, learning_rate=1e30), precision="fp32", device=CPU)


def test_a_third_head_is_one_line(faces: FacesTable) -> None:
    heads = (*HEADS, ETHNICITY, HEIGHT)
    history = fit(small_learner(faces, heads), TrainingSettings(epochs=1), precision="fp32", device=CPU).history
    assert {"train_loss_ethnicity", "valid_loss_ethnicity", "valid_ethnicity_accuracy", "valid_height_mae"} <= set(
        history.columns
    )


def test_one_number_can_be_trained(faces: FacesTable) -> None:
    history = fit(
        small_learner(faces, (with_settings(AGE, loss="l1"), GENDER)),
        TrainingSettings(epochs=1),
        precision="fp32",
        device=CPU,
    ).history
    assert np.isfinite(history["valid_age_mae"]).all()


@pytest.mark.parametrize(("trainable", "frozen_parts"), [("heads", 2), ("last-block", 1), ("all", 0)])
def test_only_the_named_layers_are_trained(faces: FacesTable, trainable: str, frozen_parts: int) -> None:
    learner = small_learner(faces)
    before = [[weight.clone() for weight in group] for group in body_and_heads(learner.model)]
    fit(learner, TrainingSettings(epochs=1, trainable=trainable), precision="fp32", device=CPU)
    after = body_and_heads(learner.model)
    # fastai goes on training batch norms of frozen layers; the convolutions tell.
    moved = [
        any(not torch.equal(old, new) for old, new in zip(olds, news, strict=True) if old.ndim in (2, 4))
        for olds, news in zip(before, after, strict=True)
    ]
    assert moved == [False] * frozen_parts + [True] * (3 - frozen_parts)


def test_bf16_on_a_cpu_runs_the_body_in_bf16_and_hands_the_loss_fp32(faces: FacesTable) -> None:
    seen: dict[str, torch.dtype] = {}

    class Look(Callback):
        def after_pred(self) -> None:
            seen["loss"] = self.pred[0].dtype

    learner = small_learner(faces)
    learner.model.body.register_forward_hook(lambda _module, _inputs, output: seen.update(body=output.dtype))
    fit(learner, TrainingSettings(epochs=1), precision="bf16", device=CPU, callbacks=[Look()])
    assert seen == {"body": torch.bfloat16, "loss": torch.float32}
    assert not torch.is_autocast_enabled("cpu")
    assert next(learner.model.parameters()).dtype == torch.float32


def test_autocast_is_left_when_a_batch_is_cancelled(faces: FacesTable) -> None:
    class Cancel(Callback):
        def after_pred(self) -> None:
            raise CancelBatchException

    learner = small_learner(faces)
    with learner.no_logging():
        learner.fit(1, cbs=[Cancel(), CpuAutocast("bf16")])
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
def test_batches_and_results_can_be_shown_before_and_after_a_fit(faces: FacesTable) -> None:
    learner = small_learner(faces)
    learner.dls.show_batch(max_n=4)
    learner.show_results(max_n=2)
    history = fit(learner, TrainingSettings(epochs=1), precision="fp32", device=CPU).history
    learner.show_results(max_n=2)
    titles = [axes.get_title() for axes in plt.gcf().axes]
    plt.close("all")
    assert len(history) == 1
    assert any("male" in title for title in titles)


def test_fastai_predicts_both_heads_of_one_photo(faces: FacesTable) -> None:
    learner = small_learner(faces)
    fit(learner, TrainingSettings(epochs=1), precision="fp32", device=CPU)
    (years, gender), (_, number), (_, probabilities) = learner.predict(faces.photo_path("3.png"))
    assert 0 < years < 120
    assert gender == ("male", "female")[int(number)] == ("male", "female")[int(probabilities.argmax())]


def test_precision_is_chosen_by_what_the_device_can_do() -> None:
    assert choose_precision("auto", CPU) == ("bf16" if has_fast_bfloat16() else "fp32")
    assert choose_precision("auto", torch.device("cuda")) == "fp16"
    assert [type(one).__name__ for one in speed_callbacks("fp32", CHANNELS_LAST, CPU)] == ["MemoryLayout"]
    assert choose_precision("fp16", CPU) == "fp16"  # slow, and so only where it is named
    with pytest.raises(UsageError, match="fp16 needs a CUDA device or a CPU"):
        choose_precision("fp16", torch.device("mps"))
    with pytest.raises(UsageError, match="no device"):
        choose_device("toaster")


@pytest.mark.parametrize("name", ["mps", "xpu:0"])
def test_a_device_that_torch_cannot_use_here_is_refused(name: str) -> None:
    if torch.accelerator.is_available() and torch.accelerator.current_accelerator().type == name.partition(":")[0]:
        pytest.skip("it is here")
    with pytest.raises(UsageError, match=f"device {name} was asked for"):
        choose_device(name)


def test_the_callbacks_of_cuda_train_in_fp16_with_scaled_gradients(
    faces: FacesTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No GPU here: fastai's own callback, told to autocast and to scale on the CPU.
    scales = []

    class CpuScaler(torch.amp.GradScaler):
        def __init__(self, _: str, **options: object) -> None:
            super().__init__("cpu", **options)

        def step(self, optimizer: object, *args: object, **kwargs: object) -> object:
            scales.append(self.get_scale())
            return super().step(optimizer, *args, **kwargs)

    monkeypatch.setattr("fastai.callback.fp16.GradScaler", CpuScaler)
    monkeypatch.setattr("fastai.callback.fp16.autocast", lambda _, dtype: torch.autocast("cpu", dtype=dtype))
    monkeypatch.setattr(
        "agegender.model.training.speed_callbacks",
        lambda precision, layout, _: speed_callbacks(precision, layout, torch.device("cuda")),
    )
    before = small_network().state_dict()
    learner = small_learner(faces)
    result = fit(learner, TrainingSettings(epochs=2, batch_size=8), precision="fp16", device=CPU)
    after = learner.model.state_dict()
    assert len(scales) == 6
    assert min(scales) > 1
    assert np.isfinite(result.history["train_loss"]).all()
    assert not torch.equal(after["heads.age.8.weight"], before["heads.age.8.weight"])


class Overflow(Callback):
    """Make the gradients of one step infinite."""

    order = 5  # before they are scaled

    def before_fit(self) -> None:
        self.weights: list[torch.Tensor] = []

    def before_backward(self) -> None:
        self.weights.append(self.model.heads["age"][8].weight.detach().clone())
        if self.epoch == 0 and self.iter == 1:
            self.learn.loss_grad = self.loss_grad * float("inf")


def test_fp16_on_a_cpu_leaves_out_a_step_whose_gradients_overflow(faces: FacesTable) -> None:
    learner, look = small_learner(faces), Overflow()
    scales: list[float] = []

    class LookAtScale(Callback):
        def after_batch(self) -> None:
            if self.training:
                scales.append(self.learn.scaler.get_scale())

    result = fit(
        learner, TrainingSettings(epochs=2, batch_size=8), precision="fp16", device=CPU, callbacks=[look, LookAtScale()]
    )
    moved = [not torch.equal(old, new) for old, new in pairwise(look.weights)]
    assert moved == [True, False, True, True, True]
    assert scales == [FIRST_CPU_SCALE] + [FIRST_CPU_SCALE / 2] * 5
    assert np.isfinite(result.history["train_loss"]).all()
    assert result.history["train_loss"].iloc[-1] < result.history["train_loss"].iloc[0]


def test_fp16_on_a_cpu_computes_the_body_in_fp16_and_learns_as_fp32_does(faces: FacesTable) -> None:
    seen, losses = [], {}
    for precision in ("fp16", "fp32"):
        learner = small_learner(faces)
        learner.model.body.register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
        history = fit(learner, TrainingSettings(epochs=2, batch_size=8), precision=precision, device=CPU).history
        losses[precision] = history["train_loss"].to_numpy()
    assert set(seen) == {torch.float16, torch.float32}
    assert losses["fp16"] == pytest.approx(losses["fp32"], rel=0.02)


def test_tensorboard_gets_losses_metrics_gaps_photos_and_settings(
    faces: FacesTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr("agegender.model.tensorboard.SMALLEST_GROUP", 4)
    valid = faces.table[faces.table["split"] == "valid"].assign(gender=["male"] * 4 + ["female"] * 4)
    board = TensorBoardRun(tmp_path, hyper_parameters={"epochs": 1, "heads": HEADS}, valid_faces=valid)
    learner = small_learner(faces, (*HEADS, HEIGHT))
    fit(learner, TrainingSettings(epochs=1), precision="fp32", device=CPU, callbacks=[board])
    sides = {side: EventAccumulator(str(tmp_path / side)).Reload() for side in ("train", "valid")}
    losses = {"loss/total", "loss/age", "loss/gender", "loss/height"}
    assert losses | {"learning_rate"} <= set(sides["train"].Tags()["scalars"])
    assert sides["train"].Tags()["images"] == ["inputs"]
    metrics = {"metrics/age_mae", "metrics/gender_accuracy", "metrics/height_mae"}
    gaps = {
        f"gap_to_the_rest/{head}/gender/{group}" for head in ("age", "gender", "height") for group in GENDER.classes
    }
    assert losses | metrics | gaps <= set(sides["valid"].Tags()["scalars"])
    assert "_hparams_/session_start_info" in sides["valid"].summary_metadata


def test_a_file_where_tensorboard_would_write_is_said(faces: FacesTable, tmp_path: Path) -> None:
    (tmp_path / "first").write_text("no folder")
    board = TensorBoardRun(tmp_path / "first", hyper_parameters={}, valid_faces=faces.table)
    with pytest.raises(OutputError, match=r"cannot write .*first: "):
        fit(small_learner(faces), TrainingSettings(epochs=1), precision="fp32", device=CPU, callbacks=[board])


def test_a_gap_is_the_mean_of_a_group_minus_that_of_all_others() -> None:
    rows = pd.DataFrame({"gender": ["male"] * 10 + ["female"] * 10, "ethnicity": ["Asian"] * 19 + [None]})
    errors = np.r_[np.full(10, 2.0), np.full(10, 5.0)]
    assert group_gaps(errors, rows) == {"gender/female": 3.0, "gender/male": -3.0}
    errors[0] = np.nan  # nine are left, too few
    assert group_gaps(errors, rows) == {}
    assert group_gaps(errors[:5], rows) == {}
