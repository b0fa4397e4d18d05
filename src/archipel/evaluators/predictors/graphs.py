"""Architectures as graphs of operations, and graphs as tensors.

Letters: `N` graphs, `V` nodes of the largest, `S` sizes of a node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = [
    "BETWEEN",
    "INPUT",
    "OUTPUT",
    "EdgeGraph",
    "NodeGraph",
    "chain",
    "function_graph",
    "node_tensors",
    "topological",
]

INPUT, OUTPUT, BETWEEN = "input", "output", "between"
"""Kinds of the nodes where data enter, leave, and pass from one cell to the next."""


@dataclass(frozen=True)
class NodeGraph:
    """Operations on nodes: what each computes from the sum, or the list, of what reaches it.

    Nodes stand in any order; one is `INPUT` or several are, one is `OUTPUT`.
    """

    kinds: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    """(from, to); one that stands twice is counted twice."""
    sizes: tuple[tuple[float, ...], ...] = ()
    """Of each node, alike in number; none where the kind says all."""


@dataclass(frozen=True)
class EdgeGraph:
    """Operations on edges: a node is the sum of what its edges bring; node 0 the input, the last one the output."""

    nodes: int
    edges: tuple[tuple[int, int, str], ...]
    """(from, to, kind), from < to; what is not there is left out."""

    def live(self) -> EdgeGraph:
        """Without the edges that are on no way from input to output."""
        ahead, behind = {0}, {self.nodes - 1}
        for i, j, _ in sorted(self.edges, key=lambda edge: edge[1]):
            ahead |= {j} if i in ahead else set()
        for i, j, _ in sorted(self.edges, key=lambda edge: -edge[0]):
            behind |= {i} if j in behind else set()
        return EdgeGraph(self.nodes, tuple(edge for edge in self.edges if edge[0] in ahead and edge[1] in behind))


def function_graph(cell: EdgeGraph, *, identity: str) -> NodeGraph:
    """What an edge graph computes, written one way only: its operations as nodes, without those that hand on what they
    get, those that nothing reaches, and those that reach nothing.

    Two cells have graphs that differ by the order of their nodes only, exactly when they are the same sums of the same
    operations, whichever of them are shared.
    """
    values: list[Counter[int]] = [Counter() for _ in range(cell.nodes)]
    values[0][0] = 1  # node 0 of the new graph is the input
    kinds, edges = [INPUT], []
    for i, j, kind in sorted(cell.live().edges, key=lambda edge: (edge[1], edge[0])):
        if kind == identity:
            values[j].update(values[i])
        else:
            kinds.append(kind)
            edges += [(source, len(kinds) - 1) for source in values[i].elements()]
            values[j][len(kinds) - 1] += 1
    edges += [(source, len(kinds)) for source in values[-1].elements()]
    return NodeGraph((*kinds, OUTPUT), tuple(edges))


def chain(graphs: Sequence[NodeGraph]) -> NodeGraph:
    """Graphs in a row as one: what leaves one enters the next."""
    kinds = [INPUT]
    edges: list[tuple[int, int]] = []
    for graph in graphs:
        entered = len(kinds) - 1  # the first graph by its own input, the others by what the one before puts out
        kinds[entered] = BETWEEN if entered else INPUT
        place: dict[int, int] = {}
        inner = [v for v, kind in enumerate(graph.kinds) if kind not in (INPUT, OUTPUT)]
        for v in (*inner, graph.kinds.index(OUTPUT)):
            place[v] = len(kinds)
            kinds.append(graph.kinds[v])
        edges += [(place.get(u, entered), place[v]) for u, v in graph.edges]
    return NodeGraph(tuple(kinds), tuple(edges))


def node_tensors(
    graphs: Sequence[NodeGraph], index: dict[str, int], *, nodes: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Graphs as tensors, filled up with nodes of kind 0 that nothing reaches.

    Args:
        index: of every kind, from 1 on.
        nodes: fill up to so many at least.

    Returns:
        Kinds `[N, V]` int64; sizes `[N, V, S]`; and how often the output of u reaches v, `[N, V, V]` at (v, u).
    """
    most = max(nodes, *(len(graph.kinds) for graph in graphs))
    width = max((len(row) for graph in graphs for row in graph.sizes[:1]), default=0)
    kinds = torch.zeros(len(graphs), most, dtype=torch.long)
    sizes = torch.zeros(len(graphs), most, width)
    reaches = torch.zeros(len(graphs), most, most)
    for n, graph in enumerate(graphs):
        kinds[n, : len(graph.kinds)] = torch.tensor([index[kind] for kind in graph.kinds])
        if graph.sizes:
            sizes[n, : len(graph.sizes)] = torch.tensor(graph.sizes)
        for (u, v), times in Counter(graph.edges).items():
            reaches[n, v, u] = times
    return kinds, sizes, reaches


def topological(count: int, edges: Iterable[tuple[int, int]]) -> Iterator[int]:
    """The nodes of a graph, each behind all that feed it."""
    waiting = [0] * count
    after: list[list[int]] = [[] for _ in range(count)]
    for u, v in edges:
        waiting[v] += 1
        after[u].append(v)
    ready = [v for v in range(count) if not waiting[v]]
    while ready:
        yield (u := ready.pop())
        for v in after[u]:
            waiting[v] -= 1
            if not waiting[v]:
                ready.append(v)
