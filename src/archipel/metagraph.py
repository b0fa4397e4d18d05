"""All of a space in one network that shares weights, and the ways a batch can flow through it.

Letters: `B` batch, `D` code columns of the space, `O` options of a choice.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.choice import Choice, members
from archipel.choose import Place, Recorder
from archipel.errors import ArchitectureError, SpaceError, did_you_mean
from archipel.space import Space

__all__ = ["MetaGraph", "Mixture", "PerInstance", "Route", "Single", "Slices", "current_numbers"]


@dataclass(frozen=True)
class Single:
    """The whole batch through one child: one option per choice runs, nothing else is computed or remembered."""

    architecture: Architecture


@dataclass(frozen=True)
class Mixture:
    """Every choice in `weights` gives Σ_o w_o f_o(x) over the options with w_o ≠ 0 (DARTS, SNAS, ProxylessNAS);
    an averaging subset divides it by their number.

    Where every weight of a subset is 0 it runs what it runs when empty.

    Args:
        weights: choice name → `[O]`; gradients flow into it.
        architecture: what the other choices are set to (every active `value` choice must be here).
    """

    weights: Mapping[str, Tensor]
    architecture: Architecture = field(default_factory=Architecture)


@dataclass(frozen=True)
class PerInstance:
    """Every sample through its own child: at each choice the batch is gathered by option, each option runs once
    on its rows, and the results are scattered back.

    In evaluation mode this equals running each sample alone. In training mode batch norm sees, in each option,
    the rows that chose it and no others; a lone row whose map has shrunk to 1×1 leaves it nothing to normalise by,
    which is an `ArchitectureError`.

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
    def of(cls, codes: Tensor, slices: Mapping[str, slice], numbers: Mapping[str, Any], device: torch.device) -> _Rows:
        # One transfer for the whole network: rows sorted by column, then cut at the column counts.
        counts = codes.sum(0).tolist()
        rows = codes.t().nonzero()[:, 1].to(device, non_blocking=True)
        columns = [None if n == len(codes) else part for n, part in zip(counts, rows.split(counts))]
        return cls(codes, slices, {name: columns[cut] for name, cut in slices.items()}, numbers, device)

    def narrowed(self, rows: Tensor) -> _Rows:
        return _Rows.of(self.codes[rows.cpu()], self.slices, self.numbers, self.device)


@dataclass(frozen=True)
class _Mixed:
    """A `Mixture` route while it is being followed; `on` says which options of a weighed choice run."""

    weights: Mapping[str, Tensor]
    on: Mapping[str, list[bool]]
    architecture: Mapping[str, Any]


_Following: TypeAlias = Single | _Mixed | _Rows

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
        if isinstance(route, _Mixed) and self.choice.name in route.weights:
            return self._mixed(x, route.weights[self.choice.name], route.on[self.choice.name])
        chosen = members(route.architecture[self.choice.name])
        if not chosen:
            return self._run_empty(x)
        y = self._run(chosen[0], x)
        for option in chosen[1:]:
            y = y + self._run(option, x)
        return y / len(chosen) if self.choice.mean and len(chosen) > 1 else y

    def _run(self, option: Any, x: Any, rows: Tensor | None = None) -> Tensor:
        own = x[option] if self.choice.kind == "inputs" else x
        y: Tensor = self.options[str(option)](own if rows is None else _rows_of(own, rows))
        return y

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

    def _scattered(self, x: Any, route: _Rows) -> Tensor:
        whole: Tensor | None = None  # Σ of the options that every row takes
        parts: list[tuple[Tensor, Tensor]] = []
        for option, rows, nested in zip(self.choice.options, route.taken[self.choice.name], self._nested):
            if rows is None:
                term = self._run(option, x)
                whole = term if whole is None else whole + term
            elif len(rows):
                with _follow(route.narrowed(rows) if nested else route), _lone_row_explained(self.choice, option):
                    parts.append((rows, self._run(option, x, rows)))
        if self.choice.allows_empty and whole is None:
            none = (~route.codes[:, route.slices[self.choice.name]].any(1)).nonzero()[:, 0].to(route.device)
            if len(none) == len(route.codes):
                return self._run_empty(x)
            if len(none):
                parts.append((none, self._run_empty(_rows_of(x, none))))
        count = self._count(route) if self.choice.mean else None
        if not parts:
            assert whole is not None  # a complete code chooses something in every row
            return whole if count is None else whole / _spread_over(count, whole)
        # Under autocast an identity keeps a wider type than a convolution.
        wide = functools.reduce(torch.promote_types, (p.dtype for _, p in parts))
        if whole is None:
            y = _zeros(parts[0][1], len(route.codes), wide)
        else:  # out of place: `whole` may be x itself, or saved for the backward pass
            y = whole.to(torch.promote_types(wide, whole.dtype), copy=True)
        for rows, part in parts:
            _add_rows(y, rows, part.to(y.dtype))
        return y if count is None else y.div_(_spread_over(count, y))

    def _count(self, route: _Rows) -> Tensor | None:
        """How many options each row takes, or None where every row takes one option."""
        chosen = route.codes[:, route.slices[self.choice.name]].sum(1).clamp_min(1)
        return None if int(chosen.max()) == 1 else chosen


