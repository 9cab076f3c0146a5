"""An epoch of training: what it leaves behind, which one is kept, and what a person sees of it."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
import torch
from fastai.callback.core import Callback, CancelFitException
from torch import Tensor

from agegender.heads import Head, Regression
from agegender.model.network import decode

# What a run is told to take: from the speed of as many steps as these, after as many that don't count.
FIRST_STEPS = 5
WORTH_TELLING_SECONDS = 45
WORTH_CORRECTING = 1.5  # times as long as was said, or as short
FORWARD_SHARE = 1 / 3  # of a step: what a photo costs that is only scored
PREDICTED_SHARE = 2 / 3  # the same for the predictions at the end, which are made in fp32
TESTED_SHARE = 0.2  # of the other photos: they are predicted too
EXPLAINED_PHOTOS = 12 * 500  # a report's faces, and perturbed photos of each
PAGES_SECONDS = 10  # of an idle machine


class EpochRecorder(Callback):
    """Gather losses and validation errors of each epoch into `rows`.

    Attributes
    ----------
    rows : list of dict
        Per epoch: `epoch` (from 1), `train_loss`, `valid_loss`, `train_loss_<head>`, `valid_loss_<head>`,
        `valid_<head>_mae` in the head's unit or `valid_<head>_accuracy`, `learning_rate`, `seconds`; where the heads'
        weights are learned, also `log_variance_<head>`.
    spoilt : SpoiltBatch or None
        Where the loss stopped being a number, which ends the fit.
    valid_measures : dict of str to ndarray
        Of the last epoch, by head: the absolute error of each validation photo, or 1.0 where its class is right and 0.0
        where it is wrong; NaN where there is no label.
    """

    order = 20  # after the precision callbacks have made the outputs fp32

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []
        self.valid_measures: dict[str, np.ndarray] = {}
        self.spoilt: SpoiltBatch | None = None

    def _spoilt_batch(self) -> SpoiltBatch:
        """Return where the loss stopped being a number, the photos first that it did not come out for."""
        items = batch_items(self.dls.train, self.iter)
        with torch.no_grad():
            each = self.learn.combined_loss(self.pred, *self.yb, reduction="none").isfinite().tolist()
        first = sorted(zip(each, items, strict=False), key=lambda pair: pair[0])
        return SpoiltBatch(self.epoch + 1, self.iter + 1, [str(getattr(item, "photo", item)) for _, item in first])

    def before_epoch(self) -> None:
        """Start an epoch's clock and sums."""
        self._started = time.perf_counter()
        self.sums: dict[str, float] = defaultdict(float)
        self.counts = {"train": 0, "valid": 0}
        self.labelled: dict[str, int] = defaultdict(int)
        self.measures: dict[str, list[Tensor]] = {head.name: [] for head in self.learn.heads}

    def after_batch(self) -> None:
        """Add one batch."""
        side, count, loss = ("train" if self.training else "valid"), len(self.yb[0]), self.learn.combined_loss
        self.counts[side] += count
        if self.training:
            self.sums["train_loss"] += float(self.loss.detach()) * count
            for name, part in loss.parts.items():
                self.sums[f"train_loss_{name}"] += float(part) * count
            if not torch.isfinite(self.loss.detach()):
                self.spoilt = self._spoilt_batch()
                raise CancelFitException
        else:
            # Photos in the order of the table: whole batches may lack a label that others have.
            for name, part in loss.parts.items():
                self.sums[f"valid_loss_{name}"] += float(part) * loss.labelled[name]
                self.labelled[name] += loss.labelled[name]
            for head, raw, target in zip(self.learn.heads, self.pred, self.yb, strict=True):
                self.measures[head.name].append(_measure(head, raw, torch.as_tensor(target).reshape(-1)))

    def after_epoch(self) -> None:
        """Close the epoch's row."""
        row: dict[str, Any] = {"epoch": self.epoch + 1}
        trained = {name: total for name, total in self.sums.items() if name.startswith("train")}
        row |= {name: total / max(1, self.counts["train"]) for name, total in trained.items()}
        if self.counts["valid"]:
            parts = {name: self.sums[f"valid_loss_{name}"] / max(1, count) for name, count in self.labelled.items()}
            row["valid_loss"] = self.learn.combined_loss.of_parts(parts)
            row |= {f"valid_loss_{name}": part for name, part in parts.items()}
            self.valid_measures = {name: torch.cat(parts).numpy() for name, parts in self.measures.items()}
            for head in self.learn.heads:
                measured = self.valid_measures[head.name]
                known = measured[~np.isnan(measured)]
                row[_measure_column(head)] = float(known.mean()) if len(known) else nan
        row |= {f"log_variance_{name}": value for name, value in self.learn.combined_loss.learned.items()}
        row |= {"learning_rate": self.opt.hypers[-1]["lr"], "seconds": time.perf_counter() - self._started}
        self.rows.append(row)


