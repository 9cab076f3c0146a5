"""What a step that does not fit into memory is told apart by, and the batch that would fit."""

from __future__ import annotations

import gc
from typing import Any

import torch
from torch import Tensor

from agegender.model.precision import autocast
from agegender.training_settings import TrainingSettings

_OF_PROCESSORS = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc")
SMALLEST_BATCH = 2  # a norm needs two photos to tell a spread


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on a GPU or a processor."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _OF_PROCESSORS)


def fitting_batch(
    learner: Any, batch_size: int, *, image_size: int, precision: str, device: torch.device
) -> int | None:
    """Return the largest half, quarter, … of a batch that a step is possible with, or None."""
    size = batch_size
    while (size := size // 2) >= SMALLEST_BATCH:
        _make_room(learner, device)
        try:
            _try_step(learner.model, size, image_size, precision, device)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            return size
        finally:
            _make_room(learner, device)
    return None


def _try_step(model: Any, size: int, image_size: int, precision: str, device: torch.device) -> None:
    photos = torch.zeros(size, 3, image_size, image_size, device=device)
    with autocast(precision, device):
        outputs: tuple[Tensor, ...] = model.to(device).train()(photos)
    torch.stack([raw.float().sum() for raw in outputs]).sum().backward()


def _make_room(learner: Any, device: torch.device) -> None:
    learner.xb = learner.yb = (None,)
    learner.pred = learner.loss = learner.loss_grad = None
    learner.model.zero_grad(set_to_none=True)
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def room_words(settings: TrainingSettings, image_size: int, fitting: int | None) -> str:
    """Say what did not fit, and what would."""
    tried = f"a step of {settings.batch_size} photos of {image_size} px does not fit into memory"
    if fitting is None:
        smaller = "Give a smaller --image-size or another --body, or end what else takes memory."
        return f"{tried}, nor does one of {SMALLEST_BATCH}. {smaller}"
    gathered = settings.accumulate * settings.batch_size // fitting
    return (
        f"{tried}; one of {fitting} does. Give --batch-size {fitting}, and --accumulate {gathered} to take steps of as "
        f"many photos as before."
    )
