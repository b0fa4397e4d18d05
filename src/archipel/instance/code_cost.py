"""Latency of many architectures at once, and the landmarks of a space's latency range."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from archipel.architecture import Architecture
from archipel.cost.additive import AdditiveCost
from archipel.sharing.policies import draw_codes
from archipel.space import Space

__all__ = ["CodeCost"]

ENUMERATED = 1024
"""Largest space with `value` choices whose extremes are found by looking at all of it."""
SEEN = 1024
"""Random architectures to which prices are fitted."""


class Table(Protocol):
    """What is asked of a latency table (`archipel.cost.LatencyTable`)."""

    @property
    def batch(self) -> int: ...

    def predict_codes(self, codes: Tensor) -> Tensor: ...

    def linear(self) -> tuple[float, Tensor]: ...


class CodeCost:
    """Latency in milliseconds an image, at the table's batch size, of canonical codes `[B, D]`: one product with
    the table's columns.

    Spaces with `value` choices have no such columns; there the table adds up the layers.

    Args:
        overhead: milliseconds a batch on top of every architecture (the controller).
    """

    def __init__(self, space: Space, table: Table, *, overhead: float = 0.0) -> None:
        self.space = space
        self.table = table
        self.overhead = overhead / table.batch
        self._sum: AdditiveCost | None = None
        if all(choice.kind != "value" for choice in space.choices):
            base, columns = table.linear()
            self._sum = AdditiveCost(space, "latency", "ms", base / table.batch, columns.double() / table.batch)
        else:
            self.of(self.first())  # the table learns what its layers depend on: once, before jobs are forked from here

    @property
    def fixed(self) -> float:
        """Milliseconds that no choice changes: stem, tail, controller. Of them only the controller's are known where
        the space has `value` choices."""
        return self.overhead + (self._sum.base if self._sum else 0.0)

    def __call__(self, codes: Tensor) -> Tensor:
        """`[B, D]` bool, canonical → `[B]` float64, ms."""
        if self._sum:
            return self.overhead + self._sum(codes)
        return self.overhead + self.table.predict_codes(codes) / self.table.batch

    def through(self, bits: Tensor) -> Tensor:
        """Milliseconds of canonical codes that carry a gradient (0 and 1, `[B, D]`), which gets what each option adds.

        Returns:
            `[B]`, in the type and on the device of `bits`.
        """
        codes = bits.detach().cpu() != 0
        return self(codes).to(bits) + (bits - bits.detach()) @ self.rates(codes).to(bits)

    def rates(self, codes: Tensor) -> Tensor:  # noqa: ARG002
        """What each option adds to an image that takes it, milliseconds, `[D]`, where all these take their codes."""
        return self.prices()

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
        """Nothing switched on that may be off (T_min of the released program), and what is cheapest where one option
        must be on."""
        cheapest = self.cheapest()
        values: dict[str, object] = {}
        for choice in self.space.active(values):
            may_be_off = choice.kind == "subset" and choice.empty is not None
            option = choice.options[: choice.k] if choice.takes_several else choice.options[0]
            values[choice.name] = () if may_be_off else cheapest.get(choice.name, option)
        return self.space.canonical(values)

    def prices(self) -> Tensor:
        """What each option adds, milliseconds, `[D]`: the columns of the sum, or where latency is no sum over the code
        those of the sum that is nearest to it on random architectures."""
        if self._sum:
            return self._sum.columns
        codes = draw_codes(self.space, SEEN, 0.5, torch.Generator().manual_seed(0))
        design = torch.cat([codes.double(), torch.ones(SEEN, 1, dtype=torch.float64)], 1)
        fitted: Tensor = torch.linalg.lstsq(design, self(codes)[:, None], driver="gelsd").solution
        return fitted[:-1, 0]

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
            everyone = [best, *self.space.neighbours(best)]
            latency = sign * self(torch.stack([self.space.encode(architecture) for architecture in everyone]))
            if int(latency.argmin()) == 0:
                return best
            best = everyone[int(latency.argmin())]
