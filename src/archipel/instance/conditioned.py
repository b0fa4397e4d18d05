"""A controller that is told how long the picked architecture may take: one search for the whole frontier.

Where a plain controller stands for one trade-off, this one is asked for any: the wanted latency is an input, drawn for
each image during the search, and moved at will afterwards. Letters: `B` batch, `D` code columns, `F` features.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from archipel.errors import OptionError
from archipel.instance.controller import LightController, ResNetController
from archipel.instance.reward import Window

__all__ = ["ConditionedController", "Targets"]

GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class Targets:
    """The latencies a controller learns to meet, milliseconds an image, controller included: from the cheapest child
    (`low`) to what a controller samples that has learnt nothing (`high`)."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0.0 < self.low < self.high:
            raise OptionError(f"targets from {self.low:g} to {self.high:g} ms are no range; give two rising latencies")

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Independently and uniformly, `[count]`."""
        return self.low + (self.high - self.low) * torch.rand(count, generator=generator)

    def spread(self, count: int) -> Tensor:
        """Evenly, neighbours far apart, the same at every call, `[count]`: a few images meet the whole range."""
        return self.low + (self.high - self.low) * ((0.5 + GOLDEN * torch.arange(count).double()) % 1.0).float()

    def grid(self, count: int) -> list[float]:
        """From `high` down to `low`."""
        return [self.high + (self.low - self.high) * i / (count - 1) for i in range(count)]

    def window(self, targets: Tensor) -> Window:
        """For each target the window in whose middle it lies, as wide as `WindowSchedule.ours` is there."""
        span = self.high - self.low
        half = (targets - self.low + 0.05 * span).clamp_min(0.17 * span)
        return Window(targets - half, targets + half)


class ConditionedController(nn.Module):
    """A controller whose features are scaled and shifted by what is asked for (FiLM, Perez et al., AAAI 2018).

    With h(x) the body's features and t the target's place in the range, from −1 to 1 (a target outside counts as the
    nearer end):

        logits = W ((1 + γ(t)) ⊙ h(x) + β(t)) + b

    γ and β come from one hidden layer and are 0 at first. For one target they fold into W and b (`at`): then it costs
    what its body costs.

    Args:
        body: a controller with `features` and `head`, which are used.
        targets: the range.
    """

    limits: Tensor

    def __init__(self, body: LightController | ResNetController, targets: Targets, *, hidden: int = 16) -> None:
        super().__init__()
        self.body = body
        last = nn.Linear(hidden, 2 * body.head.in_features)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.film = nn.Sequential(nn.Linear(1, hidden), nn.ReLU(inplace=True), last)
        self.register_buffer("limits", torch.tensor([targets.low, targets.high]))

    def forward(self, x: Tensor, targets: Tensor) -> Tensor:
        """Images `[B, C, H, W]` and milliseconds `[B]` → logits `[B, D]`."""
        scale, shift = self._film(targets.to(x))
        logits: Tensor = self.body.head((1.0 + scale) * self.body.features(x) + shift)
        return logits

    def _film(self, targets: Tensor) -> tuple[Tensor, Tensor]:
        """γ and β of each target, `[B, F]`."""
        low, high = self.limits
        place = (2.0 * (targets - low) / (high - low) - 1.0).clamp(-1.0, 1.0)
        scale, shift = self.film(place[:, None]).chunk(2, dim=1)
        return scale, shift

    @torch.no_grad()
    def at(self, target_ms: float) -> LightController | ResNetController:
        """The plain controller that this one is for a target: a copy, with γ and β in its last layer."""
        (scale,), (shift,) = self._film(self.limits.new_tensor([target_ms]))
        plain = copy.deepcopy(self.body)
        plain.head.bias.add_(plain.head.weight @ shift)
        plain.head.weight.mul_(1.0 + scale)
        return plain
