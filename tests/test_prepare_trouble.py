"""The command `prepare` in trouble: bad input in one line, a full disk, a kill; nothing is ever half-written."""

import errno
import os
import re
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
from dataset_layouts import write_utkface
from prepare_command import prepare, refusal

from agegender.data.faces_table import read_faces
from agegender.prepare import main

# Runs `prepare`, and is killed as by the system at the moment that is named.
KILLING = """
import os, pathlib, signal, sys
import pyarrow.parquet as pq
from agegender import swapping
from agegender.data import cleaning, faces_table
from agegender.prepare import main

moment, root = sys.argv[1:]
kill = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
write_table, write_faces = pq.write_table, faces_table.write_faces

def half_a_table(table, path):
    write_table(table, path)
    path.write_bytes(path.read_bytes()[:500])
    kill()

if moment == "while hashing":
    cleaning.fingerprint_files = kill
elif moment == "before the table":
    pq.write_table = kill
elif moment == "half-way through the table":
    pq.write_table = half_a_table
elif moment == "before the swap":
    faces_table.write_faces = lambda faces, path: (write_faces(faces, path), kill())
elif moment == "between page and table":
    replace = pathlib.Path.replace
    is_last = lambda to: to.name == "faces.parquet" and to.parent.name != "new"
    pathlib.Path.replace = lambda path, to: kill() if is_last(to) else replace(path, to)
else:
    swapping.shutil.rmtree = kill
main(["--source", "utkface", "--data", root, "--out", "faces.parquet", "--report", "page.html", "--cache", "no/hashes"])
"""

