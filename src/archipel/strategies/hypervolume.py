"""Hypervolume of two objectives: what a set of points dominates above a corner, and what a candidate may add to it.

Letters: `N` points, `C` candidates, `S` steps of the front. Both objectives are maximised.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

__all__ = ["expected_hypervolume_improvement", "expected_improvement", "hypervolume"]


def hypervolume(points: np.ndarray, corner: np.ndarray) -> float:
    """Area that points `[N, 2]` dominate above a corner `[2]` (Zitzler and Thiele, 1998); points that are not above it
    in both objectives add nothing."""
    left, right, height = _steps(np.asarray(points, dtype=np.float64), np.asarray(corner, dtype=np.float64))
    return float(((right - left)[:-1] * (height[:-1] - corner[1])).sum())


def expected_improvement(mean: Tensor, spread: Tensor, best: Tensor | float) -> Tensor:
    """E[max(0, y − best)] for y ~ N(μ, σ²)."""
    safe = spread.clamp_min(1e-12)
    z = (mean - best) / safe
    density = (-z.square() / 2).exp() / math.sqrt(2 * math.pi)
    return safe * (z * torch.special.ndtr(z) + density)


def expected_hypervolume_improvement(mean: Tensor, spread: Tensor, points: np.ndarray, corner: np.ndarray) -> Tensor:
    """What candidates are expected to add to the hypervolume of points, their objectives independent normal variables
    (Emmerich et al., 2006; this form: Yang et al., Journal of Global Optimization 75, 2019).

    The front is a staircase: over the step from l to r a point has to be above height h. So a candidate y adds
    Σ (min(y₁, r) − l)⁺ (y₂ − h)⁺, and the expectation of each factor is a difference of expected improvements, or one.

    Args:
        mean, spread: `[C, 2]`.
        points: `[N, 2]`.
        corner: `[2]`.

    Returns:
        `[C]`.
    """
    left, right, height = (torch.from_numpy(each) for each in _steps(points, corner))  # [S]
    m, s = mean.double(), spread.double()
    wide = expected_improvement(m[:, :1], s[:, :1], left)  # [C, S]
    wide = wide - torch.where(right.isinf(), 0.0, expected_improvement(m[:, :1], s[:, :1], right.nan_to_num(posinf=0)))
    return (wide * expected_improvement(m[:, 1:], s[:, 1:], height)).sum(1)


def _steps(points: np.ndarray, corner: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The staircase of a front: where each step begins and ends, and the height below which all is dominated; the last
    one has no end, and the corner's height. Each `[S]`."""
    xs: list[float] = []
    ys: list[float] = []
    for x, y in sorted(points[(points > corner).all(1)].tolist(), reverse=True):
        if not ys or y > ys[-1]:  # else one further right is as high
            xs.append(x)
            ys.append(y)
    right = np.array([*xs[::-1], math.inf])
    left = np.array([float(corner[0]), *xs[::-1]])
    return left, right, np.array([*ys[::-1], float(corner[1])])
