"""Local search: to a better neighbour at once, from somewhere else where there is none."""

from __future__ import annotations

import random

from archipel.architecture import Architecture
from archipel.space import Space
from archipel.strategies.strategy import Scores, only_one

__all__ = ["LocalSearch"]


class LocalSearch:
    """First-improvement local search (White et al., UAI 2021, arXiv 2005.02960).

    Neighbours, all one decision away, are tried in random order; the first that is better becomes the new centre. Where
    none is, the search begins again at a random architecture. An architecture whose score is known is not asked for.
    """

    def __init__(self, space: Space, *, objectives: int = 1, seed: int = 0) -> None:
        only_one(objectives, "local search")
        self.space = space
        self.rng = random.Random(seed)
        self.known: dict[Architecture, float] = {}
        self.centre: Architecture | None = None
        self.waiting: list[Architecture] = []
        """Neighbours of the centre that are still to be looked at."""

    def ask(self) -> Architecture:
        while self.waiting and self.centre in self.known:
            neighbour = self.waiting.pop()
            if neighbour not in self.known:
                return neighbour
            self._consider(neighbour, self.known[neighbour])
        if self.centre is not None and self.centre not in self.known:
            return self.space.sample(self.rng)  # asked again before the centre was told
        fresh = self._fresh()
        self._move(fresh)
        return fresh

    def tell(self, architecture: Architecture, scores: Scores) -> None:
        score = float("-inf") if scores is None else scores[0]
        self.known[architecture] = score
        if self.centre is not None and self.centre in self.known:
            self._consider(architecture, score)

    def _consider(self, architecture: Architecture, score: float) -> None:
        if self.centre is not None and score > self.known[self.centre]:
            self._move(architecture)

    def _move(self, centre: Architecture) -> None:
        self.centre = centre
        self.waiting = self.space.neighbours(centre, self.rng)
        self.rng.shuffle(self.waiting)

    def _fresh(self) -> Architecture:
        """A random architecture that is not known, if one is found soon."""
        for _ in range(100):
            drawn = self.space.sample(self.rng)
            if drawn not in self.known:
                return drawn
        return drawn
