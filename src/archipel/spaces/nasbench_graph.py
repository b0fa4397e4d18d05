"""The graph networks of NAS-Bench-Graph (Qin et al., NeurIPS 2022), every one of which was trained by its authors.

Letters: `V` nodes of the graph that is learned from, `F` features of each, `C` channels. Networks are transductive: one
is built for one graph, and maps the features of all its nodes, `[V, F]`, to scores of their classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from archipel.choose import Choose

__all__ = ["LINKS", "OPERATIONS", "nasbench_graph", "tree"]

LINKS: tuple[str, ...] = ("0000", "0001", "0011", "0012", "0013", "0111", "0112", "0122", "0123")
"""What each of the four nodes of a cell takes: 0 the cell's input, j node j. All others are one of these, its nodes in
another order."""

_PAIR = ((0.0, 1.0), (1.0, 0.0))


def nasbench_graph(
    choose: Choose,
    *,
    operations: Sequence[str] = (),
    adjacency: Any = _PAIR,
    features: int = 64,
    width: int = 64,
    classes: int = 10,
) -> nn.Module:
    """NAS-Bench-Graph's cells (arXiv 2206.09166): four nodes, each one of nine operations on the cell's input or on an
    earlier node; what no other node takes is put out. 59,049 architectures, of which many are one network (`tree`): the
    benchmark has 26,206.

    Choices: `links`, what each node takes, and `n1` to `n4`, what it does with it.

    Args:
        operations: those that are offered, all if none are named; on proteins the benchmark has five of them.
        adjacency: of the graph, `[V, V]`, 1 where two nodes are neighbours; without loops.
        features: of each node.
        width: channels of all layers (C).
    """
    graph = torch.as_tensor(adjacency, dtype=torch.float32)
    offered = {name: partial(OPERATIONS[name], graph, width) for name in operations or OPERATIONS}
    links = choose.op("links", {name: partial(_Links, name, width, classes) for name in LINKS})
    return _Network(nn.Linear(features, width), links, [choose.op(f"n{j}", offered) for j in range(1, 5)])


def tree(architecture: Mapping[str, Any]) -> tuple[Any, ...]:
    """What an architecture computes, the same of all that compute it: what hangs on the cell's input, each an operation
    and what hangs on that, in order. A skip hands on what it gets; one that ends alone where it begins is nothing, and
    so is one that ends on the cell's input, which is not put out."""
    links = architecture["links"]

    def under(node: int) -> tuple[Any, ...]:
        found: list[Any] = []
        for child in (j for j, source in enumerate(links, 1) if int(source) == node):
            operation, inner = architecture[f"n{child}"], under(child)
            found += inner if operation == "skip" and inner else [(operation, inner)]
        return () if found == [_END] else tuple(sorted(found))

    return tuple(one for one in under(0) if one != _END)


_END = ("skip", ())


class _Network(nn.Module):
    """links(nodes, first(x))."""

    def __init__(self, first: nn.Module, links: nn.Module, nodes: Sequence[nn.Module]) -> None:
        super().__init__()
        self.first, self.links, self.nodes = first, links, nn.ModuleList(nodes)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.links(self.first(x), self.nodes)
        return y


class _Links(nn.Module):
    """y = Σ_j W_j h_j over the nodes that no other takes, of those that did something; h_j = node_j(h of what it
    takes)."""

    def __init__(self, links: str, width: int, classes: int) -> None:
        super().__init__()
        self.sources = [int(source) for source in links]
        ends = [j for j in range(1, 5) if j not in self.sources]
        self.heads = nn.ModuleDict({str(j): nn.Linear(width, classes) for j in ends})

    def forward(self, x: Tensor, nodes: Sequence[nn.Module]) -> Tensor:
        h = [x]
        for source, node in zip(self.sources, nodes):
            h.append(node(h[source]))
        y: Tensor | None = None
        for j, head in self.heads.items():
            if h[int(j)] is not x or len(self.heads) == 1:
                y = head(h[int(j)]) if y is None else y + head(h[int(j)])
        return next(iter(self.heads.values()))(x) if y is None else y


