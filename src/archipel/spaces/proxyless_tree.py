"""ProxylessNAS' CIFAR-10 space: a pyramidal residual network with tree cells in place of its 3×3 convolutions.

The cells are those of path-level network transformation (Cai et al., ICML 2018, arXiv 1806.02639): depth 3, two
branches a node. Everything is in the order batch norm, ReLU, weight. Letters: `w` channels inside a block, `4w` behind
it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archipel.choose import Choose, Factory, Sum
from archipel.errors import SpaceError
from archipel.nn.blocks import classifier
from archipel.nn.initial import he_fan_out

__all__ = ["EDGES", "OPERATIONS", "proxyless_tree"]

OPERATIONS = ("sep3_d2", "identity", "sep3", "sep5", "sep7", "avg3", "max3")
"""What an edge can be: separable convolutions (kernel, dilation), nothing, pooling; the paper's order."""

EDGES = tuple(f"{half}{place}" for half in "ab" for place in ("0", "00", "01", "1", "10", "11"))
"""The choices of a block: its cell's half, then the way down the tree (`a0`, and behind it `a00` and `a01`)."""

_STEM = 16
_STAGES = 3


def proxyless_tree(
    choose: Choose,
    *,
    blocks: int = 18,
    out_channels: int = 400,
    stochastic_depth: float = 0.0,
    classes: int = 10,
    channels: int = 3,
    size: int = 32,  # noqa: ARG001 - any: the network ends in an average over what is left
    dropout: float = 0.0,
) -> nn.Module:
    """ProxylessNAS on CIFAR-10 (arXiv 1812.00332): PyramidNet, a tree cell of twelve open edges in every block.

    Choices `b1.a0` to `b54.b11`: the block, then the edge as in `EDGES`; seven options each, 7^648 architectures as
    published. Block i of N is BN, 1×1 to w_i, cell, BN, ReLU, 1×1 to 4 w_i, BN, beside a shortcut that is padded
    with zeros, w_i growing evenly from 16 to out_channels / 4.

    Args:
        blocks: blocks in each of the three stages (B in the paper).
        out_channels: channels behind the last block (F in the paper), a multiple of 8.
        stochastic_depth: how often a block in the middle is left out of a training step, for the whole batch; block
            l of L is at rate 2·l·rate/(L + 1), and what it adds is weighed by 1 − rate when the network is used.
        size: side of the images in pixels.
        dropout: before the classifier.

    Raises:
        SpaceError: no block, an odd number of channels or too few, or a rate at which the last block would never run.
    """
    if blocks < 1:
        raise SpaceError(f"blocks is {blocks}; give 1 or more in each stage")
    if out_channels < 4 * _STEM or out_channels % 8:
        raise SpaceError(f"out_channels is {out_channels}; give a multiple of 8, {4 * _STEM} or more")
    if not 0.0 <= stochastic_depth < 0.5:
        raise SpaceError(f"stochastic_depth is {stochastic_depth:g}; give a rate from 0 to below 0.5")
    count = _STAGES * blocks
    layers: list[nn.Module] = [nn.Conv2d(channels, _STEM, 3, padding=1, bias=False), nn.BatchNorm2d(_STEM)]
    c = _STEM
    for i in range(1, count + 1):
        w = 2 * (round(_STEM + (out_channels / 4 - _STEM) * i / count) // 2)
        stride = 2 if i > 1 and i % blocks == 1 % blocks else 1
        layers.append(TreeBlock(choose, f"b{i}", c, w, stride, 2 * i * stochastic_depth / (count + 1)))
        c = 4 * w
    return he_fan_out(
        nn.Sequential(*layers, nn.BatchNorm2d(c), nn.ReLU(inplace=True), *classifier(c, classes, dropout))
    )


class TreeBlock(nn.Module):
    """y = pad(shortcut(x)) + f(x), with f left out of a share `rate` of the training steps."""

    def __init__(self, choose: Choose, name: str, c_in: int, w: int, stride: int, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.padding = 4 * w - c_in
        self.shortcut = nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False) if stride > 1 else nn.Identity()
        self.body = nn.Sequential(
            nn.BatchNorm2d(c_in),
            nn.Conv2d(c_in, w, 1, bias=False),
            nn.BatchNorm2d(w),
            nn.ReLU(inplace=True),
            nn.Conv2d(w, 2 * w, 3, stride, padding=1, groups=2, bias=False),
            nn.ChannelShuffle(2),
            SplitNode(_tree(choose, f"{name}.a", w), _tree(choose, f"{name}.b", w), w),
            nn.BatchNorm2d(w),
            nn.ReLU(inplace=True),
            nn.Conv2d(w, 4 * w, 1, bias=False),
            nn.BatchNorm2d(4 * w),
        )

    def forward(self, x: Tensor) -> Tensor:
        short = F.pad(self.shortcut(x), (0, 0, 0, 0, 0, self.padding))
        if self.rate and self.training:
            return short if torch.rand(()) < self.rate else short + self.body(x)
        return short + (1 - self.rate) * self.body(x) if self.rate else short + self.body(x)


class SplitNode(nn.Module):
    """y = Σ_i BN_i(tree_i(h_i)) + h_i over the two halves h_i of the channels."""

    def __init__(self, first: nn.Module, second: nn.Module, w: int) -> None:
        super().__init__()
        self.trees = nn.ModuleList([first, second])
        self.norms = nn.ModuleList([nn.BatchNorm2d(w), nn.BatchNorm2d(w)])

    def forward(self, x: Tensor) -> Tensor:
        first, second = (norm(tree(h)) + h for tree, norm, h in zip(self.trees, self.norms, x.chunk(2, dim=1)))
        return first + second


def _tree(choose: Choose, name: str, w: int) -> nn.Module:
    """Two edges side by side, each followed by two more; what runs side by side is added."""
    operations = _operations(w)

    def branch(i: int) -> nn.Module:
        edge = choose.op(f"{name}{i}", operations)
        leaves = {str(j): choose.op(f"{name}{i}{j}", operations) for j in range(2)}
        return nn.Sequential(edge, Sum(leaves))

    return Sum({str(i): branch(i) for i in range(2)})


def _operations(w: int) -> dict[str, Factory]:
    def separable(kernel: int, dilation: int = 1) -> Factory:
        padding = kernel // 2 * dilation
        return lambda: nn.Sequential(
            nn.BatchNorm2d(w),
            nn.ReLU(inplace=True),
            nn.Conv2d(w, w, kernel, padding=padding, dilation=dilation, groups=w, bias=False),
            nn.Conv2d(w, w, 1, bias=False),
        )

    factories: tuple[Factory, ...] = (
        separable(3, dilation=2),
        nn.Identity,
        separable(3),
        separable(5),
        separable(7),
        lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False),
        lambda: nn.MaxPool2d(3, 1, 1),
    )
    return dict(zip(OPERATIONS, factories, strict=True))
