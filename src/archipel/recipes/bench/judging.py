"""What searches come to together: intervals, ranks, significance, how much of the gap to the optimum is closed.

Letters: `S` seeds, `G` points of a curve, `K` strategies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from archipel.recipes.result import figure

__all__ = ["CONTROL", "anytime", "behind", "holm", "judged", "mean_ranks"]

CONTROL = "random"
"""The strategy that every other has to beat."""


def anytime(costs: Sequence[float], values: Sequence[float], grid: np.ndarray) -> list[float | None]:
    """A step function at every point of a grid: the last value whose cost is not above it; none before the first."""
    at = np.searchsorted(np.asarray(costs), grid, side="right") - 1
    return [None if i < 0 else float(values[i]) for i in at]


def judged(finals: Mapping[str, Sequence[float]], optimum: float) -> dict[str, dict[str, Any]]:
    """Of each strategy on one image set: mean with 95 % t-interval and spread over seeds. Against the control:
    difference of means (95 %, Welch); Mann and Whitney's p, two-sided and corrected for many comparisons (Holm); share
    of the gap from the control's mean to the optimum that it closes.

    Args:
        finals: strategy → judged metric of what each seed's search found, `[S]`.
        optimum: the best of all architectures.
    """
    from scipy.stats import mannwhitneyu

    control = np.asarray(finals[CONTROL]) if CONTROL in finals else None
    rows: dict[str, dict[str, Any]] = {}
    raw: dict[str, float] = {}
    for name, values in finals.items():
        own = np.asarray(values, dtype=np.float64)
        rows[name] = {"final": figure(values), "spread": float(own.std(ddof=1)) if len(own) > 1 else None}
        if control is None or name == CONTROL or len(own) < 2 or len(control) < 2:
            continue
        rows[name]["difference"] = _welch(own, control)
        if optimum > control.mean():
            rows[name]["gap"] = float((own.mean() - control.mean()) / (optimum - control.mean()))
        raw[name] = float(mannwhitneyu(own, control, alternative="two-sided").pvalue)
    for name, p in holm(raw).items():
        rows[name]["p"] = p
    return rows


def behind(finals: Mapping[str, Sequence[float]], leader: str) -> dict[str, dict[str, float]]:
    """How much more the leader finds on one image set than each other strategy: difference of means (95 %, Welch); of
    fewer than two seeds there is none."""
    best = np.asarray(finals[leader], dtype=np.float64)
    others = {name: np.asarray(values, dtype=np.float64) for name, values in finals.items() if name != leader}
    return {name: _welch(best, own) for name, own in others.items() if len(best) > 1 and len(own) > 1}


def mean_ranks(finals: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, dict[str, Any]]:
    """Rank of each strategy among all of the same image set and seed; 1 is best, equals share theirs. Mean over both
    with a 95 % t-interval.

    Args:
        finals: of each image set, strategy → `[S]`.
    """
    from scipy.stats import rankdata

    names = list(finals[0])
    ranks = np.concatenate([rankdata([[-v for v in one[name]] for name in names], axis=0) for one in finals], axis=1)
    return {name: figure(row.tolist()) or {} for name, row in zip(names, ranks)}


def holm(raw: Mapping[str, float]) -> dict[str, float]:
    """Adjusted p-values: the i-th smallest of n times n − i, never below the one before it (Holm, 1979)."""
    adjusted: dict[str, float] = {}
    least = 0.0
    for i, name in enumerate(sorted(raw, key=raw.__getitem__)):
        least = max(least, min(1.0, raw[name] * (len(raw) - i)))
        adjusted[name] = least
    return adjusted


def _welch(own: np.ndarray, other: np.ndarray) -> dict[str, float]:
    from scipy.stats import t

    parts = own.var(ddof=1) / len(own), other.var(ddof=1) / len(other)
    error = float(np.sqrt(sum(parts)))
    mean = float(own.mean() - other.mean())
    if error == 0:
        return {"mean": mean, "low": mean, "high": mean}
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / (len(own) - 1) + parts[1] ** 2 / (len(other) - 1))
    margin = float(t.ppf(0.975, freedom)) * error
    return {"mean": mean, "low": mean - margin, "high": mean + margin}
