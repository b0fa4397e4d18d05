"""Whole networks timed side by side, each on inputs of its own size."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from archipel.cost.device import Device
from archipel.cost.measure import Clock, Timing, measure
from archipel.cost.session import bound, settle_norms
from archipel.progress import SILENT, Progress

__all__ = ["Candidate", "measure_networks"]


@dataclass(frozen=True)
class Candidate:
    """A network and the images it takes."""

    network: nn.Module
    input_shape: tuple[int, int, int]
    """`[C, H, W]`."""


def measure_networks(
    candidates: Mapping[str, Candidate],
    device: Device,
    *,
    batch: int = 1,
    rounds: int = 50,
    seed: int = 0,
    progress: Progress = SILENT,
    clock: Clock | None = None,
) -> dict[str, Timing]:
    """Milliseconds of one forward pass of a batch of each, by turns in one session.

    Every network runs as it would be deployed on the device, on random inputs; batch norm takes its statistics
    from random inputs first, so that signals keep the size they have in trained networks.

    Raises:
        DeviceError: one of them cannot run there.
    """
    generator = torch.Generator().manual_seed(seed)
    pairs = {}
    with device.use():
        for name, candidate in candidates.items():
            settle_norms(candidate.network, torch.randn((4, *candidate.input_shape), generator=generator))
            inputs = torch.randn((batch, *candidate.input_shape), generator=generator).to(device.torch_device)
            pairs[name] = device.prepare(candidate.network), inputs
        calls = bound(pairs, device, progress)
    return measure(
        calls, device, rounds=rounds, rng=random.Random(seed), clock=clock, progress=progress, title="Measuring latency"
    )
