"""Work on many photos, done ahead of whoever takes the results: in threads, or for thousands in processes.

Threads start at once and suffice where the work is decoding, for which OpenCV lets go of Python's lock. Processes share
nothing, not even the lock, and need a second to start. What is done to a photo is not known here.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain
from typing import TypeVar

from threadpoolctl import threadpool_limits

_ITEMS_AHEAD = 256
_PARTS_AHEAD = 16
# Memory may be short, so that the system stops one; and where semaphores are forbidden, none can be started.
_NO_PROCESSES = (BrokenProcessPool, OSError, ImportError)
_log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    threads: int | None = None,
    ahead: int = _ITEMS_AHEAD,
) -> Iterator[Result]:
    """Yield `function(item)` for every item, in order, made by threads while the caller works on earlier ones.

    Parameters
    ----------
    function : callable
        What it raises is raised here, at the item's turn.
    items : iterable
        Taken in the caller's thread, only as far as `ahead` allows; it may be endless.
    threads : int, optional
        By default one per processor that this process may use; 0 does the work in the caller's thread.
    ahead : int
        How many results may be waiting or in the making.

    Notes
    -----
    Whoever stops early, or is stopped, leaves nothing behind: work that has begun is waited for, the rest is dropped.
    """
    if threads == 0:
        return map(function, items)
    return _in_order(ThreadPoolExecutor(threads or processor_count(), "photos"), function, items, ahead)


def spread(
    task: Callable[[Sequence[Item]], list[Result]],
    items: Sequence[Item],
    *,
    workers: int | None = None,
    at_once: int = 64,
    worth_a_process: int = 2000,
) -> Iterator[Result]:
    """Yield what `task` makes of the items, in their order, in threads or, when there are many, in processes.

    Parameters
    ----------
    task : callable
        Takes `at_once` of the items, or fewer, and returns one result for each. It may run in another process, and
        must then be a function of a module, or a `functools.partial` of one.
    workers : int, optional
        Threads or processes; by default one per processor that this process may use.
    worth_a_process : int
        With fewer items for each, they are done before processes have started.
    """
    workers = workers or processor_count()
    parts = [items[first : first + at_once] for first in range(0, len(items), at_once)]
    processes = min(workers, len(items) // worth_a_process)
    done = 0
    if processes > 1:
        try:
            for results in _in_order(_start_processes(processes), task, parts, 4 * processes):
                yield from results
                done += 1
        except _NO_PROCESSES as error:
            _log.warning("Helper processes cannot work here (%s); this one goes on alone.", type(error).__name__)
    # Two threads that both call a threaded BLAS would fight for the same processors.
    with threadpool_limits(limits=1, user_api="blas"):
        yield from chain.from_iterable(read_ahead(task, parts[done:], threads=workers, ahead=_PARTS_AHEAD))


def processor_count() -> int:
    """Return how many processors this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # only Linux has it
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _in_order(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        pool.shutdown()


def _start_processes(count: int) -> Executor:
    from loky import ProcessPoolExecutor

    # loky's processes start afresh, which is safe beside threads, and do not run the caller's script again.
    return ProcessPoolExecutor(count, initializer=_settle_process, initargs=(os.getpid(),))


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
