"""docs/install.md keeps its word: what `requirements-audit.txt` names is enough to judge tables; extras are as told."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
LEAN = [line for line in (ROOT / "requirements-audit.txt").read_text().splitlines() if not line.startswith("#")]
# Hides every package of this environment that such an installation has not got.
LEAN_SCRIPT = """
import json, sys
absent = set(json.loads(sys.argv[1]))
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""
WORK = """
import pandas as pd
import agegender as ag
from agegender.__main__ import main
columns = {"predicted_age_years": "guess", "age_years": "true_age", "predicted_gender": "said"}
audit = ag.Audit(pd.read_csv("theirs.csv"), columns=columns)
assert audit.by("mae", "ethnicity")["n"].sum() == 200
assert len(audit.findings) and len(audit.to_frame()) and len(audit.age_checks) and len(audit.suspects()) >= 0
audit.to_html("bias.html")
audit.suspects_to_html("suspects.html")
names = [f"{ours}={theirs}" for ours, theirs in columns.items()]
assert main(["report", "--predictions", "theirs.csv", "--columns", *names, "--out", "pages", "--no-faces"]) == 0
assert main(["compare", "one.parquet", "other.csv", "--split", "all", "--out", "compared"]) == 0
assert main(["--version"]) == 0
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def plain_name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(lines: list[str]) -> set[str]:
    """Names of what these requirements bring, as pip would install them here."""
    found: set[str] = set()
    waiting = [Requirement(line) for line in lines]
    while waiting:
        one = waiting.pop()
        name = plain_name(one.name)
        if name in found or (one.marker and not one.marker.evaluate({"extra": ""})):
            continue
        try:
            waiting += [Requirement(line) for line in requires(name) or ()]
        except PackageNotFoundError:
            continue
        found.add(name)
    return found


@pytest.fixture(scope="module")
def modules() -> dict[str, set[str]]:
    """The modules that each package of this environment brings."""
    found: dict[str, set[str]] = {}
    for module, packages in packages_distributions().items():
        for package in packages:
            found.setdefault(plain_name(package), set()).add(module)
    return found


@pytest.fixture(scope="module")
def used(modules, tmp_path_factory) -> set[str]:
    """The modules that were loaded while tables were judged with nothing else there."""
    folder = tmp_path_factory.mktemp("lean")
    generator = np.random.default_rng(2)
    ages, genders = generator.uniform(5, 80, 200), generator.choice(["female", "male"], 200)
    theirs = pd.DataFrame(
        {
            "path": [f"{number}.jpg" for number in range(200)],
            "true_age": ages,
            "guess": ages + generator.normal(0, 5, 200),
            "gender": genders,
            "said": np.where(generator.random(200) < 0.9, genders, "female"),
            "ethnicity": generator.choice(["a", "b"], 200),
        }
    )
    theirs.to_csv(folder / "theirs.csv", index=False)
    ours = theirs.rename(columns={"guess": "predicted_age_years", "true_age": "age_years", "said": "predicted_gender"})
    ours.to_parquet(folder / "one.parquet")
    ours.assign(predicted_age_years=30).to_csv(folder / "other.csv", index=False)
    lean = closure(LEAN)
    kept = set.union({"agegender"}, *(modules[name] for name in lean))
    absent = set.union(*(found for name, found in modules.items() if name not in lean)) - kept
    assert {"torch", "fastai", "cv2", "torchvision", "timm", "onnxruntime", "skimage", "lime", "loky"} <= absent
    called = [sys.executable, "-c", LEAN_SCRIPT + WORK, json.dumps(sorted(absent))]
    done = subprocess.run(called, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    pages = {path.name for path in folder.rglob("*.html")}
    assert pages == {"bias.html", "suspects.html", "index.html", "card.html", "compare.html"}
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_lean_packages_are_among_those_of_the_plain_install_and_in_the_same_versions() -> None:
    plain = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert sorted(LEAN) == LEAN
    assert set(LEAN) - set(plain) == set()
    assert not closure(LEAN) & {"torch", "torchvision", "fastai", "timm", "opencv-python-headless", "onnxruntime"}


def test_the_line_of_the_document_names_the_packages_of_the_file() -> None:
    text = (ROOT / "docs" / "install.md").read_text()
    (line,) = re.findall(r"^pip install (numpy .*)$", text, re.MULTILINE)
    assert sorted(line.split()) == sorted(Requirement(one).name for one in LEAN)


def test_every_extra_stands_in_the_document_with_what_it_brings() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    text = (ROOT / "docs" / "install.md").read_text()
    told = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", text, re.MULTILINE))
    assert list(told) == list(declared)
    for extra in set(declared) - {"dev"}:
        assert told[extra].split(", ") == [Requirement(line).name for line in declared[extra]]
    (inside,) = (Requirement(line).extras for line in declared["dev"] if line.startswith("agegender"))
    assert set(declared) - inside - {"dev"} == {"quality"}


@pytest.mark.slow
def test_tables_are_judged_and_compared_with_nothing_but_the_lean_packages(used) -> None:
    assert "agegender" in used


@pytest.mark.slow
def test_every_lean_package_is_needed(used, modules) -> None:
    named = [plain_name(Requirement(line).name) for line in LEAN]
    assert [name for name in named if not modules[name] & used] == []
