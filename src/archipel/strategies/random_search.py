"""Random search: what every other strategy has to beat."""

from __future__ import annotations

import random

from archipel.architecture import Architecture
from archipel.space import Space
from archipel.strategies.strategy import Scores

__all__ = ["RandomSearch"]


class RandomSearch:
    """Draws uniformly from all architectures, with replacement (Bergstra and Bengio, JMLR 2012; Li and Talwalkar, UAI
    2019)."""

    def __init__(self, space: Space, *, objectives: int = 1, seed: int = 0) -> None:  # noqa: ARG002
        self.space = space
        self.rng = random.Random(seed)

    def ask(self) -> Architecture:
        return self.space.sample(self.rng)

    def tell(self, architecture: Architecture, scores: Scores) -> None:
        """Nothing is learned."""