class _Convolution(nn.Module):
    """y = ReLU(Σ_k A_k x W_k + b), A_k fixed matrices of the graph (none: the identity)."""

    def __init__(self, width: int, *matrices: Tensor | None) -> None:
        super().__init__()
        for k, matrix in enumerate(matrices):
            self.register_buffer(f"a{k}", matrix, persistent=False)
        self.weights = nn.ModuleList(nn.Linear(width, width, bias=not k) for k in range(len(matrices)))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor | None = None
        for k, weight in enumerate(self.weights):
            matrix = getattr(self, f"a{k}")
            own = weight(x if matrix is None else matrix @ x)
            y = own if y is None else y + own
        assert y is not None
        return y.relu()


class _Isomorphism(nn.Module):
    """y = MLP((1 + ε) x + A x) (GIN)."""

    graph: Tensor

    def __init__(self, graph: Tensor, width: int) -> None:
        super().__init__()
        self.register_buffer("graph", graph, persistent=False)
        self.epsilon = nn.Parameter(torch.zeros(()))
        self.body = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body((1 + self.epsilon) * x + self.graph @ x)
        return y


class _Attention(nn.Module):
    """y_i = ReLU(Σ_j α_ij W x_j) over i and its neighbours, α_ij = softmax_j LeakyReLU(a·W x_i + b·W x_j), two heads
    side by side (GAT)."""

    HEADS = 2
    near: Tensor

    def __init__(self, graph: Tensor, width: int) -> None:
        super().__init__()
        near = graph + torch.eye(len(graph)) > 0
        self.register_buffer("near", near, persistent=False)
        self.weight = nn.Linear(width, width)
        self.query, self.key = (
            nn.Parameter(torch.randn(self.HEADS, width // self.HEADS) / width**0.5) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        h = self.weight(x).unflatten(-1, (self.HEADS, -1))  # [V, H, C / H]
        scores = nn.functional.leaky_relu(
            (h * self.query).sum(-1)[:, None] + (h * self.key).sum(-1)[None], 0.2
        )  # [V, V, H]
        alpha = scores.masked_fill(~self.near[..., None], -torch.inf).softmax(1)
        return torch.einsum("ijh,jhc->ihc", alpha, h).flatten(1).relu()


def _scaled(graph: Tensor) -> Tensor:
    """D^-½ A D^-½."""
    scale = graph.sum(1).clamp(min=1.0) ** -0.5
    return scale[:, None] * graph * scale


def _gcn(graph: Tensor, width: int) -> nn.Module:
    return _Convolution(width, _scaled(graph + torch.eye(len(graph))))


def _cheb(graph: Tensor, width: int) -> nn.Module:
    """Of the second order: x and the scaled Laplacian, whose largest eigenvalue is taken for 2."""
    return _Convolution(width, None, -_scaled(graph))


def _sage(graph: Tensor, width: int) -> nn.Module:
    return _Convolution(width, None, graph / graph.sum(1, keepdim=True).clamp(min=1.0))


def _arma(graph: Tensor, width: int) -> nn.Module:
    return _Convolution(width, None, _scaled(graph))


def _graph(graph: Tensor, width: int) -> nn.Module:
    return _Convolution(width, None, graph)


def _fc(graph: Tensor, width: int) -> nn.Module:  # noqa: ARG001 - no neighbours
    return _Convolution(width, None)


def _skip(graph: Tensor, width: int) -> nn.Module:  # noqa: ARG001
    return nn.Identity()


OPERATIONS: dict[str, Callable[[Tensor, int], nn.Module]] = {
    "gat": _Attention,
    "gcn": _gcn,
    "gin": _Isomorphism,
    "cheb": _cheb,
    "sage": _sage,
    "arma": _arma,
    "graph": _graph,
    "fc": _fc,
    "skip": _skip,
}
"""As the benchmark numbers them, on dense matrices of the graph."""
