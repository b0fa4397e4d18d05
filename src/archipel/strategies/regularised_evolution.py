"""Regularised evolution: the best of a few has a child, and the oldest dies."""

from __future__ import annotations

import random
from collections import deque

from archipel.architecture import Architecture
from archipel.errors import OptionError
from archipel.space import Space
from archipel.strategies.strategy import Scores, only_one

__all__ = ["RegularisedEvolution"]


class RegularisedEvolution:
    """Ageing evolution (Real et al., AAAI 2019, arXiv 1802.01548, algorithm 1).

    The first members are random. Then the best of `sample` members, drawn with replacement, is the parent of a child
    that differs in one decision, and the oldest member leaves, however good it is. Only decisions are mutated: the
    paper's hidden-state and operation mutations are one kind here.

    Args:
        population: members (P). 10 and a sample of 3 as on NATS-Bench; the paper's 100 and 25 are for 20,000 networks.
        sample: drawn for each tournament (S).

    Raises:
        OptionError: several objectives, or a population or sample below 1.
    """

    def __init__(
        self, space: Space, *, objectives: int = 1, seed: int = 0, population: int = 10, sample: int = 3
    ) -> None:
        only_one(objectives, "regularised evolution")
        if population < 1 or sample < 1:
            raise OptionError(f"a population of {population} and a sample of {sample} are given; give 1 or more")
        self.space = space
        self.rng = random.Random(seed)
        self.size = population
        self.sample = sample
        self.population: deque[tuple[float, Architecture]] = deque(maxlen=population)

    def ask(self) -> Architecture:
        if len(self.population) < self.size:
            return self.space.sample(self.rng)
        drawn = [self.rng.choice(self.population) for _ in range(self.sample)]
        _, parent = max(drawn, key=lambda member: member[0])
        return self.space.mutate(parent, self.rng)

    def tell(self, architecture: Architecture, scores: Scores) -> None:
        if scores is not None:
            self.population.append((scores[0], architecture))
