"""Which process of a run this is, as `torchrun` says it. No torch: a command can refuse before it loads any."""

from __future__ import annotations

import os
from dataclasses import dataclass

from agegender.errors import UsageError

_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


@dataclass(frozen=True)
class Launched:
    """A process among those that compute one training; alone it is the first of one."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0  # on this machine
    local_count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this one gathers the faces, writes every file, and goes on alone after the fit."""
        return self.rank == 0

    def __str__(self) -> str:
        """Return it as messages have it."""
        return f"process {self.rank + 1} of {self.count}"


_taken: Launched | None = None


def launched() -> Launched:
    """Return which of its processes this is."""
    if _taken is not None:
        return _taken
    said = [os.environ.get(name, "") for name in _NAMES]
    if not all(text.isdecimal() for text in said):  # no launcher of torch's writes anything else
        return Launched()
    here = Launched(*map(int, said))
    return here if here.count > 1 else Launched()


def take_launch() -> None:
    """Keep to ourselves which process this is: fastai reads the same variables, and would gather every loss again."""
    global _taken  # noqa: PLW0603 (as the environment is one for all)
    _taken = launched()
    for name in _NAMES:
        os.environ.pop(name, None)


def forget_launch() -> None:
    """Be one process from now on."""
    global _taken  # noqa: PLW0603
    _taken = None


def check_processes(wanted: int | None, batch_size: int | None) -> None:
    """Refuse a run that isn't in as many processes as were asked for, or whose batches are too small for them."""
    count = launched().count
    if wanted is not None and wanted != count:
        raise UsageError(
            f"--processes {wanted}, and this run is in {count}. Start it with `torchrun --nproc_per_node {wanted} -m "
            f"agegender.train …`, on several machines with --nnodes as well (docs/several-processes.md)."
        )
    if count > 1 and batch_size is not None and batch_size < 2 * count:
        raise UsageError(
            f"--batch-size {batch_size} is too small for {count} processes, each of which takes its part of every "
            f"batch and needs 2 photos for batch norm: at least {2 * count}."
        )
