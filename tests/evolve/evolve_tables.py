"""Evolutions judged by a table: genotypes are rows of NAS-Bench-201, or blocks of NAS-Bench-Macro."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from archipel.evolve.population import Member, Population
from archipel.evolve.search import Evolution, Outcome, evolve

Genes = tuple[int, ...]


class Letters:
    """Genotypes of `length` letters; those of one `key` are one network."""

    def __init__(self, length: int, letters: int, key: Callable[[Genes], Any] = lambda genes: genes) -> None:
        self.length, self.letters, self.key = length, letters, key

    def sample(self, rng: random.Random, admits: Callable[[Genes], bool]) -> Genes:
        while True:
            genes = tuple(rng.randrange(self.letters) for _ in range(self.length))
            if admits(genes):
                return genes

    def near(self, genes: Genes) -> list[Genes]:
        return [
            (*genes[:i], letter, *genes[i + 1 :])
            for i in range(self.length)
            for letter in range(self.letters)
            if letter != genes[i]
        ]

    def mutate(self, genes: Genes, rng: random.Random, admits: Callable[[Genes], bool]) -> Genes | None:
        found = [other for other in self.near(genes) if admits(other)]
        return rng.choice(found) if found else None

    def crossover(
        self, genes: Genes, other: Genes, rng: random.Random, admits: Callable[[Genes], bool]
    ) -> Genes | None:
        child = tuple(rng.choice(pair) for pair in zip(genes, other))
        return child if admits(child) else None

    def distance(self, first: Genes, second: Genes) -> int:
        return 0 if self.key(first) == self.key(second) else max(1, sum(a != b for a, b in zip(first, second)))

    def to_json(self, genes: Genes) -> list[int]:
        return list(genes)

    def from_json(self, data: list[int]) -> Genes:
        return tuple(data)


class Table:
    """A scorer: what is known of each genotype, with noise."""

    def __init__(self, values: Callable[[int, Genes], float], noise: float, seed: int) -> None:
        self.values, self.noise, self.seed = values, noise, seed
        self.asked: list[list[list[Genes]]] = []

    def score(
        self, iteration: int, active: Sequence[Sequence[Member[Genes]]]
    ) -> tuple[list[list[float]], dict[str, float]]:
        rng = np.random.default_rng([self.seed, iteration])
        self.asked.append([[member.genes for member in members] for members in active])
        return [
            [self.values(layer, member.genes) + self.noise * rng.standard_normal() for member in members]
            for layer, members in enumerate(active)
        ], {}

    def forget(self, members: Sequence[Sequence[Member[Genes]]]) -> None: ...

    def parts(self) -> dict[str, Any]:
        return {"nothing": {}}

    def restore(self, parts: Mapping[str, Any], members: Sequence[Sequence[Member[Genes]]]) -> None: ...


def evolved(
    genes: Letters,
    values: Callable[[int, Genes], float],
    settings: Evolution,
    *,
    reference: Genes,
    layers: int = 1,
    noise: float = 0.0,
    seed: int = 0,
    admits: Callable[[Genes], bool] = lambda _: True,
    **others: Any,
) -> Outcome[Genes]:
    populations = [Population(genes, reference, admits, settings.population) for _ in range(layers)]
    return evolve(populations, Table(values, noise, seed), settings, genes, seed=seed, **others)
