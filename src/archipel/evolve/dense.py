"""The network that judges: every layer the weighted sum of its active cells (AutoSpace, arXiv 2103.11833, eq. 3).

Letters: `L` layers, `K` active cells of a layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from archipel.nn.blocks import ConvBN, InvertedResidual, classifier
from archipel.nn.initial import he_fan_out
from archipel.spaces.cell import Cell, Placement
from archipel.spaces.cell_block import CellBlock
from archipel.spaces.evolved import Backbone

__all__ = ["Bank", "Frame", "inherit", "mixed"]


class Frame(nn.Module):
    """What all cells share: stem, fixed block, tail and classifier.

    Args:
        norms: a batch norm behind every weighted sum, for weights that do not sum to 1.
    """

    def __init__(self, backbone: Backbone, *, classes: int, channels: int, norms: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        eps = backbone.eps
        self.head = nn.Sequential(
            ConvBN(channels, backbone.stem, 3, stride=backbone.stem_stride, act=nn.ReLU6, eps=eps),
            InvertedResidual(backbone.stem, backbone.fixed, expand=1, act=nn.ReLU6, eps=eps),
        )
        last = backbone.blocks[-1][0] if backbone.blocks else backbone.fixed
        self.tail = nn.Sequential(
            ConvBN(last, backbone.tail, act=nn.ReLU6, eps=eps), *classifier(backbone.tail, classes)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(c, eps=eps) if norms else nn.Identity() for c, _ in backbone.blocks)
        he_fan_out(self)

    def new_cell(self, cell: Cell, at: Placement, *, attention: bool = False) -> CellBlock:
        """A cell with fresh weights."""
        block = CellBlock(
            cell, at.c_in, at.c_out, expand=at.expand, stride=at.stride, attention=attention, eps=self.backbone.eps
        )
        he_fan_out(block)
        return block

    def forward(self, x: Tensor, layers: Sequence[Sequence[nn.Module]], weights: Sequence[Tensor]) -> Tensor:
        """
        Args:
            x: `[B, C, H, W]`.
            layers: `L` lists of `K` cells.
            weights: `L` times `[K]`.
        """
        y: Tensor = self.head(x)
        for cells, a, norm in zip(layers, weights, self.norms, strict=True):
            y = mixed(y, cells, a, norm)
        scores: Tensor = self.tail(y)
        return scores


def mixed(x: Tensor, cells: Sequence[nn.Module], weights: Tensor, norm: nn.Module | None = None) -> Tensor:
    """norm(Σ_k a_k f_k(x)), and x itself added where that keeps its shape."""
    total: Tensor | None = None
    for cell, weight in zip(cells, weights, strict=True):
        term = weight * cell(x)
        total = term if total is None else total + term
    assert total is not None
    total = total if norm is None else norm(total)
    return x + total if total.shape == x.shape else total


@torch.no_grad()
def inherit(child: nn.Module, parent: nn.Module) -> int:
    """Copy every tensor whose edge, operator and shape the two have in common; returns how many were copied."""
    theirs, copied = parent.state_dict(), 0
    for name, tensor in child.state_dict().items():
        if name in theirs and theirs[name].shape == tensor.shape:
            tensor.copy_(theirs[name])
            copied += 1
    return copied


class Bank:
    """One tensor for each edge, operator and shape of a block, which all its cells share (section 1.8 of what was
    specified calls it so; the paper does not say how weights are kept)."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        """By `SHAPE/NAME`."""

    @torch.no_grad()
    def lend(self, cell: nn.Module) -> None:
        """Replace every tensor of a cell by the bank's; what the bank lacks, it takes from the cell."""
        for path, module in cell.named_modules():
            for held in (module._parameters, module._buffers):
                for name, tensor in held.items():
                    if tensor is not None:
                        full = f"{path}.{name}".lstrip(".")
                        held[name] = self.tensors.setdefault(bank_key(full, tensor), tensor)


def bank_key(name: str, tensor: Tensor) -> str:
    return f"{'x'.join(map(str, tensor.shape)) or 'one'}/{name}"
