"""Gates that open or close by a straight-through Gumbel sample (ConvNet-AIG, Veit and Belongie, ECCV 2018).

Letters: `B` batch, `O` options of a choice.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["BlockGate", "gumbel_noise", "straight_through"]

EPS = 1e-10
"""Keeps both logarithms of the noise finite: a draw of 0 gave the released program NaNs."""
CLOSED_BIAS, OPEN_BIAS = 0.1, 2.0
"""Of a fresh gate's two logits: it is open with probability σ(1.9) = 0.87."""


def gumbel_noise(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Standard Gumbel noise −log(−log u), drawn on the CPU so that a seed draws the same on every device."""
    u = torch.rand(shape, generator=generator)
    return -(-(u + EPS).log() + EPS).log()


def straight_through(logits: Tensor, noise: Tensor | None = None, temperature: float = 1.0) -> Tensor:
    """A one-hot choice whose gradient is that of the soft one (Jang et al., 2017; Maddison et al., 2017).

    Forward the option with the largest logit + noise, which with Gumbel noise is a sample of softmax(logits);
    backward softmax((logits + noise) / temperature).

    Args:
        logits: `[..., O]`.
        noise: of the same shape; None takes the most probable option.
        temperature: τ.

    Returns:
        `[..., O]`, exactly 0 and 1.
    """
    soft = ((logits if noise is None else logits + noise) / temperature).softmax(-1)
    hard = torch.zeros_like(soft).scatter_(-1, soft.argmax(-1, keepdim=True), 1.0)
    return hard + (soft - soft.detach())


class BlockGate(nn.Module):
    """For each option of a choice whether to run it: average over space → 16 → BN → ReLU → two logits an option.

    Args:
        channels: of the choice's input.
        options: `O`; one for a block that is kept or left out.
        hidden: width of the layer between.
    """

    def __init__(self, channels: int, options: int = 1, *, hidden: int = 16) -> None:
        super().__init__()
        last = nn.Conv2d(hidden, 2 * options, 1)
        nn.init.normal_(last.weight, 0.0, 0.001)
        assert last.bias is not None
        with torch.no_grad():
            last.bias.copy_(torch.tensor([CLOSED_BIAS, OPEN_BIAS]).repeat(options))
        self.layers = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, hidden, 1), nn.BatchNorm2d(hidden), nn.ReLU(inplace=True), last
        )

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` → logits of closed and open, `[B, O, 2]`."""
        logits: Tensor = self.layers(x)
        return logits.view(len(x), -1, 2)
