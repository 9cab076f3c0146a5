"""Puts this folder on the path, so that all tests can import what writes datasets and photos for them."""

import os
import tempfile
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
