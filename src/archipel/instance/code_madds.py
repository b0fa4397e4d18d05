"""Multiply-adds of many architectures at once."""

from __future__ import annotations

import random

import torch
from torch import Tensor

from archipel.architecture import Architecture
from archipel.choice import members
from archipel.cost.complexity import LayerRow, layers, madds
from archipel.cost.spread import covering
from archipel.space import Space

__all__ = ["CodeMadds"]

FREE = ("identity", "zero")
"""What an empty selection can run without multiplying."""


class CodeMadds:
    """Multiply-adds of one image, exactly, of canonical codes `[B, D]`.

    Where every option counts the same in whatever child it stands, a few children that hold all options between them
    are counted layer by layer, and any architecture is a sum over its code. Otherwise (`value` choices, options that
    give maps of different sizes, empty selections that run a layer) each distinct architecture is built and counted,
    which takes about 0.1 s.

    Args:
        input_shape: `[C, H, W]`.
    """

    def __init__(self, space: Space, input_shape: tuple[int, ...]) -> None:
        self.space = space
        self.input_shape = input_shape
        self._known: dict[Architecture, int] = {}
        counts_when_empty = any(c.allows_empty and c.empty not in FREE for c in space.choices)
        has_values = any(choice.kind == "value" for choice in space.choices)
        self._sum = None if has_values or counts_when_empty else self._learn()

    @property
    def is_additive(self) -> bool:
        return self._sum is not None

    def __call__(self, codes: Tensor) -> Tensor:
        """`[B, D]` bool, canonical → `[B]`, int64."""
        codes = codes.cpu()
        if self._sum is not None:
            base, columns = self._sum
            return base + codes.long() @ columns
        unique, inverse = codes.unique(dim=0, return_inverse=True)
        return torch.tensor([self._of(self.space.decode(code)) for code in unique])[inverse]

    def _of(self, architecture: Architecture) -> int:
        if architecture not in self._known:
            self._known[architecture] = madds(self.space.build(architecture), self.input_shape)
        return self._known[architecture]

    def _learn(self) -> tuple[int, Tensor] | None:
        """What everything outside the choices counts, and each column, `[D]`; None where columns do not add up."""
        base: int | None = None
        columns: dict[int, int] = {}
        widest = max((len(choice.options) for choice in self.space.choices), default=0)
        for architecture in covering(self.space, 2 * widest + 2, random.Random(0)):
            outside, found = self._count(architecture)
            known = {column: columns[column] for column in found if column in columns}
            if base not in (None, outside) or any(found[column] != count for column, count in known.items()):
                return None
            base, columns = outside, columns | found
        if base is None or len(columns) < self.space.width:
            return None
        return base, torch.tensor([columns[column] for column in range(self.space.width)], dtype=torch.int64)

    def _count(self, architecture: Architecture) -> tuple[int, dict[int, int]]:
        """Of one child: what is outside the choices, and each chosen column."""
        bits = self.space.encode(architecture)
        columns: dict[int, int] = dict.fromkeys(bits.nonzero()[:, 0].tolist(), 0)
        outside = 0
        with torch.random.fork_rng(devices=()):
            child = self.space.build(architecture)
        for row in layers(child, self.input_shape):
            column = self._column(row, architecture)
            if column is None:
                outside += row.madds
            else:
                columns[column] += row.madds
        return outside, columns

    def _column(self, row: LayerRow, architecture: Architecture) -> int | None:
        """The column of the innermost chosen option around a layer."""
        at = row.path.split(".") if row.path else []
        innermost: tuple[int, int] | None = None  # depth, column
        for path, name in self.space.places:
            start = path.split(".") if path else []
            if name not in architecture or at[: len(start)] != start:
                continue
            options = next(choice.options for choice in self.space.choices if choice.name == name)
            chosen = architecture[name]
            if isinstance(chosen, tuple):
                inside = at[len(start) : len(start) + 1]
                held = [option for option in members(chosen) if [str(option)] == inside]
            else:
                held = [chosen]
            if held and (innermost is None or len(start) >= innermost[0]):
                innermost = len(start), self.space.slices[name].start + options.index(held[0])
        return None if innermost is None else innermost[1]
