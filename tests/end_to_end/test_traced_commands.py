"""Every command on hostile artefacts, its system calls written down: it opens and changes named folders alone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from golden_model import write_golden
from PIL import Image

import agegender
from agegender.data.faces_table import make_table
from agegender.model.model_folder import CARD_FILE

CHANGES = "creat,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,symlink,symlinkat,truncate"
# One process runs all commands, so that what they share is loaded once.
DRIVER = """
import importlib, json, sys
codes = []
for words in json.loads(sys.argv[1]):
    print("$", *words, file=sys.stderr, flush=True)
    codes.append(importlib.import_module(f"agegender.{words[0]}").main(words[1:]))
print(json.dumps(codes))
"""
ON_CPU = ("--device", "cpu", "--precision", "fp32")


def can_trace() -> bool:
    """Return whether strace is here and may look into processes."""
    if shutil.which("strace") is None:
        return False
    tried = ["strace", "-ff", "--seccomp-bpf", "-o", os.devnull, "true"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


pytestmark = [pytest.mark.slow, pytest.mark.skipif(not can_trace(), reason="strace is not here, or not allowed")]


@dataclass(frozen=True)
class Traced:
    """What a process opened, what it opened to write or changed otherwise, and the exit codes of its commands."""

    opened: set[str]
    changed: set[str]
    codes: list[int]
    said: str


def trace(commands: list[list[str]], root: Path, logs: Path) -> Traced:
    """Run commands in one process under strace, with a home and a temporary folder of their own."""
    # --seccomp-bpf: calls that are not written down are not stopped at either.
    words = ["strace", "-ff", "--seccomp-bpf", "-y", "-s", "4096", "-o", str(logs / "log")]
    words += ["-e", f"trace=open,openat,{CHANGES}"]
    own = {"HOME": root / "home", "XDG_CONFIG_HOME": root / "home" / ".config", "TMPDIR": root / "temporary"}
    for folder in own.values():
        folder.mkdir(exist_ok=True, parents=True)
    environment = {**os.environ, **{name: str(folder) for name, folder in own.items()}, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(Path(agegender.__file__).parents[1])
    done = subprocess.run(
        [*words, sys.executable, "-B", "-c", DRIVER, json.dumps(commands)], cwd=root / "here", env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    opened: set[str] = set()
    changed: set[str] = set()
    for log in logs.iterdir():
        for line in log.read_text(errors="replace").splitlines():
            _read_line(line, opened, changed)
    return Traced(opened, changed, json.loads(done.stdout.splitlines()[-1]), done.stderr)


def _read_line(line: str, opened: set[str], changed: set[str]) -> None:
    call = re.match(r"(\w+)\((.*)\)\s+= (\d+)(?:<(.*)>)?$", line)  # a call that failed opened and changed nothing
    if call is None:
        return
    name, given, _, place = call.groups()
    if name in ("open", "openat", "creat"):
        place = (place or "").removesuffix(" (deleted)")
        opened.add(place)
        if name == "creat" or re.search(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC", given):
            changed.add(place)
        return
    for folder, path in re.findall(r'(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"', given):
        changed.add(os.path.normpath(os.path.join(folder, path)))  # noqa: PTH118


def outside(places: set[str], *folders: Path | str) -> list[str]:
    """Return the places that lie in none of the folders; what is no path is a pipe, a socket or the like."""
    return sorted(
        place for place in places if place.startswith("/") and not any(Path(place).is_relative_to(f) for f in folders)
    )


def write_photos(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.jpg")
    return folder


def write_table(place: Path, root: Path, paths: list[str]) -> Path:
    """Write a faces table as anybody can, without a seal."""
    sides = ("train", "train", "valid", "test")
    rows = [
        {"path": path, "source": "csv", "age_years": 20.0 + n, "gender": ("male", "female")[n // 2 % 2]}
        | {"split": sides[n % 4]}
        for n, path in enumerate(paths)
    ]
    arrow = pa.Table.from_pandas(make_table(rows), preserve_index=False)
    facts = json.dumps({"root": str(root), "seal": "0" * 64, "notes": {}})
    pq.write_table(arrow.replace_schema_metadata({**arrow.schema.metadata, b"agegender": facts.encode()}), place)
    return place


def write_model(folder: Path, **edits: object) -> Path:
    write_golden(folder, "faces.parquet", "predictions.parquet", "history.csv")
    card = json.loads((folder / CARD_FILE).read_text(encoding="utf-8")) | edits
    (folder / CARD_FILE).write_text(json.dumps(card), encoding="utf-8")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with artefacts that all lead to `private`, a model that does not, and a place to work in."""
    private, hostile = write_photos(tmp_path / "private", 4), tmp_path / "hostile"
    photos = write_photos(hostile / "photos", 12)
    (photos / "link.jpg").symlink_to(private / "0.jpg")
    (photos / "linked").symlink_to(private)
    climbing = "../" * 30 + str(private / "1.jpg").lstrip("/")
    astray = [str(private / "0.jpg"), climbing, "../../private/2.jpg", "link.jpg", "linked/3.jpg", "a\0.jpg"]
    good = [f"{number}.jpg" for number in range(12)]
    write_table(hostile / "climbing.parquet", photos, [*good, *astray])
    write_table(hostile / "rooted.parquet", private, [f"{number}.jpg" for number in range(4)])
    labels = pd.DataFrame({"path": [*good, *astray[:-1]], "age": 30, "gender": "male"})
    labels.assign(age=range(20, 20 + len(labels))).to_csv(photos / "labels.csv", index=False)
    rows = pd.DataFrame({"path": [*good, *astray[:-1]], "age_years": 30.0, "predicted_age_years": 35.0})
    rows.assign(split="test").to_csv(hostile / "predictions.csv", index=False)
    model = write_model(hostile / "models" / "m", name="../../../../private/evil", run_id="../../private")
    shutil.copy(hostile / "rooted.parquet", model / "faces.parquet")
    rows.assign(split="test").to_parquet(model / "predictions.parquet")
    staged = hostile / "models" / ".m.abcdefgh.agegender-new"
    (staged / "new").mkdir(parents=True)
    (staged / "new" / "evil").write_text("evil")
    moves = [[".", "../../private/evil", True], ["../../private", "0.jpg", False], ["/", "evil", True]]
    (staged / "swap.json").write_text(json.dumps({"moves": moves}))
    write_model(tmp_path / "clean" / "fine")
    (tmp_path / "here").mkdir()
    return tmp_path


