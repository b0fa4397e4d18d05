"""Which spaces are read as cells, and that the reading is that of the benchmark."""

from __future__ import annotations

import os

import numpy as np
import pytest

from archipel.errors import SpaceError
from archipel.evaluators.predictors.cells import CellGraphs, EdgeCells, cells_of
from archipel.evaluators.predictors.graphs import OUTPUT, NodeGraph, topological
from archipel.evaluators.tabular import nasbench201 as nasbench201_table
from archipel.space import Space
from archipel.spaces import instanas, nasbench201
from archipel.spaces.cell import Cell, reference
from archipel.spaces.evolved import Backbone, CellSpace, Kept

CELL = Cell((5, 3, 1, 1, 3, 2), dim=0, mix=(1, 1))
EVOLVED = Space(
    CellSpace(Backbone(4, 1, 4, ((4, 1), (6, 2)), 8), ((Kept(CELL, 2), Kept(reference(5), 3)),) * 2).function, classes=4
)


def test_nasbench201() -> None:
    space = Space(nasbench201)
    view = cells_of(space)
    architecture = space.unrank(7777)
    (cell,) = view.read(architecture)
    assert {f"e{i}{j}": kind for i, j, kind in cell.edges} == {k: v for k, v in architecture.items() if v != "none"}
    (edges,) = EdgeCells(view)([architecture])
    assert edges.shape == (1, 1, 4, 4)
    for i, j, kind in cell.edges:
        assert view.kinds[edges[0, 0, j, i] - 1] == kind
    assert int((edges > 0).sum()) == len(cell.edges)


def test_evolved_spaces_have_a_cell_a_block() -> None:
    view = cells_of(EVOLVED)
    assert view.cells == 2
    for architecture in EVOLVED:
        cells = view.read(architecture)
        for option, cell in zip(architecture.values(), cells):
            if option == "zero":
                assert cell.edges == ((0, 3, view.identity),)
            else:
                kept = CELL if str(CELL) in option else reference(5)
                assert {(i, j): int(kind.rstrip("m").partition("x")[0]) for i, j, kind in cell.edges} == kept.live
    assert EdgeCells(view)([EVOLVED.unrank(0)])[0].shape == (1, 2, 4, 4)


def test_kinds_say_on_which_side_of_the_expansion_an_edge_is() -> None:
    kinds = {kind for option in cells_of(EVOLVED).read(EVOLVED.unrank(0)) for *_, kind in option.edges}
    others = {kind for option in cells_of(EVOLVED).read(EVOLVED.unrank(EVOLVED.size - 1)) for *_, kind in option.edges}
    assert kinds != others


def test_other_spaces_are_none() -> None:
    with pytest.raises(SpaceError, match="'instanas' is not known to be made of cells"):
        cells_of(Space(instanas))


def unrolled(graph: NodeGraph) -> str:
    """What the output computes, as a formula whose sums are in alphabetical order."""
    into: list[list[int]] = [[] for _ in graph.kinds]
    for u, v in graph.edges:
        into[v].append(u)
    said: dict[int, str] = {}
    for v in topological(len(graph.kinds), graph.edges):
        said[v] = f"{graph.kinds[v]}({'+'.join(sorted(said[u] for u in into[v]))})"
    return said[graph.kinds.index(OUTPUT)]


@pytest.mark.skipif("ARCHIPEL_DATA" not in os.environ, reason="ARCHIPEL_DATA is not set")
def test_cells_that_the_benchmark_calls_isomorphic_compute_the_same() -> None:
    """NAS-Bench-201's strings tell 6,466 classes apart. Ours are sums of those: they also see that the order in which
    terms are added does not matter, nor operations that nothing reaches."""
    classes = np.load(f"{os.environ['ARCHIPEL_DATA']}/nasbench201/nasbench201.npz")["iso_class"].tolist()
    benchmark = nasbench201_table(os.environ["ARCHIPEL_DATA"])
    cells = CellGraphs(cells_of(benchmark.space))
    said = [unrolled(cells.graphs(architecture)[0]) for architecture in benchmark.architectures]
    assert len(set(classes)) == 6466
    assert len(set(zip(classes, said))) == 6466  # no class has two formulas
    assert len(set(said)) == 4930
