"""The cells of NAS-Bench-101 (Ying et al., ICML 2019): operations on the nodes of a graph of at most nine edges.

Letters: `V` vertices of a cell, the input (0) and the output (V − 1) among them.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from archipel.choose import Choose, Place
from archipel.errors import EvaluationError, SpaceError
from archipel.nn.blocks import ConvBN, Zero, classifier

__all__ = ["MOST_EDGES", "OPERATIONS", "Graph", "nasbench101"]

OPERATIONS = ("conv3x3", "conv1x1", "maxpool3x3")
"""In the benchmark's order, which its keys count by."""

MOST_EDGES = 9


@dataclass(frozen=True)
class Graph:
    """A cell: which vertex feeds which, and what the vertices between input and output are."""

    edges: frozenset[tuple[int, int]]
    """(from, to), from < to."""
    operations: tuple[str, ...]
    """V − 2 of `OPERATIONS`."""

    @classmethod
    def of_matrix(cls, matrix: Sequence[Sequence[int]], operations: Sequence[str]) -> Graph:
        """From an upper triangular adjacency matrix, as the benchmark writes cells."""
        there = ((i, j) for i, row in enumerate(matrix) for j, entry in enumerate(row) if entry)
        return cls(frozenset(there), tuple(operations))

    @classmethod
    def of(cls, architecture: Mapping[str, Any]) -> Graph:
        """The cell of an architecture of `nasbench101`."""
        last = 1 + sum(name.endswith(".op") for name in architecture)
        edges = {(int(i), j) for j in range(1, last + 1) for i in architecture[f"n{j}.in"]}
        return cls(frozenset(edges), tuple(str(architecture[f"n{j}.op"]) for j in range(1, last)))

    @property
    def vertices(self) -> int:
        return len(self.operations) + 2

    def problem(self) -> str | None:
        """What makes it no cell of the benchmark, in words, or None."""
        live = self.pruned
        if not live.edges:
            return "no path leads from its input to its output"
        if len(live.edges) > MOST_EDGES:
            return f"it has {len(live.edges)} edges between input and output, more than {MOST_EDGES}"
        return None

    @functools.cached_property
    def pruned(self) -> Graph:
        """Without vertices that are on no path from input to output; without edges where there is no path."""
        last = self.vertices - 1
        ahead, behind = {0}, {last}
        for i, j in sorted(self.edges, key=lambda edge: edge[1]):
            ahead |= {j} if i in ahead else set()
        for i, j in sorted(self.edges, key=lambda edge: -edge[0]):
            behind |= {i} if j in behind else set()
        kept = sorted(ahead & behind | {0, last})
        place = {vertex: at for at, vertex in enumerate(kept)}
        live = {(place[i], place[j]) for i, j in self.edges if i in ahead & behind and j in ahead & behind}
        return Graph(frozenset(live), tuple(self.operations[v - 1] for v in kept[1:-1]))

    @functools.cached_property
    def key(self) -> str:
        """The benchmark's own key of the pruned cell, in which numbering the vertices otherwise changes nothing: each
        vertex is a hash of its degrees and operation, then V times of its neighbours' hashes and its own."""
        graph = self.pruned
        vertices = range(graph.vertices)
        labels = [-1, *(OPERATIONS.index(operation) for operation in graph.operations), -2]
        into = {v: [i for i, j in graph.edges if j == v] for v in vertices}
        out_of = {v: [j for i, j in graph.edges if i == v] for v in vertices}
        hashes = [_md5(str((len(out_of[v]), len(into[v]), labels[v]))) for v in vertices]
        for _ in vertices:
            hashes = [
                _md5(
                    "".join(sorted(hashes[i] for i in into[v]))
                    + "|"
                    + "".join(sorted(hashes[j] for j in out_of[v]))
                    + "|"
                    + hashes[v]
                )
                for v in vertices
            ]
        return _md5(str(sorted(hashes)))

    def channels(self, c_in: int, c_out: int) -> list[int]:
        """Of every vertex of a pruned cell: what feeds the output shares its channels, the rest have as many as the
        widest of what they feed."""
        last = self.vertices - 1
        found = [c_in, *[0] * len(self.operations), c_out]
        feeding = [v for v in range(1, last) if (v, last) in self.edges]
        for at, v in enumerate(feeding):
            found[v] = c_out // len(feeding) + (at < c_out % len(feeding))
        for v in range(last - 2, 0, -1):
            if v not in feeding:
                found[v] = max(found[w] for w in range(v + 1, last) if (v, w) in self.edges)
        return found


