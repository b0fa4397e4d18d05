"""Whether a stochastic gradient says anything: its running mean beside its running spread."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["SignalToNoise"]


class SignalToNoise:
    """‖mean‖ / ‖standard deviation‖ of a gradient of `size` entries over about its last `window` steps.

    A gradient that is noise alone comes out at 1/√(2 · window), or 1/√steps before that. The figure is NaN where
    there is no noise yet: at the first step.
    """

    def __init__(self, size: int, window: int = 100) -> None:
        self.window = window
        self.state = {
            "mean": torch.zeros(size, dtype=torch.float64),
            "square": torch.zeros(size, dtype=torch.float64),
            "steps": torch.zeros((), dtype=torch.int64),
        }
        """All that a resumed run needs, to be restored in place."""

    def update(self, gradient: Tensor) -> float:
        """Take in the gradient of one step, `[size]`, and say how it is by now."""
        mean, square, steps = self.state.values()
        steps += 1
        weight = max(1.0 / int(steps), 1.0 / self.window)
        mean.lerp_(gradient, weight)
        square.lerp_(gradient.square(), weight)
        noise = (square - mean.square()).clamp_min(0.0).sum().sqrt()
        return float(mean.norm() / noise) if noise > 0.0 else math.nan
