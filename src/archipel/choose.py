"""The verbs with which a space function leaves a network open, and two ways to read them.

A space function is called with a `choose`. `Recorder` builds every option of every choice and notes what was
asked (the search space; `metagraph` builds on it); `ChildReader` builds only what an architecture says (one
plain network). Letters: `K` choices, `O` options of a choice.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeAlias

from torch import Tensor, nn

from archipel.architecture import Architecture, Value
from archipel.choice import Choice
from archipel.elastic_value import Elastic, Number
from archipel.errors import SpaceError

__all__ = ["ChildReader", "Choose", "Factory", "Mean", "Place", "Recorder", "Select", "Sum"]

Factory: TypeAlias = Callable[[], nn.Module]


class Sum(nn.ModuleDict):
    """y = Σ_o f_o(x): the chosen options of a subset, in the child network."""

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.values()
        y = first(x)
        for other in others:
            y = y + other(x)
        return y


class Mean(Sum):
    """y = (1/k) Σ_o f_o(x): the k chosen options of an averaging subset, in the child network."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y / len(self) if len(self) > 1 else y


class Select(nn.ModuleDict):
    """y = Σ_i f_i(x_i) over the chosen positions i of a list of tensors, in the child network."""

    def forward(self, tensors: Sequence[Tensor]) -> Tensor:
        (first, edge), *others = self.items()
        y = edge(tensors[int(first)])
        for position, edge in others:
            y = y + edge(tensors[int(position)])
        return y


class Choose(ABC):
    """What a space function is given: four verbs that leave the network open.

    Names are unique; asking twice under one name with the same options is one decision at two places (a cell
    that is repeated). Options may hold choices of their own: they are active only where that option is chosen.
    An option must not change its input in place (`nn.ReLU(inplace=True)` as its first layer): options share it.
    """

    @abstractmethod
    def op(self, name: str, options: Mapping[str, Factory]) -> nn.Module:
        """One of several modules."""

    @abstractmethod
    def subset(
        self, name: str, options: Mapping[str, Factory], *, empty: str | Factory | None = None, mean: bool = False
    ) -> nn.Module:
        """Several of several modules, their outputs summed (InstaNAS).

        Args:
            empty: what an empty selection runs: None (it is not allowed), one of the options by name (the empty
                selection is then another spelling of that one), or a factory such as `nn.Identity`.
            mean: average the outputs, so that what follows sees signals of one size however many are chosen.
        """

    @abstractmethod
    def inputs(self, name: str, edges: int | Sequence[Factory], *, k: int = 1) -> nn.Module:
        """`k` of the tensors so far: a module from a list of tensors to Σ_i edge_i(tensors[i]).

        Args:
            edges: one module a tensor, or a number of tensors (edges are then identities).
        """

    @abstractmethod
    def value(self, name: str, options: Sequence[Number]) -> Any:
        """A number: a width, depth, kernel or resolution, given to a layer of `archipel.nn.elastic`."""


