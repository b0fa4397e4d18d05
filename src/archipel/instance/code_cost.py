"""Latency of many architectures at once, and the landmarks of a space's latency range."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from archipel.architecture import Architecture
from archipel.choice import Choice
from archipel.cost.additive import AdditiveCost
from archipel.space import Space

__all__ = ["CodeCost"]

ENUMERATED = 1024
"""Largest space with `value` choices whose extremes are found by looking at all of it."""


class Table(Protocol):
    """What is asked of a latency table (`archipel.cost.LatencyTable`)."""

    @property
    def batch(self) -> int: ...

    def predict(self, architecture: Architecture) -> float: ...

    def linear(self) -> tuple[float, Tensor]: ...


class CodeCost:
    """Latency in milliseconds an image, at the table's batch size, of canonical codes `[B, D]`: one product with
    the table's columns.

    Spaces with `value` choices have no such columns; there each distinct architecture is asked for once.

    Args:
        overhead: milliseconds a batch on top of every architecture (the controller).
    """

    def __init__(self, space: Space, table: Table, *, overhead: float = 0.0) -> None:
        self.space = space
        self.table = table
        self.overhead = overhead / table.batch
        self._known: dict[Architecture, float] = {}
        self._sum: AdditiveCost | None = None
        if all(choice.kind != "value" for choice in space.choices):
            base, columns = table.linear()
            self._sum = AdditiveCost(space, "latency", "ms", base / table.batch, columns.double() / table.batch)

    @property
    def fixed(self) -> float:
        """Milliseconds that no choice changes: stem, tail, controller. Of them only the controller's are known where
        the space has `value` choices."""
        return self.overhead + (self._sum.base if self._sum else 0.0)

    def __call__(self, codes: Tensor) -> Tensor:
        """`[B, D]` bool, canonical → `[B]` float64, ms."""
        if self._sum:
            return self.overhead + self._sum(codes)
        unique, inverse = codes.cpu().unique(dim=0, return_inverse=True)
        return self.overhead + torch.tensor([self._of(self.space.decode(c)) for c in unique]).double()[inverse]

    def _of(self, architecture: Architecture) -> float:
        if architecture not in self._known:
            self._known[architecture] = self.table.predict(architecture) / self.table.batch
        return self._known[architecture]

    def of(self, architecture: Architecture) -> float:
        """Milliseconds of one architecture."""
        return float(self(self.space.encode(architecture)[None])[0])

    def cheapest(self) -> Architecture:
        """The architecture of lowest latency: exactly, but for large spaces with `value` choices, where it is the
        best of a descent."""
        return self._extreme(lowest=True)

    def everything(self) -> Architecture:
        """The architecture of highest latency: everything on, where the space has subsets (T_max). As `cheapest`."""
        return self._extreme(lowest=False)

    def first(self) -> Architecture:
        """Option 0 everywhere (B of the released program)."""
        values: dict[str, object] = {}
        for choice in self.space.active(values):
            option = choice.options[: choice.k] if choice.kind in ("subset", "inputs") else choice.options[0]
            values[choice.name] = option
        return self.space.canonical(values)

    def all_off(self) -> Architecture:
        """Nothing switched on that may be off (T_min of the released program), option 0 where one must be on."""
        values: dict[str, object] = {}
        for choice in self.space.active(values):
            if choice.kind == "subset":
                values[choice.name] = choice.options[:1] if choice.empty is None else ()
            else:
                values[choice.name] = choice.options[: choice.k] if choice.kind == "inputs" else choice.options[0]
        return self.space.canonical(values)

    def _extreme(self, *, lowest: bool) -> Architecture:
        sign = 1.0 if lowest else -1.0
        if self._sum is None:
            if self.space.size <= ENUMERATED:
                return min(self.space, key=lambda a: sign * self.of(a))
            return self._descend(sign)
        values: dict[str, object] = {}
        for choice in self.space.active(values):
            costs = {option: sign * self._subtree(self._sum, choice, option, sign) for option in choice.options}
            ordered = sorted(choice.options, key=lambda option: costs[option])
            if choice.kind == "subset":
                worth = [option for option in choice.options if costs[option] < 0.0]
                values[choice.name] = tuple(worth) or (() if choice.allows_empty else (ordered[0],))
            elif choice.kind == "inputs":
                values[choice.name] = tuple(sorted(ordered[: choice.k]))
            else:
                values[choice.name] = ordered[0]
        return self.space.canonical(values)

    def _subtree(self, cost: AdditiveCost, choice: Choice, option: object, sign: float) -> float:
        """Extreme cost of an option with all that it opens."""
        total = float(cost.columns[self.space.slices[choice.name].start + choice.options.index(option)])
        for child in self.space.choices:
            if child.parent == choice.name and option in child.when:
                costs = sorted(sign * self._subtree(cost, child, o, sign) for o in child.options)
                if child.kind == "subset":
                    negative = [c for c in costs if c < 0.0]
                    best = sum(negative) if negative else 0.0 if child.allows_empty else costs[0]
                else:
                    best = sum(costs[: child.k])
                total += sign * best
        return total

    def _descend(self, sign: float) -> Architecture:
        best = self.first()
        while True:
            nearest = min(self.space.neighbours(best), key=lambda a: sign * self.of(a), default=best)
            if sign * self.of(nearest) >= sign * self.of(best):
                return best
            best = nearest
