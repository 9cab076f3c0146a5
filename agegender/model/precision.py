"""Which device and number format a network runs in.

fp16 is for CUDA, and on a CPU slow but possible; bf16 pays on a CPU only when the processor multiplies it in hardware.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from agegender.errors import UsageError
from agegender.training_settings import TrainingSettings


def choose_device(requested: str) -> torch.device:
    """Return the device that "auto", "cpu", "cuda" or "cuda:1" stands for."""
    if requested == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(requested)
    except RuntimeError as error:
        raise UsageError(f"there is no device {requested!r}; there are auto, cpu, cuda, cuda:1, …") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"device {requested} was asked for, but {torch.cuda.device_count()} GPUs are here. Use cpu.")
    if device.type not in ("cpu", "cuda"):
        try:
            torch.empty(1, device=device)
        except (RuntimeError, AssertionError) as error:  # torch asserts that it was built for some kinds
            raise UsageError(f"device {requested} was asked for, and torch finds none here. Use cpu.") from error
    return device


def choose_precision(requested: str, device: torch.device) -> str:
    """Return "fp32", "fp16" or "bf16": what is asked for, or with "auto" what the device does fastest."""
    if requested == "auto":
        if device.type == "cuda":
            return "fp16"
        return "bf16" if has_fast_bfloat16() else "fp32"
    if requested == "fp16" and device.type not in ("cuda", "cpu"):
        raise UsageError(f"fp16 needs a CUDA device or a CPU, and this run is on {device.type}. Use --precision auto.")
    if requested == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise UsageError("this GPU has no bf16. Use --precision fp16.")
    return requested


def here(settings: TrainingSettings, device: str, precision: str) -> TrainingSettings:
    """Return the settings of an earlier leg with what this machine can do; "auto" is what they were, where it can."""
    if device == "auto":
        device = _if_possible(settings.device, choose_device)
    place = choose_device(device)
    if precision == "auto":
        precision = _if_possible(settings.precision, lambda name: choose_precision(name, place))
        if (precision, place.type) == ("fp16", "cpu") and settings.device.startswith("cuda"):
            precision = "auto"  # it was meant for the GPU that isn't here
    return replace(settings, device=device, precision=precision)


def _if_possible(name: str, choose: Callable[[str], object]) -> str:
    try:
        choose(name)
    except UsageError:
        return "auto"
    return name


def has_fast_bfloat16() -> bool:
    """Return whether this processor multiplies bf16 numbers in hardware (AVX-512 BF16 or AMX)."""
    cpu = torch.backends.cpu.get_cpu_capability() if hasattr(torch.backends.cpu, "get_cpu_capability") else ""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return "AVX512" in cpu and any(getattr(torch.cpu, check, lambda: False)() for check in checks)


def set_seed(seed: int, *, is_reproducible: bool = False) -> None:
    """Seed torch, numpy and Python; `is_reproducible` also has cuDNN choose the same kernels each time."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # fastai and libraries below it draw from the global one
    torch.manual_seed(seed)
    if is_reproducible:
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context in which a network runs in `precision` on `device`; fp32 changes nothing."""
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision, torch.float32)
    return torch.autocast(device.type, dtype=dtype, enabled=precision != "fp32")
