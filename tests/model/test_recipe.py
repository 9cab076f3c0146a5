"""Recipes of a fit: what is trained when and how fast, what a step is made of, and where a run ends."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from coded_faces import CPU, coded_faces, small_learner
from fastai.callback.core import Callback
from torch import nn

from agegender.data.faces_table import FacesTable
from agegender.errors import DivergedError, OutOfMemoryError, UsageError
from agegender.model.epochs import EpochRecorder, TrainingBar
from agegender.model.network import body_and_heads, set_dropout
from agegender.model.optimisers import check_optimiser, inner_optimiser, optimiser_function
from agegender.model.precision import set_seed
from agegender.model.training import Fit, fit
from agegender.model.training_speed import CHANNELS_LAST, CONTIGUOUS, MemoryLayout
from agegender.training_settings import TrainingSettings


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> FacesTable:
    """24 training photos, three batches of 8, and 8 for validation."""
    return coded_faces(tmp_path_factory.mktemp("coded"))


class Watch(Callback):
    """What each step was made with."""

    order = 65

    def __init__(self) -> None:
        super().__init__()
        self.rates: list[list[float]] = []
        self.momenta: list[float] = []
        self.trained: list[tuple[bool, ...]] = []
        self.steps = 0

    def before_batch(self) -> None:
        if self.training:
            self.rates.append([group["lr"] for group in self.opt.hypers])
            self.momenta.append(self.opt.hypers[0]["mom"])
            groups = body_and_heads(self.learn.model)
            self.trained.append(tuple(any(one.requires_grad for one in group if one.ndim > 1) for group in groups))

    def after_step(self) -> None:
        self.steps += 1


def fitted(faces: FacesTable, *callbacks: Callback, **keywords: Any) -> tuple[Fit, Watch, Any]:
    settings = TrainingSettings.of_keywords({"batch_size": 8, **keywords}, {})
    learner, watch = small_learner(faces), Watch()
    result = fit(learner, settings, precision="fp32", device=CPU, callbacks=[watch, *callbacks])
    return result, watch, learner


def test_each_label_of_the_validation_photos_counts_alike_wherever_it_stands(faces: FacesTable) -> None:
    table = faces.table.copy()
    table.loc[table.index[table["split"] == "valid"][:4], "age_years"] = None  # of 8: a batch and a third of one
    learner = small_learner(replace(faces, table=table))
    learner.dls.valid.bs = 3
    settings = TrainingSettings.of_keywords({"batch_size": 8, "epochs": 1}, {})
    last = fit(learner, settings, precision="fp32", device=CPU).history.iloc[-1]
    with torch.no_grad():
        parts = [(learner.model(batch[0]), batch[1:]) for batch in learner.dls.valid]
        predictions, labels = ([torch.cat(one) for one in zip(*side, strict=True)] for side in zip(*parts, strict=True))
        total = learner.combined_loss(predictions, *labels)
    assert last["valid_loss"] == pytest.approx(total.item(), rel=1e-5)
    assert last["valid_loss_age"] == pytest.approx(learner.combined_loss.parts["age"].item(), rel=1e-5)


def test_the_usual_recipe_is_fastais_one_cycle(faces: FacesTable) -> None:
    result, watch, _ = fitted(faces, epochs=2)
    learner, stock, recorder = small_learner(faces), Watch(), EpochRecorder()
    set_seed(TrainingSettings().seed)
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(2, lr_max=2e-3, wd=1e-2, cbs=[stock, recorder, MemoryLayout(CHANNELS_LAST)])
    assert (watch.rates, watch.momenta) == (stock.rates, stock.momenta)
    assert result.history["train_loss"].tolist() == [row["train_loss"] for row in recorder.rows]


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"schedule": "constant"}, [1.0] * 12),
        ({"schedule": "step", "step_size": 2, "step_gamma": 0.5}, [1.0] * 6 + [0.5] * 6),
        ({"schedule": "cosine", "div_final": 1e9}, [0.5 + 0.5 * np.cos(np.pi * step / 12) for step in range(12)]),
        (
            {"schedule": "constant", "warmup": 0.25, "div": 10.0},
            [0.1 + 0.9 * 0.5 * (1 - np.cos(np.pi * step / 3)) for step in range(3)] + [1.0] * 9,
        ),
        ({"stages": "heads:2,all:2", "schedule": "step", "step_size": 1}, ([1.0] * 3 + [0.1] * 3) * 2),
    ],
)
def test_the_rate_goes_as_the_schedule_says(faces: FacesTable, settings: dict[str, Any], wanted: list[float]) -> None:
    given = settings if "stages" in settings else settings | {"epochs": 4}
    _, watch, _ = fitted(faces, learning_rate=1e-3, **given)
    assert [rates[-1] / 1e-3 for rates in watch.rates] == pytest.approx(wanted, abs=1e-6)


class Tell(Callback):
    """Say how good each epoch was."""

    order = 25  # after the row was closed, before the best epoch is kept

    def __init__(self, *losses: float) -> None:
        super().__init__()
        self.losses = losses

    def after_epoch(self) -> None:
        self.learn.epoch_recorder.rows[-1]["valid_loss"] = self.losses[self.epoch]


def test_a_plateau_lowers_the_rate(faces: FacesTable) -> None:
    settings = {"schedule": "plateau", "plateau_patience": 2, "step_gamma": 0.5, "learning_rate": 1e-3, "epochs": 5}
    _, watch, _ = fitted(faces, Tell(3.0, 2.0, 2.5, 2.5, 1.0), **settings)
    assert [rates[0] * 1e3 for rates in watch.rates[::3]] == pytest.approx([1, 1, 1, 1, 0.5])


def test_stages_train_their_layers_at_their_own_rates(faces: FacesTable) -> None:
    result, watch, _ = fitted(faces, stages="heads:1,last-block:1,all:1", layer_rates=100.0)
    assert watch.trained[::3] == [(False, False, True), (False, True, True), (True, True, True)]
    assert len(result.history) == 3
    for early, last, heads in watch.rates:
        assert (heads / early, heads / last) == pytest.approx((100, 10))


class GatheredByHand(Callback):
    """In a network that stays as it is between steps: the gradient of each step, and the mean of its batches' own."""

    order = 30  # after gradients were gathered

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[Any] = []
        self.pairs: list[tuple[int, torch.Tensor, torch.Tensor]] = []

    def before_batch(self) -> None:
        self.learn.model.eval()  # norms and dropout would tell batches apart
        if self.training:
            self.batches.append((self.xb, self.yb))

    def before_step(self) -> None:
        copied, count = deepcopy(self.learn.model), len(self.batches)
        copied.zero_grad()
        for xb, yb in self.batches:
            (self.learn.combined_loss(copied(*xb), *yb) / count).backward()
        gradients = [model.body.model.conv_stem.weight.grad.clone() for model in (self.learn.model, copied)]
        self.pairs.append((count, *gradients))
        self.batches = []


