"""Latency of architectures in the batch that they are in: an option that few images take costs each of them more."""

from __future__ import annotations

import torch
from torch import Tensor

from archipel.cost.additive import AdditiveCost
from archipel.instance.batch_cost import BatchCost
from archipel.instance.code_cost import CodeCost

__all__ = ["RoutedCost"]


class RoutedCost(CodeCost):
    """Milliseconds an image, of canonical codes `[B, D]` taken as a sample of a gathered batch of `size` images.

    Where a share s of the codes takes option o, s · size images do, and each pays c(o, s · size) / (s · size). One
    architecture alone is a batch of nothing else, and the landmarks of the space are those of such batches.

    Args:
        overhead: milliseconds a batch of `size` on top of every architecture (the controller).
    """

    def __init__(self, cost: BatchCost, size: int, *, overhead: float = 0.0) -> None:
        self.space = cost.space
        self.cost = cost
        self.size = size
        self.overhead = overhead / size
        base, columns = cost.rates(torch.ones(self.space.width), size)
        self._sum = AdditiveCost(self.space, "latency", "ms", base, columns)

    def __call__(self, codes: Tensor) -> Tensor:
        """`[B, D]` bool, canonical → `[B]` float64, ms."""
        codes = codes.cpu().double()
        base, rates = self.cost.rates(codes.mean(0), self.size)
        return self.overhead + base + codes @ rates

    def rates(self, codes: Tensor) -> Tensor:
        return self.cost.rates(codes.cpu().double().mean(0), self.size)[1]
