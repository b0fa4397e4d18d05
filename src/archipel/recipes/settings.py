"""Settings that several recipes share."""

from __future__ import annotations

import os
from dataclasses import dataclass

from archipel.cost import Device, TableSettings
from archipel.errors import OptionError

__all__ = ["Jobs", "Latency"]


@dataclass(frozen=True)
class Latency(TableSettings):
    """The latency table, and the measurements of whole networks at the end."""

    batch: int = 1
    """Images in a pass: part of the table."""
    throughput_batch: int = 128
    """Batch at which throughput is measured too."""
    images: int = 12
    """Different images over which latency at batch 1 is averaged."""
    final_rounds: int = 20
    """Interleaved passes of every final network."""


@dataclass(frozen=True)
class Jobs:
    """How seeds, devices and trainings share the machine."""

    workers: int = 0
    """Processes side by side, one thread each; 0: one per core on a CPU, one on a GPU. Results do not depend on it."""

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise OptionError(f"jobs.workers is {self.workers}; give 1 or more, or 0 for one per core")

    def side_by_side(self, device: Device) -> int:
        """How many processes train on a device at the same time."""
        if self.workers or device.torch_device.type != "cpu":
            return self.workers or 1
        return len(os.sched_getaffinity(0))
