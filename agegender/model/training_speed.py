"""What makes a Learner train fast where it is: number format and memory layout, as fastai callbacks.

fastai's own `MixedPrecision` autocasts on CUDA alone: on a CPU it warns and goes on in fp32, so `CpuAutocast` and, in
fp16, `CpuLossScaling` do its work there. Which layout is fast in fp32 depends on the processor, the network and the
size of its photos (at 64 px channels-last took 0.77 of the time, at 96 px 1.44), so a run that is long enough to gain
by it measures both first.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from typing import Any

import torch
from fastai.callback.core import Callback
from fastai.callback.fp16 import MixedPrecision
from fastcore.foundation import L
from torch import Tensor, nn
from torch.amp import GradScaler

from agegender.model.optimisers import inner_optimiser
from agegender.model.precision import autocast

CHANNELS_LAST, CONTIGUOUS = "channels-last", "contiguous"
_MEMORY_FORMATS = {CHANNELS_LAST: torch.channels_last, CONTIGUOUS: torch.contiguous_format}
# Pixels that a run looks at, below which measuring costs more than it gains: 840 photos, 64 px, 6 epochs.
LEAST_PIXELS = 2e7
_ROUNDS = 3
_MOST_SECONDS = 2.5  # for the rounds; the first steps come before
# torch's own 2**16 overflows here and loses the first steps until it is halved often enough; runs on a CPU are short.
FIRST_CPU_SCALE = 2.0**9
_PIXELS_PER_STEP = 8 * 64 * 64


def choose_layout(body: nn.Module, image_size: int, photo_count: int, *, precision: str, device: torch.device) -> str:
    """Return the memory layout to train a body in: measured where that pays, else what is known to be fast."""
    # Reduced precision has its fast kernels there, and batches come so.
    if precision != "fp32" or device.type != "cpu" or photo_count * image_size**2 < LEAST_PIXELS:
        return CHANNELS_LAST
    seconds = measure_layouts(body, image_size)
    return min(seconds, key=lambda layout: seconds[layout])


def measure_layouts(body: nn.Module, image_size: int) -> dict[str, float]:
    """Return the processor seconds of a step on a few random photos in each layout, best of some rounds in turns.

    The body keeps its weights and running means, and nothing of the random numbers is used up.
    """
    count = max(2, round(_PIXELS_PER_STEP / image_size**2))
    photos = torch.randn(count, 3, image_size, image_size, generator=torch.Generator().manual_seed(0))
    seconds = dict.fromkeys(_MEMORY_FORMATS, float("inf"))
    with torch.random.fork_rng(devices=[]):
        copies = {layout: deepcopy(body).train() for layout in _MEMORY_FORMATS}
        for layout, memory_format in _MEMORY_FORMATS.items():
            _step_seconds(copies[layout].to(memory_format=memory_format), photos)  # kernels are chosen in the first one
        started = time.perf_counter()
        for _ in range(_ROUNDS):
            for layout, copied in copies.items():
                given = photos.contiguous(memory_format=_MEMORY_FORMATS[layout])
                seconds[layout] = min(seconds[layout], _step_seconds(copied, given))
            if time.perf_counter() - started > _MOST_SECONDS:
                break
    return seconds


def _step_seconds(body: nn.Module, photos: torch.Tensor) -> float:
    # Of the processor: what else the machine does meanwhile must not choose the layout.
    started = time.process_time()
    body(photos).sum().backward()
    return time.process_time() - started


def speed_callbacks(precision: str, layout: str, device: torch.device) -> list[Callback]:
    """Return the callbacks that make a Learner train in `precision` and in a memory layout on `device`."""
    laid = MemoryLayout(layout)
    if precision == "fp32":
        return [laid]
    if device.type == "cuda":
        return [laid, MixedPrecision(amp_mode=precision)]
    return [laid, CpuAutocast(precision), *([CpuLossScaling()] if precision == "fp16" else [])]


class MemoryLayout(Callback):
    """Lay images and convolution weights out as one of the two layouts says."""

    order = 9  # before the precision callbacks

    def __init__(self, layout: str) -> None:
        super().__init__()
        self._format = _MEMORY_FORMATS[layout]

    def before_fit(self) -> None:
        """Turn the model's weights round, in place."""
        self.learn.model.to(memory_format=self._format)

    def turn(self, layout: str) -> None:
        """Change the layout between two epochs: of the weights, and of their moments, which have to lie as they do."""
        if _MEMORY_FORMATS[layout] is self._format:
            return
        self._format = _MEMORY_FORMATS[layout]
        self.learn.model.to(memory_format=self._format)
        for parameter, moments in inner_optimiser(self.learn.opt).state.items():
            for name, value in moments.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape and value.ndim:
                    moments[name] = torch.empty_like(parameter).copy_(value)

    def before_batch(self) -> None:
        """Turn the images of this batch round: the loader's are channels-last."""
        self.learn.xb = tuple(
            value.contiguous(memory_format=self._format) if value.ndim == 4 else value for value in self.xb
        )


class CpuAutocast(Callback):
    """Forward and loss under autocast on the CPU; weights and steps stay fp32."""

    order = 10
    _context: AbstractContextManager[Any] | None = None

    def __init__(self, precision: str) -> None:
        super().__init__()
        self.precision = precision

    def before_batch(self) -> None:
        """Enter autocast."""
        self._context = autocast(self.precision, torch.device("cpu"))
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


class CpuLossScaling(MixedPrecision):
    """The other half of fastai's `MixedPrecision`: fp16 gradients too small for the format are scaled up on the way.

    A step whose gradients overflow is left out, and the scale halved; `run_state` keeps the scale.
    """

    def before_fit(self) -> None:
        """Begin with a scale that fits at once; `CpuAutocast` has the context."""
        scaler = GradScaler("cpu", init_scale=FIRST_CPU_SCALE)
        self.autocast, self.learn.scaler, self.scales = nullcontext(), scaler, L()