@contextmanager
def _lone_row_explained(choice: Choice, option: Any) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ArchitectureError(
            f"only one sample of the batch takes option '{option}' of choice '{choice.name}', where maps are 1×1, so "
            "that batch norm cannot be trained on it; use images large enough to keep maps above 1×1 there"
        ) from error


def _spread_over(rows: Tensor, y: Tensor) -> Tensor:
    return rows.to(y).view(-1, *[1] * (y.dim() - 1))


def _rows_of(x: Any, rows: Tensor) -> Any:
    if not isinstance(x, Tensor):
        return [_rows_of(t, rows) for t in x]
    if _is_channels_last(x):
        return x.permute(0, 2, 3, 1).index_select(0, rows).permute(0, 3, 1, 2)
    return x.index_select(0, rows)


def _add_rows(y: Tensor, rows: Tensor, part: Tensor) -> None:
    """y[rows] += part, in place."""
    if _is_channels_last(y):
        y.permute(0, 2, 3, 1).index_add_(0, rows, part.permute(0, 2, 3, 1))
    else:
        y.index_add_(0, rows, part)


def _zeros(like: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """Zeros of the shape and memory layout of `like`, but `count` rows."""
    if _is_channels_last(like):
        _, c, h, w = like.shape
        return like.new_zeros(count, h, w, c, dtype=dtype).permute(0, 3, 1, 2)
    return like.new_zeros(count, *like.shape[1:], dtype=dtype)


def _is_channels_last(x: Tensor) -> bool:
    # torch gathers and scatters rows of this layout element by element, 5 to 14 times slower than through a
    # permuted view, and forgets the layout on the way.
    return x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


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
        self._values = [c.name for c in space.choices if c.kind == "value"]

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
        followed: _Following
        if isinstance(route, Mixture):
            followed = self._mixture(route)
        else:
            followed = Single(self.space.canonical(route.architecture if isinstance(route, Single) else route))
        with _follow(followed):
            return self.net(x)

    def _mixture(self, route: Mixture) -> _Mixed:
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
        return _Mixed(route.weights, on, set_to)

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
            with _follow(Single(self.space.decode(codes[0]))):
                return self.net(x)
        if not self._values:
            return self._follow_rows(x, codes, {}, first.device)
        # Sizes change the shape of what flows: rows that differ in them cannot share a tensor.
        columns = torch.cat([codes[:, self.space.slices[name]] for name in self._values], 1)
        _, group = columns.unique(dim=0, return_inverse=True)
        groups = [(group == g).nonzero()[:, 0] for g in range(int(group.max()) + 1)]
        parts = [
            self._follow_rows(
                _rows_of(x, rows.to(first.device)), codes[rows], self.space.decode(codes[rows[0]]), first.device
            )
            for rows in groups
        ]
        return torch.cat(parts).index_select(0, torch.cat(groups).argsort().to(first.device))

    def _follow_rows(self, x: Any, codes: Tensor, numbers: Mapping[str, Any], device: torch.device) -> Any:
        with _follow(_Rows.of(codes, self.space.slices, numbers, device)):
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
