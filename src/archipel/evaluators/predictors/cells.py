"""The cells that an architecture of a cell space is made of, as graphs.

Letters: `N` architectures, `G` cells of each, `V` nodes of a cell.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from archipel.architecture import Architecture
from archipel.errors import SpaceError
from archipel.evaluators.predictors.graphs import (
    BETWEEN,
    INPUT,
    OUTPUT,
    EdgeGraph,
    NodeGraph,
    chain,
    function_graph,
    node_tensors,
)
from archipel.space import Space
from archipel.spaces.cell import Cell

__all__ = ["CellGraphs", "CellView", "EdgeCells", "cells_of"]


@dataclass(frozen=True)
class CellView:
    """How the architectures of a space are read as cells with operations on edges."""

    read: Callable[[Architecture], tuple[EdgeGraph, ...]]
    """The cells of an architecture, equally many for each."""
    kinds: tuple[str, ...]
    """What an edge can be, the identity first."""
    nodes: int
    cells: int

    @property
    def identity(self) -> str:
        """The kind that hands on what it gets."""
        return self.kinds[0]


@dataclass(frozen=True)
class EdgeCells:
    """Cells as tensors: which operation leads from node to node."""

    view: CellView

    def __call__(self, architectures: Sequence[Architecture]) -> tuple[Tensor]:
        """`[N, G, V, V]` int64: at (j, i) the position of the kind of i→j, from 1 on, and 0 where there is none."""
        view, index = self.view, {kind: i for i, kind in enumerate(self.view.kinds, 1)}
        edges = torch.zeros(len(architectures), view.cells, view.nodes, view.nodes, dtype=torch.long)
        for n, architecture in enumerate(architectures):
            for g, cell in enumerate(view.read(architecture)):
                for i, j, kind in cell.edges:
                    edges[n, g, j, i] = index[kind]
        return (edges,)


@dataclass(frozen=True)
class CellGraphs:
    """What the cells compute, with operations on nodes; cells of one function have graphs that differ by the order of
    their nodes only (`function_graph`)."""

    view: CellView

    def graphs(self, architecture: Architecture) -> tuple[NodeGraph, ...]:
        """One a cell."""
        return tuple(function_graph(cell, identity=self.view.identity) for cell in self.view.read(architecture))

    @property
    def index(self) -> dict[str, int]:
        """The kinds of the nodes, numbered."""
        known = (INPUT, OUTPUT, *self.view.kinds[1:], BETWEEN)
        return {kind: i for i, kind in enumerate(known, 1)}

    def __call__(self, architectures: Sequence[Architecture]) -> tuple[Tensor, ...]:
        """All cells in a row as one graph, as `node_tensors`."""
        return node_tensors([chain(self.graphs(architecture)) for architecture in architectures], self.index)


def cells_of(space: Space) -> CellView:
    """How a space of cells is read: one with a choice for each edge (NASBench-201), one for each node and one for what
    they take (NAS-Bench-Graph), or one cell a block (evolved).

    Raises:
        SpaceError: it is neither; any space has graphs traced from its networks (`ChildGraphs`).
    """
    if view := _edge_choices(space) or _node_choices(space) or _block_choices(space):
        return view
    raise SpaceError(
        f"space '{space.name}' is not known to be made of cells; read its networks as graphs instead (ChildGraphs)"
    )


_EDGE = re.compile(r"e(\d)(\d)")


def _edge_choices(space: Space) -> CellView | None:
    """One cell, a choice `eIJ` for the edge from node I to node J."""
    named = {choice.name: found for choice in space.choices if (found := _EDGE.fullmatch(choice.name))}
    options = [choice.options for choice in space.choices]
    if not named or len(named) < len(options) or "skip_connect" not in options[0] or len(set(options)) > 1:
        return None
    edges = {name: (int(found[1]), int(found[2])) for name, found in named.items()}

    def read(architecture: Architecture) -> tuple[EdgeGraph, ...]:
        there = [(*edges[name], str(kind)) for name, kind in architecture.items() if kind != "none"]
        return (EdgeGraph(nodes, tuple(there)),)

    nodes = 1 + max(j for _, j in edges.values())
    kinds = ("skip_connect", *(kind for kind in options[0] if kind not in ("none", "skip_connect")))
    return CellView(read, kinds, nodes, 1)


def _node_choices(space: Space) -> CellView | None:
    """One cell, a choice `nJ` for what node J does and `links` for what each node takes, 0 the input."""
    options = {choice.name: choice.options for choice in space.choices}
    nodes = [name for name in options if re.fullmatch(r"n\d", name)]
    if "links" not in options or len(nodes) + 1 < len(options) or not all(_SKIP in options[name] for name in nodes):
        return None
    last = len(nodes) + 1

    def read(architecture: Architecture) -> tuple[EdgeGraph, ...]:
        links = str(architecture["links"])
        inner = [(int(source), j, str(architecture[f"n{j}"])) for j, source in enumerate(links, 1)]
        ends = [(j, last, _SKIP) for j in range(1, last) if str(j) not in links]
        return (EdgeGraph(last + 1, (*inner, *ends)),)

    return CellView(read, (_SKIP, *(str(kind) for kind in options["n1"] if kind != _SKIP)), last + 1, 1)


_CELL = re.compile(r"((?:\d|\(\d+\))+)d(\d)(?:m(\d)(\d))?e(\d+)")
_SKIP = "skip"


def _block_choices(space: Space) -> CellView | None:
    """A cell a block, options named by what stands in them (`archipel.spaces.evolved`)."""
    options = {option: _named(str(option)) for choice in space.choices for option in choice.options}
    if not options or any(cell is None and option != "zero" for option, cell in options.items()):
        return None
    cells = {option: cell or EdgeGraph(4, ((0, 3, _SKIP),)) for option, cell in options.items()}  # zero: left out
    kinds = sorted({kind for cell in cells.values() for *_, kind in cell.edges} - {_SKIP})

    def read(architecture: Architecture) -> tuple[EdgeGraph, ...]:
        return tuple(cells[architecture[choice.name]] for choice in space.choices)

    return CellView(read, (_SKIP, *kinds), 4, len(space.choices))


@functools.cache
def _named(name: str) -> EdgeGraph | None:
    """The cell of an option. An edge's kind also says on which side of the expansion it is, how wide that is, and
    whether the node it leads to weighs its inputs."""
    found = _CELL.fullmatch(name)
    if found is None:
        return None
    codes = tuple(int(code.strip("()")) for code in re.findall(r"\d|\(\d+\)", found[1]))
    cell, weighs = Cell(codes, int(found[2])), {2: found[3] == "1", 3: found[4] == "1"}
    edges = []
    for (i, j), code in cell.live.items():
        wide = f"x{found[5]}" if i >= cell.dim else ""
        edges.append((i, j, f"{code}{wide}{'m' if weighs.get(j) else ''}"))
    return EdgeGraph(4, tuple(edges))
