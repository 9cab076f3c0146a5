"""Training, from a faces table to a trained model in memory: heads, network, batches, fit, calibration, predictions.

Read from top to bottom: `train_network` is the whole run, `fit` the fastai part of it, and what follows are the
callbacks that record an epoch, keep the best weights and tell the person in front of the screen.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from fastai.callback.core import Callback, CancelFitException
from fastai.callback.progress import ProgressCallback  # noqa: F401 (gives Learner its no_bar)
from torch import Tensor

from agegender.audit.metrics_document import evaluation_metrics
from agegender.audit.predictions_table import write_predictions
from agegender.data.balancing import balancing_weights
from agegender.data.datablock import make_dataloaders
from agegender.data.faces_table import FacesTable, write_faces
from agegender.errors import DataError, ModelError, UsageError, did_you_mean
from agegender.heads import KNOWN_HEADS, Classification, Head, Regression, choose_heads, with_settings
from agegender.heads.classification import as_names
from agegender.model.checkpoint import continue_from, save_weights
from agegender.model.learner import FaceLearner, check_storable, export_learner, make_learner
from agegender.model.losses import CombinedLoss
from agegender.model.model_folder import (
    CARD_FILE,
    FACES_FILE,
    HISTORY_FILE,
    LEARNER_FILE,
    METRICS_FILE,
    PREDICTIONS_FILE,
    WEIGHTS_FILE,
    network_entries,
    training_entries,
)
from agegender.model.network import FaceNetwork, Statistics, decode, make_network, statistics_of
from agegender.model.precision import choose_device, choose_precision, precision_callbacks, set_seed
from agegender.model.predictor import Predictor
from agegender.model.tensorboard import TensorBoardRun
from agegender.progress import say
from agegender.settings import SPLITS, Plan, TrainingSettings
from agegender.writing import replaced_folder, write_json

LEAST_TRAINING_PHOTOS = 2


@dataclass(frozen=True)
class Trained:
    """What a training run leaves, all in memory; its card, metrics included, is the predictor's.

    Attributes
    ----------
    predictor : Predictor
        Trained and calibrated.
    learner : FaceLearner
    history : DataFrame
        One row per epoch, see `EpochRecorder`.
    predictions : DataFrame
        Of every kept photo.
    """

    predictor: Predictor
    learner: FaceLearner
    history: pd.DataFrame
    predictions: pd.DataFrame


def train_network(faces: FacesTable, plan: Plan, *, run_folder: Path | None = None) -> Trained:
    """Train, calibrate on the validation photos, and predict every kept photo; nothing is written but TensorBoard's.

    Parameters
    ----------
    run_folder : Path, optional
        Where TensorBoard finds the run.

    Raises
    ------
    DataError
        Too few labelled photos to train on, or no head has labels.
    WeightsError, UsageError, ModelError
    """
    started = time.perf_counter()
    heads = heads_to_train(faces, plan)
    statistics = statistics_of(heads, _rows_of(faces, "train"))
    plan = replace(plan, image=replace(plan.image, **_crop_of(faces)))  # the card carries it to `predict`
    device = choose_device(plan.training.device)
    precision = choose_precision(plan.training.precision, device)
    network = _first_network(plan, heads, statistics)
    say(f"training {plan.body} ({plan.size}) at {plan.image.size} px in {precision} on {device.type}")
    learner = _learner_on(_with_known_classes(faces, heads), plan, heads, network, device)
    settings = _hyper_parameters(plan, heads) | {"precision": precision}
    valid_faces = _rows_of(faces, "valid")
    boards = [TensorBoardRun(run_folder, hyper_parameters=settings, valid_faces=valid_faces)] if run_folder else []
    result = fit(learner, plan.training, precision=precision, device=device, callbacks=boards)
    card = training_entries(faces, plan) | network_entries(heads, plan.image, statistics, plan.body)
    card |= {"precision": precision, "device": device.type, "best_epoch": result.best_epoch}
    predictor = Predictor(network, card, device=device)
    predictions = predictor.predict_faces(faces, calibrates=True)
    metrics = evaluation_metrics(predictions, heads)
    card["metrics"] = {
        side: {key: value for key, value in figures.items() if key != "groups"} for side, figures in metrics.items()
    }
    card["seconds"] = round(time.perf_counter() - started, 1)
    return Trained(predictor, learner, result.history, predictions)


def store_model(
    folder: Path,
    predictor: Predictor,
    *,
    faces: FacesTable | None = None,
    predictions: pd.DataFrame | None = None,
    history: pd.DataFrame | None = None,
    learner: FaceLearner | None = None,
) -> Path:
    """Write a model folder of what is known, whole or not at all; an older one of that name is replaced.

    Raises
    ------
    OutputError
        The place cannot be written to.
    ModelError
        The network is somebody's own and cannot be rebuilt from a card.
    """
    network = check_storable(predictor.network)
    with replaced_folder(folder) as new:
        save_weights(network, new / WEIGHTS_FILE)
        write_json(new / CARD_FILE, predictor.card)
        if faces is not None:
            write_faces(faces, new / FACES_FILE)
        if predictions is not None:
            write_predictions(predictions, new / PREDICTIONS_FILE, predictor.heads)
            write_json(new / METRICS_FILE, evaluation_metrics(predictions, predictor.heads))
        if history is not None:
            history.to_csv(new / HISTORY_FILE, index=False)
        if learner is not None:
            export_learner(learner, new / LEARNER_FILE)
    return folder


def heads_to_train(faces: FacesTable, plan: Plan) -> tuple[Head, ...]:
    """Return the heads of a plan that the training photos have labels for; the others are left out with a sentence.

    Raises
    ------
    DataError
        The training or validation part has no photo, or no head has labels.
    UsageError
        A name is no column, or a loss or weight is out of place.
    """
    kept = faces.kept()
    counts = {side: int((kept["split"] == side).sum()) for side in SPLITS}
    if counts["train"] < LEAST_TRAINING_PHOTOS or counts["valid"] < 1:
        raise DataError(
            f"{counts['train']} training and {counts['valid']} validation photos are too few to train on. "
            f"Give more photos, or a larger --limit."
        )
    chosen, notes = choose_heads(plan.heads, _rows_of(faces, "train"), allows_sensitive=plan.allows_sensitive)
    known = {head.name for head in (*chosen, *KNOWN_HEADS)}
    strangers = sorted({*plan.losses, *plan.head_weights} - known)
    if strangers:
        hint = did_you_mean(strangers[0], known)
        raise UsageError(
            f"there is no head {strangers[0]!r} to set a loss or a weight of.{hint} There are "
            f"{', '.join(sorted(known))}."
        )
    heads = [
        with_settings(head, loss=plan.losses.get(head.name), weight=plan.head_weights.get(head.name)) for head in chosen
    ]
    # A head of no weight would be stored with the layers it began with, and speak all the same.
    unused = [
        f"no head for {head.title}: its weight is 0, so it would not be trained." for head in heads if not head.weight
    ]
    for note in (*notes, *unused):
        say(note)
    if len(unused) == len(heads):
        raise UsageError("all heads have the weight 0, so there is nothing to train. Give one a weight above 0.")
    return tuple(head for head in heads if head.weight)


def _first_network(plan: Plan, heads: Sequence[Head], statistics: dict[str, Statistics]) -> FaceNetwork:
    model_folder = Path(plan.weights)
    goes_on = (model_folder / WEIGHTS_FILE).is_file()
    set_seed(plan.training.seed)  # for the layers that start at random
    weights = "none" if goes_on else plan.weights
    network = make_network(plan.body, heads, statistics, weights=weights, image_size=plan.image.size)
    if goes_on:
        continue_from(network, model_folder)
    return network


def _learner_on(
    faces: FacesTable, plan: Plan, heads: Sequence[Head], network: FaceNetwork, device: torch.device
) -> FaceLearner:
    settings = plan.training
    sizes = {"batch_size": settings.batch_size, "seed": settings.seed}
    dataloaders = make_dataloaders(faces, heads, plan.image, plan.augmentation, device=device, **sizes)
    if plan.balance:
        dataloaders.train.weights = balancing_weights(_rows_of(faces, "train"), plan.balance)
    units = {name: values.std for name, values in network.statistics.items()}
    return make_learner(dataloaders, network, CombinedLoss(heads, units))


def _with_known_classes(faces: FacesTable, heads: Sequence[Head]) -> FacesTable:
    """Return the faces, labels of classes that no training photo shows made unknown: nothing is learnt about these."""
    table = faces.table
    for head in heads:
        if not isinstance(head, Classification):
            continue
        labels = as_names(table[head.column])
        strangers = labels.notna() & ~labels.isin(head.classes)
        if (strangers & table["dropped_because"].isna()).any():
            names = ", ".join(sorted(labels[strangers].astype(str).unique()))
            say(f"no training photo is labelled {names} in {head.column}, so the model will never say that.")
        table = table.assign(**{head.column: table[head.column].where(~strangers, None)})
    return replace(faces, table=table)


def _rows_of(faces: FacesTable, split: str) -> pd.DataFrame:
    kept = faces.kept()
    return kept[kept["split"] == split]


def _crop_of(faces: FacesTable) -> dict[str, Any]:
    return {name: faces.notes[name] for name in ("crop", "crop_margin") if name in faces.notes}


def _hyper_parameters(plan: Plan, heads: Sequence[Head]) -> dict[str, Any]:
    of_heads = {f"{head.name}_{key}": getattr(head, key) for head in heads for key in ("loss", "weight")}
    network = {"body": plan.body, "weights": plan.weights, "image_size": plan.image.size}
    return network | of_heads | asdict(plan.training) | {"balance": " ".join(plan.balance)}


@dataclass(frozen=True)
class Fit:
    """What a fit leaves: one row per epoch, and which epoch was best; the learner has its weights."""

    history: pd.DataFrame
    best_epoch: int


def fit(
    learner: FaceLearner,
    settings: TrainingSettings,
    *,
    precision: str,
    device: torch.device,
    callbacks: Sequence[Callback] = (),
) -> Fit:
    """Train with one-cycle, the best epoch's weights in place at the end.

    Parameters
    ----------
    precision : str
        What `choose_precision` chose.
    callbacks : sequence of Callback
        TensorBoard and the like, for this fit alone.

    Raises
    ------
    ModelError
        The loss stopped being a number.
    """
    set_seed(settings.seed, is_reproducible=device.type == "cuda")
    learner.model.to(device)
    learner.freeze_to({"all": 0, "last-block": 1, "heads": 2}[settings.trainable])
    recorder, best = EpochRecorder(), KeepBest()
    # Callbacks of the fit alone: predicting and showing are no epochs.
    during = [*precision_callbacks(precision, device), recorder, best, TrainingBar(), *callbacks]
    try:
        # Our own bar replaces fastai's, which belongs to notebooks; its recorder stays, for `recorder.plot_loss`.
        with learner.no_bar(), learner.no_logging():
            learner.fit_one_cycle(settings.epochs, lr_max=settings.learning_rate, wd=settings.weight_decay, cbs=during)
    finally:
        # fastai tells callbacks nothing of Ctrl-C.
        for callback in during:
            getattr(callback, "close", lambda: None)()
    _check_finite(recorder.rows, settings)
    return Fit(pd.DataFrame(recorder.rows), best.best_epoch)


def _check_finite(rows: list[dict[str, Any]], settings: TrainingSettings) -> None:
    if len(rows) == settings.epochs and all(np.isfinite(row["train_loss"]) for row in rows):
        return
    raise ModelError(
        f"the loss stopped being a number in epoch {len(rows) or 1} of {settings.epochs}; nothing was stored. "
        f"Lower --learning-rate (it was {settings.learning_rate:g}), or use --precision fp32."
    )


class EpochRecorder(Callback):
    """Gather losses and validation errors of each epoch into `rows`.

    Attributes
    ----------
    rows : list of dict
        Per epoch: `epoch` (from 1), `train_loss`, `valid_loss`, `train_loss_<head>`, `valid_loss_<head>`,
        `valid_<head>_mae` in the head's unit or `valid_<head>_accuracy`, `learning_rate`, `seconds`.
    valid_measures : dict of str to ndarray
        Of the last epoch, by head: the absolute error of each validation photo, or 1.0 where its class is right and 0.0
        where it is wrong; NaN where there is no label.
    """

    order = 20  # after the precision callbacks have made the outputs fp32

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []
        self.valid_measures: dict[str, np.ndarray] = {}

    def before_epoch(self) -> None:
        """Start an epoch's clock and sums."""
        self._started = time.perf_counter()
        self._sums: dict[str, float] = defaultdict(float)
        self._counts = {"train": 0, "valid": 0}
        self._measures: dict[str, list[Tensor]] = {head.name: [] for head in self.learn.heads}

    def after_batch(self) -> None:
        """Add one batch."""
        side, count = ("train" if self.training else "valid"), len(self.yb[0])
        self._counts[side] += count
        self._sums[f"{side}_loss"] += float(self.loss.detach()) * count
        for name, part in self.learn.combined_loss.parts.items():
            self._sums[f"{side}_loss_{name}"] += float(part) * count
        if self.training and not torch.isfinite(self.loss.detach()):
            raise CancelFitException
        if not self.training:
            for head, raw, target in zip(self.learn.heads, self.pred, self.yb, strict=True):
                self._measures[head.name].append(_measure(head, raw, torch.as_tensor(target).reshape(-1)))

    def after_epoch(self) -> None:
        """Close the epoch's row."""
        row: dict[str, Any] = {"epoch": self.epoch + 1}
        row |= {name: total / max(1, self._counts[name.split("_")[0]]) for name, total in self._sums.items()}
        if self._counts["valid"]:
            self.valid_measures = {name: torch.cat(parts).numpy() for name, parts in self._measures.items()}
            for head in self.learn.heads:
                measured = self.valid_measures[head.name]
                known = measured[~np.isnan(measured)]
                row[_measure_column(head)] = float(known.mean()) if len(known) else nan
        row |= {"learning_rate": self.opt.hypers[-1]["lr"], "seconds": time.perf_counter() - self._started}
        self.rows.append(row)


