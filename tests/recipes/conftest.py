"""A latency table that is arithmetic instead of measured, so that runs can be compared number by number; and how."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from archipel.cost import Device, Fidelity, LatencyTable, Unit
from archipel.cost.calibration import Calibration
from archipel.cost.latency_table import Reference
from archipel.cost.units import columns_of
from archipel.run.folder import RunFolder
from archipel.space import Space


@pytest.fixture(scope="session")
def arithmetic_table() -> Callable[..., LatencyTable]:
    return _arithmetic_table


def _arithmetic_table(space: Space, device: Device, *, batch: int = 1, controller_ms: float = 0.05) -> LatencyTable:
    """Every column costs 0.1 to 0.5 ms, in a fixed order that looks random."""
    units = {key: Unit(0.1 + 0.4 * (i * 7 % 11) / 10, 0.01, 6) for i, key in enumerate(columns_of(space))}
    return LatencyTable(
        space=space,
        scheme="columns",
        device_name=device.name,
        fingerprint=device.fingerprint(),
        batch=batch,
        input_shape=(1, 8, 8),
        base=Unit(0.3, 0.01, 6),
        units=units,
        calibration=Calibration(0.3, 1.0, (0.01, -0.01, 0.02, 0.0)),
        fidelity=Fidelity(2, 1.0, 1.0, 1.0, 1.0, 100.0, 90.0, ((1.0, 1.01), (2.0, 1.98))),
        references=tuple(Reference(space.unrank(i), 1.0) for i in (0, space.size - 1)),
        seen=frozenset(),
        rounds=1,
        seed=0,
        date="2026-01-01T00:00:00+00:00",
        controller_ms=controller_ms,
    )


@pytest.fixture(scope="session")
def assert_first_search_is_that_of() -> Callable[[Path, Path], None]:
    return _assert_first_search_is_that_of


def _assert_first_search_is_that_of(several: Path, one: Path) -> None:
    """A run of one search left, bit by bit, what the first of several left: each stage's result, each network, the
    files of images. (That a run's result follows from its stages is told by those that do a finished run again.)"""
    with RunFolder.open(several, write=False) as whole, RunFolder.open(one, write=False) as own:
        stages = set(own.stages) - {"timing", "test"}  # of a wall clock; of all searches
        assert stages
        for stage in stages:
            assert _lasting(own.stage_done(stage)) == _lasting(whole.stage_done(stage)), stage
    images = [name for name in ("architectures.csv", "instances.safetensors") if (several / name).exists()]
    checkpoints = [f"checkpoints/{file.name}" for file in (one / "checkpoints").iterdir()]
    assert checkpoints
    for name in (*images, *checkpoints):
        assert (one / name).read_bytes() == (several / name).read_bytes(), name


def _lasting(stage: dict[str, Any] | None) -> dict[str, Any] | None:
    return stage and {key: value for key, value in stage.items() if key != "stage_seconds"}
