"""A waiting line before one worker: what many requests ask is done together, and what would not fit is turned away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from agegender.errors import AgeGenderError
from agegender.serving.limits import RefusedError, too_much_waiting

Job = TypeVar("Job")
Answer = TypeVar("Answer")
_log = logging.getLogger("agegender.serving")
_USUAL_SECONDS = 0.05  # of one photo, until some were timed


@dataclass
class _Waiting(Generic[Job, Answer]):
    job: Job
    size: int
    future: asyncio.Future[Answer]


class WaitingLine(Generic[Job, Answer]):
    """Jobs of several clients, worked on together by one thread.

    Nothing waits for company: what has come while the worker was busy is its next lot.

    Parameters
    ----------
    work : callable
        Jobs to answers, in their order; runs in the thread.
    longest : int
        The size of all jobs that may wait.
    together : int
        The size of a lot, more only where a single job is larger.
    seconds : float
        A job that has not been answered by then is given up.
    """

    def __init__(
        self, work: Callable[[Sequence[Job]], Sequence[Answer]], *, longest: int, together: int, seconds: float,
        noted: Callable[[int, float], None] | None = None,
    ) -> None:  # fmt: skip
        self._work, self._longest, self._together, self._seconds, self._noted = work, longest, together, seconds, noted
        self._line: deque[_Waiting[Job, Answer]] = deque()
        self._seconds_each = _USUAL_SECONDS
        self._thread = ThreadPoolExecutor(1, "serving")
        self._arrived = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    @property
    def size(self) -> int:
        """The size of what waits."""
        return sum(one.size for one in self._line)

    @property
    def is_working(self) -> bool:
        """Whether there is a worker, which nothing has ended."""
        return self._worker is not None and not self._worker.done()

    def start(self) -> None:
        """Begin to work, in the running loop."""
        self._worker = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End the worker; what still waits is never answered."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def ask(self, job: Job, size: int = 1) -> Answer:
        """Return the answer to a job.

        Raises
        ------
        RefusedError
            No place is left, or it has taken too long.
        """
        waiting = self.size
        if waiting + size > self._longest:
            raise too_much_waiting(waiting * self._seconds_each)
        one = _Waiting[Job, Answer](job, size, asyncio.get_running_loop().create_future())
        self._line.append(one)
        self._arrived.set()
        try:
            return await asyncio.wait_for(one.future, self._seconds)
        except TimeoutError:
            raise RefusedError(
                503, f"no answer in {self._seconds:g} seconds. Try again later.", {"retry-after": "10"}
            ) from None

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            lot = self._next_lot()
            if not lot:
                self._arrived.clear()
                continue
            await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, lot)

    def _next_lot(self) -> list[_Waiting[Job, Answer]]:
        lot: list[_Waiting[Job, Answer]] = []
        while self._line and (not lot or sum(one.size for one in lot) + self._line[0].size <= self._together):
            one = self._line.popleft()
            if not one.future.done():  # else its client has gone
                lot.append(one)
        return lot

    def _answer(self, lot: Sequence[_Waiting[Job, Answer]]) -> None:
        """Work on a lot, in the thread; where it fails, each job is tried alone, so that one spoils no other."""
        started = time.perf_counter()
        try:
            answers = self._work([one.job for one in lot])
        except Exception as error:  # whatever it is belongs to a client, and the worker lives on
            if len(lot) > 1:
                for one in lot:
                    self._answer([one])
                return
            if not isinstance(error, AgeGenderError | RefusedError):
                _log.exception("a request failed")
            _hand_over(lot[0].future, error)
            return
        for one, answer in zip(lot, answers, strict=True):
            _hand_over(one.future, answer)
        size, seconds = sum(one.size for one in lot), time.perf_counter() - started
        self._seconds_each += 0.1 * (seconds / size - self._seconds_each)
        if self._noted is not None:
            self._noted(size, seconds)


def _hand_over(future: asyncio.Future[Answer], outcome: Answer | Exception) -> None:
    def settle() -> None:
        if future.done():
            return
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    future.get_loop().call_soon_threadsafe(settle)
