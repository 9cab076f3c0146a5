"""Owns how fastai is brought to train in a number format.

fastai's own `MixedPrecision` autocasts on CUDA alone: on a CPU it warns and goes on in fp32. `CpuBfloat16` does the
same work on a processor that has bf16.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from fastai.callback.core import Callback
from fastai.callback.fp16 import MixedPrecision

from agegender.model.precision import autocast


def precision_callbacks(precision: str, device: torch.device) -> list[Callback]:
    """Return the callbacks that make a Learner train in `precision` on `device`."""
    if precision == "fp32":
        return []
    if device.type == "cuda":
        return [ChannelsLast(), MixedPrecision(amp_mode=precision)]
    return [ChannelsLast(), CpuBfloat16()]


class ChannelsLast(Callback):
    """Lay images and convolution weights out with the channels innermost, as the fast kernels want them."""

    order = 9  # before the precision callbacks

    def before_fit(self) -> None:
        """Turn the model's weights round, in place."""
        self.learn.model.to(memory_format=torch.channels_last)

    def before_batch(self) -> None:
        """Turn the images of this batch round."""
        self.learn.xb = tuple(
            value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value for value in self.xb
        )


class CpuBfloat16(Callback):
    """Forward and loss under bf16 autocast on the CPU; weights and steps stay fp32, so no scaling is needed."""

    order = 10
    _context: AbstractContextManager[Any] | None = None

    def before_batch(self) -> None:
        """Enter autocast."""
        self._context = autocast("bf16", torch.device("cpu"))
        self._context.__enter__()

    def after_pred(self) -> None:
        """Give the loss fp32 outputs, one per head."""
        self.learn.pred = tuple(raw.float() for raw in self.pred) if isinstance(self.pred, tuple) else self.pred.float()

    def after_loss(self) -> None:
        """Leave autocast: gradients and steps are fp32."""
        self.close()

    def after_cancel_batch(self) -> None:
        """Leave autocast also when the batch was cancelled."""
        self.close()

    def after_cancel_fit(self) -> None:
        """Leave autocast also when the fit was cancelled."""
        self.close()

    def close(self) -> None:
        """Leave autocast if it is still entered."""
        if self._context is not None:
            self._context.__exit__(None, None, None)
            self._context = None
