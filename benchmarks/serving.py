"""Requests a second of `agegender serve`, whose requests are predicted together, against one prediction per request.

    python benchmarks/serving.py [--quick] [--json] [--clients N] [--seconds S] [--image-size PIXELS]

A ResNet-34 is trained for one epoch on some drawn faces, so that there is a Learner. Clients in threads of this process
post a JPEG each, again and again, to three servers in turn: ours; a plain FastAPI application that calls fastai's
`Learner.predict` for each request, as tutorials do; and the same with `agegender.Model.predict`. All run under uvicorn
in a thread; what clients cost is in all three. `ratio` is ours over `Learner.predict`, in requests a second.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image

import agegender as ag
from agegender.serving.application import make_application
from agegender.serving.limits import Limits
from agegender.serving.running import listening
from agegender.serving.service import Service
from agegender.writing import to_json

FACES = 60


def trained(folder: Path, image_size: int) -> tuple[ag.Model, list[bytes]]:
    """Return a model with a Learner, and the photos to ask about."""
    faces = ag.Faces.drawn(folder / "faces", FACES).split()
    model = ag.Model.train(faces, image_size=image_size, epochs=1, batch_size=16, weights="none", precision="fp32")
    photos = []
    for path in list(faces.table["path"])[:24]:
        stream = io.BytesIO()
        Image.open(faces.root / path).convert("RGB").save(stream, "JPEG", quality=90)
        photos.append(stream.getvalue())
    return model, photos


def plain_application(predict: Callable[[bytes], Any]) -> FastAPI:
    """Return what one writes in ten minutes: a prediction per request, and a lock, since Learners know no threads."""
    app, lock = FastAPI(), threading.Lock()

    @app.post("/predict")
    def answer(photos: UploadFile) -> Any:
        data = photos.file.read()
        with lock:
            return predict(data)

    return app


def learner_prediction(model: ag.Model, folder: Path) -> Callable[[bytes], Any]:
    """Return a call of `Learner.predict`, which wants a file."""
    learner, place = model.learner, folder / "photo.jpg"

    def predict(data: bytes) -> Any:
        place.write_bytes(data)
        with learner.no_bar(), learner.no_logging():
            return str(learner.predict(str(place))[0])

    return predict


@contextmanager
def running(application: Any) -> Iterator[str]:
    """Serve while the block runs, and give the address."""
    with listening("127.0.0.1", 0) as place:
        server = uvicorn.Server(uvicorn.Config(application, log_level="error", access_log=False, http="h11"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{place.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def requests_per_second(address: str, photos: list[bytes], clients: int, seconds: float) -> float:
    """Return how many requests are answered in a second, after a short start that does not count."""
    counted = [0] * clients
    end = [time.perf_counter() + 1.0]

    def ask(number: int) -> None:
        with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
            while time.perf_counter() < end[0]:
                photo = photos[(number + counted[number]) % len(photos)]
                client.post("/predict", files={"photos": ("a.jpg", photo)}).raise_for_status()
                counted[number] += 1

    for length in (1.0, seconds):
        counted[:] = [0] * clients
        started = time.perf_counter()
        end[0] = started + length
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return sum(counted) / (time.perf_counter() - started)


def measured(clients: int, seconds: float, image_size: int) -> dict[str, Any]:
    """Return the rates of the three servers and their ratios."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model, photos = trained(folder, image_size)
        applications = {
            "served": make_application(Service(model, folder, largest_pixels=10**7), Limits(queued_photos=10_000)),
            "learner_predict": plain_application(learner_prediction(model, folder)),
            "model_predict": plain_application(lambda data: model.predict([data]).to_json()),
        }
        rates = {}
        for name, application in applications.items():
            with running(application) as address:
                rates[name] = requests_per_second(address, photos, clients, seconds)
    return {
        "requests_per_second": rates,
        "ratio": rates["served"] / rates["learner_predict"],
        "ratio_to_model_predict": rates["served"] / rates["model_predict"],
        "clients": clients,
        "seconds": seconds,
        "image_size": image_size,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few seconds for each server, smaller photos")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--clients", type=int, default=16, help="at the same time (default: 16)")
    parser.add_argument("--seconds", type=float, help="for each server (default: 20, quick 5)")
    parser.add_argument("--image-size", type=int, help="(default: 128, quick 64)")
    given = parser.parse_args()
    seconds = given.seconds or (5.0 if given.quick else 20.0)
    result = measured(given.clients, seconds, given.image_size or (64 if given.quick else 128))
    if given.json:
        print(to_json(result))
        return
    for name, rate in result["requests_per_second"].items():
        print(f"{name:16} {rate:8.1f} requests/s")
    print(f"ratio to Learner.predict {result['ratio']:.2f}, to Model.predict {result['ratio_to_model_predict']:.2f}")


if __name__ == "__main__":
    main()
