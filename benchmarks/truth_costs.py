"""What an audit costs: all of it, the page included, in a process of its own; and its intervals beside fairlearn's."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from truth_tables import Labels, by_age_alone, noise

from agegender.audit.estimates import gap_intervals, mean_intervals, resample_groups

_SCRIPT = """
import json, sys, time
from pathlib import Path
import pandas as pd
table = pd.read_parquet(sys.argv[1])
from agegender.api.audit import Audit
start, wall = time.process_time(), time.perf_counter()
audit = Audit(table)
audit.findings
findings = time.process_time() - start
audit.to_html(sys.argv[2])
print(json.dumps({
    "ours": time.process_time() - start,
    "its findings (s)": findings,
    "wall (s)": time.perf_counter() - wall,
    "peak memory (MiB)": int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024,
}))
"""


def cost_trial(n: int, generator: np.random.Generator, labels: Labels, _: int) -> dict[str, float]:
    """Return processor seconds, wall seconds and peak memory of an audit of `n` rows."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "predictions.parquet"
        by_age_alone(generator, labels, n).to_parquet(place)
        command = [sys.executable, "-W", "ignore", "-c", _SCRIPT, str(place), str(Path(folder) / "bias.html")]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def intervals_trial(generator: np.random.Generator, _: Labels, __: int) -> dict[str, float]:
    """Return seconds for intervals of 20 groups of 20,000 rows from 2,000 resamples, ours and fairlearn's.

    fairlearn calls the metric for every group of every resample: 20 are timed, and scaled up.
    """
    values, codes = np.abs(5.2 * noise(generator, 20_000)), generator.integers(0, 20, 20_000)
    start = time.process_time()
    grouped = resample_groups(values, codes, 20, resample_count=2000)
    mean_intervals(grouped)
    gap_intervals(grouped)
    figures = {"ours": time.process_time() - start}
    if find_spec("fairlearn"):
        from fairlearn.metrics import MetricFrame

        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame = MetricFrame(
                metrics=lambda _, size: float(np.mean(size)),
                y_true=np.zeros(len(values)),
                y_pred=values,
                sensitive_features=pd.Series(codes, name="group"),
                n_boot=20,
                ci_quantiles=[0.025, 0.975],
                random_state=0,
            )
            frame.by_group_ci  # noqa: B018 (fairlearn computes it when it is asked for)
        figures["fairlearn (s)"] = (time.process_time() - start) * 2000 / 20
    return figures
