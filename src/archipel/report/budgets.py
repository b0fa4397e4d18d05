"""Budgets as thin lines in a figure, as far as they are near what it shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from archipel.report.wording import listed, milliseconds, plain

__all__ = ["DASHES", "apart", "said"]

DASHES = (0, (5, 4))
"""Of upright budget lines, which would else look like an error bar that goes on beyond the frame."""


def apart(budgets: Iterable[float], low: float, high: float) -> tuple[list[float], list[float]]:
    """Budgets that widen the range from `low` to `high` by no more than itself at either end, and all others: one far
    beyond the dearest network would squeeze the picture into a corner."""
    reach = (high - low) or 0.5 * abs(high)
    near: list[float] = []
    far: list[float] = []
    for budget in sorted(set(budgets)):
        (near if low - reach <= budget <= high + reach else far).append(budget)
    return near, far


def said(far: Sequence[float], unit: str = "ms") -> str:
    """The sentence about budgets that are not drawn; there must be some."""
    noun = "Budget" if len(far) == 1 else "Budgets"
    texts = (milliseconds(budget) if unit == "ms" else f"{plain(budget)} {unit}" for budget in far)
    return f"{noun} outside the frame: {listed(texts)}."
