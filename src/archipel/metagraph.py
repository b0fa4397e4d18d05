"""All of a space in one network that shares weights, and the ways a batch can flow through it.

Letters: `B` batch, `D` code columns of the space, `O` options of a choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.choice import Choice, members
from archipel.choose import Place, Recorder
from archipel.errors import ArchitectureError, SpaceError, did_you_mean
from archipel.gating import followed_gates
from archipel.nn.segment import enclosed
from archipel.routes import (
    Following,
    Gated,
    Mixed,
    Mixture,
    PerInstance,
    Route,
    Single,
    Slices,
    Staged,
    current_numbers,
    follow,
)
from archipel.rows import Numbers, Rows, rows_of
from archipel.shared_place import SharedPlace
from archipel.space import Space
from archipel.staging import staged

__all__ = ["Gated", "MetaGraph", "Mixture", "PerInstance", "Route", "Single", "Slices", "Staged", "current_numbers"]


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
        self.net = space.read(Recorder(SharedPlace))
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