pytestmark = pytest.mark.usefixtures("in_a_fresh_folder")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to prepare"),
        (["--source", "utkface"], "has no --data"),
        (["--source", "utkfaces", "--data", "DATA"], "Did you mean utkface"),
        (["--source", "utkface", "--data", "nowhere"], "there is no folder at nowhere"),
        (["--source", "afad", "--data", "DATA"], "looks like utkface. Try --source utkface"),
        (["--source", "utkface", "--data", "DATA", "--data", "DATA"], "Name each folder once"),
        (["--source", "utkface", "--data", "DATA", "--option", "colour=red"], "has no option colour; it has none"),
        (["--source", "afad", "--data", "DATA", "--option", "colour=red"], "has no option colour; it has ages"),
        (["--source", "utkface", "--data", "DATA", "--option", "colour"], "is not of the form name=value"),
        (["--data", "DATA", "--source", "utkface", "--source", "afad"], "to which does it belong"),
        (["--source", "utkface", "--data", "DATA", "--split", "70/30"], "write 70/15/15"),
        (["--source", "utkface", "--data", "DATA", "--split", "0/0/0"], "write for example 70/15/15"),
        (["--source", "utkface", "--data", "DATA", "--official-split"], "has no official split"),
        (["--source", "utkface", "--data", "DATA", "--folds", "1"], "1 folds cannot be made"),
        (["--source", "utkface", "--data", "DATA", "--limit", "0"], "--limit 0 leaves no photo"),
        (["--source", "utkface", "--data", "DATA", "--near-duplicates", "65"], "from 0 to 64"),
        (["--source", "utkface", "--data", "DATA", "--near-duplicates", "-1"], "from 0 to 64"),
        (["--source", "utkface", "--data", "DATA", "--report", "."], "it is a folder"),
        (["--source", "utkface", "--data", "DATA", "--crop", "yunet"], "yunet"),
        (
            ["--source", "utkface", "--data", "DATA", "--crop", "haar", "--crop-margin", "-1"],
            "--crop-margin -1 is no share",
        ),
        (["--source", "utkface", "--data", "DATA", "--crop", "haar", "--crops", "DATA"], "lie within each other"),
        (["--source", "utkface", "--data", "DATA", "--crop-margins", "1,1,1"], "--crop-margins needs --crop"),
        (["--source", "utkface", "--data", "DATA", "--crop", "haar", "--crop-margins", "1,1"], "not three shares"),
        (
            ["--source", "utkface", "--data", "DATA", "--crop", "haar", "--crop-margins", "1,1,9"],
            "no share from 0 to 3",
        ),
        (
            ["--source", "utkface", "--data", "DATA", "--crop", "haar", "--crop-then", "haar"],
            "the first detector again",
        ),
        (["--source", "utkface", "--data", "DATA", "--crop", "haar", "--crop-then", "yunet"], "needs its model file"),
        (["--source", "utkface", "--data", "DATA", "--crop", "haar", "--smallest-face", "-3"], "pixels, or a share"),
        (["--source", "utkface", "--data", "DATA", "--crop", "haar", "--smallest-face", "nan"], "pixels, or a share"),
        (["--source", "utkface", "--data", "DATA", "--crop", "haar", "--align"], "finds eyes: yunet"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_table(tmp_path, capsys, arguments, message):
    root = str(write_utkface(tmp_path / "data"))
    assert message in refusal(capsys, *[root if argument == "DATA" else argument for argument in arguments])
    assert not (tmp_path / "here" / "faces.parquet").exists()


def test_a_folder_of_empty_files_is_refused_with_their_number(tmp_path, capsys):
    root = tmp_path / "data"
    root.mkdir()
    for number in range(1_000):
        (root / f"{number % 100}_0_0_2017011617452{number:05d}.jpg").touch()
    said = refusal(capsys, "--source", "utkface", "--data", root)
    assert "no readable photo" in said
    assert "all 1000 files" in said


def test_a_place_that_cannot_be_written_fails_before_the_work(tmp_path, capsys):
    root = write_utkface(tmp_path / "data")
    (tmp_path / "file").write_text("in the way")
    assert main(["--source", "utkface", "--data", str(root), "--out", str(tmp_path / "file" / "faces.parquet")]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_a_full_disk_leaves_the_old_table(tmp_path, capsys, monkeypatch):
    import pyarrow.parquet as pq

    given = ["--source", "utkface", "--data", write_utkface(tmp_path / "data")]
    prepare(*given)
    before = (tmp_path / "here" / "faces.parquet").read_bytes()

    def write_half(_, path):
        path.write_bytes(before[: len(before) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pq, "write_table", write_half)
    capsys.readouterr()
    assert "No space left" in refusal(capsys, *given, "--split", "50/25/25")
    assert (tmp_path / "here" / "faces.parquet").read_bytes() == before
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == ["data", "faces.parquet"]


@pytest.mark.parametrize(
    ("more", "row_bytes", "what"), [((), 1e9, "this faces table"), (("--crop", "haar"), 0, r"\d+ face crops")]
)
def test_a_disk_too_full_is_refused_before_the_first_photo_is_read(
    tmp_path, capsys, monkeypatch, more, row_bytes, what
):
    data = write_utkface(tmp_path / "data")
    monkeypatch.setattr("agegender.prepare.BYTES_PER_ROW", row_bytes)
    monkeypatch.setattr("agegender.writing.shutil.disk_usage", lambda _: SimpleNamespace(free=100))
    monkeypatch.setattr("agegender.data.preparing.clean", lambda *_, **__: pytest.fail("photos were read"))
    said = refusal(capsys, "--source", "utkface", "--data", data, *more)
    assert re.search(rf"{what} needs about .* are free there", said)


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    prepare("--source", "utkface", "--data", write_utkface(tmp_path / "data"), "--cache", tmp_path / "file" / "hashes")
    assert "hashes are not remembered" in capsys.readouterr().err


@pytest.mark.parametrize(
    "moment",
    [
        "while hashing",
        "before the table",
        "half-way through the table",
        "before the swap",
        "between page and table",
        "after it",
    ],
)
def test_killed_at_any_moment_the_old_table_or_the_new_one_is_there(tmp_path, moment):
    root = write_utkface(tmp_path / "data")
    prepare("--source", "utkface", "--data", root, "--limit", 6, "--report", "page.html")
    old = (tmp_path / "here" / "page.html").read_bytes()
    killed = subprocess.run([sys.executable, "-c", KILLING, moment, str(root)], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    # Reading makes the moves that were decided.
    table = read_faces(tmp_path / "here" / "faces.parquet").table
    is_new = moment in ("between page and table", "after it")
    assert len(table) == (13 if is_new else 6)
    assert ((tmp_path / "here" / "page.html").read_bytes() != old) == is_new
    assert not [path.name for path in (tmp_path / "here").iterdir() if path.name.startswith(".")]