def _measure(head: Head, raw: Tensor, target: Tensor) -> Tensor:
    output = decode(head, raw.detach())
    if isinstance(head, Regression):
        return (output - target).abs().cpu()
    is_right = (output.argmax(dim=1) == target).double()
    return torch.where(target >= 0, is_right, nan).cpu()


def _measure_column(head: Head) -> str:
    return f"valid_{head.name}_{'mae' if isinstance(head, Regression) else 'accuracy'}"


class KeepBest(Callback):
    """Keep the weights of the epoch with the lowest validation loss, and put them back when the fit ends."""

    order = 30  # after EpochRecorder closed its row
    best_epoch = 0
    best_loss = float("inf")
    _state: dict[str, Tensor] | None = None

    def after_epoch(self) -> None:
        """Copy the weights when they are the best so far."""
        row = self.learn.epoch_recorder.rows[-1]
        loss = row.get("valid_loss", row.get("train_loss", float("inf")))
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, row["epoch"]
            self._state = {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}

    def after_fit(self) -> None:
        """Put the best weights back."""
        if self._state is not None:
            self.model.load_state_dict(self._state)
            self._state = None


class TrainingBar(Callback):
    """A bar on stderr over all batches of the fit, its losses beside it, and a line after each epoch."""

    order = 60
    _bar: Any = None

    def before_fit(self) -> None:
        """Open the bar."""
        from tqdm import tqdm

        batches = self.n_epoch * (len(self.dls.train) + len(self.dls.valid))
        watched = sys.stderr.isatty()
        self._bar = tqdm(
            total=batches, desc="training", unit=" batches", file=sys.stderr, mininterval=0.2 if watched else 15.0
        )

    def after_batch(self) -> None:
        """Move on by one batch."""
        if self.training:
            parts = {name: f"{float(part):.3f}" for name, part in self.learn.combined_loss.parts.items()}
            self._bar.set_postfix({"loss": f"{float(self.loss.detach()):.3f}", **parts}, refresh=False)
        self._bar.update()

    def after_epoch(self) -> None:
        """Print the epoch's line."""
        row = self.learn.epoch_recorder.rows[-1]
        self._bar.write(epoch_line(row, self.n_epoch, self.learn.heads), file=sys.stderr)

    def after_fit(self) -> None:
        """Close the bar."""
        self.close()

    def close(self) -> None:
        """Close the bar, also after Ctrl-C, so that what is said next stands on its own line."""
        if self._bar is not None:
            self._bar.close()


