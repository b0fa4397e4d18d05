"""AutoSpace's cell as a module: what `archipel.spaces.cell` describes, built. Letters: `e` expansion."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archipel.errors import SpaceError
from archipel.nn.blocks import ConvBN
from archipel.spaces.cell import IDENTITY, POOL, Cell

__all__ = ["CellBlock"]


class CellBlock(nn.Module):
    """project(node 3), where node_i = ReLU6(Σ_j op_ji(node_j)), and ReLU6(BN(W Σ_j ...)) where the expansion stands.

    The shortcut is not in it: wrap it with `archipel.nn.residual`. With `reference(k)` it computes what
    `InvertedResidual(kernel=k)` does. Where a mix bit is set, a node's inputs x_j count as
    x_j · σ(mean over space of Σ_{l≠j} x_l).

    Args:
        attention: heed the mix bits; the published cells have them, what they did was not published.
        eps: of batch norm.

    Raises:
        SpaceError: the cell is no network's (`Cell.problem`).
    """

    def __init__(
        self,
        cell: Cell,
        c_in: int,
        c_out: int,
        *,
        expand: int = 6,
        stride: int = 1,
        attention: bool = False,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        if said := cell.problem():
            raise SpaceError(f"cell {cell} cannot be built: {said}")
        self.cell = cell.canonical
        self.expand = expand
        self.attended = {node for node, bit in zip((2, 3), self.cell.mix) if bit and attention}
        wide = expand * c_in
        self.edges = nn.ModuleDict(
            {
                f"{j}_{i}": _operator(
                    code, c_in if j < self.cell.dim else wide, stride if j <= self.cell.dim < i else 1, eps
                )
                for (j, i), code in self.cell.live.items()
            }
        )
        self.expansion = ConvBN(c_in, wide, act=nn.ReLU6, eps=eps)
        self.projection = ConvBN(wide, c_out, act=None, eps=eps)

    def extra_repr(self) -> str:
        return str(self.cell)

    def forward(self, x: Tensor) -> Tensor:
        dim = self.cell.dim
        nodes = {0: x if dim else self.expansion(x)}
        for i in (1, 2, 3):
            inputs = []
            for j in nodes:
                if (j, i) in self.cell.live:
                    given = self.edges[f"{j}_{i}"](nodes[j])
                    inputs.append(torch.cat([given] * self.expand, 1) if j < dim < i else given)
            if inputs:
                total = _attended(inputs) if i in self.attended else _sum(inputs)
                nodes[i] = self.expansion(total) if i == dim else F.relu6(total)
        y: Tensor = self.projection(nodes[3])
        return y


def _operator(code: int, channels: int, stride: int, eps: float) -> nn.Module:
    if code == IDENTITY:
        return nn.Identity() if stride == 1 else nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False)
    if code == POOL:
        return nn.AvgPool2d(3, stride, 1, count_include_pad=False)
    return ConvBN(channels, channels, code, stride=stride, groups=channels, act=None, eps=eps)


def _sum(inputs: list[Tensor]) -> Tensor:
    total = inputs[0]
    for each in inputs[1:]:
        total = total + each
    return total


def _attended(inputs: list[Tensor]) -> Tensor:
    means = [each.mean((2, 3), keepdim=True) for each in inputs]
    whole = _sum(means)
    return _sum([each * torch.sigmoid(whole - mean) for each, mean in zip(inputs, means)])
