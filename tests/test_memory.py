"""Memory that is kept is not faulted in again, and is given back at the end."""

from __future__ import annotations

import json
import platform
import resource
import subprocess
import sys

import pytest

STEPS, STEP_BYTES = 30, 48 * 2**20
PAGES = STEPS * STEP_BYTES // resource.getpagesize()
# In a process of its own: what other tests have left in the heap may serve a step as well.
COUNT = f"""
import contextlib, json, resource, torch
from agegender.memory import kept_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range({STEPS}):
        torch.ones({STEP_BYTES}, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

counts = {{}}
with kept_memory():
    with kept_memory():
        faults()  # blocks of fitting size have to come together first
    counts["kept"] = faults()  # the inner block has given nothing back
counts["after"] = faults()
with contextlib.suppress(ValueError), kept_memory():
    raise ValueError("broken")
counts["after a failure"] = faults()
print(json.dumps(counts))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")
def test_kept_memory_is_not_taken_at_every_step_and_is_given_back_also_when_the_work_fails() -> None:
    done = subprocess.run([sys.executable, "-c", COUNT], check=True, capture_output=True, text=True)
    counts = json.loads(done.stdout)
    assert counts["kept"] < PAGES / 4
    assert counts["after"] > PAGES / 2
    assert counts["after a failure"] > PAGES / 2
