"""What a server takes, and how it turns away what is too much: the limits, and the refusal with its status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MEGA = 1_000_000


@dataclass(frozen=True)
class Limits:
    """What one request, and all together, may take; every queue and every buffer ends somewhere."""

    body_bytes: int = 32 * MEGA
    photos: int = 32  # of one request
    pixels: int = 24 * MEGA  # of one photo
    queued_photos: int = 256
    queued_explanations: int = 8
    held_bytes: int = 256 * MEGA  # of all bodies that are in memory at once
    connections: int = 512
    header_seconds: float = 10.0  # for the head of a request
    silent_seconds: float = 10.0  # between two pieces of a body, or of an answer that is not taken
    slow_seconds: float = 20.0  # in which a body may come as slowly as it likes
    slowest_bytes: int = 50_000  # a second, on average, after that
    answer_seconds: float = 60.0
    explanation_seconds: float = 300.0
    stop_seconds: int = 30  # for requests in flight when the server is told to stop


class RefusedError(Exception):
    """A request that gets no answer: the status, and one sentence that says why and what to do."""

    def __init__(self, status: int, words: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(words)
        self.status, self.words, self.headers = status, words, dict(headers or {})

    @property
    def document(self) -> dict[str, Any]:
        """What the client reads."""
        return {"error": self.words}


def too_large(limit: int) -> RefusedError:
    """Return the refusal of a body over the limit; the connection is not used any further."""
    return RefusedError(
        413, f"the photos of one request may have {limit / MEGA:g} MB together. Send fewer at once, or smaller ones.",
        {"connection": "close"},
    )  # fmt: skip


def too_much_waiting(seconds: float) -> RefusedError:
    """Return the refusal of a request that no place is left for."""
    after = str(int(min(60.0, max(1.0, seconds + 0.999))))
    return RefusedError(429, "too many photos are waiting. Try again later.", {"retry-after": after})
