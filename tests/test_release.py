"""What is released: the wheel and the source archive hold what they promise, and the wheel works by itself."""

from __future__ import annotations

import email
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pandas as pd
import pytest
from golden_model import GOLDEN
from PIL import Image
from test_documents import START, blocks_of

import agegender
from agegender import console
from agegender.__main__ import main
from agegender.console import Result, command_parser, execute
from agegender.installation import unmet_requirements
from agegender.settings import VERSION

ROOT = Path(__file__).parents[1]
NOBODY = 65534
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def released() -> Iterator[Path]:
    """A folder that everybody may read, with both archives, what the wheel unpacks to, and a photo."""
    place = Path(mkdtemp(prefix="agegender-released-"))
    place.chmod(0o755)
    copy = place / "source"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, tracked.split("\0")):
        if not name.startswith(("tests/", "docs/", "benchmarks/", "reports/")) and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(place), str(copy)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    zipfile.ZipFile(next(place.glob("*.whl"))).extractall(place / "installed")
    Image.fromarray(np.load(GOLDEN / "photos.npz")["photos"][0]).resize((200, 200)).save(place / "photo.png")
    yield place
    shutil.rmtree(place)


def run(place: Path, *command: str, before: tuple[str, ...] = (), **environment: str) -> subprocess.CompletedProcess:
    """Run a command of the unpacked wheel in an empty folder."""
    return run_python(place, "-m", "agegender", *command, before=before, **environment)


def run_python(
    place: Path, *words: str, before: tuple[str, ...] = (), **environment: str
) -> subprocess.CompletedProcess:
    """Run Python with the unpacked wheel in an empty folder."""
    folder = Path(mkdtemp(prefix="agegender-empty-"))
    folder.chmod(0o777)
    known = {"PATH": os.environ["PATH"], "PYTHONPATH": str(place / "installed"), "OMP_NUM_THREADS": "1"} | environment
    arguments = [*before, sys.executable, *words]
    done = subprocess.run(arguments, cwd=folder, env=known, capture_output=True, text=True, check=False)
    shutil.rmtree(folder)
    return done


def as_nobody() -> tuple[str, ...]:
    """What to write before a command to run it as an ordinary user without a network; empty where none can be."""
    alone = ("unshare", "--net", "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    tried = [*alone, sys.executable, "-c", "import onnxruntime"] if shutil.which("unshare") else ["false"]
    return () if subprocess.run(tried, capture_output=True, check=False).returncode else alone


def test_the_archives_hold_all_that_the_package_reads(released: Path) -> None:
    wheel = set(zipfile.ZipFile(next(released.glob("*.whl"))).namelist())
    with tarfile.open(next(released.glob("*.tar.gz"))) as opened:
        archive = {name.partition("/")[2] for name in opened.getnames()}
    sources = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "agegender").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert sources - wheel == set()
    assert sources - archive == set()
    assert {"agegender/py.typed", "agegender/shipped/model.onnx", "agegender/pages/templates/base.html"} <= wheel


def test_the_wheel_states_its_version_and_both_licences(released: Path) -> None:
    wheel = zipfile.ZipFile(next(released.glob("*.whl")))
    stated = email.message_from_bytes(wheel.read(next(n for n in wheel.namelist() if n.endswith("/METADATA"))))
    assert stated["Version"] == VERSION
    assert stated["License-Expression"] == "MIT AND LicenseRef-AgeGender-Weights"
    assert set(stated.get_all("License-File")) == {"LICENSE", "licenses/LicenseRef-AgeGender-Weights.txt"}
    assert run(released, "--version").stdout == f"agegender {VERSION}\n"