@pytest.mark.parametrize(("accumulate", "counts"), [(3, [3, 3]), (2, [2, 1, 2, 1])])
def test_batches_are_gathered_and_what_an_epoch_leaves_is_a_step_of_its_own(
    faces: FacesTable, accumulate: int, counts: list[int]
) -> None:
    fitted(faces, by_hand := GatheredByHand(), epochs=2, accumulate=accumulate)
    assert [count for count, _, _ in by_hand.pairs] == counts
    for _, gathered, mean in by_hand.pairs:
        assert torch.allclose(gathered, mean, rtol=1e-3, atol=1e-6)


def test_gradients_are_no_longer_than_the_clip(faces: FacesTable) -> None:
    class Norm(Callback):
        """Measure the gradients that a step is made with."""

        order = 30

        def before_fit(self) -> None:
            self.norms: list[float] = []

        def before_step(self) -> None:
            grads = [one.grad.flatten() for one in self.learn.model.parameters() if one.grad is not None]
            self.norms.append(float(torch.cat(grads).norm()))

    fitted(faces, watch := Norm(), epochs=1, clip=0.01)
    assert watch.norms == pytest.approx([0.01] * 3, rel=1e-3)


def test_an_l1_term_makes_weights_small_and_stays_out_of_the_loss_that_is_shown(faces: FacesTable) -> None:
    settings = {"epochs": 3, "weight_decay": 0.0, "learning_rate": 1e-2}
    plain, _, free = fitted(faces, **settings)
    result, _, held = fitted(faces, l1=1.0, **settings)
    size = [
        sum(float(one.detach().abs().sum()) for one in which.model.parameters() if one.ndim > 1)
        for which in (free, held)
    ]
    assert size[1] < 0.95 * size[0]
    assert result.history["train_loss"][0] < 2 * plain.history["train_loss"][0]


