"""The cells of NAS-Bench-201 (Dong and Yang, ICLR 2020), every one of which was trained by its authors."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from archipel.choose import Choose, Factory, Place
from archipel.nn.blocks import ConvBN, Zero, classifier
from archipel.spaces.macro import round_channels

__all__ = ["EDGES", "OPERATIONS", "nasbench201"]

EDGES: tuple[str, ...] = ("e01", "e02", "e12", "e03", "e13", "e23")
"""From node to node, in the order of the benchmark's strings."""

OPERATIONS: tuple[str, ...] = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


def nasbench201(
    choose: Choose,
    *,
    cells: int = 5,
    width: float = 1.0,
    classes: int = 10,
    channels: int = 3,
    dropout: float = 0.0,
) -> nn.Module:
    """NAS-Bench-201's cells (arXiv 2001.00326): one of five operations on each of six edges, 15,625 architectures.

    A cell has four nodes; node j is Σ_{i<j} o_ij(node i), and the last one is the output. The same cell stands in all
    three stages, of 16, 32 and 64 channels; between them a residual block halves the sides. Choices `e01 e02 e12 e03
    e13 e23` and options are those of the benchmark, in its order.

    Args:
        cells: in each of the three stages (N; 5 in the benchmark).
        width: multiplier of all channel counts, rounded to multiples of 8.
        dropout: before the classifier.

    Raises:
        SpaceError: a width of 0.
    """
    c = round_channels(16 * width)
    layers: list[nn.Module] = [ConvBN(channels, c, 3, act=None)]
    for stage in range(3):
        if stage:
            layers.append(_Reduction(c, 2 * c))
            c *= 2
        layers += [_Cell({edge: choose.op(edge, _operations(c)) for edge in EDGES}) for _ in range(cells)]
    return nn.Sequential(*layers, nn.BatchNorm2d(c), nn.ReLU(inplace=True), *classifier(c, classes, dropout))


def _operations(c: int) -> dict[str, Factory]:
    return {
        "none": Zero,
        "skip_connect": nn.Identity,
        "nor_conv_1x1": lambda: _preactivated(c, c, 1),
        "nor_conv_3x3": lambda: _preactivated(c, c, 3),
        "avg_pool_3x3": lambda: nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
    }


def _preactivated(c_in: int, c_out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """BN(conv_k(ReLU(x)))."""
    return nn.Sequential(nn.ReLU(), ConvBN(c_in, c_out, kernel, stride=stride, act=None))


class _Cell(nn.Module):
    """x_j = Σ_{i<j} o_ij(x_i) for j = 1, 2, 3; y = x_3."""

    def __init__(self, edges: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.edges = nn.ModuleDict(edges)

    def forward(self, x: Tensor) -> Tensor:
        nodes = [x]
        for j in range(1, 4):
            nodes.append(self._node(j, nodes))
        return nodes[-1]

    def _node(self, j: int, nodes: list[Tensor]) -> Tensor:
        y: Tensor | None = None
        for i, x in enumerate(nodes):
            edge = self.edges[f"e{i}{j}"]
            if not (edge.computes_nothing() if isinstance(edge, Place) else isinstance(edge, Zero)):
                y = edge(x) if y is None else y + edge(x)
        return nodes[0].new_zeros(()).expand(nodes[0].shape) if y is None else y


class _Reduction(nn.Module):
    """y = conv_1(pool(x)) + BN(conv_3(ReLU(BN(conv_3(ReLU(x)))))), half the sides."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_preactivated(c_in, c_out, 3, stride=2), _preactivated(c_out, c_out, 3))
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(c_in, c_out, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.shortcut(x) + self.body(x)
        return y
