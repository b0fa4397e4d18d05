"""From a sum of table entries to the latency of a whole network, with an interval.

Two numbers and no more: latency = intercept + slope · Σ entries. Evidence (InstaNAS spaces for 8×8 and 32×32 images,
24 calibration networks, two kinds of 30 held-out ones): raw sums are 2.6 to 4 % off, this line 1.1 to 1.8 %; a
third coefficient for the number of active entries gave 1.1 to 1.9 %, a correction of every entry (Gaussian
process towards the table, five strengths) 1.0 to 2.4 %, so neither is done.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from archipel.errors import OptionError

__all__ = ["Calibration", "fit"]


@dataclass(frozen=True)
class Calibration:
    """The line, and how far networks that it was not fitted to lie from it."""

    intercept: float
    """Milliseconds."""
    slope: float
    residuals: tuple[float, ...]
    """measured / predicted − 1 of each calibration network, predicted by the line through the others."""

    def predict(self, entries: float) -> float:
        """Milliseconds of a network whose entries add up to `entries`."""
        return self.intercept + self.slope * entries

    @property
    def highest(self) -> float:
        """The highest level that so many residuals support."""
        return len(self.residuals) / (len(self.residuals) + 1)

    def margin(self, level: float) -> float:
        """The relative half-width of the interval that holds a new network with probability `level`.

        Conformal: the ⌈(n + 1) · level⌉-th smallest of the n absolute residuals, which needs no assumption
        about their distribution, only that the new network is drawn and measured as these were.

        Raises:
            OptionError: so few residuals cannot support so high a level.
        """
        n = len(self.residuals)
        rank = math.ceil((n + 1) * level - 1e-9)
        if not 0 < level < 1 or rank > n:
            raise OptionError(
                f"an interval at level {level} needs more than the table's {n} calibration networks; "
                f"give a level between 0 and {self.highest:.3f}"
            )
        return sorted(abs(residual) for residual in self.residuals)[max(rank, 1) - 1]


def fit(entries: Sequence[float], measured: Sequence[float], *, base: float) -> Calibration:
    """The line with the least squared relative error, and leave-one-out residuals.

    Args:
        entries: sum of table entries of each calibration network, ms.
        measured: its latency as a whole, ms.
        base: what the table has outside its entries, ms; with slope 1 the answer where the networks cannot
            tell (all of one latency, say).
    """
    x, y = np.asarray(entries, dtype=float), np.asarray(measured, dtype=float)
    everyone = np.arange(len(x))
    residuals = []
    for left_out in everyone:
        intercept, slope = _line(x[everyone != left_out], y[everyone != left_out], base)
        residuals.append(float(y[left_out] / (intercept + slope * x[left_out]) - 1))
    intercept, slope = _line(x, y, base)
    return Calibration(float(intercept), float(slope), tuple(residuals))


def _line(x: np.ndarray, y: np.ndarray, base: float) -> tuple[float, float]:
    prior = np.array([base, 1.0])
    if len(x) == 0:
        return base, 1.0
    design = np.stack([1 / y, x / y], axis=1)  # [n, 2]
    # A ridge towards the uncalibrated table, far too weak to matter where the data can tell.
    weak = 1e-9 * np.trace(design.T @ design) * np.eye(2)
    away = np.linalg.solve(design.T @ design + weak, design.T @ (1 - design @ prior))
    intercept, slope = prior + away
    return intercept, slope
