"""Freed memory stays with the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

TRIAL = """
import resource

import torch
from archipel.cost import Device

faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
pages = 64 * 2**20 // resource.getpagesize()
with Device("cpu").use():
    torch.ones(16 * 2**20)  # 64 MiB, freed at once
    before = faults()
    for _ in range(10):
        torch.ones(16 * 2**20)
print((faults() - before) / (10 * pages))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is told")
def test_what_was_freed_is_not_faulted_in_again() -> None:
    """Left alone, glibc maps a block of this size anew each time."""
    done = subprocess.run([sys.executable, "-c", TRIAL], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.1
