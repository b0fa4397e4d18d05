"""How cells vary: random ones, one gene changed, genes taken over from a reference (AutoSpace, arXiv 2103.11833).

What is published is that parents are drawn by tournament and changed locally; the numbers are ours
(docs/methods/autospace.md).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from archipel.errors import OptionError, SpaceError
from archipel.spaces.cell import EDGES, IDENTITY, Cell

__all__ = ["Admits", "CellGenes"]

Admits = Callable[[Cell], bool]
"""Whether a cell may be made: its budget, what a population holds already."""

_DIRECT = EDGES.index((0, 3))
_TRIES = 20_000
_PAIRINGS = 16


@dataclass(frozen=True)
class CellGenes:
    """The genes a cell is made of. Cells that are no network's (`Cell.problem`) are not made.

    Raises:
        OptionError: no code to choose from.
    """

    codes: tuple[int, ...] = (0, 1, 2, 3, 5)
    """Operators an edge can have; without 0 every edge is there, as in the published space."""
    direct: bool = False
    """The edge from input to output is the identity always, as in the published space."""
    mix: bool = False
    """The bits of the channel attention are genes too."""

    def __post_init__(self) -> None:
        if len(set(self.codes)) < 2:
            raise OptionError(f"cells have the codes {list(self.codes)}; give two different ones or more")
        for code in self.codes:
            Cell((code,) * len(EDGES))

    @property
    def size(self) -> int:
        """How many genotypes there are, networks' cells or not."""
        edges = len(EDGES) - self.direct
        return len(self.codes) ** edges * 3 * (4 if self.mix else 1)

    def sample(self, rng: random.Random, admits: Admits = lambda _: True) -> Cell:
        """A cell drawn uniformly from those that are admitted.

        Raises:
            SpaceError: none was found.
        """
        for _ in range(_TRIES):
            codes = [rng.choice(self.codes) for _ in EDGES]
            if self.direct:
                codes[_DIRECT] = IDENTITY
            bits = (rng.randrange(2), rng.randrange(2)) if self.mix else (0, 0)
            cell = Cell(tuple(codes), rng.randrange(3), bits)
            if cell.problem() is None and admits(cell):
                return cell
        raise SpaceError(f"of {_TRIES:,} random cells none is admitted; raise the budget or give more codes")

    def neighbours(self, cell: Cell) -> Iterator[tuple[float, Cell]]:
        """Every cell that differs in one gene and is a network's, each with the probability of its mutation before
        those that are not admitted are rejected: genes are equally likely, then their other values."""
        genes = list(self._genes(cell))
        for values in genes:
            for other in values:
                if other.problem() is None:
                    yield 1 / (len(genes) * len(values)), other

    def _genes(self, cell: Cell) -> Iterator[list[Cell]]:
        for place in range(len(EDGES)):
            if not (self.direct and place == _DIRECT):
                yield [_set(cell, place, code) for code in self.codes if code != cell.codes[place]]
        yield [replace(cell, dim=node) for node in range(3) if node != cell.dim]
        if self.mix:
            yield [replace(cell, mix=(1 - cell.mix[0], cell.mix[1]))]
            yield [replace(cell, mix=(cell.mix[0], 1 - cell.mix[1]))]

    def mutate(self, cell: Cell, rng: random.Random, admits: Admits = lambda _: True) -> Cell | None:
        """The cell with one gene changed, or None where no such cell is admitted."""
        found = [(weight, other) for weight, other in self.neighbours(cell) if admits(other)]
        if not found:
            return None
        weights, cells = zip(*found)
        chosen: Cell = rng.choices(cells, weights)[0]
        return chosen

    def crossover(self, cell: Cell, other: Cell, rng: random.Random, admits: Admits = lambda _: True) -> Cell | None:
        """Each gene of the cell replaced by the other's with probability 1/2, or None where no such cell is found that
        is a network's and admitted."""
        for _ in range(_PAIRINGS):
            taken = [theirs if rng.random() < 0.5 else mine for mine, theirs in zip(_all(cell), _all(other))]
            child = Cell(tuple(taken[:6]), taken[6], (taken[7], taken[8]))
            if child.problem() is None and admits(child):
                return child
        return None

    def near(self, cell: Cell) -> list[Cell]:
        """The cells one mutation away."""
        return [other for _, other in self.neighbours(cell)]

    def key(self, cell: Cell) -> Cell:
        """Equal for cells that compute the same graph."""
        return cell.canonical

    def to_json(self, cell: Cell) -> list[list[Any]]:
        """The published matrix."""
        return cell.to_matrix()

    def from_json(self, data: list[list[Any]]) -> Cell:
        return Cell.from_matrix(data)

    def distance(self, first: Cell, second: Cell) -> int:
        """Genes in which the canonical forms differ."""
        return sum(a != b for a, b in zip(_all(first.canonical), _all(second.canonical)))


def _set(cell: Cell, place: int, code: int) -> Cell:
    return replace(cell, codes=(*cell.codes[:place], code, *cell.codes[place + 1 :]))


def _all(cell: Cell) -> tuple[int, ...]:
    return (*cell.codes, cell.dim, *cell.mix)