@dataclass(frozen=True)
class SpoiltBatch:
    """The batch whose loss was no number: its epoch and step, both from 1, and its photos."""

    epoch: int
    step: int
    photos: list[str]

    def __str__(self) -> str:
        more = f" and {len(self.photos) - 3} more" if len(self.photos) > 3 else ""
        return f"epoch {self.epoch}, step {self.step}, with the photos {', '.join(self.photos[:3])}{more}"


def batch_items(loader: Any, number: int) -> list[Any]:
    """Return the items that a loader has of a batch of its epoch: their order follows from seed and epoch."""
    whole, (first, step) = list(loader.get_idxs())[number * loader.bs :][: loader.bs], loader.part
    return [loader.dataset.items[one] for one in whole[first::step]]


def _measure(head: Head, raw: Tensor, target: Tensor) -> Tensor:
    output = decode(head, raw.detach())
    if isinstance(head, Regression):
        return (output - target).abs().cpu()
    is_right = (output.argmax(dim=1) == target).double()
    return torch.where(target >= 0, is_right, nan).cpu()


def _measure_column(head: Head) -> str:
    return f"valid_{head.name}_{'mae' if isinstance(head, Regression) else 'accuracy'}"


def validation_loss(row: Mapping[str, Any]) -> float:
    """Return what an epoch is judged by."""
    loss = row.get("valid_loss", row.get("train_loss", np.inf))
    return float(loss) if np.isfinite(loss) else np.inf


class KeepBest(Callback):
    """Keep the weights of the epoch with the lowest validation loss, and put them back when the fit ends.

    Parameters
    ----------
    keeps_last : bool
        The last epoch is taken for the best.
    """

    order = 30  # after EpochRecorder closed its row
    best_epoch = 0
    best_loss = float("inf")
    weights: dict[str, Tensor] | None = None

    def __init__(self, *, keeps_last: bool = False) -> None:
        super().__init__()
        self.keeps_last = keeps_last

    def after_epoch(self) -> None:
        """Copy the weights when they are the best so far."""
        row = self.learn.epoch_recorder.rows[-1]
        loss = validation_loss(row)
        if self.keeps_last or loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, row["epoch"]
            self.weights = {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}

    def after_fit(self) -> None:
        """Put the best weights back."""
        if self.weights is not None:
            self.model.load_state_dict(self.weights)
            self.weights = None


