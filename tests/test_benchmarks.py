"""Every benchmark says what it measures, and takes --quick and --json; running them is for a quiet machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if "__main__" in path.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_benchmark_explains_itself(script: Path) -> None:
    command = [sys.executable, "-W", "ignore", str(script), "--help"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "--quick" in done.stdout
    assert "--json" in done.stdout
