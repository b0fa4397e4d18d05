"""Which images a cascade passes on: those its answer is unsure of, or those that the next network is expected to help.

A network is unsure also where the next one will be no wiser. What passing on is worth can be learnt: whether the next
answer was right less whether this one was, regressed on the margins of this one, whatever the classes.

Letters: `B` images of a batch, `N` images to fit to.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from archipel.errors import OptionError

__all__ = ["Gain", "doubt", "doubt_of_one"]

LARGEST = 3
"""So many of the largest logits are looked at. (Probabilities did no better on 1,250 validation images, nor did their
entropy beside them.)"""
RIDGE = 1.0


def doubt(logits: Tensor) -> Tensor:
    """1 − the largest softmax probability, `[B, classes]` → `[B]`: the sum of the others, so that it stays above 0
    where the largest rounds to 1."""
    probabilities = logits.softmax(1)
    largest = probabilities.argmax(1, keepdim=True)
    return probabilities.scatter(1, largest, 0.0).sum(1)


def doubt_of_one(logits: Sequence[float], temperature: float = 1.0) -> float:
    """`doubt` of a single answer over a temperature, in plain numbers: right behind a network every call of torch costs
    what half a layer costs."""
    largest = max(logits)
    others = sum(math.exp((z - largest) / temperature) for z in logits) - 1.0
    return others / (1.0 + others)


class Gain(nn.Module):
    """Expected gain in accuracy from passing an image on, `[B, classes]` → `[B]`.

    Args:
        weights: of the largest logits, from the largest down; they add up to 0.
        bias: the gain where all of them are 0.
    """

    weights: Tensor
    bias: Tensor

    def __init__(self, weights: Tensor, bias: float) -> None:
        super().__init__()
        self.register_buffer("weights", weights.float())
        self.register_buffer("bias", torch.tensor(float(bias)))
        self._plain: tuple[list[float], float] | None = None

    @classmethod
    def fit(cls, answers: Tensor, right: Tensor, right_next: Tensor) -> Gain:
        """By ridge regression, on images that no network of the cascade was trained on.

        Args:
            answers: logits so far, `[N, classes]`.
            right: whether they are right, `[N]`, bool; `right_next`: whether the next answer is.

        Raises:
            OptionError: there are no images.
        """
        if not len(answers):
            raise OptionError("what passing an image on is worth is learnt from images; there are none")
        seen = _margins(answers).double()
        gained = right_next.double() - right.double()
        middle, mean = seen.mean(0), gained.mean()
        centred = seen - middle
        gram = centred.T @ centred + RIDGE * torch.eye(centred.shape[1], dtype=torch.float64, device=centred.device)
        weights = torch.linalg.solve(gram, centred.T @ (gained - mean))
        return cls(torch.cat([weights.sum()[None], -weights]), float(mean - middle @ weights))

    def of_one(self, logits: Sequence[float], temperature: float = 1.0) -> float:
        """Of a single answer over a temperature, in plain numbers."""
        if self._plain is None:
            self._plain = self.weights.tolist(), float(self.bias)
        weights, bias = self._plain
        return sum(map(operator.mul, weights, sorted(logits, reverse=True))) / temperature + bias

    def forward(self, answers: Tensor) -> Tensor:
        bias = self.bias.expand(answers.shape[0])  # alone it would be what no images give; exported, len is fixed
        return torch.addmv(bias, answers.topk(len(self.weights), 1).values, self.weights)


def _margins(answers: Tensor) -> Tensor:
    """How far the largest logit is above the next ones, `[B, LARGEST - 1]` (fewer with fewer classes)."""
    largest = answers.topk(min(LARGEST, answers.shape[1]), 1).values
    return largest[:, :1] - largest[:, 1:]
