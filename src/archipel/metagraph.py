"""All of a space in one network that shares weights, and the ways a batch can flow through it.

Letters: `B` batch, `D` code columns of the space, `O` options of a choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.choose import Choice, Place, Recorder
from archipel.errors import ArchitectureError, SpaceError
from archipel.space import Space

__all__ = ["MetaGraph", "Mixture", "PerInstance", "Route", "Single", "Slices", "current_numbers"]


@dataclass(frozen=True)
class Single:
    """The whole batch through one child: one option per choice runs, nothing else is computed or remembered."""

    architecture: Architecture


@dataclass(frozen=True)
class Mixture:
    """Every choice in `weights` gives Σ_o w_o f_o(x) over the options with w_o ≠ 0 (DARTS, SNAS, ProxylessNAS).

    Args:
        weights: choice name → `[O]`; gradients flow into it.
        architecture: what the other choices are set to (every `value` choice must be here).
    """

    weights: Mapping[str, Tensor]
    architecture: Architecture = field(default_factory=Architecture)


@dataclass(frozen=True)
class PerInstance:
    """Every sample through its own child: at each choice the batch is gathered by option, each option runs once
    on its rows, and the results are scattered back.

    In evaluation mode this equals running each sample alone. In training mode batch norm sees, in each option,
    the rows that chose it and no others.

    Args:
        architectures: codes `[B, D]` (bool) as `Space.encode` writes them, or one `Architecture` a sample.
    """

    architectures: Tensor | Sequence[Architecture]


Route: TypeAlias = Single | Mixture | PerInstance
"""How one batch flows through a meta-graph."""


@dataclass(frozen=True)
class _Rows:
    """A `PerInstance` route while it is being followed: which rows of the current (sub-)batch take what.

    `numbers` are the `value` choices, equal for all rows; `taken` maps a choice to the row indices of each of its
    options, None for "all rows".
    """

    codes: Tensor  # [B, D] bool, on the CPU
    slices: Mapping[str, slice]
    taken: Mapping[str, list[Tensor | None]]
    numbers: Mapping[str, Any]
    device: torch.device

    @classmethod
    def of(
        cls, codes: Tensor, slices: Mapping[str, slice], numbers: Mapping[str, Any], device: torch.device
    ) -> _Rows:
        # One transfer for the whole network: rows sorted by column, then cut at the column counts.
        counts = codes.sum(0).tolist()
        rows = codes.t().nonzero()[:, 1].to(device, non_blocking=True)
        columns = [None if n == len(codes) else part for n, part in zip(counts, rows.split(counts))]
        return cls(codes, slices, {name: columns[cut] for name, cut in slices.items()}, numbers, device)

    def narrowed(self, rows: Tensor) -> _Rows:
        return _Rows.of(self.codes[rows.cpu()], self.slices, self.numbers, self.device)


_Following: TypeAlias = Single | Mixture | _Rows

# Set only while `MetaGraph.forward` runs, per thread and per call, and never outside it: it is how the route
# reaches choices that stand inside a user's own modules, whose `forward` takes no route.
_following: ContextVar[_Following] = ContextVar("route")


@contextmanager
def _follow(route: _Following) -> Iterator[None]:
    token = _following.set(route)
    try:
        yield
    finally:
        _following.reset(token)


def _current(choice: str) -> _Following:
    try:
        return _following.get()
    except LookupError:
        raise ArchitectureError(
            f"choice '{choice}' is run without a route; call the meta-graph itself: graph(x, route)"
        ) from None


def current_numbers(choice: str) -> Mapping[str, Any]:
    """What the `value` choices are set to in the forward pass under way (for elastic layers)."""
    route = _current(choice)
    return route.numbers if isinstance(route, _Rows) else route.architecture


class Slices(nn.Module):
    """A layer with elastic sizes: it holds the weights of the largest, and runs any smaller one."""

    def numbers(self, assignment: Mapping[str, Any]) -> dict[str, Any]:
        """Its sizes under an assignment of the `value` choices."""
        raise NotImplementedError

    def tensors(self, assignment: Mapping[str, Any]) -> dict[str, Tensor]:
        """Its parameters and buffers cut to those sizes, named as in the plain layer."""
        raise NotImplementedError


class _Shared(Place):
    """A place in the meta-graph: follows the route of the forward pass under way."""

    def __init__(self, choice: Choice, options: Mapping[str, nn.Module], empty: nn.Module | None) -> None:
        super().__init__(choice, options, empty)
        self._nested = [any(isinstance(m, Place) for m in option.modules()) for option in options.values()]

    def forward(self, x: Any) -> Tensor:
        route = _current(self.choice.name)
        if isinstance(route, _Rows):
            return self._scattered(x, route)
        if isinstance(route, Mixture) and self.choice.name in route.weights:
            return self._mixed(x, route.weights[self.choice.name])
        chosen = route.architecture[self.choice.name]
        if not isinstance(chosen, tuple):
            return self._run(str(chosen), x)
        if not chosen:
            return self._run_empty(x)
        y = self._run(str(chosen[0]), x)
        for option in chosen[1:]:
            y = y + self._run(str(option), x)
        return y

    def _run(self, option: str, x: Any) -> Tensor:
        return self.options[option](x[int(option)] if self.choice.kind == "inputs" else x)

    def _run_empty(self, x: Tensor) -> Tensor:
        assert self.empty is not None  # a canonical architecture is empty only where the space allows it
        return self.empty(x)

    def _mixed(self, x: Any, weights: Tensor) -> Tensor:
        y: Tensor | None = None
        for option, weight, off in zip(self.options, weights, (weights.detach() == 0).tolist()):
            if not off:
                term = weight * self._run(option, x)
                y = term if y is None else y + term
        return self._run_empty(x) if y is None else y

    def _scattered(self, x: Any, route: _Rows) -> Tensor:
        taken = route.taken[self.choice.name]
        y: Tensor | None = None  # Σ of the options that every row takes
        parts: list[tuple[Tensor, Tensor]] = []
        for option, rows, nested in zip(self.options, taken, self._nested):
            if rows is None:
                term = self._run(option, x)
                y = term if y is None else y + term
            elif len(rows):
                with _follow(route.narrowed(rows) if nested else route):
                    parts.append((rows, self._run(option, _rows_of(x, rows))))
        if self.choice.allows_empty and y is None:
            none = (~route.codes[:, route.slices[self.choice.name]].any(1)).nonzero()[:, 0].to(route.device)
            if len(none) == len(route.codes):
                return self._run_empty(x)
            if len(none):
                parts.append((none, self._run_empty(_rows_of(x, none))))
        if y is None:
            y = parts[0][1].new_zeros(len(route.codes), *parts[0][1].shape[1:])
        elif parts:  # out of place: y may be x, or saved for the backward pass
            y = y.index_add(0, *parts.pop())
        for rows, part in parts:
            y = y.index_add_(0, rows, part)
        return y


def _rows_of(x: Any, rows: Tensor) -> Any:
    return x.index_select(0, rows) if isinstance(x, Tensor) else [t.index_select(0, rows) for t in x]


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
        self._numbers = [c.name for c in space.choices if c.kind in ("value", "inputs")]

    def extra_repr(self) -> str:
        return repr(self.space)

    def forward(self, x: Any, route: Route | Architecture) -> Any:
        """Run a batch along a route.

        Args:
            x: `[B, ...]`, or whatever the space's network takes (with `PerInstance`: tensors with rows first).
            route: `Single`, `Mixture` or `PerInstance`; a bare `Architecture` is a `Single`.

        Raises:
            ArchitectureError: the route does not fit the space or the batch.
        """
        if isinstance(route, PerInstance):
            return self._per_instance(x, route)
        if isinstance(route, Mixture):
            self._check_mixture(route)
        else:
            route = Single(self.space.canonical(route.architecture if isinstance(route, Single) else route))
        with _follow(route):
            return self.net(x)

    def _check_mixture(self, route: Mixture) -> None:
        for choice in self.space.choices:
            if choice.name in route.weights:
                shape = tuple(route.weights[choice.name].shape)
                if choice.kind == "value" or shape != (len(choice.options),):
                    raise ArchitectureError(
                        f"a mixture weighs {choice.kind} choice '{choice.name}' with shape {list(shape)}; give "
                        + (
                            "a number in its architecture"
                            if choice.kind == "value"
                            else f"[{len(choice.options)}]"
                        )
                    )

    def _per_instance(self, x: Any, route: PerInstance) -> Any:
        given = route.architectures
        if isinstance(given, Tensor):
            codes = self.space.complete(given.detach().cpu())
        else:
            codes = torch.stack([self.space.encode(architecture) for architecture in given])
        first = x if isinstance(x, Tensor) else x[0]
        if len(codes) != len(first):
            raise ArchitectureError(
                f"{len(codes)} architectures are given for {len(first)} samples; give one each"
            )
        if bool((codes == codes[0]).all()):  # where all agree this is a Single, and costs what it costs
            with _follow(Single(self.space.decode(codes[0]))):
                return self.net(x)
        if not self._numbers:
            return self._follow_rows(x, codes, {}, first.device)
        # Sizes and inputs change the shape of what flows: rows that differ in them cannot share a tensor.
        columns = torch.cat([codes[:, self.space.slices[name]] for name in self._numbers], 1)
        _, group = columns.unique(dim=0, return_inverse=True)
        y: Tensor | None = None
        for g in range(int(group.max()) + 1):
            rows = (group == g).nonzero()[:, 0]
            architecture = self.space.decode(codes[rows[0]])
            part = self._follow_rows(
                _rows_of(x, rows.to(first.device)), codes[rows], architecture, first.device
            )
            y = part.new_zeros(len(codes), *part.shape[1:]) if y is None else y
            y = y.index_add(0, rows.to(first.device), part)
        return y

    def _follow_rows(self, x: Any, codes: Tensor, numbers: Mapping[str, Any], device: torch.device) -> Any:
        with _follow(_Rows.of(codes, self.space.slices, numbers, device)):
            return self.net(x)

    def extract(self, architecture: Architecture) -> nn.Module:
        """The child of an architecture with its share of the weights: a plain module that owns copies of them.

        Same outputs as `graph(x, architecture)`; same class, parameters and names as `space.build(architecture)`.
        """
        architecture = self.space.canonical(architecture)
        child = self.space.build(architecture)
        with torch.no_grad():
            for shared, own in _paired(self.net, child, architecture):
                own.data = shared.detach().clone()
        child.train(self.training)
        return child

    def unused(self, architecture: Architecture) -> Iterator[nn.Parameter]:
        """The parameters that a child does not touch."""
        used = {id(p) for p in _used(self.net, self.space.canonical(architecture))}
        return (p for p in self.parameters() if id(p) not in used)


def _paired(
    shared: nn.Module, child: nn.Module, architecture: Architecture
) -> Iterator[tuple[Tensor, Tensor]]:
    """(tensor in the meta-graph, tensor in the child) for every parameter and buffer of the child."""
    if isinstance(shared, Place):
        chosen = architecture[shared.choice.name]
        if not isinstance(chosen, tuple):
            yield from _paired(shared.options[str(chosen)], child, architecture)
        elif not chosen:
            assert shared.empty is not None
            yield from _paired(shared.empty, child, architecture)
        else:
            for option in map(str, chosen):
                yield from _paired(shared.options[option], child.get_submodule(option), architecture)
        return
    if isinstance(shared, Slices):
        cut = shared.tensors(architecture)
        own = {**dict(child.named_parameters()), **dict(child.named_buffers())}
        if cut.keys() != own.keys():
            raise SpaceError(
                f"elastic layer {type(shared).__name__} gives {sorted(cut)}, its child has {sorted(own)}"
            )
        yield from ((cut[name], own[name]) for name in cut)
        return
    for name, own in [*child.named_parameters(recurse=False), *child.named_buffers(recurse=False)]:
        yield getattr(shared, name), own
    for name, part in child.named_children():
        yield from _paired(shared.get_submodule(name), part, architecture)


def _used(module: nn.Module, architecture: Architecture) -> Iterator[nn.Parameter]:
    if isinstance(module, Place):
        chosen = architecture[module.choice.name]
        for option in map(str, chosen if isinstance(chosen, tuple) else (chosen,)):
            yield from _used(module.options[option], architecture)
        if not chosen and module.empty is not None:
            yield from _used(module.empty, architecture)
        return
    yield from module.parameters(recurse=False)
    for part in module.children():
        yield from _used(part, architecture)
