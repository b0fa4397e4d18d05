"""The flat residual network of CIFAR: every block, those that change the shape too, may be left out.

BlockDrop (Wu et al., CVPR 2018, arXiv 1711.08393) and ConvNet-AIG (Veit and Belongie, ECCV 2018, arXiv 1711.11503)
choose blocks of it for every image. All blocks on, it is the ResNet-(6n+2) of He et al. (CVPR 2016, section 4.2).
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from archipel.choose import Choose, Place
from archipel.errors import SpaceError
from archipel.nn.blocks import ConvBN, Zero, classifier
from archipel.spaces.macro import round_channels

__all__ = ["resnet_flat"]

STAGES = ((16, 1), (32, 2), (64, 2))
"""Channels, and stride of the first block."""


def resnet_flat(
    choose: Choose,
    *,
    blocks: int = 5,
    width: float = 1.0,
    downsample: Literal["pool", "projection"] = "pool",
    classes: int = 10,
    channels: int = 3,
    dropout: float = 0.0,
) -> nn.Module:
    """ResNet for CIFAR (arXiv 1512.03385), each of its basic blocks kept or left out: 2^(3n) architectures.

    A block that is kept gives ReLU(s + F(h)), F two 3×3 convolutions; one that is left out gives s, its shortcut, which
    is h itself where the shape stays. Where it changes, s is always computed. `pool` shortcuts, averages of 2×2 pixels
    and channels of zeros, are never negative behind a ReLU; so there BlockDrop's "left out gives s" and ConvNet-AIG's
    ReLU(s + z F(h)) with z = 0 are one and the same. Behind a `projection`, which may be, the ReLU is taken.

    Args:
        blocks: in each of the three stages (n): 5 is ResNet-32, 18 is ResNet-110.
        width: multiplier of all channel counts, rounded to multiples of 8.
        downsample: the shortcut where the shape changes: `pool` without parameters (BlockDrop; He et al., option A), or
            `projection`, a 1×1 convolution with batch norm (ConvNet-AIG; option B).
        dropout: before the classifier.

    Raises:
        SpaceError: no blocks, no such way to downsample, or a width of 0.
    """
    if blocks < 1:
        raise SpaceError(f"a stage would have {blocks} blocks; give 1 or more")
    if downsample not in ("pool", "projection"):
        raise SpaceError(f"downsample is '{downsample}'; give 'pool' or 'projection'")
    c = round_channels(STAGES[0][0] * width)
    layers: list[nn.Module] = [ConvBN(channels, c, 3)]
    for stage, (base, first_stride) in enumerate(STAGES):
        c_out = round_channels(base * width)
        for i in range(blocks):
            stride = first_stride if i == 0 else 1
            layers.append(_block(choose, f"s{stage}.b{i}", c, c_out, stride, downsample))
            c = c_out
    return nn.Sequential(*layers, *classifier(c, classes, dropout))


def _block(choose: Choose, name: str, c_in: int, c_out: int, stride: int, downsample: str) -> nn.Module:
    def branch() -> nn.Module:
        return nn.Sequential(ConvBN(c_in, c_out, 3, stride=stride), ConvBN(c_out, c_out, 3, act=None))

    def zero() -> nn.Module:
        return _Zero(c_out, stride)

    body = choose.subset(name, {"block": branch}, empty=zero)
    keeps_shape = stride == 1 and c_in == c_out
    if downsample == "projection" and not keeps_shape:
        return _Block(body, ConvBN(c_in, c_out, 1, stride=stride, act=None), rectified=True)
    around = None if keeps_shape else _Pool(c_out - c_in, stride)
    if isinstance(body, Zero):  # in a child network nothing is left of the block
        return around or nn.Identity()
    return _Block(body, around, rectified=False)


class _Block(nn.Module):
    """y = ReLU(s(x) + f(x)); where f is set to `Zero`, s(x), or with `rectified` its ReLU. No shortcut: s(x) = x."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None, *, rectified: bool) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut
        self.rectified = rectified

    def forward(self, x: Tensor) -> Tensor:
        s: Tensor = x if self.shortcut is None else self.shortcut(x)
        nothing = self.body.computes_nothing() if isinstance(self.body, Place) else isinstance(self.body, Zero)
        if nothing:
            return F.relu(s) if self.rectified else s
        return F.relu(s + self.body(x))


class _Pool(nn.Module):
    """Averages of stride × stride pixels, and `more` channels of zeros."""

    def __init__(self, more: int, stride: int) -> None:
        super().__init__()
        self.more, self.stride = more, stride

    def forward(self, x: Tensor) -> Tensor:
        y = F.avg_pool2d(x, self.stride, ceil_mode=True) if self.stride > 1 else x
        return F.pad(y, (0, 0, 0, 0, 0, self.more)) if self.more else y

    def extra_repr(self) -> str:
        return f"stride={self.stride}, more={self.more}"


class _Zero(Zero):
    """y = 0, shaped like what the block would give."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.channels, self.stride = channels, stride

    def forward(self, x: Tensor) -> Tensor:
        height, width = (-(-side // self.stride) for side in x.shape[2:])
        return x.new_zeros(()).expand(len(x), self.channels, height, width)
