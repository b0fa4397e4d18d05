"""Which part of a network belongs to which column of a space's code, found by tracing a few of its children.

A quantity of an architecture is a sum over its code exactly when every option brings the same parts into whatever child
it stands in. Children that hold every option are traced, and each of their parts is given to the innermost chosen
option around it; where two children disagree about a column there is no such sum. `D` columns.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import torch
from torch import nn

from archipel.architecture import Architecture
from archipel.choice import members
from archipel.choose import ChildReader, Choose, Factory, Place, Recorder
from archipel.cost.spread import covering
from archipel.errors import SpaceError, TableError
from archipel.space import Space

__all__ = [
    "FREE",
    "Attribution",
    "Chain",
    "Trace",
    "attribute",
    "children_that_cover",
    "ghost",
    "no_sum",
    "refuse_values",
    "standing",
]

FREE = ("identity", "zero")
"""What an empty selection can run without computing anything."""

Trace: TypeAlias = Callable[[nn.Module], Iterable[tuple[str, Hashable]]]
"""(module path, what stands there) of every part of a child that counts."""


Chain: TypeAlias = tuple[int, ...]
"""The columns around a place in the network of all options, outermost first."""


@dataclass(frozen=True)
class Attribution:
    """The parts of any architecture: those of `base` and those of its code's columns, each with how often it occurs."""

    base: Counter[Any]
    columns: tuple[Counter[Any], ...]
    """`[D]`."""


def attribute(space: Space, trace: Trace, what: str) -> Attribution:
    """Give the parts that `trace` finds in children to the columns of the code.

    Args:
        what: the quantity, for the error.

    Raises:
        TableError: the quantity is no sum over the code of this space.
    """
    refuse_values(space, what)
    _refuse_shared(space, what)
    base: Counter[Any] | None = None
    columns: dict[int, Counter[Any]] = {}
    for architecture in children_that_cover(space):
        outside, found = _parts(space, architecture, trace)
        for column, parts in found.items():
            if columns.setdefault(column, parts) != parts:
                raise no_sum(space, what, f"option {_name(space, column)} differs from child to child")
        if base not in (None, outside):
            raise no_sum(space, what, "what stands outside its choices differs from child to child")
        base = outside
    lacking = [column for column in range(space.width) if column not in columns]
    if base is None or lacking:
        raise no_sum(space, what, f"no child was met that holds option {_name(space, lacking[0])}")
    return Attribution(base, tuple(columns[column] for column in range(space.width)))


def refuse_values(space: Space, what: str) -> None:
    """Raise TableError for a space in which no quantity is a sum: `value` choices, or empty selections that compute."""
    for choice in space.choices:
        if choice.kind == "value":
            raise no_sum(space, what, f"choice '{choice.name}' is a value, which shapes many layers")
        if choice.allows_empty and choice.empty not in FREE:
            raise no_sum(space, what, f"choice '{choice.name}' runs '{choice.empty}' when empty")


def children_that_cover(space: Space) -> list[Architecture]:
    """Architectures in which every option occurs, in about two or more each, the same ones every time."""
    count = 2 * max((len(choice.options) for choice in space.choices), default=0) + 2
    while True:
        found = covering(space, count, random.Random(0))
        met = torch.stack([space.encode(architecture) for architecture in found]).any(0)
        if bool(met.all()) or len(found) < count:
            return found
        count *= 2


def ghost(space: Space, architecture: Architecture) -> nn.Module:
    """The child without memory, on torch's meta device, or on the CPU where its function computes while it builds."""
    return _read(space, lambda: ChildReader(architecture))[0]


def standing(space: Space) -> Iterator[tuple[Chain, nn.Module]]:
    """Every module of the network with all options built, with the columns around it; once for each of its places."""
    tree, _ = _read(space, Recorder)

    def walk(module: nn.Module, around: Chain) -> Iterator[tuple[Chain, nn.Module]]:
        if isinstance(module, Place):
            start = space.slices[module.choice.name].start
            for i, option in enumerate(module.options.values()):
                yield from walk(option, (*around, start + i))
            return
        yield around, module
        for child in module.children():
            yield from walk(child, around)

    yield from walk(tree, ())


class _Noting(ChildReader):
    """A child reader that remembers which column each chosen option's module is of."""

    def __init__(self, space: Space, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.start = {choice.name: (space.slices[choice.name].start, choice.options) for choice in space.choices}
        self.columns: dict[int, int] = {}
        self.modules: list[nn.Module] = []
        """Held, so that no two have one identity."""

    def note(self, name: str, option: Any, module: nn.Module) -> None:
        start, options = self.start[name]
        self.modules.append(module)
        # An option that is a choice itself has a module of its own choice already: the inner one.
        self.columns.setdefault(id(module), start + options.index(option))

    def op(self, name: str, options: Mapping[str, Factory]) -> nn.Module:
        module = super().op(name, options)
        self.note(name, self.architecture[name], module)
        return module

    def subset(
        self, name: str, options: Mapping[str, Factory], *, empty: str | Factory | None = None, mean: bool = False
    ) -> nn.Module:
        module = super().subset(name, options, empty=empty, mean=mean)
        for option in members(self.architecture[name]):
            self.note(name, option, module.get_submodule(str(option)))
        return module

    def inputs(self, name: str, edges: int | Sequence[Factory], *, k: int = 1) -> nn.Module:
        module = super().inputs(name, edges, k=k)
        for position in members(self.architecture[name]):
            self.note(name, position, module.get_submodule(str(position)))
        return module


def _parts(space: Space, architecture: Architecture, trace: Trace) -> tuple[Counter[Any], dict[int, Counter[Any]]]:
    """Of one child: what is outside its choices, and each chosen column."""
    child, reader = _read(space, lambda: _Noting(space, architecture))
    around: dict[str, int | None] = {}
    for path, module in child.named_modules():  # outer ones first
        above = around.get(path.rpartition(".")[0]) if path else None
        around[path] = reader.columns.get(id(module), above)
    chosen = space.encode(architecture).nonzero()[:, 0].tolist()
    columns: dict[int, Counter[Any]] = {column: Counter() for column in chosen}
    outside: Counter[Any] = Counter()
    for path, part in trace(child):
        column = around[path]
        (outside if column is None else columns[column])[part] += 1
    return outside, columns


Reader = TypeVar("Reader", bound=Choose)


def _read(space: Space, reader: Callable[[], Reader]) -> tuple[nn.Module, Reader]:
    """Read a space on the meta device if its function can be run there. Leaves torch's random numbers as they were."""
    with torch.random.fork_rng(devices=()):
        try:
            made = reader()
            return space.read(made, device="meta"), made
        except SpaceError as error:
            if error.__cause__ is None:
                raise
            made = reader()
            return space.read(made), made


def _refuse_shared(space: Space, what: str) -> None:
    """What a module counts is told by its first place only; one that computes must not stand under two columns."""
    places: dict[int, Chain] = {}
    held = list(standing(space))  # all alive, so that no two have one identity
    for around, module in held:
        if next(module.parameters(recurse=False), None) is not None and places.setdefault(id(module), around) != around:
            raise no_sum(space, what, "options share a layer with others or with what stands outside")


def _name(space: Space, column: int) -> str:
    choice = next(c for c in space.choices if space.slices[c.name].start <= column < space.slices[c.name].stop)
    return f"'{choice.name}={choice.options[column - space.slices[choice.name].start]}'"


def no_sum(space: Space, what: str, reason: str) -> TableError:
    """The error of a quantity that is no sum over the code of a space."""
    return TableError(
        f"{what} of space '{space.name}' are no sum over its code: {reason}; count its children one by one"
    )
