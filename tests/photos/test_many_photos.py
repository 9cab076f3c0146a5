"""Work spread over threads or processes comes back whole and in order, whatever happens on the way."""

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from agegender.photos import many_photos
from agegender.photos.many_photos import for_photos

PATHS = [Path(f"{number}.jpg") for number in range(1000)]


def names_and_process(paths):
    return [(path.name, os.getpid()) for path in paths]


def dies_at_500_elsewhere(home, paths):
    if os.getpid() != home and PATHS[500] in paths:
        os._exit(1)
    return [path.name for path in paths]


def fails_at_500(paths):
    if PATHS[500] in paths:
        raise ValueError("number 500")
    return [path.name for path in paths]


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr(many_photos, "_PHOTOS_PER_PROCESS", 100)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_few_photos_stay_in_this_process(workers):
    results = list(for_photos(names_and_process, PATHS, workers=workers))
    assert results == [(path.name, os.getpid()) for path in PATHS]


def test_many_photos_go_to_other_processes_and_come_back_in_order(soon):
    results = list(for_photos(names_and_process, PATHS, workers=2))
    assert [name for name, _ in results] == [path.name for path in PATHS]
    assert os.getpid() not in {process for _, process in results}


def test_a_lost_process_loses_no_photo(soon, caplog):
    results = list(for_photos(partial(dies_at_500_elsewhere, os.getpid()), PATHS, workers=2))
    assert results == [path.name for path in PATHS]
    assert "goes on alone" in caplog.text


def test_where_no_process_can_be_started_threads_do_the_work(soon, caplog, monkeypatch):
    def forbidden(*_, **__):
        raise OSError("semaphores are forbidden")

    monkeypatch.setattr("loky.ProcessPoolExecutor", forbidden)
    assert [name for name, _ in for_photos(names_and_process, PATHS, workers=2)] == [path.name for path in PATHS]
    assert "goes on alone" in caplog.text


@pytest.mark.parametrize("photos_per_process", [100, 10_000])
def test_an_error_of_the_work_reaches_the_caller(photos_per_process, monkeypatch):
    monkeypatch.setattr(many_photos, "_PHOTOS_PER_PROCESS", photos_per_process)
    results = for_photos(fails_at_500, PATHS, workers=2)
    assert next(results) == PATHS[0].name
    with pytest.raises(ValueError, match="number 500"):
        list(results)


def test_processes_end_with_a_parent_that_was_killed(tmp_path):
    pids = tmp_path / "pids"
    script = tmp_path / "killed.py"  # without a guard around what it does: the processes must not run it again
    script.write_text(
        "import os\n"
        "from pathlib import Path\n"
        "from agegender.photos import many_photos\n"
        "from agegender.photos.fingerprints import fingerprint_files\n"
        "many_photos._PHOTOS_PER_PROCESS = 100\n"
        "next(fingerprint_files([Path(f'{n}.jpg') for n in range(100_000)], workers=2))\n"
        "tasks = Path('/proc/self/task').glob('*/children')\n"
        f"Path({str(pids)!r}).write_text(' '.join(task.read_text() for task in tasks))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
        pytest.skip("only Linux tells a process's children")
    subprocess.run([sys.executable, str(script)], check=False, timeout=60)
    children = pids.read_text().split()
    assert len(children) >= 2
    waited = time.monotonic()
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() - waited < 30:
        time.sleep(0.2)
    assert [child for child in children if Path(f"/proc/{child}").exists()] == []
