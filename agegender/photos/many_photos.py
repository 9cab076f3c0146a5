"""Owns how work on many photo files is spread over the processors: threads for some, processes for thousands.

Threads start at once, but Python lets only one of them at a time do more than decode, and to take turns costs more than
the turns. Processes share nothing and need half a second to start. What is done to a photo is not known here;
`fingerprints` calls it.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain
from pathlib import Path
from typing import TypeVar

from threadpoolctl import threadpool_limits

_PHOTOS_PER_TASK = 64
_TASKS_AT_ONCE = 16
_TASKS_PER_PROCESS = 4
_PHOTOS_PER_PROCESS = 2000  # about half a second of hashing: fewer are done before a process has started
# Memory may be short, so that the system stops one; and where semaphores are forbidden, none can be started.
_NO_PROCESSES = (BrokenProcessPool, OSError, ImportError)
_log = logging.getLogger(__name__)

Result = TypeVar("Result")
Task = Callable[[Sequence[Path]], list[Result]]


def for_photos(task: Task[Result], paths: Sequence[Path], *, workers: int | None = None) -> Iterator[Result]:
    """Yield what `task` makes of the photos, in their order.

    Parameters
    ----------
    task : callable
        Takes some of the paths and returns one result for each. It may run in another process, and must then be a
        function of a module, or a `functools.partial` of one.
    paths : sequence of Path
    workers : int, optional
        Threads or processes; by default one per processor that this process may use.
    """
    workers = workers or _processor_count()
    parts = [paths[first : first + _PHOTOS_PER_TASK] for first in range(0, len(paths), _PHOTOS_PER_TASK)]
    processes = min(workers, len(paths) // _PHOTOS_PER_PROCESS)
    done = 0
    if processes > 1:
        try:
            for results in _in_processes(task, parts, processes):
                yield from results
                done += 1
        except _NO_PROCESSES as error:
            _log.warning("Helper processes cannot work here (%s); this one goes on alone.", type(error).__name__)
    yield from chain.from_iterable(_in_threads(task, parts[done:], workers))


def _in_processes(task: Task[Result], parts: list[Sequence[Path]], processes: int) -> Iterator[list[Result]]:
    from loky import ProcessPoolExecutor

    # loky's processes start afresh, which is safe beside threads, and do not run the caller's script again.
    pool = ProcessPoolExecutor(processes, initializer=_settle_process, initargs=(os.getpid(),))
    waiting: deque[Future[list[Result]]] = deque()
    try:
        for part in parts:
            waiting.append(pool.submit(task, part))
            if len(waiting) > _TASKS_PER_PROCESS * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        pool.shutdown()


def _settle_process(parent: int) -> None:
    """Keep a new process to one thread, to leave Ctrl-C to its parent, and to end when its parent has ended."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(limits=1)
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _in_threads(task: Task[Result], parts: list[Sequence[Path]], threads: int) -> Iterator[list[Result]]:
    # Two threads that both call a threaded BLAS would fight for the same processors.
    with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        for first in range(0, len(parts), _TASKS_AT_ONCE):
            yield from pool.map(task, parts[first : first + _TASKS_AT_ONCE])


def _processor_count() -> int:
    allowed = getattr(os, "sched_getaffinity", None)  # only Linux has it
    return len(allowed(0)) if allowed else os.cpu_count() or 1
