"""Which images a cascade passes on: those its answer is unsure of, or those that the next network is expected to help.

A network is unsure also where the next one will be no wiser. What passing on is worth can be learnt: whether the next
answer was right less whether this one was, regressed on the shape of this one's probabilities, whatever the classes.

Letters: `B` images of a batch, `N` images to fit to.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archipel.errors import OptionError

__all__ = ["Gain", "doubt"]

LARGEST = 3
"""So many of the largest probabilities are looked at. (The entropy beside them changed nothing on 1,250 images, and its
five calls cost as much as two layers do at batch 1.)"""
RIDGE = 1.0
WIDEST = 1.0 - 1e-6
"""Gains lie between -WIDEST and WIDEST: a difference of two answers is never beyond."""


def doubt(logits: Tensor) -> Tensor:
    """1 − the largest softmax probability, `[B, classes]` → `[B]`: the sum of the others, so that it stays above 0
    where the largest rounds to 1."""
    probabilities = logits.softmax(1)
    largest = probabilities.argmax(1, keepdim=True)
    return probabilities.scatter(1, largest, 0.0).sum(1)


class Gain(nn.Module):
    """Expected gain in accuracy from passing an image on, `[B, classes]` → `[B]`, within (−1, 1).

    Args:
        weights: of the largest probabilities.
        bias: the gain where all of them are 0.
    """

    weights: Tensor

    def __init__(self, weights: Tensor, bias: float) -> None:
        super().__init__()
        self.register_buffer("weights", weights.float())
        self.bias = bias

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
        seen = _shape(answers).double()
        gained = right_next.double() - right.double()
        middle, mean = seen.mean(0), gained.mean()
        centred = seen - middle
        gram = centred.T @ centred + RIDGE * torch.eye(centred.shape[1], dtype=torch.float64, device=centred.device)
        weights = torch.linalg.solve(gram, centred.T @ (gained - mean))
        return cls(weights, float(mean - middle @ weights))

    def forward(self, answers: Tensor) -> Tensor:
        return (_shape(answers) @ self.weights + self.bias).clamp(-WIDEST, WIDEST)


def _shape(logits: Tensor) -> Tensor:
    """The largest probabilities, `[B, LARGEST]` (fewer with fewer classes)."""
    return logits.softmax(1).topk(min(LARGEST, logits.shape[1]), 1).values
