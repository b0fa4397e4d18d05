"""A population: who enters, who is judged, who leaves, who is kept."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from archipel.evolve.genes import CellGenes
from archipel.evolve.population import Population
from archipel.spaces.cell import Cell, Placement, reference

AT = Placement(8, 8, 1, 8, 3)
CAP = 1.5 * reference().madds(AT)


@pytest.fixture
def population() -> Population[Cell]:
    return Population(CellGenes(), reference(), lambda cell: cell.madds(AT) <= CAP, 12)


def judged(population: Population[Cell]) -> Population[Cell]:
    population.fill(random.Random(0), seed=False)
    for i, member in enumerate(population.members):
        member.judge(float(i), 0.5)
        member.judge(float(i), 0.5)
    return population


class TestFill:
    @pytest.mark.parametrize("seed", [True, False])
    def test_unique_admitted_and_seeded(self, population: Population[Cell], seed: bool) -> None:
        population.fill(random.Random(0), seed=seed)
        cells = [member.genes for member in population.members]
        assert len({cell.canonical for cell in cells}) == 12
        assert all(cell.problem() is None and cell.madds(AT) <= CAP for cell in cells)
        near = {cell.canonical for cell in CellGenes().near(reference())}
        assert sum(cell.canonical in near for cell in cells) >= (5 if seed else 0)
        assert (population.reference in population.members) is seed
        assert len({member.number for member in population.members}) == 12

    def test_one_network_is_not_made_twice(self, population: Population[Cell]) -> None:
        same = Cell((5, 3, 0, 1, 2, 1), dim=0)
        population.admits = lambda _: True
        assert population.fresh(same)
        population.add(same)
        assert not population.fresh(Cell((3, 5, 0, 1, 1, 2), dim=0))
        assert not population.fresh(reference())


class TestFitness:
    def test_written_back(self, population: Population[Cell]) -> None:
        member = population.add(reference(5))
        assert member.fitness is None
        for score, expected in ((0.8, 0.8), (0.0, 0.4), (1.0, 0.7)):
            member.judge(score, 0.5)
            assert member.fitness == pytest.approx(expected)
        assert member.visits == 3


class TestTournament:
    def test_the_best_of_all_entrants(self, population: Population[Cell]) -> None:
        best = judged(population).members[-1]
        assert population.tournament(random.Random(0), 12, []) is best
        assert population.tournament(random.Random(0), 12, [best]) is population.members[-2]
        assert population.tournament(random.Random(0), 12, population.members) is None

    def test_who_was_never_judged_comes_first(self, population: Population[Cell]) -> None:
        new = judged(population).add(reference(7))
        assert population.tournament(random.Random(0), 13, []) is new

    def test_pressure(self, population: Population[Cell]) -> None:
        """The i-th best of 12 wins against one drawn other with the probability of two draws."""
        rng = random.Random(0)
        wins = Counter(judged(population).tournament(rng, 2, []).number for _ in range(6600))
        for place, member in enumerate(population.members):
            assert wins[member.number] == pytest.approx(6600 * 2 * place / (12 * 11), abs=5 * 30)


class TestChildren:
    def test_one_gene_and_half_of_the_reference(self, population: Population[Cell]) -> None:
        population.fill(random.Random(0), seed=False)
        rng = random.Random(1)
        for parent in list(population.members):
            child = population.child(parent, rng, 0.0)
            assert child is not None
            assert child.parent == parent.number
            assert CellGenes().distance(child.genes, parent.genes) >= 1
        apart = [
            sum(a != b for a, b in zip(child.genes.codes, reference().codes))
            for parent in list(population.members)
            if (child := population.child(parent, rng, 1.0)) is not None
        ]
        without = [sum(a != b for a, b in zip(m.genes.codes, reference().codes)) for m in population.members[:12]]
        assert sum(apart) / len(apart) < 0.75 * sum(without) / len(without)

    def test_nothing_new_to_make(self, population: Population[Cell]) -> None:
        member = population.add(Cell((3, 1, 1, 1, 1, 1)))
        population.admits = lambda _: False
        assert population.child(member, random.Random(0), 1.0) is None
        assert len(population.members) == 1


class TestEviction:
    def test_the_least_fit_leave(self, population: Population[Cell]) -> None:
        first, second = judged(population).members[:2]
        population.size = 10
        population.evict(2)
        assert len(population.members) == 10
        assert first not in population.members
        assert second not in population.members

    def test_nobody_leaves_before_their_visits(self, population: Population[Cell]) -> None:
        judged(population).size = 10
        worst = population.members[0]
        worst.visits = 1
        population.evict(2)
        assert len(population.members) == 12
        assert population.waiting(2) == [worst]
        worst.judge(99.0, 1.0)
        population.evict(2)
        assert worst in population.members
        assert len(population.members) == 10

    def test_the_reference_stays(self, population: Population[Cell]) -> None:
        population.fill(random.Random(0), seed=True)
        for member in population.members:
            member.judge(1.0, 0.5)
        population.reference.judge(-9.0, 1.0)
        population.size = 3
        population.evict(1)
        assert population.reference in population.members


class TestKept:
    def test_best_first_apart_and_distinct(self, population: Population[Cell]) -> None:
        kept = judged(population).kept(4, visits=2, apart=2, besides=[reference()])
        genes = CellGenes()
        assert [m.fitness for m in kept] == sorted((m.fitness for m in kept), reverse=True)
        cells = [*(m.genes for m in kept), reference()]
        assert min(genes.distance(a, b) for i, a in enumerate(cells) for b in cells[:i]) >= 2

    def test_too_few_that_are_apart(self, population: Population[Cell]) -> None:
        for kernel in (3, 5, 7):
            population.add(Cell((kernel, 1, 1, 1, 1, 1))).judge(float(kernel), 1.0)
        kept = population.kept(3, visits=1, apart=2)
        assert [m.genes.codes[0] for m in kept] == [7, 5, 3]
        assert [m.genes.codes[0] for m in population.kept(2, visits=1, apart=2)] == [7, 5]

    def test_who_was_judged_too_rarely_comes_last(self, population: Population[Cell]) -> None:
        lucky = judged(population).add(reference(7))
        lucky.judge(99.0, 1.0)
        assert population.ranking(2)[-1] is lucky
        assert population.ranking(1)[0] is lucky

    def test_unjudged_in_the_order_of_birth(self, population: Population[Cell]) -> None:
        population.fill(random.Random(0), seed=False)
        assert population.ranking() == population.members
