"""Architectures as vectors: what classical models and the multi-layer perceptron learn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

from archipel.architecture import Architecture
from archipel.space import Space

__all__ = ["Features", "Joined", "OneHot", "Remembered"]

Features: TypeAlias = Callable[[Sequence[Architecture]], Tensor]
"""`[N, F]` float32 of N architectures."""


@dataclass(frozen=True)
class OneHot:
    """The space's own code, a column for each option of each choice; `F` is `space.width`."""

    space: Space

    def __call__(self, architectures: Sequence[Architecture]) -> Tensor:
        return torch.stack([self.space.encode(architecture) for architecture in architectures]).float()


@dataclass(frozen=True)
class Joined:
    """Several features side by side."""

    parts: tuple[Features, ...]

    def __call__(self, architectures: Sequence[Architecture]) -> Tensor:
        return torch.cat([part(architectures) for part in self.parts], 1)


@dataclass(frozen=True)
class Remembered:
    """Features that are worked out once an architecture: searches ask for the same ones round after round."""

    features: Features
    _held: dict[Architecture, Tensor] = field(default_factory=dict)

    def __call__(self, architectures: Sequence[Architecture]) -> Tensor:
        fresh = [architecture for architecture in dict.fromkeys(architectures) if architecture not in self._held]
        if fresh:
            self._held.update(zip(fresh, self.features(fresh)))
        return torch.stack([self._held[architecture] for architecture in architectures])
