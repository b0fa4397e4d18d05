"""A cost that is a sum over an architecture's code: what gradient search, derivation and controls ask.

`F(a) = base + code(a) · columns`, so its expectation under independent choices is `base + Σ reach · p · column`,
exactly, and differentiable in `p` (ProxylessNAS, arXiv 1812.00332). `B` architectures, `D` code columns,
`O` options of a choice, `E` independent entries of a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, Literal

import torch
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.choice import Choice
from archipel.cost.attribution import (
    Chain,
    attribute,
    children_that_cover,
    ghost,
    no_sum,
    refuse_values,
    standing,
)
from archipel.cost.complexity import layers, parameters
from archipel.cost.latency_table import LatencyTable
from archipel.errors import ArchitectureError, OptionError, did_you_mean
from archipel.space import Space

__all__ = ["AdditiveCost", "complexity_cost", "latency_cost", "reach"]

FLOAT_BYTES = 4
"""Of one activation, float32."""

_UNITS = {"madds": "MAdds", "parameters": "parameters", "activations": "bytes"}


@dataclass(frozen=True, eq=False)
class AdditiveCost:
    """What every architecture of a space costs, as one number for each column of its code.

    Of `margin` and `errors` at most one is given; a cost with neither is exact, or comes from a table that states no
    errors.
    """

    space: Space = field(repr=False)
    name: str
    """What it is, for reports: `latency`, `madds`, `pixel3`."""
    unit: str
    base: float
    """Of everything outside the choices."""
    columns: Tensor = field(repr=False)
    """`[D]`, float64."""
    margin: Callable[[float], float] | float | None = field(default=None, repr=False)
    """Relative half-width of the interval: of a level, or the same at every level."""
    errors: Tensor | None = field(default=None, repr=False)
    """`[E, 1 + D]`, float64: standard error that an independent table entry brings into the base (first) and each
    column. A column that uses an entry twice has twice its error."""

    def of(self, architecture: Architecture | Mapping[str, Any]) -> float:
        """Of one architecture, in `unit`."""
        return float(self(self.space.encode(self.space.canonical(architecture))[None])[0])

    def __call__(self, codes: Tensor) -> Tensor:
        """`[B, D]`, canonical → `[B]`, float64."""
        return self.base + codes.cpu().double() @ self.columns

    def expected(self, probabilities: Mapping[str, Tensor]) -> Tensor:
        """The mean over random architectures, differentiable; a conditional choice counts as often as it is reached.

        Args:
            probabilities: choice name → `[O]`: how likely each option is where the choice is active (for `subset`
                and `inputs` choices, how likely each is among the chosen). Choices are independent.

        Returns:
            `[]`, float64.

        Raises:
            ArchitectureError: a choice is missing, or has another number of options.
        """
        reached = reach(self.space, probabilities)
        columns = [reached[choice.name] * probabilities[choice.name].double() for choice in self.space.choices]
        if not columns:
            return torch.tensor(self.base, dtype=torch.float64)
        weights = torch.cat(columns)  # [D]
        return self.base + weights @ self.columns.to(weights.device)

    def interval(self, architecture: Architecture, level: float = 0.9) -> tuple[float, float]:
        """Lowest and highest value at a level of confidence; equal where there is nothing to be unsure of.

        With a `margin` a measurement of the whole network lies between them with probability `level`, as far as the
        latency table that it comes from was calibrated. With `errors` it is the sum of the entries' true means that
        does, were they measured without bias; how far a sum of parts is from a network is not in it.

        Raises:
            OptionError: a level outside 0..1, or higher than the calibration supports.
        """
        cost = self.of(architecture)
        if self.margin is not None:
            return cost * (1 - self._margin(level)), cost * (1 + self._margin(level))
        if self.errors is None:
            return cost, cost
        used = torch.cat([torch.ones(1, dtype=torch.float64), self.space.encode(architecture).double()])
        half = _quantile(level) * float((self.errors @ used).norm())
        return cost - half, cost + half

    def upper(self, level: float = 0.9) -> AdditiveCost:
        """The upper end of the interval as a cost of its own: what to hold below a budget to be sure of it.

        With a `margin` it is that end exactly. With `errors` it is never below it: errors add up there as if
        they all had one sign, since their root of squares is no sum over the code.

        Raises:
            OptionError: as `interval`.
        """
        if self.margin is None and self.errors is None:
            return self
        base, columns = self.base, self.columns
        if self.margin is not None:
            base, columns = base * (1 + self._margin(level)), columns * (1 + self._margin(level))
        elif self.errors is not None:
            spread = _quantile(level) * self.errors.norm(dim=0)  # [1 + D]
            base, columns = base + float(spread[0]), columns + spread[1:]
        return AdditiveCost(self.space, f"{self.name}, upper end at {100 * level:g} %", self.unit, base, columns)

    def cheapest(self) -> Architecture:
        """The architecture of lowest cost."""
        return self._extreme(1.0)

    def dearest(self) -> Architecture:
        """The architecture of highest cost: everything on, where the space has subsets."""
        return self._extreme(-1.0)

    def _extreme(self, sign: float) -> Architecture:
        values: dict[str, Any] = {}
        for choice in self.space.active(values):  # grows as the loop sets values
            values[choice.name] = self._best(choice, sign)[0]
        return self.space.canonical(values)

    def _best(self, choice: Choice, sign: float) -> tuple[Any, float]:
        """What a choice is best set to, and `sign` times its cost with all that it opens."""
        costs = []
        for option, column in zip(choice.options, self.columns[self.space.slices[choice.name]].tolist()):
            opened = [c for c in self.space.choices if c.parent == choice.name and option in c.when]
            costs.append(sign * column + sum(self._best(child, sign)[1] for child in opened))
        order = sorted(range(len(costs)), key=costs.__getitem__)
        if choice.kind == "subset":
            worth = [i for i in order if costs[i] < 0.0] or ([] if choice.allows_empty else order[:1])
        else:
            worth = order[: choice.k]
        taken = tuple(choice.options[i] for i in sorted(worth))
        return taken if choice.takes_several else taken[0], sum(costs[i] for i in worth)

    def _margin(self, level: float) -> float:
        assert self.margin is not None
        return self.margin(level) if callable(self.margin) else self.margin


def reach(space: Space, probabilities: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """How likely each choice is to be active, `[]` float64 each, differentiable; 1 where nothing opens it.

    Raises:
        ArchitectureError: as `AdditiveCost.expected`.
    """
    reached: dict[str, Tensor] = {}
    by_name = {choice.name: choice for choice in space.choices}
    for choice in space.choices:  # parents first
        given = probabilities.get(choice.name)
        if given is None:
            raise ArchitectureError(
                f"choice '{choice.name}' of space '{space.name}' has no probabilities"
                f"{did_you_mean(choice.name, probabilities)}"
            )
        if given.shape != (len(choice.options),):
            raise ArchitectureError(
                f"probabilities of choice '{choice.name}' have shape {list(given.shape)}; give [{len(choice.options)}]"
            )
        reached[choice.name] = torch.ones((), dtype=torch.float64, device=given.device)
        if choice.parent is not None:
            # Several options of one `op` may open it; of a subset only one does, so that these are exclusive.
            opening = [i for i, option in enumerate(by_name[choice.parent].options) if option in choice.when]
            reached[choice.name] = reached[choice.parent] * probabilities[choice.parent][opening].double().sum()
    return reached


def latency_cost(table: LatencyTable) -> AdditiveCost:
    """Milliseconds of one pass of a batch of the table's size, with the table's own interval.

    Raises:
        TableError: as `LatencyTable.linear`: `value` choices, or an entry is missing.
    """
    base, columns = table.linear()
    return AdditiveCost(table.space, "latency", "ms", base, columns, margin=table.calibration.margin)


def complexity_cost(
    space: Space, what: Literal["madds", "parameters", "activations"], input_shape: tuple[int, ...]
) -> AdditiveCost:
    """Multiply-adds, parameters, or bytes of float32 activations of one image, exactly.

    Activations are the outputs of convolutions and matrix products; parameters that stand in several places count
    once (`archipel.cost.complexity` says what is counted).

    Args:
        input_shape: `[C, H, W]`.

    Raises:
        OptionError: there is no such quantity.
        TableError: it is no sum over the code of this space: `value` choices, options that change the size of what
            follows, empty selections that compute, parameters shared by options of different choices.
    """
    if what not in _UNITS:
        raise OptionError(f"there is no complexity '{what}' ({', '.join(_UNITS)}){did_you_mean(what, _UNITS)}")
    if what == "parameters":
        base, columns = _parameters(space)
    else:
        parts = attribute(space, lambda child: _multiplying(child, input_shape), what)
        base, *columns = (_total(held, what) for held in (parts.base, *parts.columns))
    return AdditiveCost(space, what, _UNITS[what], float(base), torch.tensor(columns, dtype=torch.float64))


def _multiplying(child: nn.Module, input_shape: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, int]]]:
    """(path, (multiply-adds, activations)) of every layer that has any."""
    return ((row.path, (row.madds, row.activations)) for row in layers(child, input_shape) if row.madds)


def _total(held: Mapping[tuple[int, int], int], what: str) -> int:
    if what == "madds":
        return sum(madds * times for (madds, _), times in held.items())
    return FLOAT_BYTES * sum(activations * times for (_, activations), times in held.items())


def _parameters(space: Space) -> tuple[int, list[int]]:
    """Of everything outside the choices, and of each column, by who owns each tensor in the network of all options."""
    refuse_values(space, "parameters")
    held: dict[Chain, int] = {(): 0}
    tensors: dict[int, tuple[nn.Parameter, list[Chain]]] = {}  # each with where it stands
    for around, module in standing(space):
        held |= {around[:depth]: 0 for depth in range(len(around) + 1) if around[:depth] not in held}
        for tensor in module.parameters(recurse=False):
            tensors.setdefault(id(tensor), (tensor, []))[1].append(around)
    for tensor, chains in tensors.values():
        outermost = min(chains, key=len)
        if any(chain[: len(outermost)] != outermost for chain in chains):
            raise no_sum(space, "parameters", "options that can do without each other share a tensor")
        held[outermost] += tensor.numel()
    of_column: dict[int, int] = {}
    for chain, count in held.items():
        if chain and of_column.setdefault(chain[-1], count) != count:
            raise no_sum(space, "parameters", "an option holds others in one place than in another")
    base, columns = held[()], [of_column[column] for column in range(space.width)]
    # A function may build differently around an option than it does in the network of all options.
    for architecture in children_that_cover(space):
        chosen = space.encode(architecture).nonzero()[:, 0].tolist()
        if base + sum(columns[column] for column in chosen) != parameters(ghost(space, architecture)):
            raise no_sum(space, "parameters", "what stands outside its choices differs from child to child")
    return base, columns


def _quantile(level: float) -> float:
    if not 0 < level < 1:
        raise OptionError(f"an interval at level {level} does not exist; give a level between 0 and 1")
    return NormalDist().inv_cdf((1 + level) / 2)
