"""How cells vary: valid always, one gene at a time, as often as said."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archipel.errors import OptionError, SpaceError
from archipel.evolve.genes import CellGenes
from archipel.spaces.cell import EDGES, Cell, Placement, reference

SEEDS = st.integers(0, 10**6)
GENES = st.builds(CellGenes, st.sampled_from(((0, 1, 2, 3, 5), (1, 2, 3, 5))), st.booleans(), st.booleans())


def genes_of(cell: Cell) -> tuple[int, ...]:
    return (*cell.codes, cell.dim, *cell.mix)


def test_sizes_of_the_specification() -> None:
    assert CellGenes(mix=True).size == 187_500
    assert CellGenes().size == 46_875
    assert CellGenes((1, 2, 3, 5), direct=True, mix=True).size == 12_288


def test_random_cells_are_uniform_over_the_valid_ones() -> None:
    genes = CellGenes((0, 3), direct=True)
    rng = random.Random(0)
    every = [
        Cell((*codes[:3], 1, *codes[3:]), dim) for codes in itertools.product((0, 3), repeat=5) for dim in range(3)
    ]
    valid = [cell for cell in every if cell.problem() is None]
    assert len(every) == genes.size
    seen = Counter(genes.sample(rng) for _ in range(200 * len(valid)))
    assert seen.keys() == set(valid)
    assert max(abs(count - 200) for count in seen.values()) < 5 * 200**0.5


@given(GENES, SEEDS)
def test_a_mutation_changes_one_gene(genes: CellGenes, seed: int) -> None:
    rng = random.Random(seed)
    cell = genes.sample(rng)
    child = genes.mutate(cell, rng)
    assert child is not None
    assert child.problem() is None
    assert sum(a != b for a, b in zip(genes_of(cell), genes_of(child))) == 1
    assert set(child.codes) <= {*genes.codes, 1}
    assert not genes.direct or child.codes[EDGES.index((0, 3))] == 1
    assert genes.mix or child.mix == (0, 0)


def test_genes_are_equally_likely() -> None:
    genes, cell, rng = CellGenes((1, 2, 3, 5)), Cell((3, 3, 3, 3, 3, 3)), random.Random(0)
    changed: Counter[int] = Counter()
    for _ in range(3500):
        child = genes.mutate(cell, rng)
        assert child is not None
        changed[next(i for i, (a, b) in enumerate(zip(genes_of(cell), genes_of(child))) if a != b)] += 1
    assert sorted(changed) == list(range(7))
    assert max(abs(count - 500) for count in changed.values()) < 5 * 500**0.5


def test_what_is_not_admitted_is_not_made() -> None:
    genes, rng, at = CellGenes(), random.Random(0), Placement(8, 8, 1, 8, 6)
    cap = reference().madds(at)

    def cheap(cell: Cell) -> bool:
        return cell.madds(at) <= cap

    cells = [genes.sample(rng, cheap) for _ in range(20)]
    children = [genes.mutate(cell, rng, cheap) for cell in cells]
    assert all(cheap(cell) for cell in [*cells, *filter(None, children)])
    assert genes.mutate(cells[0], rng, lambda _: False) is None
    with pytest.raises(SpaceError, match="none is admitted"):
        CellGenes().sample(rng, lambda _: False)


@given(GENES, SEEDS)
def test_crossover_takes_genes_of_either(genes: CellGenes, seed: int) -> None:
    rng = random.Random(seed)
    mother, father = genes.sample(rng), reference(5)
    child = genes.crossover(mother, father, rng)
    if child is not None:
        assert child.problem() is None
        assert all(c in (m, f) for c, m, f in zip(*map(genes_of, (child, mother, father))))
    assert genes.crossover(mother, mother, rng) == mother
    assert genes.crossover(mother, father, rng, lambda _: False) is None


@given(GENES, SEEDS)
def test_distance(genes: CellGenes, seed: int) -> None:
    rng = random.Random(seed)
    a, b = genes.sample(rng), genes.sample(rng)
    assert genes.distance(a, b) == genes.distance(b, a)
    assert (genes.distance(a, b) == 0) == (genes.key(a) == genes.key(b))


@pytest.mark.parametrize("codes", [(), (3,), (3, 3)])
def test_too_few_codes(codes: tuple[int, ...]) -> None:
    with pytest.raises(OptionError, match="two different ones"):
        CellGenes(codes)