class TrainingBar(Callback):
    """A bar on stderr over all batches of the fit, its losses beside it, and a line after each epoch.

    It says how long the run takes once some steps are done, and again whenever an epoch shows that to be far off.

    Parameters
    ----------
    has_report : bool
        Whether explanations and pages follow.
    """

    order = 60
    _bar: Any = None

    def __init__(self, *, has_report: bool = False) -> None:
        super().__init__()
        self.promise = Promise(has_report=has_report)

    def before_fit(self) -> None:
        """Open the bar."""
        from tqdm import tqdm

        batches = [self._cost(epoch) * len(self.dls.train) + len(self.dls.valid) for epoch in range(self.n_epoch)]
        watched = sys.stderr.isatty()
        self._bar = tqdm(
            total=sum(batches),
            initial=sum(batches[: self.learn.first_epoch]),
            desc="training",
            unit=" batches",
            file=sys.stderr,
            mininterval=0.2 if watched else 15.0,
            # Batches of small photos count for less, and nobody counts in parts of a batch.
            bar_format="{l_bar}{bar}| {elapsed}<{remaining}{postfix}" if self.learn.epoch_sizes else None,
        )
        self._fit_began = self._clocks()

    def before_epoch(self) -> None:
        """Start the epoch's clocks."""
        self._began = self._clocks()

    def after_batch(self) -> None:
        """Move on by one batch."""
        if self.training:
            parts = {name: f"{float(part):.3f}" for name, part in self.learn.combined_loss.parts.items()}
            self._bar.set_postfix({"loss": f"{float(self.loss.detach()):.3f}", **parts}, refresh=False)
            if self._begins_cold() and self.iter == FIRST_STEPS:  # the steps before chose kernels and took memory
                self._began = self._clocks()
            elif self._begins_cold() and self.iter == 2 * FIRST_STEPS:
                left = self._steps(self.epoch, self.n_epoch) - self.iter * self._cost(self.epoch)
                self._tell_time(FIRST_STEPS * self._cost(self.epoch), left)
        self._bar.update(self._cost(self.epoch) if self.training else 1)

    def after_epoch(self) -> None:
        """Print the epoch's line, and how long the rest takes if that is news."""
        row = self.learn.epoch_recorder.rows[-1]
        self._bar.write(epoch_line(row, self.n_epoch, self.learn.heads), file=sys.stderr)
        untimed = (1 + FIRST_STEPS) * self._cost(self.epoch) if self._begins_cold() else 0
        timed = self._steps(self.epoch, self.epoch + 1) - untimed
        self._tell_time(timed, self._steps(self.epoch + 1, self.n_epoch))

    def _tell_time(self, done: float, left: float) -> None:
        """Say what `left` steps take, and what follows, judged by the `done` ones since the clocks were started."""
        wall, busy = (now - then for now, then in zip(self._clocks(), self._began, strict=True))
        step = wall / done
        # On a machine with other work each second of ours takes this many.
        crowd = max(1.0, wall * torch.get_num_threads() / busy) if self.dls.device.type == "cpu" and busy else 1.0
        photos = (1 + TESTED_SHARE) * (len(self.dls.train) + len(self.dls.valid))
        after = PREDICTED_SHARE * step * photos
        if self.promise.has_report:
            after += FORWARD_SHARE * step * EXPLAINED_PHOTOS / self.dls.train.bs + PAGES_SECONDS * crowd
        self.promise.is_limit = hasattr(self.learn, "early_stopping")
        told = self.promise.words(self._clocks()[0] - self._fit_began[0], step * left, after)
        if told:
            self._bar.write(told, file=sys.stderr)

    def _begins_cold(self) -> bool:
        return self.epoch == self.learn.first_epoch and len(self.dls.train) > 2 * FIRST_STEPS

    def _cost(self, epoch: int) -> float:
        """Return what a training step of an epoch costs, in steps on photos of the full size."""
        sizes = self.learn.epoch_sizes
        return (sizes[epoch] / sizes[-1]) ** 2 if sizes else 1

    def _steps(self, first: int, end: int) -> float:
        training = sum(self._cost(epoch) for epoch in range(first, end)) * len(self.dls.train)
        return training + (end - first) * FORWARD_SHARE * len(self.dls.valid)

    def _clocks(self) -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    def after_fit(self) -> None:
        """Close the bar."""
        self.close()

    def close(self) -> None:
        """Close the bar, also after Ctrl-C, so that what is said next stands on its own line."""
        if self._bar is not None:
            self._bar.close()


@dataclass
class Promise:
    """How long a run was said to take, so that it is said again when that was far off, and only then.

    >>> promise = Promise(has_report=True)
    >>> promise.words(10.0, 190.0, 50.0)
    'this takes about 3 minutes, then about 1 minute for explanations and pages'
    >>> promise.words(60.0, 150.0, 50.0)
    ''
    >>> promise.words(120.0, 400.0, 110.0)
    'this goes slower than it began: about 7 minutes more, then about 2 minutes for explanations and pages'
    """

    has_report: bool
    told_seconds: float | None = None
    is_limit: bool = False  # a run that may stop early takes no longer than that

    def words(self, passed: float, left: float, after: float) -> str:
        """Return what to say when so many seconds have passed, are left, and follow the training; "" where no news."""
        whole = passed + left + after
        if self.told_seconds is None:
            if left < WORTH_TELLING_SECONDS:
                return ""
            said = f"this takes {_minutes(left)}{' or less' if self.is_limit else ''}"
        else:
            ratio = whole / self.told_seconds
            is_near = 1 / WORTH_CORRECTING < ratio < WORTH_CORRECTING
            if is_near or not left or abs(whole - self.told_seconds) < WORTH_TELLING_SECONDS:
                return ""
            said = f"this goes {'slower' if ratio > 1 else 'faster'} than it began: {_minutes(left)} more"
        self.told_seconds = whole
        return f"{said}, then {_minutes(after)} for {'explanations and pages' if self.has_report else 'predictions'}"


def _minutes(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"about {minutes} minute{'s' if minutes > 1 else ''}"


def epoch_line(row: dict[str, Any], epoch_count: int, heads: Sequence[Head]) -> str:
    """Return one epoch in one line.

    >>> from agegender.heads import KNOWN_HEADS
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
