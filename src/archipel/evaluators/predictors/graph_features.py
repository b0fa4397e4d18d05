"""Graphs as vectors: what lies on their ways from input to output, and which neighbourhoods occur in them.

Both are the same however nodes are numbered. Letters: `N` architectures, `F` features, `K` kinds of operations, `P`
ways from input to output.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from archipel.architecture import Architecture
from archipel.evaluators.predictors.graphs import INPUT, OUTPUT, NodeGraph, topological

__all__ = ["Graphs", "Subtrees", "Ways"]

Graphs: TypeAlias = Callable[[Architecture], Sequence[NodeGraph]]
"""The graphs of an architecture, equally many for each: its cells, or the whole network."""


@dataclass(frozen=True)
class Ways:
    """Of each kind, how many operations there are, and how many lie on a way from input to output: at most, at least
    and on average over all ways. Beside them the number of ways, the longest and the shortest, and how many are direct.

    `F` is 4K + 5 a graph.
    """

    graphs: Graphs
    kinds: tuple[str, ...]

    def __call__(self, architectures: Sequence[Architecture]) -> Tensor:
        return torch.tensor([[x for graph in self.graphs(a) for x in self._of(graph)] for a in architectures])

    def _of(self, graph: NodeGraph) -> list[float]:
        into: list[list[int]] = [[] for _ in graph.kinds]
        for u, v in graph.edges:
            into[v].append(u)
        ways = [0.0] * len(graph.kinds)
        most, least, total = ([[0.0] * (len(self.kinds) + 1) for _ in graph.kinds] for _ in range(3))
        for v in topological(len(graph.kinds), graph.edges):
            sources = [u for u in into[v] if ways[u]]
            if graph.kinds[v] == INPUT:
                ways[v] = 1.0
                continue
            ways[v] = sum(ways[u] for u in sources)
            here = self._counts(graph.kinds[v])
            for k, one in enumerate(here):
                most[v][k] = one + max((most[u][k] for u in sources), default=0.0)
                least[v][k] = one + min((least[u][k] for u in sources), default=0.0)
                total[v][k] = one * ways[v] + sum(total[u][k] for u in sources)
        end = graph.kinds.index(OUTPUT)
        if not ways[end]:  # nothing reaches the output
            return [1.0] + [0.0] * (4 * len(self.kinds) + 4)
        direct = sum(graph.kinds[u] == INPUT for u in into[end])
        found = [0.0, math.log1p(ways[end]), most[end][-1], least[end][-1], float(direct)]
        for k, kind in enumerate(self.kinds):
            found += [float(graph.kinds.count(kind)), most[end][k], least[end][k], total[end][k] / ways[end]]
        return found

    def _counts(self, kind: str) -> list[float]:
        """One for the own kind, and one for any operation."""
        return [float(kind == own) for own in self.kinds] + [float(kind != OUTPUT)]


@dataclass(frozen=True)
class Subtrees:
    """How often each neighbourhood occurs: nodes with what feeds them, with what feeds that, and so on: the features of
    Weisfeiler and Lehman (Shervashidze et al., JMLR 2011; for architectures Ru et al., NAS-BOWL, ICLR 2021).

    Neighbourhoods fall into `columns` by a hash, so that none has to be seen first; `F` is that many.
    """

    graphs: Graphs
    rounds: int = 1
    columns: int = 1024

    def __call__(self, architectures: Sequence[Architecture]) -> Tensor:
        return torch.stack([self._of(self.graphs(architecture)) for architecture in architectures])

    def _of(self, graphs: Sequence[NodeGraph]) -> Tensor:
        found = torch.zeros(self.columns)
        for place, graph in enumerate(graphs):
            into: list[list[int]] = [[] for _ in graph.kinds]
            for u, v in graph.edges:
                into[v].append(u)
            labels = list(graph.kinds)
            for depth in range(self.rounds + 1):
                if depth:
                    labels = [
                        f"{label}({','.join(sorted(labels[u] for u in into[v]))})" for v, label in enumerate(labels)
                    ]
                for label in labels:
                    found[_column(f"{place}/{depth}/{label}", self.columns)] += 1
        return found


def _column(label: str, columns: int) -> int:
    return int.from_bytes(hashlib.blake2b(label.encode(), digest_size=8).digest()) % columns