class ChildReader(Choose):
    """Builds the network of one architecture: nothing of the search is left in it."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture

    def op(self, name: str, options: Mapping[str, Factory]) -> nn.Module:
        return options[_name(self.architecture[name])]()

    def subset(
        self, name: str, options: Mapping[str, Factory], *, empty: str | Factory | None = None, mean: bool = False
    ) -> nn.Module:
        chosen = _several(self.architecture[name])
        if not chosen:
            assert callable(empty)
            return empty()
        combined = Mean if mean else Sum
        return combined({option: options[str(option)]() for option in chosen})

    def inputs(self, name: str, edges: int | Sequence[Factory], *, k: int = 1) -> nn.Module:  # noqa: ARG002
        factories = _edges(edges)
        return Select({str(i): factories[int(i)]() for i in _several(self.architecture[name])})

    def value(self, name: str, options: Sequence[Number]) -> Any:  # noqa: ARG002
        return self.architecture[name]


class Place(nn.Module):
    """Where a choice stands in the module tree, with every option built.

    `options` is keyed by option name (`op`, `subset`) or position (`inputs`); `empty` is the module an empty
    subset runs, if it is not one of the options.
    """

    def __init__(self, choice: Choice, options: Mapping[str, nn.Module], empty: nn.Module | None) -> None:
        super().__init__()
        self.choice = choice
        self.options = nn.ModuleDict(options)
        self.empty = empty

    def computes_nothing(self) -> bool:
        """Whether what runs here now is known to give 0, so that a shortcut around it has nothing to add."""
        return False

    def taken_by(self, _option: Any, /) -> Tensor | bool:
        """Which rows of the batch under way take an option: all, none, or these `[R]`. None here: nothing runs while a
        space is recorded."""
        return False


class Recorder(Choose):
    """Builds every option of every choice and notes the choices, in the order in which they are first asked."""

    def __init__(self, place: Callable[[Choice, Mapping[str, nn.Module], nn.Module | None], Place] = Place) -> None:
        self.choices: dict[str, Choice] = {}
        self._place = place
        self._scope: list[tuple[str, frozenset[Any]]] = []
        # Under which chains of (choice, option) each choice was asked.
        self._asked: dict[str, set[tuple[tuple[str, Any], ...]]] = {}

    @contextmanager
    def inside(self, parent: str, when: frozenset[Any]) -> Iterator[None]:
        """Choices asked inside are conditional on `parent` being (or holding) one of `when`."""
        self._scope.append((parent, when))
        try:
            yield
        finally:
            self._scope.pop()

    def op(self, name: str, options: Mapping[str, Factory]) -> nn.Module:
        return self._modules(Choice(name, "op", _names(name, options)), options)

    def subset(
        self, name: str, options: Mapping[str, Factory], *, empty: str | Factory | None = None, mean: bool = False
    ) -> nn.Module:
        names = _names(name, options)
        if isinstance(empty, str) and empty not in names:
            raise SpaceError(
                f"subset '{name}' runs '{empty}' when empty, which is none of its options "
                f"({', '.join(names)}); name one of them or give a factory such as nn.Identity"
            )
        if empty is None or isinstance(empty, str):
            return self._modules(Choice(name, "subset", names, empty=empty, mean=mean), options)
        _check_factory(name, "empty", empty)
        label = getattr(empty, "__name__", "<lambda>").lower()
        if label in (*names, "<lambda>"):
            label = "empty" if "empty" not in names else "(empty)"
        return self._modules(Choice(name, "subset", names, empty=label, mean=mean), options, empty)

    def inputs(self, name: str, edges: int | Sequence[Factory], *, k: int = 1) -> nn.Module:
        factories = _edges(edges)
        for position, factory in enumerate(factories):
            _check_factory(name, str(position), factory)
        if not 1 <= k <= len(factories):
            raise SpaceError(f"inputs '{name}' takes {k} of {len(factories)} tensors; k is 1 to {len(factories)}")
        choice = Choice(name, "inputs", tuple(range(len(factories))), k=k)
        return self._modules(choice, dict(enumerate(factories)))

    def value(self, name: str, options: Sequence[Number]) -> Any:
        values = tuple(options)
        bad = [v for v in values if isinstance(v, bool) or not isinstance(v, int | float)]
        if not values or bad or len(set(values)) < len(values):
            raise SpaceError(f"value '{name}' has options {list(values)!r}; give different numbers, at least one")
        choice = self._note(Choice(name, "value", values))
        return Elastic((choice,), lambda assignment: assignment[name], self.inside)

    def _modules(self, choice: Choice, factories: Mapping[Any, Factory], empty: Factory | None = None) -> nn.Module:
        choice = self._note(choice)
        options = {}
        for option, factory in factories.items():
            with self.inside(choice.name, frozenset([option])):
                options[str(option)] = _built(choice, option, factory)
        if empty is None:
            return self._place(choice, options, None)
        with self.inside(choice.name, frozenset()):
            return self._place(choice, options, _built(choice, choice.empty, empty))

    def check(self) -> None:
        """Whether each choice is asked exactly where `parent` and `when` say that it is active.

        Raises:
            SpaceError: one is active where nothing asks for it, so that architectures would differ in name only.
        """
        for choice in self.choices.values():
            if choice.parent is None:
                continue
            active = {(*outer, (choice.parent, w)) for outer in self._asked[choice.parent] for w in choice.when}
            if self._asked[choice.name] != active:
                raise SpaceError(
                    f"choice '{choice.name}' depends on '{choice.parent}', but does not stand everywhere "
                    f"'{choice.parent}' is asked; ask for '{choice.parent}' right there, under its own name"
                )

    def _note(self, choice: Choice) -> Choice:
        if not isinstance(choice.name, str) or not choice.name:
            raise SpaceError(f"a choice is named {choice.name!r}; give it a name, a string")
        if self._scope:
            parent, when = self._scope[-1]
            if not when:
                raise SpaceError(
                    f"choice '{choice.name}' stands in what subset '{parent}' runs when empty; "
                    "only its options may hold choices"
                )
            choice = replace(choice, parent=parent, when=when)
        chains = itertools.product(*([(name, option) for option in when] for name, when in self._scope))
        self._asked.setdefault(choice.name, set()).update(chains)
        known = self.choices.get(choice.name)
        if known is None:
            self.choices[choice.name] = choice
            return choice
        if replace(known, when=frozenset()) != replace(choice, when=frozenset()):
            raise SpaceError(
                f"choice '{choice.name}' is asked twice with different options or in different places; "
                "give the second one another name"
            )
        if known.when != choice.when:
            # One decision in several options of an op: active under any of them. Where two such options can be on
            # at once, the count would no longer be a sum over options.
            held = None if choice.parent is None else self.choices[choice.parent]
            if held is None or held.kind == "subset" or (held.kind == "inputs" and held.k > 1):
                raise SpaceError(
                    f"choice '{choice.name}' stands in several options of {held.kind if held else 'subset'} "
                    f"'{choice.parent}'; give each its own name"
                )
            self.choices[choice.name] = choice = replace(known, when=known.when | choice.when)
        return self.choices[choice.name]


def _names(choice: str, options: Mapping[str, Factory]) -> tuple[str, ...]:
    if not isinstance(options, Mapping) or not options:
        raise SpaceError(f"choice '{choice}' has no options; give a mapping from option name to module factory")
    for name, factory in options.items():
        if not isinstance(name, str) or not name or "." in name:
            raise SpaceError(f"choice '{choice}' has an option named {name!r}; give a name without dots")
        if hasattr(nn.ModuleDict, name) or name == "training":
            raise SpaceError(
                f"choice '{choice}' has an option named '{name}', which torch keeps for its modules; rename it"
            )
        _check_factory(choice, name, factory)
    return tuple(options)


def _check_factory(choice: str, option: str, factory: Any) -> None:
    if isinstance(factory, nn.Module) or not callable(factory):
        kind = type(factory).__name__
        raise SpaceError(
            f"option '{option}' of choice '{choice}' is {kind}, not a factory; write `lambda: {kind}(...)`"
        )


def _edges(edges: int | Sequence[Factory]) -> list[Factory]:
    return [nn.Identity] * edges if isinstance(edges, int) else list(edges)


def _built(choice: Choice, option: Any, factory: Factory) -> nn.Module:
    module = factory()
    if not isinstance(module, nn.Module):
        raise SpaceError(
            f"option '{option}' of choice '{choice.name}' makes a {type(module).__name__}; "
            "a factory returns an nn.Module"
        )
    return module


def _name(value: Value) -> str:
    assert isinstance(value, str)
    return value


def _several(value: Value) -> tuple[Any, ...]:
    assert isinstance(value, tuple)
    return value
