"""Hierarchical motifs: cells whose edges are small graphs, whose edges are operations (Liu et al., ICLR 2018).

Letters: `c` channels.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.choose import Choose, Factory, Place
from archipel.errors import SpaceError
from archipel.nn.blocks import ConvBN, Zero, classifier
from archipel.space import Space

__all__ = ["PRIMITIVES", "hierarchical", "identity_chain", "level"]

PRIMITIVES = ("none", "identity", "conv_1x1", "depthwise_3x3", "separable_3x3", "max_pool_3x3", "avg_pool_3x3")
"""What an edge of a motif can be: no edge, and the paper's six."""


def hierarchical(
    choose: Choose,
    *,
    motifs: int = 6,
    motif_nodes: int = 4,
    nodes: int = 5,
    cells: int = 1,
    filters: int = 16,
    classes: int = 10,
    channels: int = 3,
    size: int = 32,  # noqa: ARG001 - any: the network ends in an average over what is left
    dropout: float = 0.0,
) -> nn.Module:
    """Hierarchical motifs (arXiv 1711.00436): a cell of 5 nodes, on its edges 6 motifs of 4 nodes of 6 primitives.

    Choices `m1.e0_1`, the edge from node 0 to node 1 of motif 1, and `cell.e0_1`, which motif is on an edge of the
    cell; either may be `none`. The first node is the source and the last the sink; node j is BN(Σ_i W_ij o_ij(x_i)),
    which is the concatenation of what reaches it and a 1×1 convolution back to c channels. Motifs are decided whether a
    cell uses them or not, so that some architectures are one network. The cell stands in three stages, between them a
    separable convolution that halves the sides and doubles the channels.

    Args:
        motifs: how many there are to choose from; 0 for the flat space, in which edges of the cell are primitives.
        motif_nodes: of a motif, source and sink among them.
        nodes: of the cell; the paper's flat space has 11.
        cells: in each stage.
        filters: channels in the first stage.
        dropout: before the classifier.

    Raises:
        SpaceError: fewer than two nodes, or no cells or filters.
    """
    for name, value, least in (
        ("motifs", motifs, 0), ("motif_nodes", motif_nodes, 2), ("nodes", nodes, 2), ("cells", cells, 1),
        ("filters", filters, 1),
    ):  # fmt: skip
        if value < least:
            raise SpaceError(f"{name} is {value}; give {least} or more")
    c = filters
    layers: list[nn.Module] = [ConvBN(channels, c, 3)]
    for stage in range(3):
        if stage:
            layers += [*_separable(c, 2 * c, stride=2)]
            c *= 2
        for _ in range(cells):
            layers.append(_Graph(choose, "cell", nodes, c, motifs, motif_nodes))
    return nn.Sequential(*layers, *classifier(c, classes, dropout))


def level(choice: str) -> int:
    """Of a choice's name: 2 within motifs, 3 in the cell; 3 for choices of other spaces."""
    return 2 if re.fullmatch(r"m\d+\.e\d+_\d+", choice) else 3


def identity_chain(space: Space) -> Architecture:
    """The trivial architecture, from which populations are grown: each node hands on what the one before gives.

    Raises:
        ArchitectureError: the space is not one of motifs.
    """
    values: dict[str, str] = {}
    for choice in space.choices:
        source, sink = (int(node) for node in choice.name.rpartition(".e")[2].split("_"))
        kept = "identity" if "identity" in choice.options else "m1"
        values[choice.name] = kept if sink == source + 1 else "none"
    return space.canonical(values)


class _Graph(nn.Module):
    """x_j = BN(Σ_{i<j} W_ij o_ij(x_i)); y = the last node. Its edges are motifs, or primitives if there are none."""

    def __init__(self, choose: Choose, name: str, nodes: int, c: int, motifs: int = 0, motif_nodes: int = 0) -> None:
        super().__init__()
        self.nodes = nodes
        self.edges, self.projections = nn.ModuleDict(), nn.ModuleDict()
        for i, j in _edges(nodes):
            options = _primitives(c)
            if motifs:
                # Made here and not in their factories: a motif's choices belong to all edges alike, and to no option.
                made = {f"m{m}": _Graph(choose, f"m{m}", motif_nodes, c) for m in range(1, motifs + 1)}
                options = {motif: functools.partial(_given, graph) for motif, graph in made.items()}
            edge = self.edges[f"e{i}_{j}"] = choose.op(f"{name}.e{i}_{j}", {"none": Zero, **options})
            if not isinstance(edge, Zero):
                self.projections[f"e{i}_{j}"] = nn.Conv2d(c, c, 1, bias=False)
        self.norms = nn.ModuleDict({str(j): nn.BatchNorm2d(c) for j in range(1, nodes)})

    def forward(self, x: Tensor) -> Tensor:
        states = [x]
        for j in range(1, self.nodes):
            states.append(self.norms[str(j)](self._sum(j, states)))
        return states[-1]

    def _sum(self, j: int, states: list[Tensor]) -> Tensor:
        y: Tensor | None = None
        for i, x in enumerate(states):
            edge = self.edges[f"e{i}_{j}"]
            if not (edge.computes_nothing() if isinstance(edge, Place) else isinstance(edge, Zero)):
                term = self.projections[f"e{i}_{j}"](edge(x))
                y = term if y is None else y + term
        return states[0].new_zeros(()).expand(states[0].shape) if y is None else y


def _edges(nodes: int) -> Iterator[tuple[int, int]]:
    return ((i, j) for j in range(1, nodes) for i in range(j))


def _given(graph: nn.Module) -> nn.Module:
    return graph


def _primitives(c: int) -> dict[str, Factory]:
    factories: tuple[Factory, ...] = (
        nn.Identity,
        lambda: ConvBN(c, c),
        lambda: ConvBN(c, c, 3, groups=c),
        lambda: nn.Sequential(*_separable(c, c)),
        lambda: nn.MaxPool2d(3, 1, 1),
        lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False),
    )
    return dict(zip(PRIMITIVES[1:], factories, strict=True))


def _separable(c_in: int, c_out: int, stride: int = 1) -> list[nn.Module]:
    """Depthwise 3×3, then 1×1, batch norm and ReLU."""
    return [nn.Conv2d(c_in, c_in, 3, stride, 1, groups=c_in, bias=False), ConvBN(c_in, c_out)]
