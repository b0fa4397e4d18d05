"""The smallest and the largest child of a space, by multiply-adds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from archipel.architecture import Architecture
from archipel.choice import Choice
from archipel.cost.additive import complexity_cost
from archipel.cost.attribution import ghost
from archipel.cost.complexity import madds
from archipel.errors import TableError
from archipel.space import Space

__all__ = ["Extremes", "extremes"]


class Extremes(NamedTuple):
    smallest: Architecture
    largest: Architecture
    """Everything on, where the space has subsets."""


def extremes(space: Space, input_shape: tuple[int, int, int]) -> Extremes:
    """The architectures of fewest and of most multiply-adds.

    Exact where multiply-adds are a sum over the space's code. Elsewhere (`value` choices) one choice after the other is
    set to what is best beside the others, until none moves: exact where more of one thing is never less of the whole,
    as with widths, depths, kernels and resolutions. A subset is tried one member more or fewer, alone, whole and empty.

    Args:
        input_shape: `[C, H, W]` of an image.
    """
    try:
        cost = complexity_cost(space, "madds", input_shape)
    except TableError:
        return Extremes(_climbed(space, input_shape, -1), _climbed(space, input_shape, 1))
    return Extremes(cost.cheapest(), cost.dearest())


def _climbed(space: Space, input_shape: tuple[int, int, int], sign: int) -> Architecture:
    known: dict[Architecture, int] = {}

    def worth(architecture: Architecture) -> int:
        if architecture not in known:
            known[architecture] = sign * madds(ghost(space, architecture), input_shape)
        return known[architecture]

    best, before = space.unrank(0), None
    while best != before:
        before = best
        for choice in space.choices:
            if choice.name in best:
                near = [_moved(space, best, choice.name, value) for value in _values(choice, best[choice.name])]
                best = max([best, *near], key=worth)  # the first of equals: it stays where nothing is gained
    return best


def _values(choice: Choice, value: Any) -> Iterator[Any]:
    """What a choice may be set to instead: a subset also to each option alone, to all and to none."""
    yield from choice.alternatives(value)
    if choice.kind == "subset":
        yield from ((option,) for option in choice.options)
        yield choice.options
        if choice.allows_empty:
            yield ()


def _moved(space: Space, architecture: Architecture, name: str, value: Any) -> Architecture:
    """With one choice set anew; what that opens takes its first options."""
    values: dict[str, Any] = {**architecture, name: value}
    for choice in space.active(values):  # grows as the loop sets values
        values.setdefault(choice.name, choice.options[: choice.k] if choice.takes_several else choice.options[0])
    return space.canonical({choice.name: values[choice.name] for choice in space.active(values)})