def nasbench101(
    choose: Choose,
    *,
    vertices: int = 7,
    cells: int = 3,
    filters: int = 128,
    classes: int = 10,
    channels: int = 3,
    dropout: float = 0.0,
) -> nn.Module:
    """NAS-Bench-101's cells (arXiv 1902.09635): up to 5 operations and 9 edges, 423,624 networks as published.

    Choices `n1.op` to `n5.op`, and `n1.in` to `n6.in`: which earlier vertices feed a vertex, none for one that is left
    out. So written there are more architectures than networks: `Graph.of(architecture).key` is equal for those that
    are one, and one that has more than nine edges or no path to its output raises when it is built. How wide a vertex
    is hangs on the whole graph, so there is no meta-graph of this space: its networks are trained one by one.

    Args:
        vertices: of a cell at most, input and output among them (V).
        cells: in each of the three stages.
        filters: channels in the first stage.
        dropout: before the classifier.

    Raises:
        SpaceError: fewer than three vertices, no cells or filters.
        EvaluationError: an architecture that is none of the benchmark's.
    """
    for name, value, least in (("vertices", vertices, 3), ("cells", cells, 1), ("filters", filters, 1)):
        if value < least:
            raise SpaceError(f"{name} is {value}; give {least} or more")
    last = vertices - 1
    named = {operation: functools.partial(_Named, operation) for operation in OPERATIONS}
    operations = {j: choose.op(f"n{j}.op", named) for j in range(1, last)}
    inputs = {
        j: choose.subset(f"n{j}.in", {str(i): nn.Identity for i in range(j)}, empty=Zero) for j in range(1, vertices)
    }
    if any(isinstance(place, Place) for place in operations.values()):
        return _Open([*operations.values(), *inputs.values()])
    edges = {(int(i), j) for j, chosen in inputs.items() if isinstance(chosen, nn.ModuleDict) for i in chosen}
    graph = Graph(frozenset(edges), tuple(str(operation) for operation in operations.values()))
    if said := graph.problem():
        raise EvaluationError(f"a cell of nasbench101 cannot be built: {said}")
    c = filters
    layers: list[nn.Module] = [ConvBN(channels, c, 3)]
    for stage in range(3):
        if stage:
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=True))
        for i in range(cells):
            wide = 2 * c if stage and i == 0 else c
            layers.append(_Cell(graph.pruned, c, wide))
            c = wide
    return nn.Sequential(*layers, *classifier(c, classes, dropout))


class _Named(nn.Module):
    """Stands for an operation until the whole cell is known."""

    def __init__(self, operation: str) -> None:
        super().__init__()
        self.operation = operation

    def __str__(self) -> str:
        return self.operation


class _Open(nn.Module):
    """All the choices, and no network."""

    def __init__(self, places: Sequence[nn.Module]) -> None:
        super().__init__()
        self.places = nn.ModuleList(places)

    def forward(self, _: Tensor) -> Tensor:
        raise SpaceError(
            "space 'nasbench101' has no meta-graph: how wide a vertex is hangs on its whole cell; build its "
            "architectures one by one (space.build), or take nasbench201"
        )


class _Cell(nn.Module):
    """v_j = op_j(Σ_i v_i), inputs cut to j's channels and what comes from the cell's input projected to them; y = what
    feeds the output, concatenated, + the projected input where it feeds the output too."""

    def __init__(self, graph: Graph, c_in: int, c_out: int) -> None:
        super().__init__()
        self.graph, self.channels = graph, graph.channels(c_in, c_out)
        reads = [j for j in range(1, graph.vertices) if (0, j) in graph.edges]
        self.projections = nn.ModuleDict({str(j): ConvBN(c_in, self.channels[j]) for j in reads})
        made = (_operation(name, self.channels[j]) for j, name in enumerate(graph.operations, 1))
        self.operations = nn.ModuleList(made)

    def extra_repr(self) -> str:
        return f"{sorted(self.graph.edges)}, {', '.join(self.graph.operations)}"

    def forward(self, x: Tensor) -> Tensor:
        values, last = [x], self.graph.vertices - 1
        for j, operation in enumerate(self.operations, 1):
            given = [values[i][:, : self.channels[j]] for i in range(1, j) if (i, j) in self.graph.edges]
            values.append(operation(_sum([*given, *self._projected(x, j)])))
        feeding = [values[j] for j in range(1, last) if (j, last) in self.graph.edges]
        joined = [torch.cat(feeding, 1) if len(feeding) > 1 else feeding[0]] if feeding else []
        return _sum([*joined, *self._projected(x, last)])

    def _projected(self, x: Tensor, j: int) -> list[Tensor]:
        return [self.projections[str(j)](x)] if str(j) in self.projections else []


def _operation(name: str, c: int) -> nn.Module:
    return nn.MaxPool2d(3, 1, 1) if name == "maxpool3x3" else ConvBN(c, c, 3 if name == "conv3x3" else 1)


def _sum(terms: list[Tensor]) -> Tensor:
    y = terms[0]
    for term in terms[1:]:
        y = y + term
    return y


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