def commands_on_hostile(root: Path) -> list[tuple[int, list[str]]]:
    """Return each command, and the exit code that it must have."""
    hostile, out = root / "hostile", root / "out"
    model, photos = ["--model", str(hostile / "models" / "m")], str(hostile / "photos")
    climbing, rooted = ["--faces", str(hostile / "climbing.parquet")], ["--faces", str(hostile / "rooted.parquet")]
    quick = [
        *("--weights", "none", "--body", "test_efficientnet", "--image-size", "32", "--epochs", "1"),
        *("--batch-size", "4", "--no-report", "--models-dir", str(out / "models"), "--runs-dir", str(out / "runs")),
    ]
    lime = ["--random", "2", "--split", "all", "--samples", "16", "--report", "--reports-dir", str(out / "reports")]
    table = ["--predictions", str(hostile / "predictions.csv")]
    cache = ["--cache", str(out / "hashes")]
    return [
        (0, ["prepare", "--data", photos, *cache, "--out", str(out / "f.parquet"), "--report", str(out / "f.html")]),
        (0, ["train", *climbing, "--name", "new", *quick, *ON_CPU]),
        (2, ["train", *rooted, "--name", "none", *quick, *ON_CPU]),
        (0, ["evaluate", *model, *climbing, "--split", "all", "--out", str(out / "e.csv"), *ON_CPU]),
        (2, ["evaluate", *model, "--split", "all", *ON_CPU]),
        (0, ["report", *model, "--reports-dir", str(out / "reports")]),
        (0, ["report", *table, "--images", photos, "--title", "../../../private/x", "--reports-dir", str(out / "r")]),
        (0, ["explain", *model, *climbing, *lime, *ON_CPU]),
        (2, ["explain", *model, *rooted, *lime, *ON_CPU]),
        (0, ["compare", model[1], str(hostile / "predictions.csv"), "--split", "all", "--out", str(out / "c")]),
        (0, ["export", *model, "--out", str(out / "x.onnx")]),
        (0, ["predict", photos, *model, "--out", str(out / "p.csv"), *ON_CPU]),
    ]


def commands_on_clean(root: Path, out: Path) -> list[list[str]]:
    model = ["--model", str(root / "clean" / "fine")]
    return [
        ["predict", str(root / "hostile" / "photos" / "0.jpg"), *model, "--out", str(out / "p.csv"), *ON_CPU],
        ["report", *model, "--out", str(out / "pages")],
    ]


def everything_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_commands_open_and_change_lies_in_named_folders(root: Path, tmp_path_factory: pytest.TempPathFactory):
    hostile = commands_on_hostile(root)
    before = everything_below(root / "private")
    first, again = (commands_on_clean(root, root / name) for name in ("first", "again"))
    traced = trace([*first, *(words for _, words in hostile), *again], root, tmp_path_factory.mktemp("logs"))
    assert traced.codes == [0, 0, *(code for code, _ in hostile), 0, 0], traced.said
    assert str(root / "hostile" / "photos" / "0.jpg") in traced.opened
    written = [root / name for name in ("first", "again", "out", "home", "temporary")]
    changed = outside(traced.changed, *written, "/dev")
    # A journal that leads astray is removed, and nothing is moved; where a run is looked for, it is locked.
    assert not [place for place in changed if ".agegender-new" not in place], changed
    read = [root / "hostile", root / "clean", Path(agegender.__file__).parents[1], sys.prefix, sys.base_prefix]
    system = ["/usr", "/lib", "/lib64", "/etc", "/proc", "/sys", "/dev", "/var/cache/fontconfig", "/.dockerenv"]
    assert outside(traced.opened, *written, *read, *system, root / "here") == []
    assert everything_below(root / "private") == before
    assert everything_below(root / "first") == everything_below(root / "again")
