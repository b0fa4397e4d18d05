"""Between scores and the numbers that models learn best: monotone both ways, so that no order is lost.

Accuracies are skewed: a few networks that learned nothing would fill the whole range. `z` are such numbers, around 0
with a spread of 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["NormalScores", "Scale", "Standard"]


class Scale(Protocol):
    """Made of the scores that are known, by `of`."""

    def forward(self, scores: Tensor) -> Tensor:
        """`[N]` scores → `[N]` z, float64."""

    def inverse(self, z: Tensor) -> Tensor:
        """`[N]` z → `[N]` scores; also of values beyond the known ones."""


@dataclass(frozen=True)
class Standard:
    """z = (score − mean) / standard deviation."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, scores: Tensor) -> Standard:
        deviation = float(scores.std(correction=0))
        return cls(float(scores.mean()), deviation if deviation > 0 else 1.0)

    def forward(self, scores: Tensor) -> Tensor:
        return (scores - self.mean) / self.deviation

    def inverse(self, z: Tensor) -> Tensor:
        return self.mean + self.deviation * z


@dataclass(frozen=True)
class NormalScores:
    """z = Φ⁻¹((rank − ½) / N) of the known scores, straight lines between them and beyond (van der Waerden)."""

    scores: Tensor
    """`[M]`, ascending, each once."""
    z: Tensor
    """`[M]`, ascending."""

    @classmethod
    def of(cls, scores: Tensor) -> NormalScores:
        known, counts = scores.double().unique(return_counts=True)  # ascending
        middle = counts.cumsum(0) - counts.double() / 2  # equal scores share the middle of their ranks
        z = torch.special.ndtri(middle / len(scores))
        if len(known) == 1:  # no slope to go on with
            known, z = torch.cat([known, known + 1]), torch.tensor([0.0, 1.0], dtype=torch.float64)
        return cls(known, z)

    def forward(self, scores: Tensor) -> Tensor:
        return _interpolate(scores.double(), self.scores, self.z)

    def inverse(self, z: Tensor) -> Tensor:
        return _interpolate(z.double(), self.z, self.scores)


def _interpolate(x: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """Piecewise linear through `(xs, ys)`, the end pieces prolonged."""
    right = torch.searchsorted(xs, x).clamp(1, len(xs) - 1)
    left = right - 1
    return ys[left] + (x - xs[left]) * (ys[right] - ys[left]) / (xs[right] - xs[left])
