"""What an `op` choice with gates does: run one option, and learn in the backward pass what the others would have done.

ProxylessNAS' binary gates (Cai et al., ICLR 2019, §3.2). Letters: `O` options of the choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from archipel.architecture import Architecture
from archipel.choice import Choice
from archipel.choose import Place
from archipel.errors import ArchitectureError, did_you_mean
from archipel.nn.blocks import Zero
from archipel.routes import Gated, Gating, Single, follow
from archipel.space import Space

__all__ = ["Candidates", "followed_gates", "gated", "kept_buffers"]


def followed_gates(space: Space, route: Gated) -> Gating:
    """The route made complete.

    Raises:
        ArchitectureError: it does not fit the space, or an observed option holds a choice that is not set.
    """
    known = {choice.name: choice for choice in space.choices}
    architecture = space.canonical(route.architecture)
    spare = {c: known[c].canonical(v) for c, v in route.architecture.items() if c not in architecture}
    set_to, observed, wanted = {**architecture, **spare}, {}, route.observed or {}
    for name in (*route.gates, *wanted):
        if name not in known:
            raise ArchitectureError(
                f"the route has gates for choice '{name}', which space '{space.name}' does not have"
                f"{did_you_mean(name, known)}"
            )
        if name not in route.gates:
            raise ArchitectureError(f"options of choice '{name}' are observed, and it has no gates; give it some")
    parents = {choice.parent for choice in space.choices}
    for name, gate in route.gates.items():
        _check_gate(known[name], gate)
        observed[name] = frozenset(map(known[name].canonical, wanted.get(name, known[name].options)))
        for option in observed[name] if name in parents and name in architecture else ():
            unset = [c.name for c in space.active({**set_to, name: option}) if c.name not in set_to]
            if unset:
                raise ArchitectureError(
                    f"option '{option}' of choice '{name}' is observed and holds choice '{unset[0]}', not set; "
                    "set it in the architecture, or leave the option out of `observed`"
                )
    return Gating(Architecture(set_to), route.gates, observed, route.recompute)


def _check_gate(choice: Choice, gate: Any) -> None:
    if choice.kind != "op":
        raise ArchitectureError(
            f"the route has gates for {choice.kind} choice '{choice.name}'; only op choices can have them"
        )
    shape = list(gate.shape) if isinstance(gate, Tensor) else type(gate).__name__
    if shape != [len(choice.options)]:
        raise ArchitectureError(
            f"the gates of choice '{choice.name}' are {shape}; give a tensor of shape [{len(choice.options)}]"
        )


@dataclass(frozen=True)
class Candidates:
    """The options of a choice: the one that runs, and those that are looked at."""

    choice: str
    options: Mapping[str, nn.Module]
    active: str
    observed: frozenset[str]
    route: Single
    """What choices inside the options that are looked at are set to."""

    @property
    def position(self) -> int | None:
        """Of the active option, where its u is wanted and not known to be 0."""
        if self.active not in self.observed or isinstance(self.options[self.active], Zero):
            return None
        return list(self.options).index(self.active)

    @property
    def others(self) -> list[tuple[int, str]]:
        """Positions and names of those that must run besides the active one."""
        wanted = self.observed - {self.active}
        return [
            (i, name)
            for i, (name, option) in enumerate(self.options.items())
            if name in wanted and not isinstance(option, Zero)
        ]

    def run(self, name: str, x: Tensor) -> Tensor:
        """An option's output; `x` stays as it is, for the options share it."""
        option = self.options[name]
        # A copy costs little beside an option, but not nothing: it is made where the first layer writes into it.
        own = x.clone() if _starts_in_place(option) else x
        before = x._version
        with _in_place_explained(f"option '{name}' of choice '{self.choice}' changes its input in place"):
            y: Tensor = option(own)
            if x._version != before:
                raise RuntimeError("in-place")
        return y

    def look(self, x: Tensor, moment: _Moment, take: Callable[[Tensor], Tensor]) -> dict[int, Tensor]:
        """position → what `take` makes of the option's output, for the others, one at a time."""
        found = {}
        with torch.no_grad(), moment.again(), follow(self.route):
            for position, name in self.others:
                with kept_buffers(self.options[name]):
                    found[position] = take(self.run(name, x))
        return found


class _Moment:
    """The chance and the precision that reigned when a choice was reached in the forward pass."""

    def __init__(self, device: torch.device) -> None:
        kind = device.type
        self.devices = [device] if kind == "cuda" else []
        self.chance = torch.get_rng_state()
        self.device_chance = [torch.cuda.get_rng_state(device) for device in self.devices]
        self.precision: dict[str, Any] = {
            "device_type": kind,
            "enabled": torch.is_autocast_enabled(kind),
            "dtype": torch.get_autocast_dtype(kind),
            "cache_enabled": torch.is_autocast_cache_enabled(),
        }

    @contextmanager
    def again(self) -> Iterator[None]:
        """Back to it, and afterwards on as if nothing had been drawn."""
        with torch.random.fork_rng(self.devices), torch.autocast(**self.precision):
            torch.set_rng_state(self.chance)
            for device, state in zip(self.devices, self.device_chance):
                torch.cuda.set_rng_state(state, device)
            yield


