"""Children of a space made ready for measuring, and one measuring session over many of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from archipel.architecture import Architecture
from archipel.cost.device import Device
from archipel.cost.isolated import Terms, terms_of
from archipel.cost.measure import Clock, Timing, clock_of, measure, quiet
from archipel.cost.units import Probe, probe
from archipel.errors import SpaceError
from archipel.progress import SILENT, Progress
from archipel.space import Space

__all__ = ["Measured", "Nursery", "measure_children"]

_LEAD = 1


@dataclass(frozen=True)
class Measured:
    """One child after a session."""

    architecture: Architecture
    ms: float
    """A forward pass of the whole batch; with a probe on it, what the hooks cost is in it; NaN where only its parts
    were timed."""
    units: dict[str, float]
    """Milliseconds by key of `archipel.cost.units`; empty for a child that was timed whole."""
    chance: float = float("nan")
    """See `Timing.chance`; NaN where only its parts were timed."""


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
        self._generator = torch.Generator().manual_seed(seed)
        self._inputs: dict[tuple[int, ...], Tensor] = {}
        self.inputs = self.inputs_of(input_shape)
        self._settling = torch.randn((4, *input_shape[1:]), generator=self._generator)

    def inputs_of(self, shape: tuple[int, ...]) -> Tensor:
        """Random inputs, the same for every module that takes this shape."""
        if shape not in self._inputs:
            self._inputs[shape] = torch.randn(shape, generator=self._generator).to(self.device.torch_device)
        return self._inputs[shape]

    def build(self, architecture: Architecture) -> nn.Module:
        """The network as `Device.prepare` makes it."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            child = self.space.build(architecture)
        settle_norms(child, self._settling)
        child = self.device.prepare(child)
        for name, tensor in (*child.named_parameters(), *child.named_buffers()):
            tensor.data = self._pool.setdefault((name, tensor.shape), tensor.data)
        return child


def settle_norms(module: nn.Module, inputs: Tensor) -> None:
    """Set every batch norm's running statistics to those of one pass of `inputs`; leaves evaluation mode.

    Raises:
        SpaceError: the network cannot take such inputs.
    """
    module.eval()
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over passes: here, the one pass
        norm.train()
    try:
        with torch.no_grad():
            module(inputs)
    except RuntimeError as error:
        said = (str(error).splitlines() or [""])[0]
        raise SpaceError(f"a network cannot take images of {'×'.join(map(str, inputs.shape[1:]))}: {said}") from error
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
        norm.eval()


def measure_children(
    nursery: Nursery,
    by_part: Sequence[Architecture],
    whole: Sequence[Architecture],
    *,
    rounds: int,
    seconds: float = float("inf"),
    rng: random.Random,
    clock: Clock | None = None,
    progress: Progress = SILENT,
    title: str = "Measuring",
) -> tuple[list[Measured], list[Measured], int]:
    """Time children by turns in one session: `by_part` entry by entry, `whole` as they are.

    Where the device can be timed in the middle of a pass, parts are timed there by hooks; elsewhere every different
    part is a candidate of its own (`archipel.cost.isolated`).

    Args:
        rounds: passes of each child.
        seconds: fewer rounds are done, but at least 12, where `rounds` would take longer.

    Returns:
        What was measured of `by_part` and of `whole`, each in the order given, and the rounds done.
    """
    clock, backend = clock or clock_of(nursery.device), nursery.device.backend
    parts: _InPlace | _Alone = _InPlace(nursery, clock) if backend.hooks else _Alone(nursery)
    with nursery.device.use(), progress.bar("Building networks to measure", len(by_part) + len(whole)) as bar:
        for architecture in by_part:
            parts.add(architecture)
            bar.advance()
        pairs = dict(parts.pairs)
        for i, architecture in enumerate(whole):
            pairs[f"whole {i}"] = nursery.build(architecture), nursery.inputs
            bar.advance()
        calls = bound(pairs, nursery.device, progress)
    trial = measure(calls, nursery.device, rounds=1, rng=rng)  # also warms up
    a_round = sum(timing.median for timing in trial.values()) / 1e3
    if a_round * rounds > seconds:
        rounds = min(rounds, max(12, int(seconds / a_round)))
        progress.say(f"a round takes {a_round:.1f} s, so {rounds} rounds are done")
    timings = measure(
        calls,
        nursery.device,
        rounds=rounds,
        lead=_LEAD,
        rng=rng,
        clock=clock,
        progress=progress,
        title=title,
    )
    timed = [(a, timings[f"whole {i}"]) for i, a in enumerate(whole)]
    measured = [Measured(architecture, timing.ms, {}, timing.chance) for architecture, timing in timed]
    return parts.measured(timings, rounds), measured, rounds


def bound(
    pairs: Mapping[str, tuple[nn.Module, Tensor]], device: Device, progress: Progress
) -> dict[str, Callable[[], object]]:
    """Calls to time, of modules as `Device.prepare` makes them.

    Raises:
        DeviceError: one of them cannot run there.
    """
    calls = {}
    with (SILENT if device.backend.hooks else progress).bar("Preparing them for the device", len(pairs)) as bar:
        for name, call in zip(pairs, device.backend.bind(pairs.values())):
            calls[name] = call
            bar.advance()
    return calls


class _InPlace:
    """Children with a probe on every part."""

    def __init__(self, nursery: Nursery, clock: Clock) -> None:
        self.nursery, self.clock = nursery, clock
        self.pairs: dict[str, tuple[nn.Module, Tensor]] = {}
        self._probes: list[tuple[Architecture, Probe]] = []

    def add(self, architecture: Architecture) -> None:
        child = self.nursery.build(architecture)
        put = probe(child, self.nursery.space, architecture, self.nursery.inputs, self.clock)
        self.pairs[f"by part {len(self._probes)}"] = child, self.nursery.inputs
        self._probes.append((architecture, put))

    def measured(self, timings: Mapping[str, Timing], rounds: int) -> list[Measured]:
        found = []
        for i, (architecture, put) in enumerate(self._probes):
            runs = put.runs()[-rounds * (_LEAD + 1) :][_LEAD :: _LEAD + 1]  # the timed ones
            units = {key: float(quiet([run[key] for run in runs])) for key in runs[0]}
            found.append(Measured(architecture, timings[f"by part {i}"].ms, units))
        return found


class _Alone:
    """The different parts of children, each a module of its own."""

    def __init__(self, nursery: Nursery) -> None:
        self.nursery = nursery
        self.pairs: dict[str, tuple[nn.Module, Tensor]] = {_NOTHING: (nn.Identity(), nursery.inputs_of((1, 1, 1, 1)))}
        self._children: list[tuple[Architecture, dict[str, Terms]]] = []

    def add(self, architecture: Architecture) -> None:
        child = self.nursery.build(architecture)
        terms = terms_of(child, self.nursery.space, architecture, self.nursery.inputs)
        for added in terms.values():
            for _, part in added:
                self.pairs.setdefault(part.key, (part.module, self.nursery.inputs_of(part.shape)))
        self._children.append((architecture, terms))

    def measured(self, timings: Mapping[str, Timing], rounds: int) -> list[Measured]:  # noqa: ARG002
        call = timings[_NOTHING].ms
        ms = {key: timings[key].ms - call for key in self.pairs}
        return [
            Measured(
                a, float("nan"), {entry: sum(sign * ms[part.key] for sign, part in t) for entry, t in terms.items()}
            )
            for a, terms in self._children
        ]


_NOTHING = "nothing"
"""The candidate that is a call and no work: every part alone pays for one, in a network all pay for one together."""
