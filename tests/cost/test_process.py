"""What a process is told: freed memory stays, and so do compiled convolutions."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping

import pytest
import torch

MEMORY = """
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
SHAPES = 1200
CONVOLUTIONS = f"""
import torch
from archipel.cost import Device

layer = torch.nn.Conv2d(2, 2, 3, groups=2)
with Device("cpu").use(), torch.no_grad():
    for _ in range(2):
        for rows in range(2, 2 + {SHAPES}):
            layer(torch.zeros(rows, 2, 4, 4))
"""


def said(program: str, **environment: str) -> str:
    """What a process of its own prints."""
    own: Mapping[str, str] = {key: value for key, value in os.environ.items() if not key.startswith("ONEDNN")}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={**own, **environment}
    )
    return done.stdout


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is told")
def test_what_was_freed_is_not_faulted_in_again() -> None:
    """Left alone, glibc maps a block of this size anew each time."""
    assert float(said(MEMORY)) < 0.5


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
@pytest.mark.parametrize(("environment", "compiled"), [({}, 1), ({"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "8"}, 2)])
def test_convolutions_of_many_shapes_are_compiled_once(environment: dict[str, str], compiled: int) -> None:
    """More shapes than oneDNN keeps by itself; and what a user has set stays."""
    lines = said(CONVOLUTIONS, ONEDNN_VERBOSE="profile_create", **environment).splitlines()
    missed = sum("create:cache_miss" in line and ",convolution," in line for line in lines)
    assert missed == compiled * SHAPES
