"""Whole commands on damaged artefacts: each ends well or with one line and exit code 2, and never with a traceback.

Most run in this process, one after the other, so that a thousand are a matter of minutes, some in forks of it.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from golden_model import write_golden
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from agegender.data.faces_table import FacesTable, make_table, write_faces
from agegender.model.model_folder import CARD_FILE

from .conftest import examples
from .edited_json import edited, places
from .test_cards import edited_cards
from .test_photos import near_photos
from .test_tables import damaged, written

RUN = {"run_id": "0123456789abcdef", "plan": {"name": "m", "heads": ["age"]}, "choices": {}, "faces_fingerprint": "x"}
ON_CPU = ["--device", "cpu", "--precision", "fp32"]
COMMANDS = (
    *("photo", "photo", "photo", "card", "card", "card report", "card report", "table", "table", "table", "mapped"),
    *("faces", "faces", "faces", "prepare", "prepare", "compare", "compare", "card evaluate", "train", "resume"),
    *("explain photo", "card explain"),
)


LOADED = (
    *("agegender.api.model", "agegender.api.explaining", "agegender.api.comparison", "agegender.model.training"),
    *("agegender.pages.report_set", "agegender.pages.lime_page", "agegender.pages.dataset_page"),
    *("agegender.data.preparing", "agegender.explanation.superpixels", "agegender.model.tensorboard"),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a whole model, one whose card is to be edited, photos and a table of them."""
    for name in LOADED:  # once, and not in each fork
        importlib.import_module(name)
    root = tmp_path_factory.mktemp("commands")
    photos = root / "photos"
    photos.mkdir()
    for number in range(6):
        noise = np.random.default_rng(number).integers(0, 255, (48, 48, 3), dtype=np.uint8)
        Image.fromarray(noise).save(photos / f"{number}.jpg")
    rows = [
        {"path": f"{n}.jpg", "source": "csv", "age_years": 20.0 + n, "gender": ("male", "female")[n % 2]}
        | {"split": ("train", "train", "valid", "valid", "test", "test")[n]}
        for n in range(6)
    ]
    for name in ("whole", "edited"):
        folder = root / "models" / name
        write_golden(folder, "predictions.parquet")
        write_faces(FacesTable(make_table(rows), photos), folder / "faces.parquet")
    return root


def words_of(kind: str, data: st.DataObject, root: Path) -> list[str]:
    """Draw one damaged artefact, write it, and return the command that meets it."""
    whole, other, out = str(root / "models" / "whole"), str(root / "models" / "edited"), root / "out"
    table, photo = root / "photos" / "table.csv", root / "damaged.jpg"
    good = str(root / "photos" / "0.jpg")
    if kind.startswith("card"):
        (root / "models" / "edited" / CARD_FILE).write_text(json.dumps(data.draw(edited_cards)))
    elif "photo" in kind:
        photo.write_bytes(data.draw(near_photos()))
    elif kind == "resume":
        (root / "models" / "m.unfinished").mkdir(exist_ok=True)
        (root / "models" / "m.unfinished" / "state.safetensors").write_bytes(data.draw(st.binary(max_size=40)))
        run = json.dumps(data.draw(edited(RUN, places(RUN))))
        (root / "models" / "m.unfinished" / "run.json").write_text(run)
    else:
        table.write_bytes(data.draw(st.one_of(damaged(), written())))
    models = ["--models-dir", str(root / "models")]
    quick = ["--weights", "none", "--body", "test_efficientnet", "--image-size", "32", "--epochs", "1", "--no-report"]
    lime = ["--samples", "4", "--out", str(out / "explained"), *ON_CPU]
    maps = ["--columns", data.draw(st.sampled_from(["predicted_age_years=age_years", "age_years=gender", "=", "a=b"]))]
    return {
        "photo": ["predict", str(photo), good, "--model", whole, "--out", str(out / "p.csv"), *ON_CPU],
        "card": ["predict", good, "--model", other, *ON_CPU],
        "card report": ["report", "--model", other, "--out", str(out)],
        "card evaluate": ["evaluate", "--model", other, *ON_CPU],
        "card explain": ["explain", good, "--model", other, *lime],
        "table": ["report", "--predictions", str(table), "--images", str(root / "photos"), "--out", str(out)],
        "mapped": ["report", "--predictions", str(table), *maps, "--out", str(out)],
        "faces": ["evaluate", "--model", whole, "--faces", str(table), "--split", "all", *ON_CPU],
        "prepare": [
            "prepare", "--source", "csv", "--data", str(root / "photos"), "--option", "table=table.csv",
            "--out", str(out / "f.parquet"), "--report", str(out / "f.html"), "--cache", str(out / "hashes"),
        ],
        "compare": ["compare", whole, str(table), "--split", "all", "--out", str(out)],
        "train": ["train", "--faces", str(table), "--name", "m", *quick, *ON_CPU, *models, "--runs-dir", str(out)],
        "resume": ["train", "--resume", "m", *models, "--no-report", "--runs-dir", str(out)],
        "explain photo": ["explain", str(photo), "--model", whole, *lime],
    }[kind]  # fmt: skip


def run(words: list[str]) -> tuple[int, str]:
    """Run a command in this process; return its exit code and what it said on stderr."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = importlib.import_module(f"agegender.{words[0]}").main(words[1:])
        except SystemExit as stopped:
            code = int(stopped.code or 0)
    return code, said.getvalue()


def run_apart(words: list[str]) -> tuple[int, str]:
    """Run a command in a fork of this process, which ends after a minute; return its exit code and what it said."""
    with tempfile.TemporaryFile("w+") as file:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                signal.alarm(60)
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                os.dup2(file.fileno(), 2)
                sys.stderr = file
                code = importlib.import_module(f"agegender.{words[0]}").main(words[1:])
            except SystemExit as stopped:
                code = int(stopped.code or 0)
            except BaseException:
                traceback.print_exc(file=file)
            finally:
                file.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        file.seek(0)
        return os.waitstatus_to_exitcode(status), file.read()


def check(place: Path, data: st.DataObject, how: Callable[[list[str]], tuple[int, str]]) -> None:
    words = words_of(data.draw(st.sampled_from(COMMANDS)), data, place)
    here = os.getcwd()  # noqa: PTH109
    os.chdir(place)
    try:
        code, said = how(words)
    finally:
        os.chdir(here)
        for name in ("out", "models/m", "models/m.unfinished"):
            shutil.rmtree(place / name, ignore_errors=True)
    assert code in (0, 2), said
    assert "Traceback" not in said
    if code == 2:
        assert said.splitlines()[-1].startswith(f"agegender {words[0]}: ") or "help: agegender" in said


@pytest.mark.filterwarnings("ignore")
@examples(12, 1_050)
@given(data=st.data())
def test_a_command_ends_well_or_in_words(place: Path, data: st.DataObject) -> None:
    check(place, data, run)


@pytest.mark.filterwarnings("ignore")
@examples(3, 200)
@given(data=st.data())
def test_a_process_ends_well_or_in_words(place: Path, data: st.DataObject) -> None:
    check(place, data, run_apart)