def test_the_version_is_the_same_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "agegender.settings.VERSION"}
    citation = dict(re.findall(r"^(version|date-released): (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE))
    released = re.findall(r"^## \[(\d\S*)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[0] == (citation["version"], citation["date-released"]) == (VERSION, released[0][1])
    assert sorted(released, key=lambda one: tuple(map(int, one[0].split("."))), reverse=True) == released
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"agegender {agegender.__version__}\n" == f"agegender {VERSION}\n"


def test_the_changelog_keeps_to_its_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text.index("## [Unreleased]") < text.index("## [0")
    parts = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) <= parts
    lines = re.findall(r"^- (.+(?:\n  .+)*)$", text, re.MULTILINE)
    assert len(lines) == len(set(lines)) > 150


def test_the_wheel_predicts_right_away_with_the_model_inside(released: Path) -> None:
    done = run(released, "predict", str(released / "photo.png"), "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert 0 <= row["age_low_years"] <= row["predicted_age_years"] <= row["age_high_years"] <= 116
    assert "agegender-tiny" in done.stderr


def test_the_wheel_works_for_a_user_without_home_network_and_the_right_to_write_to_it(released: Path) -> None:
    if not (alone := as_nobody()):
        pytest.skip("this machine lets nobody be an ordinary user without a network")
    done = run(released, "predict", str(released / "photo.png"), "--json", before=alone, HOME="/nonexistent")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["predicted_age_years"] > 0
    table = pd.DataFrame({"age_years": range(20, 60), "predicted_age_years": range(22, 62), "gender": ["a", "b"] * 20})
    table.to_csv(released / "theirs.csv", index=False)
    done = run(released, "report", "--predictions", str(released / "theirs.csv"), before=alone, HOME="/nonexistent")
    assert done.returncode == 0, done.stderr
    assert "bias.html" in done.stdout


def test_the_ten_minutes_of_start_are_those_of_the_wheel_alone(released: Path) -> None:
    """Each line as the page has it, made smaller as its comments say, by an ordinary user without home and network."""
    script = ["from agegender.__main__ import main"]
    for block in blocks_of(START):
        if block.how.startswith("test:") and block.language == "python":
            script.append(block.smaller)
        elif block.how.startswith("test:"):
            script += [f"assert main({shlex.split(line)[1:]!r}) == 0" for line in block.smaller.splitlines()]
    script.append("import agegender, pathlib; print(agegender.__file__)")
    script.append("print(*sorted(path.name for path in pathlib.Path('reports/first').glob('*.html')))")
    (released / "start.py").write_text("\n".join(script), encoding="utf-8")
    assert sum("main([" in line for line in script) == 4
    done = run_python(released, str(released / "start.py"), before=as_nobody(), HOME="/nonexistent")
    assert done.returncode == 0, done.stderr[-3000:]
    *_, place, pages = done.stdout.splitlines()
    assert place.startswith(str(released / "installed"))
    assert {"index.html", "bias.html", "lime.html", "card.html"} <= set(pages.split())


def test_what_an_installation_lacks_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    declared = ["numpy>=1", "surely-not-here>=2", "pandas>=99", 'captum>=99; extra == "explain"']
    monkeypatch.setattr("agegender.installation.requires", lambda name: declared if name == "agegender" else None)
    unmet = unmet_requirements()
    assert unmet[0] == "surely-not-here"
    assert unmet[1].startswith("pandas>=99 (here: ")
    assert len(unmet) == 2
    assert unmet_requirements(outdated_only=True) == unmet[1:]

    def broken(error: Exception):
        def command(_: object) -> Result:
            raise error

        return command

    assert execute(command_parser("train", ""), broken(ModuleNotFoundError("No module named 'surely'")), []) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "surely-not-here" in said
    assert "pip install --upgrade agegender" in said
    declared[:] = ["numpy>=1"]
    with pytest.raises(ModuleNotFoundError):
        execute(console.command_parser("train", ""), broken(ModuleNotFoundError("ours")), [])


def test_an_import_that_an_installation_lacks_and_an_old_python_are_said_in_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agegender.installation.requires", lambda _: ["surely-not-here>=2"])
    monkeypatch.setitem(sys.modules, "agegender.api.model", None)
    with pytest.raises(ModuleNotFoundError, match="lacks surely-not-here: pip install"):
        _ = agegender.Model
    script = "import sys; sys.version_info = (3, 10, 13); import agegender"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "ImportError: agegender needs Python 3.11 or newer, and this is Python 3.10."