def test_what_is_validated_and_left_is_the_average_of_the_weights(faces: FacesTable) -> None:
    class Follow(Callback):
        """Average by hand; look at what is validated."""

        order = 42
        count = 0

        def before_fit(self) -> None:
            self.mean = {name: value.clone() for name, value in self.learn.model.state_dict().items()}

        def after_step(self) -> None:
            self.count += 1
            decay = min(0.8, (1 + self.count) / (10 + self.count))
            for name, value in self.learn.model.state_dict().items():
                self.mean[name] = decay * self.mean[name] + (1 - decay) * value

        def before_validate(self) -> None:
            self.validated = {name: value.clone() for name, value in self.learn.model.state_dict().items()}

    result, _, learner = fitted(faces, by_hand := Follow(), epochs=1, ema=0.8)
    assert result.best_epoch == 1
    for name, value in learner.model.state_dict().items():
        if value.is_floating_point():  # running means of norms too
            assert torch.allclose(value, by_hand.mean[name], atol=1e-5), name
            assert torch.equal(value, by_hand.validated[name])


@pytest.mark.parametrize(("keep", "kept"), [("loss", 2), ("last", 4)])
def test_a_run_stops_early_and_says_where(
    faces: FacesTable, capsys: pytest.CaptureFixture[str], keep: str, kept: int
) -> None:
    told = Tell(3.0, 2.0, 2.5, np.nan, 1.0)
    result, _, _ = fitted(faces, TrainingBar(), told, epochs=9, early_stopping=2, keep_epoch=keep)
    assert (len(result.history), result.best_epoch) == (4, kept)
    assert "stopped early after epoch 4 of 9: epoch 2 is the best so far" in capsys.readouterr().err


def test_the_kept_epoch_is_the_one_of_the_lowest_loss_or_the_last(faces: FacesTable) -> None:
    class Follow(Callback):
        """Remember the weights after each epoch."""

        order = 55

        def before_fit(self) -> None:
            self.after: list[dict[str, Any]] = []

        def after_epoch(self) -> None:
            self.after.append({name: value.clone() for name, value in self.learn.model.state_dict().items()})

    for keep, epoch in (("loss", 2), ("last", 3)):
        result, _, learner = fitted(faces, follow := Follow(), Tell(3.0, 2.0, 2.5), epochs=3, keep_epoch=keep)
        assert result.best_epoch == epoch
        kept = learner.model.state_dict()
        assert all(torch.equal(kept[name], value) for name, value in follow.after[epoch - 1].items())
    with pytest.raises(UsageError, match="keep-epoch"):
        TrainingSettings.of_keywords({"keep_epoch": "first"}, {})


def test_an_early_stage_does_not_end_the_run(faces: FacesTable) -> None:
    told = Tell(1.0, 2.0, 3.0, 3.0, 2.5, 2.5, 2.5)
    result, _, _ = fitted(faces, told, stages="all:3,heads:4", early_stopping=1)
    assert (len(result.history), result.best_epoch) == (6, 1)


def test_the_heads_drop_what_is_asked_for(faces: FacesTable) -> None:
    network = small_learner(faces).model
    usual = [layer.p for head in network.heads.values() for layer in head if isinstance(layer, torch.nn.Dropout)]
    set_dropout(network, None)
    assert usual == [0.05, 0.1, 0.25, 0.5]
    set_dropout(network, 0.3)
    dropped = [one.p for head in network.heads.values() for one in head if isinstance(one, torch.nn.Dropout)]
    assert dropped == [0.15, 0.3, 0.15, 0.3]


