"""The door of the server: who may come in, how much and how slowly they may send, and what every answer carries.

It stands before everything else, so that nothing is parsed of what is turned away. No name, address or content of a
request is written anywhere.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from agegender.serving.counters import Counters
from agegender.serving.limits import Limits, RefusedError, too_large, too_much_waiting

LOOPBACK = ("localhost", "127.0.0.1", "::1")
# What may be read without the token: the empty page, which asks for it, and whether the server lives.
OPEN_PATHS = frozenset({"/", "/assets/serving.css", "/assets/serving.js", "/assets/page.css", "/health", "/ready"})
_DRAINED_SECONDS = 2.0
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}
_log = logging.getLogger("agegender.serving")


class Guard:
    """An ASGI application around another one.

    Parameters
    ----------
    token : str or None
        What `Authorization: Bearer` must say; None asks for nothing.
    hosts : sequence of str
        The names under which the server may be addressed, those of this machine aside.
    """

    def __init__(
        self, app: ASGIApp, limits: Limits, counters: Counters, *, token: str | None, hosts: Sequence[str]
    ) -> None:
        self._app, self._limits, self._counters = app, limits, counters
        self._token = None if token is None else token.encode()
        self._hosts = frozenset((*LOOPBACK, *(host.lower() for host in hosts)))
        self.held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or turn it away."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, answer = _Body(self, receive, self._limits), _Answer(send, self._limits.silent_seconds)
        started = time.perf_counter()
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        try:
            self._check(scope, headers)
            await body.check(headers)
            await self._app(scope, body.receive, answer.send)
        except RefusedError as refused:
            await answer.refuse(refused)
        except TimeoutError:
            pass  # whoever asked does not take the answer; the connection is closed
        except Exception:  # what stands before FastAPI's own handlers
            _log.exception("a request failed")
            await answer.refuse(RefusedError(500, "the server failed; its log says more."))
        finally:
            self.held_bytes -= body.size
            self._counters.answered(scope["path"], answer.status, time.perf_counter() - started)

    def _check(self, scope: Scope, headers: Mapping[bytes, str]) -> None:
        host = headers.get(b"host", "")
        if _name_of(f"//{host}") not in self._hosts:
            raise RefusedError(421, "this server does not answer under that name. --allowed-host adds one.")
        origin = headers.get(b"origin")
        # A page of somebody else's must not have the photos of its visitors judged.
        if origin is not None and origin.lower().rpartition("://")[2] != host.lower():
            raise RefusedError(403, "pages of other servers may not ask this one.")
        if self._token is not None and scope["path"] not in OPEN_PATHS:
            kind, _, given = headers.get(b"authorization", "").partition(" ")
            if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode("latin-1"), self._token):
                raise RefusedError(
                    401, "this server wants its token: Authorization: Bearer …", {"www-authenticate": "Bearer"}
                )


def _name_of(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:  # half an IPv6 address
        return None


def _name_in(host: str) -> str | None:
    """Return the name that a Host header gives, without the port; None where it makes no sense."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


class _Body:
    """What is received of a request: counted, timed, and cut off where it is too much or too slow."""

    def __init__(self, guard: Guard, receive: Receive, limits: Limits) -> None:
        self._guard, self._receive, self._limits = guard, receive, limits
        self.size = 0
        self._is_whole = False
        self._started: float | None = None

    async def check(self, headers: Mapping[bytes, str]) -> None:
        """Turn away what says of itself that it is too large, or packed."""
        if headers.get(b"content-encoding", "identity").lower() != "identity":
            raise RefusedError(
                415, "bodies are not unpacked here. Send the photos as they are.", {"connection": "close"}
            )
        length = headers.get(b"content-length", "0")
        if length.isdecimal() and int(length) > self._limits.body_bytes:
            if headers.get(b"expect", "").lower() != "100-continue":
                await self._drain()
            raise too_large(self._limits.body_bytes)

    async def receive(self) -> MutableMapping[str, Any]:
        """Return the next piece, as ASGI wants it."""
        if self._is_whole:
            return await self._receive()
        now = time.monotonic()
        self._started = self._started or now
        allowed = self._limits.slow_seconds + self.size / self._limits.slowest_bytes
        left = min(self._limits.silent_seconds, self._started + allowed - now)
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0.001))
        except TimeoutError:
            raise RefusedError(408, "the photos came too slowly.", {"connection": "close"}) from None
        if message["type"] != "http.request":
            return message
        self._is_whole = not message.get("more_body", False)
        self._take(len(message.get("body", b"")))
        if self.size > self._limits.body_bytes:
            await self._drain()
            raise too_large(self._limits.body_bytes)
        return message

    def _take(self, count: int) -> None:
        self.size += count
        self._guard.held_bytes += count
        if self._guard.held_bytes > self._limits.held_bytes:
            raise too_much_waiting(1.0)

    async def _drain(self) -> None:
        """Throw away what comes for a moment: many clients read no answer before they have sent everything."""
        try:
            async with asyncio.timeout(_DRAINED_SECONDS):
                while not self._is_whole:
                    message = await self._receive()
                    self._is_whole = message["type"] != "http.request" or not message.get("more_body", False)
        except TimeoutError:
            pass


class _Answer:
    """What is sent: with the headers that every answer carries, and given up where nobody takes it."""

    def __init__(self, send: Send, seconds: float) -> None:
        self._send, self._seconds = send, seconds
        self.status, self._has_begun = 499, False  # as nginx calls a client that has gone

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Send a piece, as ASGI has it."""
        if message["type"] == "http.response.start":
            self.status, self._has_begun = int(message["status"]), True
            present = {name.lower() for name, _ in message.get("headers", ())}
            ours = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
            added = [(name, value) for name, value in ours if name not in present]
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await asyncio.wait_for(self._send(message), self._seconds)

    async def refuse(self, refused: RefusedError) -> None:
        """Send a refusal, unless an answer has begun."""
        if self._has_begun:
            return
        body = json.dumps(refused.document).encode()
        headers = {"content-type": "application/json", "content-length": str(len(body)), **refused.headers}
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": refused.status, "headers": encoded})
        await self.send({"type": "http.response.body", "body": body})
