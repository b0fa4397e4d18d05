"""A number of a network that is still open while the network is built."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NoReturn, TypeAlias

from archipel.choice import Choice
from archipel.errors import SpaceError

__all__ = ["Elastic", "Number"]

Number: TypeAlias = int | float
Inside: TypeAlias = Callable[[str, frozenset[Any]], AbstractContextManager[None]]
"""`inside(parent, when)`: choices asked in its context are conditional on `parent` being one of `when`."""


class Elastic:
    """A number that is still open, or an expression of such numbers (`width * expand // 2`).

    Elastic layers (`archipel.nn.elastic`) take it where a plain layer takes an int. Everything that needs to know
    the number while the network is being built raises, because in the meta-graph there is none yet.

    Args:
        choices: that it is an expression of.
        function: from an assignment of them to the number.
        inside: makes what is chosen in its context depend on one of them.
    """

    def __init__(
        self,
        choices: tuple[Choice, ...],
        function: Callable[[Mapping[str, Any]], Number],
        inside: Inside,
    ) -> None:
        self.choices = choices
        self.function = function
        self.inside = inside

    def __repr__(self) -> str:
        return f"Elastic({', '.join(map(str, self.values))})"

    def at(self, assignment: Mapping[str, Any]) -> Number:
        """The number under an assignment of its choices."""
        return self.function(assignment)

    @property
    def values(self) -> tuple[Number, ...]:
        """Every number it can become, ascending."""
        names = [choice.name for choice in self.choices]
        combinations = itertools.product(*(choice.options for choice in self.choices))
        return tuple(sorted({self.function(dict(zip(names, values))) for values in combinations}))

    @property
    def max(self) -> Any:
        """The largest number it can become: the size of the shared weights."""
        return self.values[-1]

    def then(self, function: Callable[[Any], Number]) -> Elastic:
        """A function of the number: for what +, -, * and // do not say."""
        return self._combine(None, lambda mine, _: function(mine))

    @contextmanager
    def above(self, bound: int) -> Iterator[None]:
        """Choices made inside are active only while this number is larger than `bound` (elastic depth)."""
        if len(self.choices) != 1:
            names = " and ".join(f"'{choice.name}'" for choice in self.choices)
            raise SpaceError(f"depth is an expression of {names}; a depth is one plain choose.value")
        (choice,) = self.choices
        when = frozenset(v for v in choice.options if self.function({choice.name: v}) > bound)
        with self.inside(choice.name, when):
            yield

    def _combine(self, other: Any, function: Callable[[Any, Any], Number], swap: bool = False) -> Elastic:
        mine = self.function
        if isinstance(other, Elastic):
            theirs = other.function
            choices = tuple(dict.fromkeys((*self.choices, *other.choices)))
            return Elastic(choices, lambda a: function(mine(a), theirs(a)), self.inside)
        if swap:
            return Elastic(self.choices, lambda a: function(other, mine(a)), self.inside)
        return Elastic(self.choices, lambda a: function(mine(a), other), self.inside)

    def __add__(self, other: Any) -> Elastic:
        return self._combine(other, operator.add)

    def __radd__(self, other: Any) -> Elastic:
        return self._combine(other, operator.add, swap=True)

    def __sub__(self, other: Any) -> Elastic:
        return self._combine(other, operator.sub)

    def __rsub__(self, other: Any) -> Elastic:
        return self._combine(other, operator.sub, swap=True)

    def __mul__(self, other: Any) -> Elastic:
        return self._combine(other, operator.mul)

    def __rmul__(self, other: Any) -> Elastic:
        return self._combine(other, operator.mul, swap=True)

    def __floordiv__(self, other: Any) -> Elastic:
        return self._combine(other, operator.floordiv)

    def __rfloordiv__(self, other: Any) -> Elastic:
        return self._combine(other, operator.floordiv, swap=True)

    def _unknown(self, *_: Any) -> NoReturn:
        names = " and ".join(f"'{choice.name}'" for choice in self.choices)
        raise SpaceError(
            f"value {names} is still open while the network is built; pass it to an elastic layer "
            "(archipel.nn.elastic: conv2d, batch_norm2d, linear, stack, resize) instead of using it as a number"
        )

    __index__ = __int__ = __float__ = __bool__ = __lt__ = __gt__ = __le__ = __ge__ = _unknown
    __truediv__ = __rtruediv__ = __mod__ = __rmod__ = __round__ = __iter__ = _unknown
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        # "As many channels in as out?" has an answer only where it holds for every architecture.
        return True if self is other else self._unknown()
