"""One planted table for the whole room."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

# `importmode=importlib` leaves the tests' folder off the path; the planted device is shared by several files.
_spec = importlib.util.spec_from_file_location("planted", Path(__file__).with_name("planted.py"))
assert _spec is not None
assert _spec.loader is not None
sys.modules["planted"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sys.modules["planted"])

from planted import TICKER, Abacus, planted  # noqa: E402

from archipel.cost import Device, LatencyTable, TableSettings, build  # noqa: E402
from archipel.cost.device import BACKENDS  # noqa: E402
from archipel.space import Space  # noqa: E402


@pytest.fixture(scope="session")
def space() -> Space:
    return Space(planted, stem=1.0)


@pytest.fixture(scope="session")
def device() -> Device:
    return Device("cpu", 1)


@pytest.fixture(scope="session")
def table(space: Space, device: Device) -> LatencyTable:
    few = TableSettings(rounds=12)  # of a clock that is never off
    return build(space, device, input_shape=(3, 4, 4), settings=few, seed=3, clock=TICKER)


@pytest.fixture
def abacus(monkeypatch: pytest.MonkeyPatch) -> Device:
    """A device whose parts can only be timed alone."""
    monkeypatch.setitem(BACKENDS, "abacus", Abacus)
    Abacus.bound.clear()
    return Device("abacus")
