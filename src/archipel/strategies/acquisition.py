"""How promising a candidate is, from what a predictor expects of it and how unsure it is.

`N` candidates; larger is better everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from archipel.errors import OptionError, did_you_mean
from archipel.strategies.hypervolume import expected_improvement

__all__ = ["ACQUISITIONS", "Acquisition", "acquisition"]

Acquisition: TypeAlias = Callable[[Tensor, Tensor, float, torch.Generator], Tensor]
"""f(mean `[N]`, standard deviation `[N]`, best score so far, chance) → `[N]`."""


def _mean(mean: Tensor, spread: Tensor, best: float, rng: torch.Generator) -> Tensor:  # noqa: ARG001
    return mean


def _ucb(mean: Tensor, spread: Tensor, best: float, rng: torch.Generator) -> Tensor:  # noqa: ARG001
    """μ + σ (upper confidence bound)."""
    return mean + spread


def _ei(mean: Tensor, spread: Tensor, best: float, rng: torch.Generator) -> Tensor:  # noqa: ARG001
    return expected_improvement(mean, spread, best)


def _thompson(mean: Tensor, spread: Tensor, best: float, rng: torch.Generator) -> Tensor:  # noqa: ARG001
    """μ + σ ε, ε ~ N(0, 1) drawn for each candidate by itself (independent Thompson sampling)."""
    return mean + spread * torch.randn(mean.shape, generator=rng, dtype=mean.dtype)


ACQUISITIONS: dict[str, Acquisition] = {"mean": _mean, "ucb": _ucb, "ei": _ei, "thompson": _thompson}


def acquisition(name: str) -> Acquisition:
    """Raises:
    OptionError: there is none of that name.
    """
    if name not in ACQUISITIONS:
        known = ", ".join(ACQUISITIONS)
        raise OptionError(f"there is no acquisition '{name}' ({known}){did_you_mean(name, ACQUISITIONS)}")
    return ACQUISITIONS[name]