def epoch_line(row: dict[str, Any], epoch_count: int, heads: Sequence[Head]) -> str:
    """Return one epoch in one line.

    >>> row = {"epoch": 1, "train_loss": 1.25, "valid_loss": 1.0, "valid_loss_age": 0.5, "valid_age_mae": 9.87,
    ...        "valid_gender_accuracy": 0.912, "seconds": 12.4, "learning_rate": 1e-3}
    >>> epoch_line(row, 3, KNOWN_HEADS)
    'epoch 1/3  train loss 1.250, valid 1.000 (age 0.500)  age MAE 9.87 years  gender accuracy 0.912  12 s'
    """
    head_losses = [head for head in heads if f"valid_loss_{head.name}" in row]
    parts = ", ".join(f"{head.name} {row[f'valid_loss_{head.name}']:.3f}" for head in head_losses)
    losses = f"train loss {row.get('train_loss', nan):.3f}, valid {row.get('valid_loss', nan):.3f} ({parts})"
    said = [f"epoch {row['epoch']}/{epoch_count}", losses]
    for head in heads:
        value = row.get(_measure_column(head), nan)
        if isinstance(head, Regression):
            said.append(f"{head.name} MAE {value:.2f} {head.unit}".rstrip())
        else:
            said.append(f"{head.name} accuracy {value:.3f}")
    return "  ".join([*said, f"{row['seconds']:.0f} s"])
