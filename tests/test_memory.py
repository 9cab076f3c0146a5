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
LARGE_BYTES = 200 * 2**20
LARGER_BYTES = 3 * LARGE_BYTES  # fits into no hole that kept blocks leave in the heap
# In a process of its own: what other tests have left in the heap may serve a step as well.
COUNT = f"""
import contextlib, json, pathlib, resource, torch
from agegender.memory import kept_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range({STEPS}):
        torch.ones({STEP_BYTES}, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

def left(count):  # of a block of so many bytes that is freed at once
    before = resident()
    torch.ones(count, dtype=torch.uint8)
    return resident() - before

left({STEP_BYTES})  # what torch takes for itself at its first block
found = {{}}
with kept_memory():
    with kept_memory():
        faults()  # blocks of fitting size have to come together first
    found["faults"] = faults()  # the inner block has given nothing back
    found["kept"] = left({LARGE_BYTES})
    before = resident()
found["given back"] = before - resident()
found["left after"] = left({LARGER_BYTES})
with contextlib.suppress(ValueError), kept_memory():
    left({LARGE_BYTES})
    before = resident()
    raise ValueError("broken")
found["given back after a failure"] = before - resident()
found["left after a failure"] = left({LARGER_BYTES})
print(json.dumps(found))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")
def test_kept_memory_is_not_taken_at_every_step_and_is_given_back_also_when_the_work_fails() -> None:
    done = subprocess.run([sys.executable, "-c", COUNT], check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert found["faults"] < PAGES / 4
    assert found["kept"] > LARGE_BYTES / 2
    assert found["given back"] > LARGE_BYTES / 2
    assert found["given back after a failure"] > LARGE_BYTES / 2
    assert found["left after"] < LARGE_BYTES / 10
    assert found["left after a failure"] < LARGE_BYTES / 10
