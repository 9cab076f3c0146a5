"""Work spread over threads or processes comes back whole and in order, whatever happens on the way."""

import os
import subprocess
import sys
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from select import select
from threading import current_thread

import pytest

from agegender.photos.reading_ahead import read_ahead, spread

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


@pytest.mark.parametrize("threads", [0, 1, 3, None])
def test_results_come_in_order_however_many_threads(threads):
    assert list(read_ahead(lambda number: -number, range(500), threads=threads, ahead=7)) == [-n for n in range(500)]


def test_no_more_is_read_ahead_than_was_asked_for():
    taken = []
    results = read_ahead(str, (taken.append(number) or number for number in count()), threads=2, ahead=5)
    assert [next(results) for _ in range(3)] == ["0", "1", "2"]
    assert len(taken) == 7


def test_stopping_early_drops_the_rest_and_leaves_no_thread():
    results = read_ahead(lambda _: current_thread(), range(1000), threads=2)
    worker = next(results)
    assert worker.is_alive()
    results.close()
    assert not worker.is_alive()


def test_an_error_is_raised_at_the_turn_of_its_item():
    results = read_ahead(lambda number: 1 / (number - 2), range(5), threads=3)
    assert (next(results), next(results)) == (-0.5, -1.0)
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_few_photos_stay_in_this_process(workers):
    results = list(spread(names_and_process, PATHS, workers=workers))
    assert results == [(path.name, os.getpid()) for path in PATHS]


def test_many_photos_go_to_other_processes_and_come_back_in_order():
    results = list(spread(names_and_process, PATHS, workers=2, worth_a_process=100))
    assert [name for name, _ in results] == [path.name for path in PATHS]
    assert os.getpid() not in {process for _, process in results}


def test_a_lost_process_loses_no_photo(caplog):
    results = list(spread(partial(dies_at_500_elsewhere, os.getpid()), PATHS, workers=2, worth_a_process=100))
    assert results == [path.name for path in PATHS]
    assert "goes on alone" in caplog.text


def test_where_no_process_can_be_started_threads_do_the_work(caplog, monkeypatch):
    def forbidden(*_, **__):
        raise OSError("semaphores are forbidden")

    monkeypatch.setattr("loky.ProcessPoolExecutor", forbidden)
    results = spread(names_and_process, PATHS, workers=2, worth_a_process=100)
    assert [name for name, _ in results] == [path.name for path in PATHS]
    assert "goes on alone" in caplog.text


@pytest.mark.parametrize("worth_a_process", [100, 10_000])
def test_an_error_of_the_work_reaches_the_caller(worth_a_process):
    results = spread(fails_at_500, PATHS, workers=2, worth_a_process=worth_a_process)
    assert next(results) == PATHS[0].name
    with pytest.raises(ValueError, match="number 500"):
        list(results)


def test_processes_end_with_a_parent_that_was_killed(tmp_path):
    pids = tmp_path / "pids"
    script = tmp_path / "killed.py"  # without a guard around what it does: the processes must not run it again
    script.write_text(
        "import os\n"
        "from pathlib import Path\n"
        "from agegender.photos.hashing import fingerprint_files\n"
        "results = fingerprint_files([Path(f'{n}.jpg') for n in range(100_000)], workers=2)\n"
        "next(results)\n"
        "tasks = Path('/proc/self/task').glob('*/children')\n"
        f"Path({str(pids)!r}).write_text(' '.join(task.read_text() for task in tasks))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
        pytest.skip("only Linux tells a process's children")
    subprocess.run([sys.executable, str(script)], check=False, timeout=60)
    children = pids.read_text().split()
    assert len(children) >= 2
    for child in children:
        with suppress(ProcessLookupError):  # it has ended and is gone already
            handle = os.pidfd_open(int(child))
            assert select([handle], [], [], 30)[0], f"process {child} still runs"
            os.close(handle)
