"""Memory that is kept is not faulted in again, and is given back at the end."""

from __future__ import annotations

import platform
import resource

import pytest
import torch

from agegender.memory import kept_memory

STEPS, STEP_BYTES = 30, 48 * 2**20
PAGES = STEPS * STEP_BYTES // resource.getpagesize()

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")


def faults_of_steps() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(STEPS):
        torch.ones(STEP_BYTES, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_kept_memory_is_not_taken_from_the_system_at_every_step() -> None:
    with kept_memory():
        with kept_memory():
            faults_of_steps()  # blocks of fitting size have to come together first
        assert faults_of_steps() < PAGES / 4  # the inner block has given nothing back
    assert faults_of_steps() > PAGES / 2


def test_memory_is_given_back_when_the_work_fails() -> None:
    with pytest.raises(ValueError, match="broken"), kept_memory():
        raise ValueError("broken")
    assert faults_of_steps() > PAGES / 2
