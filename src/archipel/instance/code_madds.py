"""Multiply-adds of many architectures at once."""

from __future__ import annotations

from contextlib import suppress

import torch
from torch import Tensor

from archipel.architecture import Architecture
from archipel.cost.additive import AdditiveCost, complexity_cost
from archipel.cost.attribution import ghost
from archipel.cost.complexity import layers, madds
from archipel.cost.layer_sum import LayerSum
from archipel.errors import TableError
from archipel.space import Space

__all__ = ["CodeMadds"]


class CodeMadds:
    """Multiply-adds of one image, exactly, of canonical codes `[B, D]`.

    Where they are a sum over the code they are that sum; in spaces with `value` choices the layers of all architectures
    are added up together. Otherwise (options that give maps of different sizes, empty selections that run a layer) each
    distinct architecture is built and counted, which takes about 0.1 s.

    Args:
        input_shape: `[C, H, W]`.
    """

    def __init__(self, space: Space, input_shape: tuple[int, ...]) -> None:
        self.space = space
        self.input_shape = input_shape
        self._known: dict[Architecture, int] = {}
        self._sum: AdditiveCost | LayerSum | None = None
        if any(choice.kind == "value" for choice in space.choices):
            self._sum = LayerSum(space, self._layers)
        else:
            with suppress(TableError):
                self._sum = complexity_cost(space, "madds", input_shape)

    @property
    def is_additive(self) -> bool:
        return self._sum is not None

    def __call__(self, codes: Tensor) -> Tensor:
        """`[B, D]` bool, canonical → `[B]`, int64."""
        codes = codes.cpu()
        if self._sum is not None:
            return self._sum(codes).long()  # whole numbers far below 2^53: float64 sums are exact
        unique, inverse = codes.unique(dim=0, return_inverse=True)
        return torch.tensor([self._of(self.space.decode(code)) for code in unique])[inverse]

    def _of(self, architecture: Architecture) -> int:
        if architecture not in self._known:
            self._known[architecture] = madds(self.space.build(architecture), self.input_shape)
        return self._known[architecture]

    def _layers(self, architecture: Architecture) -> dict[str, float]:
        return {row.path: row.madds for row in layers(ghost(self.space, architecture), self.input_shape)}
