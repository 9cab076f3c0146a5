"""What a server counts for Prometheus: requests, photos, lots and seconds; no name, no address, nothing of a photo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
OTHER = "other"  # a path that is none of ours is nobody's label


class Counters:
    """The metrics of one server, in a registry of its own."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.registry, self._paths = CollectorRegistry(), frozenset(paths)
        ProcessCollector(registry=self.registry)
        given: dict[str, Any] = {"registry": self.registry, "namespace": "agegender"}
        self._requests = Counter("requests", "Requests answered", ("path", "status"), **given)
        self._request_seconds = Histogram(
            "request_seconds",
            "From the head of a request to the end of its answer",
            ("path",),
            buckets=_SECONDS,
            **given,
        )
        self._rows = Counter("rows", "Rows answered: a face, or a photo that could not be read", ("kind",), **given)
        self._lots = Histogram("lot_photos", "Photos predicted together", buckets=_SIZES, **given)
        self._lot_seconds = Histogram("lot_seconds", "Time to predict what was together", buckets=_SECONDS, **given)
        self._given = given

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        known = path if path in self._paths else OTHER
        self._requests.labels(known, str(status)).inc()
        self._request_seconds.labels(known).observe(seconds)

    def predicted(self, rows: Sequence[dict[str, Any]]) -> None:
        """Count the rows of an answer."""
        unread = sum("error" in row for row in rows)
        self._rows.labels("face").inc(len(rows) - unread)
        self._rows.labels("unreadable").inc(unread)

    def worked(self, size: int, seconds: float) -> None:
        """Count a lot."""
        self._lots.observe(size)
        self._lot_seconds.observe(seconds)

    def watch(self, name: str, words: str, value: Callable[[], float]) -> None:
        """Show a value whenever somebody asks."""
        Gauge(name, words, **self._given).set_function(value)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)