@pytest.mark.parametrize("name", ["sgd", "adamp", "lamb", "adan", "lion", "lookahead_radam"])
def test_timms_optimisers_train(faces: FacesTable, name: str) -> None:
    check_optimiser(name)
    result, watch, _ = fitted(faces, epochs=1, optimiser=name)
    assert watch.steps == 3
    assert np.isfinite(result.history["valid_loss"]).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [("adamm", "Did you mean adam"), ("adahessian", "cannot train here"), ("fusedlamb", "cannot train here")],
)
def test_an_optimiser_that_cannot_train_is_refused_in_words(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_optimiser(name)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stages": "heads:3,all:2", "epochs": 4}, "leave --epochs and --trainable out"),
        ({"stages": "heads:3", "trainable": "heads"}, "leave --epochs and --trainable out"),
        ({"stages": "head:3"}, "'head:3' is no PART:EPOCHS"),
        ({"stages": "heads:0"}, "'heads:0' is no PART:EPOCHS"),
        ({"step_size": 2}, "says something of the schedule step, and this is one-cycle"),
        ({"schedule": "constant", "div_final": 10.0}, "give --schedule one-cycle"),
        ({"trainable": "heads", "layer_rates": 10.0}, "only the heads are trained"),
        ({"schedule": "stepp"}, "Did you mean step"),
        ({"ema": 1.0}, "too large"),
        ({"clip": 0.0}, "above 0"),
        ({"early_stopping": 0}, "at least 1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TrainingSettings.of_keywords(settings, {})


@pytest.mark.parametrize("name", ["adamw", "adamp", "lookahead_radam"])
def test_moments_are_turned_with_the_weights_whatever_else_an_optimiser_remembers(name: str) -> None:
    network = nn.Conv2d(3, 4, 3)
    made = optimiser_function(name)([list(network.parameters())])
    layout = MemoryLayout(CONTIGUOUS)
    layout.learn = SimpleNamespace(model=network, opt=made)
    network(torch.rand(2, 3, 8, 8)).sum().backward()
    made.step()
    layout.turn(CHANNELS_LAST)
    moments = [one for one in inner_optimiser(made).state[network.weight].values() if torch.is_tensor(one) and one.ndim]
    assert moments
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in [network.weight, *moments])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": "three"}, "--epochs 'three': expected a whole number"),
        ({"epochs": 2.5}, "--epochs 2.5: expected a whole number"),
        ({"epochs": True}, "--epochs True: expected a whole number"),
        ({"epochs": np.int64(0)}, "--epochs 0 is too small"),
        ({"clip": "much"}, "--clip 'much': expected a number"),
        ({"weigh": [1]}, r"--weigh \[1\]: expected names"),
        ({"stages": 3}, "--stages 3: expected text"),
        ({"model_dir": "x"}, "Did you mean models_dir"),
    ],
)
def test_keywords_of_the_wrong_kind_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TrainingSettings.of_keywords(settings, {}, others=["models_dir"])


def test_keywords_become_what_json_holds() -> None:
    given = {"epochs": np.int64(3), "learning_rate": np.float32(0.5), "weigh": np.array(["gender"]), "clip": None}
    settings = TrainingSettings.of_keywords(given, {})
    assert (settings.epochs, settings.learning_rate, settings.weigh, settings.clip) == (3, 0.5, ("gender",), None)
    assert [type(one) for one in (settings.epochs, settings.learning_rate, settings.weigh[0])] == [int, float, str]


def test_a_loss_that_is_no_number_names_epoch_step_and_photos(faces: FacesTable) -> None:
    class Spoil(Callback):
        """Make a photo's label infinite in the second epoch."""

        order = -1

        def before_batch(self) -> None:
            if self.training and (self.epoch, self.iter) == (1, 2):
                self.yb[0][5] = np.inf
                items = list(self.dls.train.get_idxs())
                self.named = str(self.dls.train.dataset.items[items[2 * 8 + 5]].photo)

    with pytest.raises(DivergedError, match=r"in epoch 2, step 3, with the photos .* and 5 more") as caught:
        fitted(faces, spoil := Spoil(), epochs=3)
    assert f"photos {spoil.named}," in str(caught.value)


def test_a_training_whose_validation_never_gives_a_number_has_diverged(faces: FacesTable) -> None:
    with pytest.raises(DivergedError, match=r"the validation loss was a number in none of 2 epochs\. Lower --learning"):
        fitted(faces, Tell(np.nan, np.inf), epochs=2)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError(),
    ],
)
def test_a_step_that_does_not_fit_says_which_batch_does(
    faces: FacesTable, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    learner = small_learner(faces)
    forward = learner.model.forward

    def limited(photos: torch.Tensor) -> Any:
        if len(photos) > 3:
            raise error
        return forward(photos)

    monkeypatch.setattr(learner.model, "forward", limited)
    settings = TrainingSettings(epochs=1, batch_size=8)
    remedy = "8 photos of 32 px does not fit into memory; one of 2 does. Give --batch-size 2, and --accumulate 4"
    with pytest.raises(OutOfMemoryError, match=remedy):
        fit(learner, settings, precision="fp32", device=CPU)


def test_a_network_that_does_not_fit_onto_a_full_device_is_said(
    faces: FacesTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = small_learner(faces)

    def full(_: torch.device) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB")

    monkeypatch.setattr(learner.model, "to", full)
    with pytest.raises(OutOfMemoryError, match=r"or end what else takes memory\. Nothing was stored"):
        fit(learner, TrainingSettings(epochs=1, batch_size=8), precision="fp32", device=CPU)


def test_other_errors_of_a_step_stay_what_they_are(faces: FacesTable, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = small_learner(faces)

    def broken(photos: torch.Tensor) -> Any:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(learner.model, "forward", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        fit(learner, TrainingSettings(epochs=1, batch_size=8), precision="fp32", device=CPU)
