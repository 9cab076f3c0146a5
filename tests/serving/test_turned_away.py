"""What a server does not take: each time a clear status, and the next good request works."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from golden_model import write_golden
from served import ROOMY, Served, drawn_photos, served

from agegender.serving.limits import Limits, RefusedError
from agegender.serving.waiting_line import WaitingLine

TIGHT = Limits(
    body_bytes=200_000, photos=3, pixels=1_000_000, queued_photos=4, queued_explanations=1, header_seconds=2.0,
    silent_seconds=2.0, slow_seconds=3.0, slowest_bytes=1_000_000, stop_seconds=5,
)  # fmt: skip
GOOD = drawn_photos(1)[0]
START = b'--b\r\nContent-Disposition: form-data; name="photos"; filename="'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_golden(tmp_path_factory.mktemp("served") / "model")


@pytest.fixture(scope="module")
def tight(folder: Path) -> Iterator[Served]:
    with served(folder, TIGHT) as running:
        yield running


@pytest.fixture(autouse=True)
def the_next_good_request_works(tight: Served) -> Iterator[None]:
    yield
    assert tight.predict(GOOD).status_code == 200


def part(name: bytes, data: bytes = GOOD) -> bytes:
    return START + name + b'"\r\n\r\n' + data + b"\r\n"


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("text/plain", GOOD, 415),
        ("image/png", GOOD, 415),
        ("application/x-www-form-urlencoded", b"photos=x", 415),
        ("multipart/form-data", part(b"a") + b"--b--\r\n", 415),
        ("multipart/mixed; boundary=b", part(b"a") + b"--b--\r\n", 415),
        ("multipart/form-data; boundary=b", b"", 400),
        ("multipart/form-data; boundary=b", b"--b--\r\n", 422),
        ("multipart/form-data; boundary=b", b"no form at all", 400),
        ("multipart/form-data; boundary=b", part(b"a")[:-40], 400),
        ("multipart/form-data; boundary=b", part(b"a").replace(b"photos", b"photo") + b"--b--\r\n", 422),
        ("multipart/form-data; boundary=b", b"--b\r\nX: y\r\n\r\nz\r\n--b--\r\n", 422),
        ("multipart/form-data; boundary=b", part(b"a") * 4 + b"--b--\r\n", 413),
        ("multipart/form-data; boundary=b", part(b"a", b"") + b"--b--\r\n", 422),
        ("multipart/form-data; boundary=b", part(b"a", b"a letter") + b"--b--\r\n", 422),
        ("multipart/form-data; boundary=b", part(b"a", gzip.compress(bytes(10_000_000))) + b"--b--\r\n", 422),
        ("multipart/form-data; boundary=b", part(b"a", b"x" * 250_000) + b"--b--\r\n", 413),
    ],
)
def test_a_body_that_is_no_form_of_photos(tight: Served, kind: str, body: bytes, status: int) -> None:
    answer = tight.client.post("/predict", content=body, headers={"content-type": kind})
    assert (answer.status_code, "error" in answer.json()) == (status, True)
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"../../etc/passwd", "passwd"),
        (b"C:\\\\secret\\\\me.jpg", "me.jpg"),
        (b"/etc/", "photo 0"),
        (b"", "photo 0"),
        (b"a" * 3000, "a" * 120),
        (b"<img src=x>.png", "<img src=x>.png"),
        ("größer\x1b[31m.png".encode(), "größer[31m.png"),
        (b"\xff\xfe.png", "\ufffd\ufffd.png"),
    ],
)
def test_tricks_in_names_come_to_nothing(tight: Served, name: bytes, shown: str) -> None:
    kind = {"content-type": "multipart/form-data; boundary=b"}
    answer = tight.client.post("/predict", content=part(name) + b"--b--\r\n", headers=kind)
    assert answer.status_code == 200
    assert answer.json()[0]["path"] == shown


def test_a_packed_body_is_not_unpacked(tight: Served) -> None:
    packed = gzip.compress(bytes(50_000_000))
    headers = {"content-encoding": "gzip", "content-type": "multipart/form-data; boundary=b"}
    assert tight.client.post("/predict", content=packed, headers=headers).status_code == 415


def test_a_photo_of_too_many_pixels_is_a_row_with_its_error(tight: Served) -> None:
    large = drawn_photos(1, side=64)[0]
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.new("L", (2000, 1000)).save(stream, "PNG")
    rows = tight.predict(large, stream.getvalue()).json()
    assert "error" not in rows[0]
    assert rows[1]["error"] == "photo: 2000x1000 pixels; at most 1 megapixels are taken here"
    assert tight.client.post("/explain", files={"photos": stream.getvalue()}).status_code == 422


def test_a_face_that_is_not_there_is_not_explained(tight: Served) -> None:
    answer = tight.client.post("/explain", files={"photos": GOOD}, params={"face": "7"})
    assert (answer.status_code, "no face 7" in answer.json()["error"]) == (422, True)
    assert tight.client.post("/explain", files=[("photos", GOOD)] * 2).status_code == 413


@pytest.mark.parametrize("has_length", [True, False])
def test_a_body_of_100_megabytes_is_turned_away_without_being_held(tight: Served, has_length: bool) -> None:
    pieces = [part(b"a", b"")[:-2], *[bytes(1_000_000)] * 100]
    length = {"content-length": str(sum(map(len, pieces)))} if has_length else {}
    headers = {"content-type": "multipart/form-data; boundary=b", **length}
    answer = tight.client.post("/predict", content=iter(pieces), headers=headers)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /health HT",
        b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Content-Length: 5000\r\n\r\n--b",
    ],
)
def test_a_sender_that_stops_is_cut_off(tight: Served, sent: bytes) -> None:
    place = urlsplit(tight.address)
    with socket.create_connection((place.hostname, place.port), timeout=10) as connection:
        connection.sendall(sent)
        started = time.monotonic()
        answer = b""
        while data := connection.recv(1000):
            answer += data
        assert time.monotonic() - started < 9
    assert answer == b"" or answer.startswith(b"HTTP/1.1 408")
    assert (b"408" in answer) == sent.startswith(b"POST")


def test_a_sender_that_drips_is_cut_off(tight: Served) -> None:
    def drops() -> Iterator[bytes]:
        yield START
        for _ in range(100):
            time.sleep(0.1)
            yield b"a"

    headers = {"content-type": "multipart/form-data; boundary=b"}
    started = time.monotonic()
    try:
        status = tight.client.post("/predict", content=drops(), headers=headers).status_code
    except OSError:
        status = 408
    except Exception as error:  # what httpx makes of a connection that was closed on it
        assert type(error).__module__ == "httpx"  # noqa: PT017
        status = 408
    assert status == 408
    assert time.monotonic() - started < 9.5


def test_what_would_not_fit_the_line_is_told_when_to_come_again(tight: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr("agegender.serving.service.face_rows", _held(go_on))
    with ThreadPoolExecutor(8) as clients:
        asked = [clients.submit(tight.predict, GOOD) for _ in range(8)]
        while not any(one.done() for one in asked):
            time.sleep(0.02)
        refused = next(one.result() for one in asked if one.done())
        assert (refused.status_code, int(refused.headers["retry-after"]) >= 1) == (429, True)
        assert tight.client.get("/health").status_code == 200
        go_on.set()
        statuses = {one.result().status_code for one in asked}
    assert statuses == {200, 429}


def _held(go_on: threading.Event) -> object:
    from agegender.model.face_rows import face_rows

    def rows(*arguments: object) -> object:
        go_on.wait(10)
        return face_rows(*arguments)  # type: ignore[arg-type]

    return rows


def test_a_failure_of_ours_tells_nothing_and_spoils_no_other_answer(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with served(folder) as running:
        monkeypatch.setattr("agegender.serving.service.face_rows", _failing)
        answer = running.predict(GOOD)
        assert (answer.status_code, answer.json()) == (500, {"error": "the server failed; its log says more."})
        monkeypatch.undo()
        assert running.predict(GOOD).status_code == 200


def _failing(*_: object) -> object:
    raise RuntimeError("/secret/place")


def test_only_the_names_of_this_server_are_answered(tight: Served) -> None:
    for host in ("evil.example", "", "127.0.0.1.evil.example", "[::1"):
        assert tight.client.get("/health", headers={"host": host}).status_code in (400, 421)
    assert tight.client.get("/health", headers={"host": "localhost:99"}).status_code == 200
    assert tight.client.get("/health", headers={"host": "[::1]:99"}).status_code == 200


def test_pages_of_other_servers_may_not_ask(tight: Served) -> None:
    for origin in ("http://evil.example", "null"):
        answer = tight.client.post("/predict", files={"photos": GOOD}, headers={"origin": origin})
        assert answer.status_code == 403
    own = {"origin": tight.address}
    assert tight.client.post("/predict", files={"photos": GOOD}, headers=own).status_code == 200


def test_a_token_is_asked_for_everywhere_but_on_the_empty_page(folder: Path) -> None:
    token = "0123456789abcdef"
    with served(folder, ROOMY, token=token, hosts=["faces.example.org"]) as running:
        for path in ("/", "/assets/serving.js", "/health", "/ready"):
            assert running.client.get(path).status_code == 200
        for given in ("", "Bearer", "Bearer wrong", f"Basic {token}", f"Bearer {token}0", "Bearer größer".encode()):
            answer = running.client.post("/predict", files={"photos": GOOD}, headers={"authorization": given})
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
        for path in ("/model", "/metrics", "/docs", "/openapi.json", "/nothing", f"/model?token={token}"):
            assert running.client.get(path).status_code == 401
        headers = {"authorization": f"Bearer {token}", "host": "faces.example.org"}
        assert running.client.post("/predict", files={"photos": GOOD}, headers=headers).status_code == 200


def test_bodies_in_memory_have_a_limit_together(folder: Path) -> None:
    limits = replace(ROOMY, held_bytes=1_000)
    with served(folder, limits) as running:
        assert running.predict(GOOD).status_code == 429


# The waiting line by itself.


def test_what_came_while_the_worker_was_busy_is_its_next_lot() -> None:
    lots: list[list[int]] = []

    def work(jobs: Sequence[int]) -> list[int]:
        lots.append(list(jobs))
        time.sleep(0.05)
        return [10 * job for job in jobs]

    async def ask() -> list[int]:
        line = WaitingLine[int, int](work, longest=10, together=4, seconds=10)
        line.start()
        first = asyncio.create_task(line.ask(0))
        await asyncio.sleep(0.02)
        answers = await asyncio.gather(first, *(line.ask(job) for job in range(1, 7)))
        await line.stop()
        return answers

    assert asyncio.run(ask()) == [0, 10, 20, 30, 40, 50, 60]
    assert lots == [[0], [1, 2, 3, 4], [5, 6]]


def test_one_job_that_fails_spoils_no_other_and_one_given_up_is_not_done() -> None:
    done: list[int] = []

    def work(jobs: Sequence[int]) -> list[int]:
        time.sleep(0.05)
        if 2 in jobs:
            raise RefusedError(422, "two")
        done.extend(jobs)
        return list(jobs)

    async def ask() -> list[object]:
        line = WaitingLine[int, int](work, longest=10, together=4, seconds=10)
        line.start()
        first = asyncio.create_task(line.ask(0))
        await asyncio.sleep(0.01)
        gone = asyncio.create_task(line.ask(9))
        rest = [asyncio.create_task(line.ask(job)) for job in (1, 2, 3)]
        await asyncio.sleep(0.01)
        gone.cancel()
        answers = await asyncio.gather(first, *rest, return_exceptions=True)
        await line.stop()
        return answers

    zero, one, two, three = asyncio.run(ask())
    assert (zero, one, three) == (0, 1, 3)
    assert isinstance(two, RefusedError)
    assert done == [0, 1, 3]


def test_a_full_line_and_a_slow_answer_are_refused() -> None:
    async def ask() -> list[int]:
        line = WaitingLine[int, int](
            lambda jobs: [time.sleep(0.3) or 0 for _ in jobs], longest=2, together=1, seconds=0.1
        )
        line.start()
        answers = await asyncio.gather(*(line.ask(0) for _ in range(4)), return_exceptions=True)
        await line.stop()
        return [one.status for one in answers if isinstance(one, RefusedError)]

    assert sorted(asyncio.run(ask())) == [429, 429, 503, 503]
