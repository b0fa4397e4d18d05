"""Who chooses the next architecture: the contract that all strategies keep."""

from __future__ import annotations

from typing import Protocol, TypeAlias

from archipel.architecture import Architecture
from archipel.errors import OptionError

__all__ = ["Scores", "Strategy", "only_one"]

Scores: TypeAlias = "tuple[float, ...] | None"
"""What an architecture came to: one score an objective, larger is better. None: it could not be evaluated."""


class Strategy(Protocol):
    """Chooses architectures by what earlier ones came to.

    `ask` may be called several times before the first answer is told. `tell` may come late, out of order or never, for
    an architecture that was told before (the same again), and for one that was never asked for: another worker's.
    Equal seed and equal calls, equal architectures.
    """

    def ask(self) -> Architecture:
        """The architecture to try next; it may have been tried before."""

    def tell(self, architecture: Architecture, scores: Scores) -> None:
        """What an architecture came to."""


def only_one(objectives: int, who: str) -> None:
    """Raises:
    OptionError: there are several objectives.
    """
    if objectives != 1:
        raise OptionError(f"{who} makes one objective better, not {objectives}; give one, or use nsga2")
