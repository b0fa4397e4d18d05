"""What a model's outputs are held against: known scores, or only their order.

Letters: `B` architectures of a batch, `P` pairs. Outputs and targets are `[B]`; targets are z
(`archipel.evaluators.predictors.scale`). Every loss is finite, and differentiable in the outputs, also where the batch
holds no pair to compare.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Absolute", "Comparison", "Listwise", "Loss", "PairwiseHinge", "Regression"]


class Loss(Protocol):
    """A loss of a batch."""

    @property
    def ranks(self) -> bool:
        """Only the order of the outputs is learned, not their values."""

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """`[B]`, `[B]` → a scalar. Pairs, where they are drawn, come from torch's global generator."""


@dataclass(frozen=True)
class Regression:
    """Mean of (output − z)²."""

    ranks: bool = False

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).square().mean()


@dataclass(frozen=True)
class Absolute:
    """Mean of |output − z|."""

    ranks: bool = False

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).abs().mean()


@dataclass(frozen=True)
class PairwiseHinge:
    """Mean over pairs of max(0, m − sign(y_i − y_j)(s_i − s_j)) (Ning et al., GATES, ECCV 2020)."""

    margin: float = 0.1
    """m."""
    pairs: float | None = 4.0
    """Drawn for each architecture of a batch; None: all there are."""
    ranks: bool = True

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        better, worse = ordered_pairs(targets, self.pairs)
        return _mean(F.relu(self.margin - outputs[better] + outputs[worse]), outputs)


@dataclass(frozen=True)
class Comparison:
    """Mean over pairs of the cross-entropy of σ(s_i − s_j) with which is better (RankNet)."""

    pairs: float | None = 4.0
    ranks: bool = True

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        better, worse = ordered_pairs(targets, self.pairs)
        return _mean(F.softplus(outputs[worse] - outputs[better]), outputs)


@dataclass(frozen=True)
class Listwise:
    """−log P of the true order, best first, under Plackett–Luce with strengths exp(s), over B (ListMLE)."""

    ranks: bool = True

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        worst_first = outputs[targets.argsort(stable=True)]
        return (worst_first.logcumsumexp(0) - worst_first).mean()


def ordered_pairs(targets: Tensor, per_sample: float | None) -> tuple[Tensor, Tensor]:
    """Positions of the better and of the worse of pairs with different targets, `[P]` each; every pair at most once."""
    first, second = torch.triu_indices(len(targets), len(targets), 1, device=targets.device)
    differ = targets[first] != targets[second]
    first, second = first[differ], second[differ]
    if per_sample is not None and len(first) > (most := int(per_sample * len(targets))):
        drawn = torch.randperm(len(first))[:most].to(targets.device)
        first, second = first[drawn], second[drawn]
    swapped = targets[first] < targets[second]
    return torch.where(swapped, second, first), torch.where(swapped, first, second)


def _mean(each: Tensor, outputs: Tensor) -> Tensor:
    return each.mean() if len(each) else 0 * outputs.sum()
