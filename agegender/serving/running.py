"""Uvicorn with this server's manners: it waits for nobody's headers, says little, and stops when it is told to."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from agegender.errors import UsageError
from agegender.serving.guard import Guard
from agegender.serving.limits import Limits

LARGEST_HEAD_BYTES = 32_768
_SILENT = logging.CRITICAL + 1


class ImpatientProtocol(H11Protocol):
    """Closes connections whose request has no whole head in time; uvicorn itself would wait for ever."""

    head_seconds = Limits.header_seconds
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Take data, and wait no longer where it has ended the head."""
        if self.conn.their_state is h11.IDLE:
            self._wait_for_head()
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class PoliteServer(uvicorn.Server):
    """Ends with a result, and not by raising the signal that ended it once more."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGINT and SIGTERM; at a second SIGINT at once."""
        if threading.current_thread() is not threading.main_thread():  # where no signal can be listened to
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens there.

    Raises
    ------
    UsageError
        The place is taken, or none of this machine's.
    """
    place = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        place = socket.socket(found[0], found[1])
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(found[4])
        place.listen(128)
    except OSError as error:
        if place is not None:
            place.close()
        raise UsageError(
            f"--host {host} --port {port}: {error.strerror or error}. Take another port, or 0 for any that is free."
        ) from error
    return place


def make_server(application: Guard, limits: Limits) -> PoliteServer:
    """Return what serves until SIGINT or SIGTERM; requests in flight are answered first."""
    protocol = type("Protocol", (ImpatientProtocol,), {"head_seconds": limits.header_seconds})
    config = uvicorn.Config(
        application,
        http=protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        limit_concurrency=limits.connections,
        timeout_keep_alive=int(limits.header_seconds),
        timeout_graceful_shutdown=limits.stop_seconds,
        h11_max_incomplete_event_size=LARGEST_HEAD_BYTES,
    )
    handler = logging.StreamHandler(sys.stderr)
    # The form's parser would tell what it finds in a damaged body.
    levels = {"agegender.serving": logging.ERROR, "uvicorn": logging.ERROR, "python_multipart": _SILENT}
    for name, level in levels.items():
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
    return PoliteServer(config)
