"""One training in several processes, which `torchrun` starts: each computes its part of every batch.

The first one leads: it gathers the faces, writes every file, and goes on alone after the fit. The others get everything
from it. Why this isn't fastai's `distrib_ctx` stands in docs/decisions/0140.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from fastai.callback.core import Callback
from torch import Tensor

from agegender.errors import DataError, ProcessEndedError, UsageError
from agegender.launching import Launched, forget_launch, launched, take_launch

# Others wait while faces are drawn or hashed; in the fit nobody is alone for long.
GATHERING, STEP = timedelta(days=1), timedelta(minutes=10)
_RUNNING = ("running_mean", "running_var")  # what batch norm remembers

Value = TypeVar("Value")


@contextmanager
def joined() -> Iterator[Launched]:
    """Meet the other processes, if there are any, and part from them at the end."""
    here = launched()
    if here.count == 1:
        yield here
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(min(here.local_rank, torch.cuda.device_count() - 1))
    before = signal.signal(signal.SIGTERM, _end)
    try:
        with _ends_with_others():
            dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=GATHERING)
        take_launch()
        yield here
    except BaseException:
        _end_in_peace()
        raise
    else:
        signal.signal(signal.SIGTERM, before)
    finally:
        part()


def part() -> None:
    """Be one process again."""
    if dist.is_initialized():
        dist.destroy_process_group()
        forget_launch()


def go_on_alone() -> None:
    """Part after the fit: the process that leads goes on, the others are done."""
    is_done = not leads()
    part()
    if is_done:
        raise SystemExit(0)


def process_count() -> int:
    """Return how many processes compute this training."""
    return dist.get_world_size() if dist.is_initialized() else 1


def leads() -> bool:
    """Return whether this process writes files."""
    return not dist.is_initialized() or dist.get_rank() == 0


def agreed(value: Value, group: Any = None) -> Value:
    """Return what the leading process gives; alone, what is given."""
    if not dist.is_initialized():
        return value
    values = [value]
    with _ends_with_others():
        dist.broadcast_object_list(values, src=0, group=group, device=torch.device("cpu"))
    return values[0]


def own_device(device: torch.device) -> torch.device:
    """Return the device of this process: each has a GPU of its own.

    Raises
    ------
    UsageError
        There are fewer GPUs than processes on this machine.
    """
    here = launched()
    if here.count == 1 or device.type != "cuda":
        return device
    if device.index is not None or here.local_count > torch.cuda.device_count():
        raise UsageError(
            f"{here.local_count} processes on this machine, and --device {device} with {torch.cuda.device_count()} "
            f"GPUs here: each process takes a GPU of its own. Use --device cuda and --nproc_per_node "
            f"{max(1, torch.cuda.device_count())}."
        )
    return torch.device("cuda", here.local_rank)


def check_photo_count(photo_count: int, batch_size: int) -> None:
    """Refuse training photos of which not every process gets 2, as batch norm needs, out of each batch."""
    count, smallest = process_count(), min(batch_size, photo_count)
    if count > 1 and smallest < 2 * count:
        raise DataError(f"{smallest} training photos a batch are too few for {count} processes: each needs 2 of them.")


@contextmanager
def _ends_with_others() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch has no narrower class for a peer that is gone
        _end_in_peace()
        raise ProcessEndedError from error


def _end(*_: Any) -> None:
    _end_in_peace()
    raise ProcessEndedError


def _end_in_peace() -> None:
    """Take no more notice of torchrun's SIGTERM: what is kept is to be closed, and the reason said."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class SharedSteps(Callback):
    """Make the steps of several processes one: losses, gradients and validation are those of whole batches.

    Gradients are added up where a step begins, so whatever the optimiser holds is shared, and accumulated batches are
    sent once. Batch norm sees its own process's part; what it remembers is averaged before each validation.
    """

    order = 8  # after gradients are accumulated, before a scaled loss is checked for overflow and gradients are clipped

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def before_fit(self) -> None:
        """Make a group that waits no longer than a step may take."""
        with _ends_with_others():
            self.group: Any = dist.new_group(timeout=STEP)
        self.rank, self.count = dist.get_rank(), dist.get_world_size()
        self.dls.train.part = self.dls.valid.part = (self.rank, self.count)

    def before_epoch(self) -> None:
        """Begin with the same weights, and with random numbers that a resumed run has again."""
        if self.epoch == self.learn.first_epoch:
            with _ends_with_others():
                for tensor in self.model.state_dict().values():
                    self._broadcast(tensor)
        if self.rank:
            own = np.random.SeedSequence([self.seed, self.rank, self.epoch])
            torch.manual_seed(int(own.generate_state(1)[0]))

    def after_loss(self) -> None:
        """Give everybody the loss of the whole batch, so that all see alike when it is no number."""
        if not self.training:
            return
        parts, own = self.learn.combined_loss.parts, float(len(self.yb[0]))
        figures = own * torch.tensor([1.0, float(self.loss.detach()), *map(float, parts.values())], dtype=torch.float64)
        self._add_up(figures)
        self.share = own / float(figures[0])
        means = figures / figures[0]
        self.learn.loss = means[1].to(self.loss)
        self.learn.combined_loss.parts = dict(zip(parts, means[2:].to(self.loss), strict=True))

    def before_step(self) -> None:
        """Average the gradients, each process counting by its photos."""
        gradients = [one.grad for one in self._parameters() if one.grad is not None]
        if gradients:
            flat = torch.cat([one.reshape(-1) for one in gradients]).mul_(self.share)
            self._add_up(flat)
            for gradient, whole in zip(gradients, flat.split([one.numel() for one in gradients]), strict=True):
                gradient.copy_(whole.view_as(gradient))

    def before_validate(self) -> None:
        """Average what batch norms remember of their inputs, and what an average of the weights does of that."""
        remembered = dict(self.model.named_buffers())
        averaged = getattr(self.learn, "averaged_weights", None)
        for held in [remembered] if averaged is None else [remembered, averaged.average]:
            for name in remembered:
                if name.endswith(_RUNNING):
                    self._add_up(held[name])
                    held[name].div_(self.count)

    def after_validate(self) -> None:
        """Put the parts of the validation photos together, each photo once and in their order."""
        recorder = self.learn.epoch_recorder
        own = (
            {name: value for name, value in recorder.sums.items() if name.startswith("valid")},
            recorder.counts["valid"],
            dict(recorder.labelled),
            {name: torch.cat(parts) for name, parts in recorder.measures.items() if parts},
        )
        everybody: list[Any] = [None] * self.count
        with _ends_with_others():
            dist.all_gather_object(everybody, own, group=self.group)
        # The first has photos wherever anybody has.
        recorder.sums |= {name: sum(one[0].get(name, 0.0) for one in everybody) for name in everybody[0][0]}
        recorder.counts["valid"] = sum(one[1] for one in everybody)
        recorder.labelled |= {name: sum(one[2].get(name, 0) for one in everybody) for name in everybody[0][2]}
        owner = torch.arange(recorder.counts["valid"]) % self.dls.valid.bs % self.count
        for name, measured in everybody[0][3].items():
            whole = torch.empty(len(owner), dtype=measured.dtype)
            for rank, (*_, measures) in enumerate(everybody):
                if name in measures:
                    whole[owner == rank] = measures[name]
            recorder.measures[name] = [whole]

    def after_fit(self) -> None:
        """Let the loaders make whole batches again."""
        self.dls.train.part = self.dls.valid.part = (0, 1)

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.opt.param_groups for parameter in group["params"]]

    def _add_up(self, tensor: Tensor) -> None:
        with _ends_with_others():
            dist.all_reduce(tensor, group=self.group)

    def _broadcast(self, tensor: Tensor) -> None:
        whole = tensor.contiguous()
        dist.broadcast(whole, src=0, group=self.group)
        tensor.copy_(whole)
