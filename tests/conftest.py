"""Puts this folder on the path, so that all tests can import what writes datasets and photos for them."""

import os
import tempfile
import time
from pathlib import Path

import hypothesis
import pytest

# A slow machine is no defect.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

# Tables are sealed with a key of the tests' own.
os.environ["XDG_CONFIG_HOME"] = str(Path(tempfile.gettempdir()) / f"agegender-tests-{os.getuid()}")

# Two processes that each take every core for torch and OpenBLAS would wait for one another.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def in_a_fresh_folder(tmp_path, monkeypatch):
    """Work in a folder `here`, beside whatever a test puts into `tmp_path`."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


SECONDS = {}  # suite -> tests, seconds of the clock, of the processor


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Count the seconds that a test, its fixtures and its processes take, for the table in CONTRIBUTING.md."""
    before, started = sum(os.times()[:4]), time.perf_counter()
    result = yield
    parts = Path(item.nodeid.partition("::")[0]).parts
    suite = "/".join(parts[:3] if parts[:2] in (("tests", "fuzz"), ("tests", "end_to_end")) else parts[:2])
    tests, clock, processor = SECONDS.get(suite, (0, 0.0, 0.0))
    SECONDS[suite] = [tests + 1, clock + time.perf_counter() - started, processor + sum(os.times()[:4]) - before]
    return result


def pytest_terminal_summary(terminalreporter):
    """Print the table of CONTRIBUTING.md with AGEGENDER_SECONDS=1; -n 0, since each process counts for itself."""
    if not (os.environ.get("AGEGENDER_SECONDS") and SECONDS):
        return
    terminalreporter.write_line("| suite | tests | seconds | of the processor |\n|---|---:|---:|---:|")
    everything = [sum(column) for column in zip(*SECONDS.values(), strict=True)]
    for suite, (tests, clock, processor) in [*sorted(SECONDS.items()), ("all", everything)]:
        terminalreporter.write_line(f"| `{suite}` | {tests:,} | {clock:.0f} | {processor:.0f} |")
