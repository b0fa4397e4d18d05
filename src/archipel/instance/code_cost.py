"""Latency of many architectures at once, and the landmarks of a space's latency range."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from archipel.architecture import Architecture
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
        if self._sum:
            return self._sum.cheapest() if lowest else self._sum.dearest()
        sign = 1.0 if lowest else -1.0
        if self.space.size <= ENUMERATED:
            return min(self.space, key=lambda a: sign * self.of(a))
        return self._descend(sign)

    def _descend(self, sign: float) -> Architecture:
        best = self.first()
        while True:
            nearest = min(self.space.neighbours(best), key=lambda a: sign * self.of(a), default=best)
            if sign * self.of(nearest) >= sign * self.of(best):
                return best
            best = nearest
