"""Children of a space made ready for measuring, and one measuring session over many of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from archipel.architecture import Architecture
from archipel.cost.device import Device
from archipel.cost.measure import Clock, clock_of, measure, quiet
from archipel.cost.units import Probe, probe
from archipel.progress import SILENT, Progress
from archipel.space import Space

__all__ = ["Measured", "Nursery", "measure_children"]

_LEAD = 1


@dataclass(frozen=True)
class Measured:
    """One child after a session."""

    architecture: Architecture
    ms: float
    """A forward pass of the whole batch; with a probe on it, what the hooks cost is in it."""
    units: dict[str, float]
    """Milliseconds by key of `archipel.cost.units`; empty for a child without a probe."""


class Nursery:
    """Builds children of a space as they run when they are deployed together.

    Batch norm takes its statistics from random inputs before it is folded, so that signals keep the size they
    have in trained networks (in fresh ones they shrink layer by layer, and a deep one would be timed on
    denormal numbers). Tensors of equal place and shape are one tensor in all children, as in a meta-graph
    that serves them: a hundred children take the memory of one meta-graph, and a child's weights are as warm
    as the others left them.
    """

    def __init__(self, space: Space, device: Device, input_shape: tuple[int, ...], seed: int) -> None:
        self.space = space
        self.device = device
        self.input_shape = input_shape
        self.seed = seed
        self._pool: dict[tuple[str, torch.Size], Tensor] = {}
        generator = torch.Generator().manual_seed(seed)
        self.inputs = torch.randn(input_shape, generator=generator).to(device.torch_device)
        self._settling = torch.randn((4, *input_shape[1:]), generator=generator)

    def build(self, architecture: Architecture) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            child = self.space.build(architecture)
        settle_norms(child, self._settling)
        child = self.device.prepare(child)
        for name, tensor in (*child.named_parameters(), *child.named_buffers()):
            tensor.data = self._pool.setdefault((name, tensor.shape), tensor.data)
        return child


def settle_norms(module: nn.Module, inputs: Tensor) -> None:
    """Set every batch norm's running statistics to those of one pass of `inputs`; leaves evaluation mode."""
    module.eval()
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over passes: here, the one pass
        norm.train()
    with torch.no_grad():
        module(inputs)
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
        norm.eval()


def measure_children(
    nursery: Nursery,
    probed: Sequence[Architecture],
    whole: Sequence[Architecture],
    *,
    rounds: int,
    seconds: float = float("inf"),
    rng: random.Random,
    clock: Clock | None = None,
    progress: Progress = SILENT,
    title: str = "Measuring",
) -> tuple[list[Measured], list[Measured], int]:
    """Time children by turns in one session: `probed` unit by unit, `whole` without any hook.

    Args:
        rounds: passes of each child.
        seconds: fewer rounds are done, but at least 12, where `rounds` would take longer.

    Returns:
        What was measured of `probed` and of `whole`, each in the order given, and the rounds done.
    """
    clock = clock or clock_of(nursery.device)
    children: dict[str, nn.Module] = {}
    probes: dict[str, Probe] = {}
    with nursery.device.use(), progress.bar("Building networks to measure", len(probed) + len(whole)) as bar:
        for i, architecture in enumerate((*probed, *whole)):
            children[str(i)] = child = nursery.build(architecture)
            if i < len(probed):
                probes[str(i)] = probe(child, nursery.space, architecture, nursery.inputs, clock)
            bar.advance()
    passes = {name: partial(child, nursery.inputs) for name, child in children.items()}
    trial = measure(passes, nursery.device, rounds=1, rng=rng)  # also warms up
    a_round = sum(timing.median for timing in trial.values()) / 1e3
    if a_round * rounds > seconds:
        rounds = min(rounds, max(12, int(seconds / a_round)))
        progress.say(f"a round takes {a_round:.1f} s, so {rounds} rounds are done")
    timings = measure(
        passes,
        nursery.device,
        rounds=rounds,
        lead=_LEAD,
        rng=rng,
        clock=clock,
        progress=progress,
        title=title,
    )
    measured = []
    for i, architecture in enumerate((*probed, *whole)):
        units: dict[str, float] = {}
        if str(i) in probes:
            runs = probes[str(i)].runs()[-rounds * (_LEAD + 1) :][_LEAD :: _LEAD + 1]  # the timed ones
            units = {key: float(quiet([run[key] for run in runs])) for key in runs[0]}
        measured.append(Measured(architecture, timings[str(i)].ms, units))
    return measured[: len(probed)], measured[len(probed) :], rounds
