"""How many processes a run has."""

from __future__ import annotations

import os

import pytest
import torch

from archipel.cost import Device
from archipel.errors import OptionError
from archipel.recipes.settings import Jobs


def test_one_a_core_on_a_cpu_and_one_on_a_gpu_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = Device("cpu", 1), Device("cpu", 1)
    where = property(lambda self: torch.device("cuda" if self is gpu else "cpu"))
    monkeypatch.setattr(Device, "torch_device", where)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    assert Jobs().side_by_side(cpu) == 6
    assert Jobs().side_by_side(gpu) == 1
    assert Jobs(3).side_by_side(cpu) == Jobs(3).side_by_side(gpu) == 3


def test_fewer_than_none_are_refused() -> None:
    with pytest.raises(OptionError, match=r"jobs\.workers is -1; give 1 or more, or 0 for one per core"):
        Jobs(-1)
