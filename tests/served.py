"""A small model of an earlier version behind a real server on a free port of this machine, for tests of any part."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from golden_model import GOLDEN
from PIL import Image

import agegender as ag
from agegender.serving.application import make_application
from agegender.serving.limits import Limits
from agegender.serving.running import listening, make_server
from agegender.serving.service import Service

ROOMY = Limits(queued_photos=10_000)


@dataclass
class Served:
    """What a test needs of a running server."""

    address: str
    service: Service
    client: httpx.Client

    def predict(self, *photos: bytes, **parameters: str) -> httpx.Response:
        files = [("photos", (f"{place}.png", data)) for place, data in enumerate(photos)]
        return self.client.post("/predict", files=files, params=parameters)


def drawn_photos(count: int = 8, side: int = 64) -> list[bytes]:
    """Return photos of drawn heads as PNG files, no two alike."""
    drawn, generator = np.load(GOLDEN / "photos.npz")["photos"], np.random.default_rng(5)
    photos = []
    for number in range(count):
        noisy = drawn[number % len(drawn)].astype(int) + generator.integers(-30, 30, drawn[0].shape)
        photo = Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
        stream = io.BytesIO()
        photo.save(stream, "PNG")
        photos.append(stream.getvalue())
    return photos


@contextmanager
def served(folder: Path, limits: Limits = ROOMY, **options: object) -> Iterator[Served]:
    """Serve a model while the block runs."""
    service = Service(ag.Model.load(folder, device="auto"), folder, largest_pixels=limits.pixels)
    with listening("127.0.0.1", 0) as place:
        server = make_server(make_application(service, limits, **options), limits)  # type: ignore[arg-type]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        address = f"http://127.0.0.1:{place.getsockname()[1]}"
        alone = httpx.Limits(max_keepalive_connections=0)  # one that the server closes is not used again
        with httpx.Client(base_url=address, timeout=60, trust_env=False, limits=alone) as client:
            yield Served(address, service, client)
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
