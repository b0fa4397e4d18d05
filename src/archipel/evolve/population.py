"""One layer's population: who is judged next, what the verdict does to a stored score, who leaves, who is kept.

AutoSpace (arXiv 2103.11833): tournaments, scores written back at the end of an iteration, the best of each layer kept.
`G` stands for whatever a genotype is: here a `Cell`, in tests a row of a table.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

__all__ = ["Genes", "Member", "Population"]

G = TypeVar("G")


class Genes(Protocol[G]):
    """How genotypes vary; `admits` says which may be made."""

    def sample(self, rng: random.Random, admits: Callable[[G], bool]) -> G: ...

    def mutate(self, genes: G, rng: random.Random, admits: Callable[[G], bool]) -> G | None: ...

    def crossover(self, genes: G, other: G, rng: random.Random, admits: Callable[[G], bool]) -> G | None: ...

    def near(self, genes: G) -> list[G]:
        """Those one mutation away."""

    def key(self, genes: G) -> Hashable:
        """Equal for genotypes that are one network."""

    def distance(self, first: G, second: G) -> int: ...


@dataclass
class Member(Generic[G]):
    """One genotype with what is known of it."""

    genes: G
    number: int
    """Its own in its layer; 0 is the reference."""
    parent: int | None = None
    """Whose weights it starts from."""
    fitness: float | None = None
    """None: never judged."""
    visits: int = 0

    def judge(self, score: float, momentum: float) -> None:
        """F ← (1 − m) F + m · score; the first verdict is taken as it is."""
        self.fitness = score if self.fitness is None else (1 - momentum) * self.fitness + momentum * score
        self.visits += 1

    @property
    def rank(self) -> float:
        return -math.inf if self.fitness is None else self.fitness


class Population(Generic[G]):
    """The members of one layer, no two of them one network, and the reference beside them.

    Args:
        genes: how they vary.
        reference: number 0; a member like the others only after `seed`.
        admits: whether a genotype may stand in this layer, by its cost.
        size: members after `evict`.
    """

    def __init__(self, genes: Genes[G], reference: G, admits: Callable[[G], bool], size: int) -> None:
        self.genes = genes
        self.admits = admits
        self.size = size
        self.reference = Member(reference, 0)
        self.members: list[Member[G]] = []
        self.born = 0

    def add(self, genes: G, parent: int | None = None) -> Member[G]:
        """A new member."""
        self.born += 1
        self.members.append(Member(genes, self.born, parent))
        return self.members[-1]

    def fresh(self, genes: G) -> bool:
        """Whether a genotype is admitted and none of the members, nor the reference."""
        key = self.genes.key(genes)
        taken = any(self.genes.key(member.genes) == key for member in (self.reference, *self.members))
        return not taken and self.admits(genes)

    def fill(self, rng: random.Random, *, seed: bool) -> None:
        """Up to `size` members: with `seed` the reference and what is one mutation away from it (at most half of the
        population), then random ones."""
        if seed:
            self.members.append(self.reference)
            near = self.genes.near(self.reference.genes)
            for genes in rng.sample(near, len(near)):
                if len(self.members) < self.size // 2 and self.fresh(genes):
                    self.add(genes, parent=0)
        while len(self.members) < self.size:
            self.add(self.genes.sample(rng, self.fresh), parent=0)

    @property
    def diversity(self) -> float:
        """Genes in which two members differ, in the mean over all pairs."""
        pairs = list(itertools.combinations((member.genes for member in self.members), 2))
        return sum(self.genes.distance(*pair) for pair in pairs) / max(1, len(pairs))

    def tournament(self, rng: random.Random, entrants: int, taken: Iterable[Member[G]]) -> Member[G] | None:
        """The best of some members drawn at random; one that was never judged beats all that were. None where all are
        `taken`."""
        out = {member.number for member in taken}
        free = [member for member in self.members if member.number not in out]
        if not free:
            return None
        drawn = rng.sample(free, min(entrants, len(free)))
        return max(drawn, key=lambda member: math.inf if member.fitness is None else member.fitness)

    def child(self, parent: Member[G], rng: random.Random, crossing: float) -> Member[G] | None:
        """A new member from a parent: one gene changed and, with probability `crossing`, half of its genes the
        reference's. None where nothing new can be made."""
        genes = self.genes.mutate(parent.genes, rng, self.fresh)
        if rng.random() < crossing:
            base = parent.genes if genes is None else genes
            genes = self.genes.crossover(base, self.reference.genes, rng, self.fresh) or genes
        return None if genes is None else self.add(genes, parent.number)

    def waiting(self, visits: int) -> list[Member[G]]:
        """Who would have to leave a full population, but was judged fewer than `visits` times: they are judged next."""
        worst = self._worst_first()[: max(0, len(self.members) - self.size)]
        return [member for member in worst if 0 < member.visits < visits]

    def evict(self, visits: int) -> None:
        """Down to `size`: the least fit leave, but nobody who was judged fewer than `visits` times, nor the fitter
        ones in their stead: then all wait."""
        for member in self._worst_first()[: max(0, len(self.members) - self.size)]:
            if member.visits < visits:
                return
            self.members.remove(member)

    def _worst_first(self) -> list[Member[G]]:
        return sorted((m for m in self.members if m is not self.reference), key=lambda member: member.rank)

    def ranking(self, visits: int = 0) -> list[Member[G]]:
        """Best first; those judged fewer than `visits` times behind all others, equals in the order of birth."""
        return sorted(self.members, key=lambda member: (member.visits < visits, -member.rank))

    def kept(self, count: int, *, visits: int, apart: int, besides: Sequence[G] = ()) -> list[Member[G]]:
        """The best `count` members that differ in `apart` genes or more from each other and from `besides`; where there
        are not so many, the best of the others join them."""
        chosen: list[Member[G]] = []
        for least in (apart, 1):
            for member in self.ranking(visits):
                near = [*besides, *(other.genes for other in chosen)]
                if len(chosen) < count and all(self.genes.distance(member.genes, o) >= least for o in near):
                    chosen.append(member)
        return sorted(chosen, key=self.ranking(visits).index)