def gated(x: Tensor, gate: Tensor, candidates: Candidates, inner: Sequence[Tensor], *, recompute: bool) -> Tensor:
    """The active option's output, through which `gate` `[O]` gets u.

    Args:
        inner: gates of choices that stand inside the active option.
        recompute: see `Gated`.
    """
    if recompute:
        y: Tensor = _Recomputed.apply(x, gate, candidates, *inner)
        return y
    # The others first: they draw nothing, and the active one may hand on x itself to what changes it in place.
    seen = candidates.look(x, _Moment(x.device), lambda output: output)
    given = candidates.run(candidates.active, x)
    kept: Tensor = _Kept.apply(given, gate, candidates, tuple(seen), *seen.values())
    return kept


class _Recomputed(torch.autograd.Function):
    """The released `full_v2`: one option's graph is kept; the others run inside the backward pass, once that graph
    is spent and its memory free. It asks for the gradient of its input and of inner gates only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gate: Tensor, candidates: Candidates, *inner: Tensor) -> Tensor:
        ctx.candidates, ctx.moment, ctx.gate = candidates, _Moment(x.device), gate.detach()
        needs = ctx.needs_input_grad
        own = x.detach().requires_grad_(needs[0])
        ctx.inputs = (own, *inner)
        with torch.set_grad_enabled(needs[0] or any(needs[3:])):
            root = candidates.run(candidates.active, own)
        ctx.root = root if root.requires_grad else None
        ctx.is_spent = False
        y = root.detach()
        ctx.save_for_backward(own if candidates.others else None, None if candidates.position is None else y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, pull: Tensor) -> tuple[Tensor | None, ...]:
        x, y = _saved(ctx)
        if ctx.is_spent:
            raise RuntimeError("a gated route is followed back once; call the meta-graph again")
        ctx.is_spent = True
        needs_x, needs_gate, _, *needs_inner = ctx.needs_input_grad
        found = {} if y is None else {ctx.candidates.position: _inner(y, pull)}
        del y
        pulled = _pulled(ctx, pull, [needs_x, *needs_inner])
        u = None
        if needs_gate:
            found |= ctx.candidates.look(x, ctx.moment, lambda output: _inner(output, pull))
            u = _gathered(ctx.gate, found)
        return pulled[0], u, None, *pulled[1:]


class _Kept(torch.autograd.Function):
    """Every output was computed on the way and is kept (the released `full`; `two` with two options observed)."""

    @staticmethod
    def forward(
        ctx: Any, y: Tensor, gate: Tensor, candidates: Candidates, positions: tuple[int, ...], *seen: Tensor
    ) -> Tensor:
        ctx.candidates, ctx.gate, ctx.positions = candidates, gate.detach(), positions
        given = y.detach()
        ctx.save_for_backward(None if candidates.position is None else given, *seen)
        return given

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, pull: Tensor) -> tuple[Tensor | None, ...]:
        y, *seen = _saved(ctx)
        u = None
        if ctx.needs_input_grad[1]:
            outputs = zip((ctx.candidates.position, *ctx.positions), (y, *seen))
            u = _gathered(ctx.gate, {p: _inner(output, pull) for p, output in outputs if output is not None})
        return pull, u, None, None, *[None] * len(seen)


def _pulled(ctx: Any, pull: Tensor, needs: list[bool]) -> list[Tensor | None]:
    """Gradients of the inputs of the active option's graph, which is spent afterwards."""
    root, ctx.root = ctx.root, None
    wanted = [tensor for tensor, needed in zip(ctx.inputs, needs) if needed]
    if root is None or not wanted:
        return [None] * len(needs)
    found = iter(torch.autograd.grad(root, wanted, pull, allow_unused=True))
    return [next(found) if needed else None for needed in needs]


def _saved(ctx: Any) -> tuple[Tensor | None, ...]:
    with _in_place_explained(f"the layer that follows choice '{ctx.candidates.choice}' changes its input in place"):
        saved: tuple[Tensor | None, ...] = ctx.saved_tensors
        return saved


def _inner(output: Tensor, pull: Tensor) -> Tensor:
    """⟨output, pull⟩, a scalar: in float16 a sum over a batch of maps would overflow."""
    wide = torch.promote_types(output.dtype, torch.float32)
    return (output.to(wide) * pull.to(wide)).sum()


def _gathered(gate: Tensor, found: Mapping[int, Tensor]) -> Tensor:
    u = torch.zeros_like(gate)
    for position, value in found.items():
        u[position] = value
    return u


@contextmanager
def kept_buffers(module: nn.Module) -> Iterator[None]:
    """Whatever the module writes into its buffers meanwhile (running statistics) is forgotten afterwards.

    It writes into copies, so that no tensor that autograd has seen changes.
    """
    owners = [(part._buffers, dict(part._buffers)) for part in module.modules() if part._buffers]
    for buffers, kept in owners:
        buffers.update({name: buffer if buffer is None else buffer.clone() for name, buffer in kept.items()})
    try:
        yield
    finally:
        for buffers, kept in owners:
            buffers.update(kept)


def _starts_in_place(module: nn.Module) -> bool:
    if isinstance(module, Place):
        return any(_starts_in_place(option) for option in module.options.values())
    first = next(module.children(), None)
    return getattr(module, "inplace", False) is True if first is None else _starts_in_place(first)


@contextmanager
def _in_place_explained(what: str) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if "in-place" not in str(error) and "inplace" not in str(error):
            raise
        raise ArchitectureError(f"{what}, which its gates need; give that layer inplace=False") from error
