"""What a per-image architecture earns, and the latency window that moves during a search."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = [
    "Window", "WindowSchedule", "constrained_reward", "excess", "latency_reward", "next_multiplier", "reward",
    "window_penalty",
]  # fmt: skip


@dataclass(frozen=True)
class Window:
    """Latencies that earn something: between `low` and `high`, most at the middle. One window for all images, or
    `[B]`, one for each."""

    low: float | Tensor
    high: float | Tensor

    @property
    def middle(self) -> float | Tensor:
        return (self.low + self.high) / 2.0


def latency_reward(latency: Tensor, window: Window, kappa: float = 1.0) -> Tensor:
    """A(ℓ) = max(0, −(ℓ − high)(ℓ − low) / ((high − low)²/4))^κ: 0 at both ends, 1 in the middle.

    The zero at `low` protects against the policy that switches everything off.

    Args:
        latency: `[B]`, in the window's unit.
        kappa: sharpness (κ).
    """
    half = (window.high - window.low) / 2.0
    parabola = -(latency - window.high) * (latency - window.low) / (half * half)
    return parabola.clamp_min(0.0).pow(kappa)


def reward(
    is_correct: Tensor,
    latency: Tensor,
    window: Window,
    *,
    positive: float = 30.0,
    negative: float = 0.0,
    kappa: float = 1.0,
) -> Tensor:
    """R = positive · A(ℓ) where the child's answer is right, `negative` where it is wrong. `[B]`"""
    earned = positive * latency_reward(latency, window, kappa)
    return torch.where(is_correct, earned, torch.full_like(earned, negative))


def window_penalty(latency: Tensor, window: Window) -> Tensor:
    """u² up to u = 1 and 2u − 1 beyond, with u = max(0, (ℓ − middle) / ((high − low)/2)): in the upper half of the
    window what A(ℓ) falls short of 1 (κ = 1), and above it, where A says nothing any more, its tangent. `[B]`,
    differentiable."""
    above = ((latency - window.middle) / ((window.high - window.low) / 2.0)).clamp_min(0.0)
    inside = above.clamp_max(1.0)
    return inside * (2.0 * above - inside)


SLACK = 0.02
"""Excess over the target, as a share of it, that leaves the multiplier as it is."""
LARGEST = 300.0
"""Of multipliers: ten times the default reward of a right answer."""


def excess(latency: Tensor, targets: float | Tensor) -> Tensor:
    """max(0, ℓ/τ − 1), `[B]`, differentiable."""
    return (latency / targets - 1.0).clamp_min(0.0)


def constrained_reward(
    is_correct: Tensor,
    latency: Tensor,
    targets: float | Tensor,
    *,
    multiplier: float,
    positive: float = 30.0,
    negative: float = 0.0,
) -> Tensor:
    """R = (`positive` where the answer is right, else `negative`) − λ · max(0, ℓ/τ − 1): the Lagrangian of "as right as
    possible, not slower than asked". Unlike in a window, being faster costs nothing. `[B]`

    Args:
        targets: τ, one for all or `[B]`, in the latency's unit.
        multiplier: λ.
    """
    over = excess(latency, targets)
    answer = torch.where(is_correct, torch.full_like(over, positive), torch.full_like(over, negative))
    return answer - multiplier * over


def next_multiplier(multiplier: float, over: float, rate: float) -> float:
    """λ after one step of exponentiated dual ascent: up while the mean excess over the targets (a share of them) is
    above 2 %, down while it is below."""
    return min(LARGEST, multiplier * math.exp(rate * (over - SLACK)))


@dataclass(frozen=True)
class WindowSchedule:
    """How the window moves over a search: its upper end falls linearly, its lower end stays.

    Sweeping the window is what gives a whole accuracy-latency frontier from one search: every epoch's controller
    is another trade-off.
    """

    low: float
    first_high: float
    last_high: float

    def __post_init__(self) -> None:
        if min(self.first_high, self.last_high) <= self.low:
            raise ValueError(
                f"the latency window would close: upper end {self.first_high:g} to {self.last_high:g}, "
                f"lower end {self.low:g}"
            )

    def at(self, done: float) -> Window:
        """The window when a share `done` (0..1) of the search is behind us."""
        return Window(self.low, self.first_high + (self.last_high - self.first_high) * done)

    @classmethod
    def released(cls, *, cheapest: float, first: float, everything: float, fixed: float = 0.0) -> WindowSchedule:
        """The released program's: high falls from 0.7·T_max to 0.5·B, low = T_min.

        It may end below `low` (it does on our CPU); where the last end would come closer to `low` than 0.05·B it is
        held there, the one departure, because beyond it the reward is 0/0.

        Args:
            cheapest: T_min, the child with everything off.
            first: B, the child with option 0 everywhere.
            everything: T_max, the child with everything on.
            fixed: what every child costs besides its choices (stem, tail, controller). It is in all four figures
                here, and in none of the released program's, so the formula is taken of what is above it.
        """
        floor = cheapest + 0.05 * (first - fixed)
        return cls(
            cheapest,
            max(fixed + 0.7 * (everything - fixed), floor),
            max(fixed + 0.5 * (first - fixed), floor),
        )

    @classmethod
    def ours(cls, *, cheapest: float, start: float) -> WindowSchedule:
        """From a middle at `start` (what the controller samples before it has learnt anything) down to a middle
        that is 12 % of the way from the cheapest child to `start`."""
        span = max(start - cheapest, 1e-9 + 0.05 * cheapest)
        return cls(cheapest - 0.05 * span, cheapest + 2.05 * span, cheapest + 0.29 * span)
