"""What a server answers equals what the library says, whoever else asks at the same time; and nothing of it is kept."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from bad_photos import UNREADABLE, write_bad_photos
from golden_model import write_golden
from served import Served, drawn_photos, served

import agegender as ag
from agegender import serve
from agegender.errors import UsageError
from agegender.heads import AGE, Classification
from agegender.serving.guard import SECURITY_HEADERS
from agegender.serving.service import Service

ETHNICITY = Classification("ethnicity", "ethnicity", ("A", "B"), is_sensitive=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_golden(tmp_path_factory.mktemp("served") / "model")


@pytest.fixture(scope="module")
def one(folder: Path) -> Iterator[Served]:
    with served(folder) as running:
        yield running


def same(rows: list[dict], expected: list[dict]) -> bool:
    """Whether rows agree to 1e-3 years and 1e-4 in probabilities, whatever their files are called."""
    assert len(rows) == len(expected)
    for row, wanted in zip(rows, expected, strict=True):
        assert {*row} - {"path"} == {*wanted} - {"path"}
        for name, value in wanted.items():
            if isinstance(value, float):
                assert row[name] == pytest.approx(value, abs=1e-4 if "probability" in name else 1e-3)
            elif name not in ("path", "error"):
                assert row[name] == value
    return True


def rows_of(model: ag.Model, photos: list[bytes], **options: object) -> list[dict]:
    from agegender.audit.predictions_files import json_rows

    return json_rows(model.predict(photos, **options))


def test_a_served_answer_equals_a_predicted_one(one: Served) -> None:
    photos = drawn_photos(5)
    answer = one.predict(*photos)
    assert answer.status_code == 200
    assert same(answer.json(), rows_of(one.service.model, photos))
    assert [row["path"] for row in answer.json()] == [f"{place}.png" for place in range(5)]
    for options in ({"faces_in_photo": "all"}, {"faces_in_photo": "largest"}, {"is_cropped": True}):
        sent = {name.removeprefix("is_"): str(value).lower() for name, value in options.items()}
        assert same(one.predict(*photos, **sent).json(), rows_of(one.service.model, photos, **options))


def test_clients_at_the_same_time_get_their_own_answers(one: Served) -> None:
    photos = drawn_photos(24)
    expected = rows_of(one.service.model, photos)

    def ask(start: int) -> bool:
        answer = one.predict(*photos[start : start + 3], **({"cropped": "true"} if start % 2 else {}))
        return same(answer.json(), expected[start : start + 3])

    with ThreadPoolExecutor(8) as clients:
        assert all(clients.map(ask, list(range(22)) * 3))
    together = one.client.get("/metrics").text
    lots = next(
        float(line.split()[-1]) for line in together.splitlines() if line.startswith("agegender_lot_photos_count")
    )
    asked = next(line for line in together.splitlines() if 'requests_total{path="/predict",status="200"}' in line)
    assert lots < float(asked.split()[-1])  # some were answered together


def test_every_kind_of_photo_gets_a_clear_answer(one: Served, tmp_path: Path) -> None:
    paths, good = write_bad_photos(tmp_path / "zoo"), drawn_photos(1)[0]
    names = list(paths)
    for kind in names:
        answer = one.predict(paths[kind].read_bytes())
        assert answer.status_code == (422 if kind in UNREADABLE else 200), kind
        rows = answer.json()["rows"] if kind in UNREADABLE else answer.json()
        assert ("error" in rows[0]) == (kind in UNREADABLE)
        assert str(tmp_path) not in answer.text
        assert one.predict(good).status_code == 200
    mixed = one.predict(*[paths[kind].read_bytes() for kind in names]).json()
    assert ["error" in row for row in mixed] == [kind in UNREADABLE for kind in names]


def test_an_answer_is_explained_with_what_was_loaded(folder: Path, tmp_path: Path) -> None:
    """Files that change while a server runs change nothing but what /ready says; the next request works."""
    copy, photos = Path(shutil.copytree(folder, tmp_path / "copy")), drawn_photos(2)
    with served(copy) as running:
        before = running.predict(*photos).json()
        assert running.client.get("/ready").json()["is_current"] is True
        data = bytearray((copy / "weights.safetensors").read_bytes())
        data[-2000:] = np.random.default_rng(0).bytes(2000)
        (copy / "weights.safetensors").write_bytes(bytes(data))
        (copy / "model.json").write_text("{}")
        ready = running.client.get("/ready")
        assert (ready.status_code, ready.json()["is_current"]) == (200, False)
        assert "have changed" in ready.json()["notice"]
        assert running.predict(*photos).json() == before
        told = running.client.post("/explain", files={"photos": ("a.png", photos[0])}).json()
        shutil.rmtree(copy)
        assert running.predict(*photos).json() == before
    assert told["predicted_age_years"] == pytest.approx(before[0]["predicted_age_years"], abs=1e-3)
    assert {"age", "gender"} == set(told["heads"])
    assert told["heads"]["age"]["picture"].startswith("data:image/webp;base64,")
    assert told["heads"]["age"]["verdict"]


def test_an_exported_model_is_served_and_explained_by_its_own_answers(folder: Path, tmp_path: Path) -> None:
    model, photos = ag.Model.load(folder, device="cpu", precision="fp32"), drawn_photos(3)
    model.export(tmp_path / "model.onnx")
    with served(tmp_path / "model.onnx") as running:
        assert same(running.predict(*photos).json(), rows_of(model, photos))
        told = running.client.post("/explain", files={"photos": ("a.png", photos[0])}).json()
        expected = model.score_images(_fitted(model, photos[0])).cpu().numpy()[0]
    assert [head["value"] for head in told["heads"].values()] == pytest.approx(expected.tolist(), abs=1e-3)


def _fitted(model: ag.Model, photo: bytes) -> object:
    import torch

    from agegender.photos.reading import as_photo

    return torch.from_numpy(model.fit_photo(as_photo(photo))).permute(2, 0, 1)[None]


def test_nothing_of_a_photo_reaches_the_disk_or_the_log(
    one: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    opened = []
    watched = [True]

    def watch(event: str, arguments: tuple) -> None:
        if watched[0] and event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            opened.append(arguments[0])

    sys.addaudithook(watch)
    large = drawn_photos(1, side=1800)[0]  # beyond the megabyte at which forms are usually spooled
    assert len(large) > 1_100_000
    answer = one.client.post("/predict", files={"photos": ("secret-name.png", large)})
    watched[0] = False
    assert answer.status_code == 200
    assert opened == []
    assert list(tmp_path.iterdir()) == []
    assert "secret-name" not in "".join(capfd.readouterr())
    assert "secret-name" not in one.client.get("/metrics").text


def test_pages_ask_nothing_of_anybody_else_and_carry_a_strict_policy(one: Served) -> None:
    for path in ("/", "/docs", "/assets/serving.js", "/assets/serving.css", "/assets/page.css", "/model", "/health"):
        answer = one.client.get(path)
        assert answer.status_code == 200
        assert {name: answer.headers[name] for name in SECURITY_HEADERS if name != "cache-control"} == {
            name: value for name, value in SECURITY_HEADERS.items() if name != "cache-control"
        }
        assert "server" not in answer.headers
        assert not {name for name in answer.headers if name.startswith("access-control")}
        assert "http://" not in answer.text.replace("http://127.0.0.1:8000/predict", "")
        assert "https://" not in answer.text
        assert str(Path(__file__).parent) not in answer.text
    policy = SECURITY_HEADERS["content-security-policy"]
    assert "unsafe" not in policy
    assert "<script>" not in one.client.get("/").text + one.client.get("/docs").text


def test_the_card_of_a_served_model_says_what_it_is_not_for(one: Served) -> None:
    told = one.client.get("/model").json()
    assert [head["name"] for head in told["heads"]] == ["age", "gender"]
    assert any("Deciding anything about a person" in words for words in told["not_for"])
    assert told["weaknesses"]["status"] == "unknown"
    assert told["weaknesses"]["groups"]["gender"] == {"predicted": "predicted_gender"}


def test_findings_of_the_card_are_told_and_else_worked_out_from_the_predictions(folder: Path) -> None:
    from agegender.serving.known_weaknesses import Weaknesses

    model = ag.Model.load(folder, device="cpu")
    finding = {"sentence": "Worse.", "columns": ["gender"], "values": ["female"], "n": 40}
    model.card["findings"] = [{**finding, "size": 3.0}]
    assert Weaknesses(model).document()["findings"] == [finding]
    del model.card["findings"]
    generator = np.random.default_rng(0)
    import pandas as pd

    ages = generator.uniform(20, 60, 400)
    genders = np.array(["female", "male"] * 200)
    wrong = np.where(genders == "female", 12.0, 1.0) * generator.normal(1, 0.1, 400)
    model.predictions = pd.DataFrame(
        {"age_years": ages, "predicted_age_years": ages + wrong, "gender": genders, "predicted_gender": genders}
    )
    known = Weaknesses(model)
    assert known.document()["status"] == "being worked out"
    for thread in threading.enumerate():
        if thread.name == "audit":
            thread.join()
    told = known.document()
    assert told["status"] == "known"
    assert ["female"] in [list(one["values"]) for one in told["findings"]]


def test_a_model_with_a_sensitive_head_is_not_served(folder: Path) -> None:
    model = ag.Model.load(folder, device="cpu")
    model.heads = (AGE, ETHNICITY)
    with pytest.raises(UsageError, match="is not served"):
        Service(model, folder, largest_pixels=1_000_000)


def test_schemathesis_finds_no_failure_of_the_server(folder: Path) -> None:
    """Short here; benchmarks and docs say how it is run for long."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import schemathesis

        with served(folder) as running:
            schema = schemathesis.openapi.from_url(f"{running.address}/openapi.json")

            for operation in schema.get_all_operations():
                _asked_of(operation.ok())
            assert running.predict(drawn_photos(1)[0]).status_code == 200


