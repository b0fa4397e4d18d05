"""Tournament evolution: the best of a few has a child, and nobody dies."""

from __future__ import annotations

import random

from archipel.architecture import Architecture
from archipel.errors import OptionError
from archipel.space import Space
from archipel.spaces.hierarchical import hierarchical, identity_chain, level
from archipel.strategies.strategy import Scores, only_one

__all__ = ["TournamentEvolution"]


class TournamentEvolution:
    """Evolution by tournament (Liu et al., ICLR 2018, arXiv 1711.00436): the best of a share of all that is known has a
    child that differs in one decision, and joins them.

    The first members are the trivial architecture after `mutations` random mutations each: of motifs the chain of
    identities, of any other space the first. In a space of motifs a mutation draws a level first, then an edge of that
    level; so a motif, which stands in many places, changes as often as the cell.

    Args:
        population: first members; 200 in the paper, for 7,000 networks.
        share: of all members, drawn for each tournament, two at least.
        mutations: of a first member; 1,000 in the paper.

    Raises:
        OptionError: several objectives, a number below 1, or a share that is none.
    """

    def __init__(
        self,
        space: Space,
        *,
        objectives: int = 1,
        seed: int = 0,
        population: int = 20,
        share: float = 0.05,
        mutations: int = 200,
    ) -> None:
        only_one(objectives, "tournament evolution")
        if population < 1 or mutations < 1 or not 0.0 < share <= 1.0:
            raise OptionError(
                f"a population of {population}, {mutations} mutations and a share of {share:g} are given; give 1 or "
                "more, 1 or more, and above 0 to 1"
            )
        self.space, self.size, self.share, self.mutations = space, population, share, mutations
        self.rng = random.Random(seed)
        self.trivial = identity_chain(space) if space.function is hierarchical else space.unrank(0)
        self.members: list[tuple[float, Architecture]] = []

    def ask(self) -> Architecture:
        if len(self.members) < self.size:
            found = self.trivial
            for _ in range(self.mutations):
                found = self._mutated(found)
            return found
        count = min(len(self.members), max(2, round(self.share * len(self.members))))
        _, parent = max(self.rng.sample(self.members, count), key=lambda member: member[0])
        return self._mutated(parent)

    def tell(self, architecture: Architecture, scores: Scores) -> None:
        if scores is not None:
            self.members.append((scores[0], architecture))

    def _mutated(self, architecture: Architecture) -> Architecture:
        levels: dict[int, list[str]] = {}
        for choice in self.space.active(architecture):
            if choice.has_alternatives:
                levels.setdefault(level(choice.name), []).append(choice.name)
        if len(levels) < 2:
            return self.space.mutate(architecture, self.rng)
        name = self.rng.choice(levels[self.rng.choice(sorted(levels))])
        choice = next(choice for choice in self.space.choices if choice.name == name)
        value = self.rng.choice(list(choice.alternatives(architecture[name])))
        return Architecture({**architecture, name: value})
