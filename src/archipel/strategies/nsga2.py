"""NSGA-II: several objectives at once, by non-dominated fronts and crowding.

Letters: `N` points, `M` objectives. All objectives are maximised.
"""

from __future__ import annotations

import random

import numpy as np

from archipel.architecture import Architecture
from archipel.errors import OptionError
from archipel.space import Space
from archipel.strategies.strategy import Scores

__all__ = ["NSGA2", "crowding", "fronts"]


class NSGA2:
    """NSGA-II over architectures (Deb et al., IEEE Transactions on Evolutionary Computation 6, 2002).

    A generation is `population` children. Parents win binary tournaments, by front, then by crowding. A child
    takes each decision from either parent (uniform crossover), or all from one, and is moved one decision. Of parents
    and children together the best `population` stay. With one objective this is an elitist genetic algorithm.

    Raises:
        OptionError: a population below 2, or a crossover that is no share.
    """

    def __init__(
        self, space: Space, *, objectives: int = 1, seed: int = 0, population: int = 20, crossover: float = 0.9
    ) -> None:
        if population < 2:
            raise OptionError(f"a population of {population} is given; give 2 or more")
        if not 0.0 <= crossover <= 1.0:
            raise OptionError(f"crossover is {crossover:g}; give a share from 0 to 1")
        self.space = space
        self.rng = random.Random(seed)
        self.size = population
        self.crossover = crossover
        self.objectives = objectives
        self.parents: list[Architecture] = []
        self._rank: list[tuple[int, float]] = []
        """Of each parent: its front, and its crowding with the sign turned; smaller is better."""
        self._scores: dict[Architecture, tuple[float, ...]] = {}
        self._born: dict[Architecture, tuple[float, ...]] = {}

    def ask(self) -> Architecture:
        if not self.parents:
            return self.space.sample(self.rng)
        first, second = self._tournament(), self._tournament()
        child = self.space.crossover(first, second, self.rng) if self.rng.random() < self.crossover else first
        return self.space.mutate(child, self.rng)

    def tell(self, architecture: Architecture, scores: Scores) -> None:
        if scores is None or architecture in self._scores:
            return
        self._born[architecture] = scores
        if len(self._born) == self.size:
            self._select()

    def _tournament(self) -> Architecture:
        first, second = (self.rng.randrange(len(self.parents)) for _ in range(2))
        return self.parents[first if self._rank[first] <= self._rank[second] else second]

    def _select(self) -> None:
        everyone = {**self._scores, **self._born}
        members = list(everyone)
        points = np.array([everyone[member] for member in members])
        chosen: list[int] = []
        rank: list[tuple[int, float]] = []
        for number, front in enumerate(fronts(points)):
            spread = crowding(points[front])
            order = np.argsort(-spread, kind="stable")[: self.size - len(chosen)]
            chosen += [front[i] for i in order]
            rank += [(number, -float(spread[i])) for i in order]
            if len(chosen) == self.size:
                break
        self.parents, self._rank = [members[i] for i in chosen], rank
        self._scores = {member: everyone[member] for member in self.parents}
        self._born = {}


def fronts(points: np.ndarray) -> list[list[int]]:
    """Rows by front: those that no point beats, then those that only they beat, and so on.

    A point beats another that is nowhere better and somewhere worse; equal points stand in one front.

    Args:
        points: `[N, M]`.
    """
    weakly = np.asarray((points[:, None, :] >= points[None, :, :]).all(-1))
    strictly = (points[:, None, :] > points[None, :, :]).any(-1)
    beats = np.asarray(weakly & strictly)  # [N, N]: row beats column
    beaten_by = beats.sum(0)
    left = np.ones(len(points), dtype=bool)
    found = []
    while left.any():
        front = np.flatnonzero(left & (beaten_by == 0))
        found.append(front.tolist())
        left[front] = False
        beaten_by = beaten_by - beats[front].sum(0)
    return found


def crowding(front: np.ndarray) -> np.ndarray:
    """Half the circumference of the box between a point's neighbours, objective by objective; infinite at the ends.

    Args:
        front: `[N, M]`.

    Returns:
        `[N]`.
    """
    total = np.zeros(len(front))
    for column in front.T:
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]]
        total[order[[0, -1]]] = np.inf
        if span > 0 and len(front) > 2:
            total[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
    return total
