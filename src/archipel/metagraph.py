"""All of a space in one network that shares weights, and the ways a batch can flow through it.

Letters: `B` batch, `D` code columns of the space, `O` options of a choice.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.choice import Choice, members
from archipel.choose import Place, Recorder
from archipel.errors import ArchitectureError, SpaceError, did_you_mean
from archipel.gating import Candidates, followed_gates, gated
from archipel.nn.blocks import Zero
from archipel.nn.segment import enclosed
from archipel.routes import (
    Following,
    Gated,
    Gating,
    Mixed,
    Mixture,
    PerInstance,
    Route,
    Single,
    Slices,
    Staged,
    current,
    current_numbers,
    follow,
)
from archipel.rows import Numbers, Rows, add_rows, lone_row_explained, rows_of, zeros
from archipel.space import Space
from archipel.staging import completed, learns, multiplied, staged

__all__ = ["Gated", "MetaGraph", "Mixture", "PerInstance", "Route", "Single", "Slices", "Staged", "current_numbers"]


class _Shared(Place):
    """A place in the meta-graph: follows the route of the forward pass under way."""

    def __init__(self, choice: Choice, options: Mapping[str, nn.Module], empty: nn.Module | None) -> None:
        super().__init__(choice, options, empty)
        # Which choices stand inside each option.
        self._within = {
            name: frozenset(m.choice.name for m in option.modules() if isinstance(m, Place))
            for name, option in options.items()
        }

    def forward(self, x: Any) -> Tensor:
        route = current(self.choice.name)
        if isinstance(route, Rows):
            return self._masked(x, route) if route.masked else self._scattered(x, route)
        if isinstance(route, Staged):
            return self._decided(x, route)
        if isinstance(route, Mixed) and self.choice.name in route.weights:
            return self._mixed(x, route.weights[self.choice.name], route.on[self.choice.name])
        if isinstance(route, Gating) and self.choice.name in route.gates:
            return self._gated(x, route)
        return self._run_all(members(route.architecture[self.choice.name]), x)

    def computes_nothing(self) -> bool:
        """Whether the route under way runs `Zero` here and no other option is looked at."""
        route = current(self.choice.name)
        running: list[nn.Module | None]
        if isinstance(route, Mixed | Staged) or (isinstance(route, Gating) and self.choice.name in route.gates):
            return False
        if isinstance(route, Rows):
            taken = zip(self.choice.options, route.taken[self.choice.name])
            chosen = tuple(option for option, rows in taken if rows is None or len(rows))
            running = [self.options[str(option)] for option in chosen]
            running += [] if self.empty is None else [self.empty]
        else:
            chosen = members(route.architecture[self.choice.name])
            running = [self.options[str(option)] for option in chosen] if chosen else [self.empty]
        return all(isinstance(option, Zero) for option in running)

    def taken_by(self, option: Any, /) -> Tensor | bool:
        route = current(self.choice.name)
        at = self.choice.options.index(option)
        if isinstance(route, Rows):
            rows = route.taken[self.choice.name][at]
            return True if rows is None else rows if len(rows) else False
        if isinstance(route, Staged):
            raise ArchitectureError(
                f"choice '{self.choice.name}' is decided on the way, and the network asks what was taken; give codes "
                "that are known before (PerInstance)"
            )
        if isinstance(route, Mixed) and self.choice.name in route.weights:
            return route.on[self.choice.name][at]
        return option in members(route.architecture[self.choice.name])

    def _run(self, option: Any, x: Any, rows: Tensor | None = None) -> Tensor:
        own = x[option] if self.choice.kind == "inputs" else x
        y: Tensor = self.options[str(option)](own if rows is None else rows_of(own, rows))
        return y

    def _run_all(self, chosen: Sequence[Any], x: Any) -> Tensor:
        if not chosen:
            return self._run_empty(x)
        y = self._run(chosen[0], x)
        for option in chosen[1:]:
            y = y + self._run(option, x)
        return y / len(chosen) if self.choice.mean and len(chosen) > 1 else y

    def _run_empty(self, x: Tensor) -> Tensor:
        y: Tensor = self.options[str(self.choice.empty)](x) if self.empty is None else self.empty(x)
        return y

    def _mixed(self, x: Any, weights: Tensor, on: list[bool]) -> Tensor:
        y: Tensor | None = None
        for option, weight, runs in zip(self.choice.options, weights, on):
            if runs:
                term = weight * self._run(option, x)
                y = term if y is None else y + term
        if y is None:
            return self._run_empty(x)
        return y / sum(on) if self.choice.mean else y

    def _gated(self, x: Any, route: Gating) -> Tensor:
        name = self.choice.name
        gate, active = route.gates[name], str(route.architecture[name])
        if not (torch.is_grad_enabled() and gate.requires_grad):
            return self._run(active, x)
        if not isinstance(x, Tensor):
            raise ArchitectureError(f"choice '{name}' has gates and is given {type(x).__name__}; give it one tensor")
        candidates = Candidates(
            name, dict(self.options.items()), active, route.observed[name], Single(route.architecture)
        )
        inner = [route.gates[c] for c in sorted(self._within[active] & route.gates.keys())]
        return gated(x, gate, candidates, inner, recompute=route.recompute)

    def _decided(self, x: Any, route: Staged) -> Tensor:
        name = self.choice.name
        decision = route.decide(name, x)
        taken = completed(self.choice, decision)
        if not learns(decision):
            if len(taken) == 1 or bool((taken == taken[0]).all()):  # nothing to gather or scatter
                return self._run_all([o for o, on in zip(self.choice.options, taken[0].tolist()) if on], x)
            return self._scattered(x, Rows(taken, {name: slice(None)}, Numbers(), decision.device), inside=route)
        empty = None if isinstance(self.empty, Zero) else functools.partial(self._run_empty, x)
        return multiplied(self.choice, decision, lambda option: self._run(option, x), empty)

    def _scattered(self, x: Any, route: Rows, inside: Staged | None = None) -> Tensor:
        whole: Tensor | None = None  # Σ of the options that every row takes
        parts: list[tuple[Tensor, Tensor]] = []
        for option, rows in zip(self.choice.options, route.taken[self.choice.name]):
            if rows is None:
                term = self._run(option, x)
                whole = term if whole is None else whole + term
            elif len(rows):
                own = route.narrowed(rows) if self._within[str(option)] else route
                taking = f"takes option '{option}' of choice '{self.choice.name}'"
                with follow(inside or own), lone_row_explained(taking):
                    parts.append((rows, self._run(option, x, rows)))
        if self.choice.allows_empty and whole is None:
            none = (~route.codes[:, route.slices[self.choice.name]].any(1)).nonzero()[:, 0].to(route.device)
            if len(none) == len(route.codes):
                return self._run_empty(x)
            if len(none) and not isinstance(self.empty, Zero):  # what is added up begins with zeros
                parts.append((none, self._run_empty(rows_of(x, none))))
        count = self._count(route) if self.choice.mean else None
        if not parts:
            assert whole is not None  # a complete code chooses something in every row
            return whole if count is None else whole / _spread_over(count, whole)
        # Under autocast an identity keeps a wider type than a convolution.
        wide = functools.reduce(torch.promote_types, (p.dtype for _, p in parts))
        if whole is None:
            y = zeros(parts[0][1], len(route.codes), wide)
        else:  # out of place: `whole` may be x itself, or saved for the backward pass
            y = whole.to(torch.promote_types(wide, whole.dtype), copy=True)
        for rows, part in parts:
            add_rows(y, rows, part.to(y.dtype))
        return y if count is None else y.div_(_spread_over(count, y))

    def _masked(self, x: Any, route: Rows) -> Tensor:
        """What any row takes, on all rows; a row for which the choice is not active gets what its taker throws away."""
        own = route.codes[:, route.slices[self.choice.name]]
        y: Tensor | None = None
        for option, taking in zip(self.choice.options, own.t()):
            if bool(taking.any()):
                term = self._run(option, x)
                term = term if bool(taking.all()) else term * _spread_over(taking, term)
                y = term if y is None else y + term
        if self.choice.allows_empty and not bool(own.any(1).all()):
            empty = self._run_empty(x)
            y = empty if y is None else y + empty * _spread_over(~own.any(1), empty)
        assert y is not None  # somebody is here, and takes something
        count = self._count(route) if self.choice.mean else None
        return y if count is None else y / _spread_over(count, y)

    def _count(self, route: Rows) -> Tensor | None:
        """How many options each row takes, or None where every row takes one option."""
        chosen = route.codes[:, route.slices[self.choice.name]].sum(1).clamp_min(1)
        return None if int(chosen.max()) == 1 else chosen


def _spread_over(rows: Tensor, y: Tensor) -> Tensor:
    return rows.to(y).view(-1, *[1] * (y.dim() - 1))


class MetaGraph(nn.Module):
    """The network with every option of every choice built in, sharing weights.

    >>> graph = MetaGraph(space)
    >>> graph(x, space.sample(rng))            # one child on the whole batch
    >>> graph(x, PerInstance(codes))           # a child per sample
    >>> graph.extract(architecture)            # the child taken out: same outputs, plain module
    """

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.space = space
        self.net = space.read(Recorder(_Shared))
        inside = enclosed(self.net)
        self._values = [c for c in space.choices if c.kind == "value" and c.name not in inside]

    def extra_repr(self) -> str:
        return repr(self.space)

    def forward(self, x: Any, route: Route | Architecture) -> Any:
        """Run a batch along a route.

        Args:
            x: `[B, ...]`, or whatever the space's network takes (with `PerInstance`: tensors with rows first).
            route: `Single`, `Mixture`, `PerInstance`, `Gated` or `Staged`; a bare `Architecture` is a `Single`.

        Raises:
            ArchitectureError: the route does not fit the space or the batch.
        """
        if isinstance(route, PerInstance):
            return self._per_instance(x, route)
        followed: Following
        if isinstance(route, Mixture):
            followed = self._mixture(route)
        elif isinstance(route, Gated):
            followed = followed_gates(self.space, route)
        elif isinstance(route, Staged):
            followed = staged(self.space, route)
        else:
            followed = Single(self.space.canonical(route.architecture if isinstance(route, Single) else route))
        with follow(followed):
            return self.net(x)

    def _mixture(self, route: Mixture) -> Mixed:
        names = [choice.name for choice in self.space.choices]
        for name in (*route.weights, *route.architecture):
            if name not in names:
                raise ArchitectureError(
                    f"the mixture names choice '{name}', which space '{self.space.name}' does not have"
                    f"{did_you_mean(name, names)}"
                )
        on: dict[str, list[bool]] = {}
        set_to: dict[str, Any] = {}
        running: dict[str, tuple[Any, ...]] = {}  # choice → the options that run
        for choice in self.space.choices:
            if choice.parent is not None and choice.when.isdisjoint(running.get(choice.parent, ())):
                continue
            if choice.name in route.weights:
                on[choice.name] = _weighed(choice, route.weights[choice.name])
                running[choice.name] = tuple(o for o, runs in zip(choice.options, on[choice.name]) if runs)
                if not running[choice.name]:
                    running[choice.name] = members(choice.canonical(()))
            elif choice.name in route.architecture:
                set_to[choice.name] = choice.canonical(route.architecture[choice.name])
                running[choice.name] = members(set_to[choice.name])
            else:
                raise ArchitectureError(
                    f"the mixture neither weighs nor sets choice '{choice.name}'; put it in its weights or architecture"
                )
        return Mixed(route.weights, on, set_to)

    def _per_instance(self, x: Any, route: PerInstance) -> Any:
        given = route.architectures
        first = x if isinstance(x, Tensor) else x[0]
        if len(given) != len(first) or not len(given):
            raise ArchitectureError(
                f"{len(given)} architectures are given for {len(first)} samples; give one each, and one at least"
            )
        if isinstance(given, Tensor):
            codes = self.space.complete(given.detach().cpu())
        else:
            codes = torch.stack([self.space.encode(architecture) for architecture in given])
        if bool((codes == codes[0]).all()):  # where all agree this is a Single, and costs what it costs
            with follow(Single(self.space.decode(codes[0]))):
                return self.net(x)
        whole = Rows(codes, self.space.slices, Numbers(), first.device, route.masked)
        if not self._values:
            return self._follow(x, whole)
        # Sizes change the shape of what flows: rows that differ in them cannot share a tensor.
        groups = whole.grouped(self._values)
        if len(groups) == 1:
            return self._follow(x, groups[0][1])
        parts = [(rows, self._follow(rows_of(x, rows), route)) for rows, route in groups if rows is not None]
        return rows_of(torch.cat([y for _, y in parts]), torch.cat([rows for rows, _ in parts]).argsort())

    def _follow(self, x: Any, route: Rows) -> Any:
        with follow(route):
            return self.net(x)

    def extract(self, architecture: Architecture) -> nn.Module:
        """The child of an architecture with its share of the weights: a plain module that owns copies of them.

        Same outputs as `graph(x, architecture)`; same class, parameters and names as `space.build(architecture)`.
        """
        architecture = self.space.canonical(architecture)
        child = self._fresh(architecture)
        for shared, own in _paired(self.net, child, architecture):
            own.data = shared.detach().clone()
        child.train(self.training)
        return child

    def _fresh(self, architecture: Architecture) -> nn.Module:
        with torch.random.fork_rng(devices=()):  # its initial weights are not kept: no draw should show
            return self.space.build(architecture)

    def unused(self, architecture: Architecture) -> Iterator[nn.Parameter]:
        """The parameters that a child does not touch."""
        architecture = self.space.canonical(architecture)
        pairs = _paired(self.net, self._fresh(architecture), architecture)
        used = {id(shared if shared._base is None else shared._base) for shared, _ in pairs}  # elastic: a view
        return (p for p in self.parameters() if id(p) not in used)


def _weighed(choice: Choice, weights: Any) -> list[bool]:
    """Which options a mixture's weights of a choice let run."""
    shape = list(weights.shape) if isinstance(weights, Tensor) else type(weights).__name__
    if choice.kind == "value":
        raise ArchitectureError(f"the mixture weighs value choice '{choice.name}'; give a number in its architecture")
    if shape != [len(choice.options)]:
        raise ArchitectureError(
            f"the mixture weighs choice '{choice.name}' with {shape}; give a tensor of shape [{len(choice.options)}]"
        )
    on: list[bool] = (weights.detach() != 0).tolist()
    if not any(on) and choice.empty is None:
        raise ArchitectureError(f"the mixture weighs every option of '{choice.name}' with 0; give one another weight")
    return on


def _paired(shared: nn.Module, child: nn.Module, architecture: Architecture) -> Iterator[tuple[Tensor, Tensor]]:
    """(tensor in the meta-graph, tensor in the child) for every parameter and buffer of the child."""
    if isinstance(shared, Place):
        chosen = members(architecture[shared.choice.name])
        for option in map(str, chosen):
            part = child.get_submodule(option) if shared.choice.takes_several else child
            yield from _paired(shared.options[option], part, architecture)
        if not chosen and shared.empty is not None:
            yield from _paired(shared.empty, child, architecture)
        return
    if isinstance(shared, Slices):
        cut, whole = shared.tensors(architecture), child.state_dict(keep_vars=True)
        if cut.keys() != whole.keys():
            raise SpaceError(f"elastic layer {type(shared).__name__} gives {[*cut]}, its child has {[*whole]}")
        yield from ((cut[name], whole[name]) for name in cut)
        return
    for name, own in [*child.named_parameters(recurse=False), *child.named_buffers(recurse=False)]:
        yield getattr(shared, name), own
    for name, part in child.named_children():
        yield from _paired(shared.get_submodule(name), part, architecture)
