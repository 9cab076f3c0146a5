"""Requests a second of `agegender serve`, whose requests are predicted together, against one prediction per request.

    python benchmarks/serving.py [--quick] [--json] [--clients N] [--seconds S] [--image-size PIXELS]
    python benchmarks/serving.py --load [--photos FOLDER] [--quick] [--json] [--clients N] [--seconds S]

A ResNet-34 is trained for one epoch on some drawn faces, so that there is a Learner. Clients in threads of this process
post a JPEG each, again and again, to three servers in turn: ours; a plain FastAPI application that calls fastai's
`Learner.predict` for each request, as tutorials do; and the same with `agegender.Model.predict`. All run under uvicorn
in a thread; what clients cost is in all three. `ratio` is ours over `Learner.predict`, in requests a second.

With --load it serves the model that comes with agegender, as `agegender serve` does in a process of its own, to 50
clients for two minutes. Each request has one to four photos, a tenth of them also bytes that are no photo. Every row is
compared with the answer that its photo got alone before. It says how many requests failed, were turned away or mixed
up, how long they took, and how much memory the server held, every second.
"""

from __future__ import annotations

import argparse
import io
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image

import agegender as ag
from agegender.photos.finding import photo_names
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


@dataclass
class Asked:
    """What became of the requests."""

    seconds: list[float] = field(default_factory=list)
    photos: int = 0
    turned_away: int = 0
    failed: int = 0
    mixed: int = 0
    largest_difference: float = 0.0


def loaded(clients: int, seconds: float, photos: list[bytes]) -> dict[str, Any]:
    """Return what became of the requests of many clients, and of the server's memory."""
    command = [sys.executable, "-m", "agegender", "serve", "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        address = next(found[0] for line in server.stderr if (found := re.search(r"http://\S+", line)))
        with httpx.Client(base_url=address, timeout=120, trust_env=False) as client:
            told = [(photo, post(client, [photo])) for photo in photos]
        photos = [photo for photo, answer in told if answer.status_code == 200]
        alone = [answer.json()[0] for _, answer in told if answer.status_code == 200]
        asked = Asked()
        end = time.perf_counter() + seconds
        threads = [
            threading.Thread(target=ask_until, args=(end, address, photos, alone, random.Random(number), asked))
            for number in range(clients)
        ]
        for thread in threads:
            thread.start()
        megabytes = []
        while any(thread.is_alive() for thread in threads):
            megabytes.append(held_megabytes(server.pid))
            time.sleep(1.0)
    finally:
        server.terminate()
        stopped = server.wait(60)
    took = sorted(asked.seconds)
    return {
        "clients": clients, "seconds": seconds, "requests": len(took), "photos": asked.photos, "failed": asked.failed,
        "turned_away": asked.turned_away, "mixed": asked.mixed, "largest_difference": asked.largest_difference,
        "median_seconds": statistics.median(took), "seconds_95": took[int(0.95 * len(took))], "longest": took[-1],
        "megabytes": {"most": max(megabytes), "every_ten_seconds": [round(one) for one in megabytes[::10]]},
        "exit_status": stopped,
    }  # fmt: skip


def held_megabytes(process: int) -> float:
    """Return the memory of a process, as Linux tells it."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def post(client: httpx.Client, photos: list[bytes]) -> httpx.Response:
    """Return the answer to a request."""
    return client.post("/predict", files=[("photos", (f"{place}.jpg", data)) for place, data in enumerate(photos)])


def ask_until(
    end: float, address: str, photos: list[bytes], alone: list[Any], generator: random.Random, asked: Asked
) -> None:
    """Ask again and again, and compare; a list and numbers are added to under the interpreter's lock."""
    with httpx.Client(base_url=address, timeout=120, trust_env=False) as client:
        while time.perf_counter() < end:
            places = generator.choices(range(len(photos)), k=generator.randint(1, 4))
            broken = [b"no photo"] if generator.random() < 0.1 else []
            started = time.perf_counter()
            try:
                answer = post(client, [*(photos[place] for place in places), *broken])
            except httpx.HTTPError:
                asked.failed += 1
                continue
            asked.seconds.append(time.perf_counter() - started)
            if answer.status_code == 429:
                asked.turned_away += 1
            elif answer.status_code != 200:
                asked.failed += 1
            else:
                asked.photos += len(places)
                compare(answer.json(), [alone[place] for place in places], len(broken), asked)


def compare(rows: list[dict[str, Any]], wanted: list[dict[str, Any]], broken: int, asked: Asked) -> None:
    """Count an answer whose rows are not those of its photos."""
    known = rows[: len(wanted)]
    is_right = len(rows) == len(wanted) + broken and all("error" in row for row in rows[len(wanted) :])
    for place, (row, one) in enumerate(zip(known, wanted, strict=False)):
        words = [key for key in row if key != "path" and not isinstance(row[key], float)]
        is_right &= row["path"] == f"{place}.jpg" and row.keys() == one.keys()
        is_right = is_right and all(row[key] == one[key] for key in words)
        numbers = [abs(row[key] - one[key]) for key in row if isinstance(row[key], float)] if is_right else []
        is_right &= max(numbers, default=0.0) <= 1e-3
        asked.largest_difference = max([asked.largest_difference, *numbers])
    asked.mixed += not is_right


def photos_of(folder: Path | None, count: int = 60) -> list[bytes]:
    """Return JPEG files: some of a folder, or drawn ones."""
    if folder is not None:
        paths = [Path(path) for path in photo_names([folder])]
        return [path.read_bytes() for path in random.Random(7).sample(paths, min(count, len(paths)))]
    with tempfile.TemporaryDirectory() as temporary:
        faces = ag.Faces.drawn(Path(temporary) / "faces", count)
        return [(faces.root / path).read_bytes() for path in faces.table["path"]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few seconds for each server, smaller photos")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--clients", type=int, help="at the same time (default: 16, with --load 50)")
    parser.add_argument(
        "--seconds", type=float, help="for each server (default: 20, quick 5; with --load 120, quick 10)"
    )
    parser.add_argument("--load", action="store_true", help="the shipped model under many clients")
    parser.add_argument(
        "--photos", metavar="FOLDER", type=Path, help="with --load: of these photos (default: drawn ones)"
    )
    parser.add_argument("--image-size", type=int, help="(default: 128, quick 64)")
    given = parser.parse_args()
    if given.load:
        seconds = given.seconds or (10.0 if given.quick else 120.0)
        print(to_json(loaded(given.clients or 50, seconds, photos_of(given.photos))))
        return
    seconds = given.seconds or (5.0 if given.quick else 20.0)
    result = measured(given.clients or 16, seconds, given.image_size or (64 if given.quick else 128))
    if given.json:
        print(to_json(result))
        return
    for name, rate in result["requests_per_second"].items():
        print(f"{name:16} {rate:8.1f} requests/s")
    print(f"ratio to Learner.predict {result['ratio']:.2f}, to Model.predict {result['ratio_to_model_predict']:.2f}")


if __name__ == "__main__":
    main()