def _asked_of(operation: object) -> None:
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.checks import not_a_server_error

    @given(case=operation.as_strategy())
    @settings(
        max_examples=5, phases=[Phase.generate], suppress_health_check=list(HealthCheck), deadline=None,
        derandomize=True, database=None,
    )  # fmt: skip
    def ask(case: object) -> None:
        case.call_and_validate(checks=[not_a_server_error])

    ask()


@pytest.mark.slow
def test_a_server_told_to_stop_answers_what_is_in_flight(folder: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "agegender.serve", "--model", str(folder), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = next(line for line in process.stderr if line.startswith("serving"))
        address = said.split(" on ")[1].split()[0]
        import httpx

        with httpx.Client(base_url=address, timeout=60, trust_env=False) as client, ThreadPoolExecutor(1) as other:
            assert client.get("ready").json()["ready"] is True
            photos = [("photos", ("a.png", photo)) for photo in drawn_photos(16, side=600)]
            asked = other.submit(client.post, "predict", files=photos)
            while not asked.running():
                pass
            threading.Event().wait(0.3)
            process.send_signal(signal.SIGTERM)
            assert len(asked.result().json()) == 16
        out, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert '"address"' in out
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "variable", "words"),
    [
        (["--host", "0.0.0.0"], "", "needs a token"),
        (["--host", "0.0.0.0"], "0123456789abcdef", "--allowed-host"),
        (["--host", "10.0.0.1"], "short", "at least 16"),
        (["--token", "nowhere"], "", "cannot be read"),
        (["--port", "99999"], "", "out of range"),
        (["--max-photos", "300"], "", "--queue"),
        (["--max-megabytes", "0"], "", "out of range"),
        (["--device", "gpu"], "", "no such device"),
        (["--host", "192.0.2.1", "--allowed-host", "x"], "0123456789abcdef", "--port"),
        (["--model", "nowhere", "--port", "0"], "", "no model folder"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(
    arguments: list[str], variable: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(serve.TOKEN_VARIABLE, variable)
    assert serve.main(arguments) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.strip().splitlines()) == 1
    assert "0123456789abcdef" not in said


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(serve, "find_spec", lambda name: None if name == "fastapi" else name)
    assert serve.main([]) == 2
    assert 'fastapi: pip install "agegender[serve]"' in capsys.readouterr().err
