"""Owns what a person sees while a network trains: one bar with both losses, and one line per epoch, on stderr."""

from __future__ import annotations

import sys
from math import nan
from typing import Any

from fastai.callback.core import Callback


class TrainingBar(Callback):
    """A bar over all batches of the fit, its losses beside it, and a line after each epoch."""

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
            parts = {name: f"{float(part):.3f}" for name, part in self.learn.loss_func.parts.items()}
            self._bar.set_postfix({"loss": f"{float(self.loss.detach()):.3f}", **parts}, refresh=False)
        self._bar.update()

    def after_epoch(self) -> None:
        """Print the epoch's line."""
        row = self.learn.epoch_recorder.rows[-1]
        self._bar.write(epoch_line(row, self.n_epoch), file=sys.stderr)

    def after_fit(self) -> None:
        """Close the bar."""
        self.close()

    def close(self) -> None:
        """Close the bar, also after Ctrl-C, so that what is said next stands on its own line."""
        if self._bar is not None:
            self._bar.close()


def epoch_line(row: dict[str, Any], epoch_count: int) -> str:
    """Return one epoch in one line.

    >>> row = {"epoch": 1, "train_loss": 1.25, "valid_loss": 1.0, "valid_loss_age": 0.5, "valid_age_mae": 9.87,
    ...        "valid_gender_accuracy": 0.912, "seconds": 12.4, "learning_rate": 1e-3}
    >>> epoch_line(row, 3)
    'epoch 1/3  train loss 1.250, valid 1.000 (age 0.500)  age MAE 9.87 years  gender accuracy 0.912  12 s'
    """
    head_losses = [name.removeprefix("valid_loss_") for name in row if name.startswith("valid_loss_")]
    parts = ", ".join(f"{name} {row[f'valid_loss_{name}']:.3f}" for name in head_losses)
    losses = f"train loss {row.get('train_loss', nan):.3f}, valid {row.get('valid_loss', nan):.3f} ({parts})"
    said = [f"epoch {row['epoch']}/{epoch_count}", losses]
    said += [f"{name[6:-4]} MAE {value:.2f} years" for name, value in row.items() if name.endswith("_mae")]
    said += [f"{name[6:-9]} accuracy {value:.3f}" for name, value in row.items() if name.endswith("_accuracy")]
    return "  ".join([*said, f"{row['seconds']:.0f} s"])
