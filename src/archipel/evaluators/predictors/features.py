"""Architectures as vectors: what classical models and the multi-layer perceptron learn from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

from archipel.architecture import Architecture
from archipel.cost.attribution import ghost
from archipel.cost.complexity import madds, parameters
from archipel.space import Space

__all__ = ["Costs", "Features", "Joined", "OneHot"]

Features: TypeAlias = Callable[[Sequence[Architecture]], Tensor]
"""`[N, F]` float32 of N architectures."""


@dataclass(frozen=True)
class OneHot:
    """The space's own code, a column for each option of each choice; `F` is `space.width`."""

    space: Space

    def __call__(self, architectures: Sequence[Architecture]) -> Tensor:
        return torch.stack([self.space.encode(architecture) for architecture in architectures]).float()


@dataclass(frozen=True)
class Costs:
    """log(1 + parameters) and log(1 + MAdds) of the child network; `F` is 2."""

    space: Space
    input_shape: tuple[int, int, int]
    """`(C, H, W)`."""
    known: dict[Architecture, tuple[float, float]] = field(default_factory=dict, repr=False)
    """Those that were asked for: counting takes milliseconds to seconds."""

    def __call__(self, architectures: Sequence[Architecture]) -> Tensor:
        return torch.tensor([self._of(architecture) for architecture in architectures])

    def _of(self, architecture: Architecture) -> tuple[float, float]:
        if architecture not in self.known:
            child = ghost(self.space, self.space.canonical(architecture))
            self.known[architecture] = math.log1p(parameters(child)), math.log1p(madds(child, self.input_shape))
        return self.known[architecture]


@dataclass(frozen=True)
class Joined:
    """Several features side by side."""

    parts: tuple[Features, ...]

    def __call__(self, architectures: Sequence[Architecture]) -> Tensor:
        return torch.cat([part(architectures) for part in self.parts], 1)
