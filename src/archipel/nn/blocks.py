"""Convolutional blocks of the mobile networks.

Everything is an `nn.Sequential` of plain layers where it can be, so that batch norm can be folded and a network
printed. All convolutions are bias-free and followed by batch norm. Sizes may be open (`choose.value`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archipel.choose import Place
from archipel.elastic_value import Elastic
from archipel.nn.elastic import Size, batch_norm2d, conv2d, linear
from archipel.nn.segment import segment

__all__ = [
    "BasicBlock",
    "ConvBN",
    "InvertedResidual",
    "PooledLinear",
    "Residual",
    "ResidualBlock",
    "Zero",
    "classifier",
    "residual",
]


class ConvBN(nn.Sequential):
    """act(BN(conv_k(x))), padded so that stride 1 keeps the size.

    Args:
        by: further back, sizes that change what reaches it, for statistics of their own.
    """

    def __init__(
        self,
        c_in: Size,
        c_out: Size,
        kernel: Size = 1,
        *,
        stride: int = 1,
        groups: Size = 1,
        act: type[nn.Module] | None = nn.ReLU,
        eps: float = 1e-5,
        by: Sequence[Size] = (),
    ) -> None:
        layers: list[nn.Module] = [
            conv2d(c_in, c_out, kernel, stride=stride, groups=groups),
            batch_norm2d(c_out, by=(c_in, kernel, *by), eps=eps),
        ]
        if act is not None:
            layers.append(act(inplace=True))
        super().__init__(*layers)


class InvertedResidual(nn.Sequential):
    """project(depthwise_k(expand(x))): 1×1 ×e, depthwise k×k, 1×1 linear (Sandler et al., MobileNetV2, 2018).

    The shortcut is not in it: wrap it with `residual`. Expansion 1 has no first convolution.

    Args:
        by: further back, sizes that change what reaches it; samples that differ in them alone part for the first
            convolution only.
    """

    def __init__(
        self,
        c_in: Size,
        c_out: Size,
        *,
        kernel: Size = 3,
        expand: Size = 6,
        stride: int = 1,
        act: type[nn.Module] = nn.ReLU,
        eps: float = 1e-5,
        by: Sequence[Size] = (),
    ) -> None:
        layers: list[nn.Module] = []
        hidden = c_in
        if isinstance(expand, Elastic) or expand != 1:
            hidden = c_in * expand
            first = ConvBN(c_in, hidden, act=act, eps=eps, by=by)
            layers.append(segment(c_in, first) if by else first)
        layers += [
            ConvBN(hidden, hidden, kernel, stride=stride, groups=hidden, act=act, eps=eps),
            ConvBN(hidden, c_out, act=None, eps=eps),
        ]
        super().__init__(*layers)


class BasicBlock(nn.Sequential):
    """ReLU6(BN(conv3(ReLU(BN(conv3(x)))))) with no shortcut (InstaNAS' fifth candidate)."""

    def __init__(self, c_in: int, c_out: int, *, stride: int = 1) -> None:
        super().__init__(ConvBN(c_in, c_out, 3, stride=stride), ConvBN(c_out, c_out, 3, act=nn.ReLU6))


class ResidualBlock(nn.Module):
    """ReLU(s(x) + BN(conv3(ReLU(BN(conv3(x)))))), s a 1×1 convolution with batch norm where the shape changes, else x
    itself (He et al., CVPR 2016, arXiv 1512.03385, option B)."""

    def __init__(self, c_in: int, c_out: int, *, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(ConvBN(c_in, c_out, 3, stride=stride), ConvBN(c_out, c_out, 3, act=None))
        keeps_shape = stride == 1 and c_in == c_out
        self.shortcut = nn.Identity() if keeps_shape else ConvBN(c_in, c_out, 1, stride=stride, act=None)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.body(x))


class Zero(nn.Module):
    """y = 0, shaped like x."""

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(()).expand(x.shape)


class PooledLinear(nn.Sequential):
    """From maps `[B, channels, side, side]` to `[B, out]`: averaged down to a few places, then one linear layer over
    all of them, so that it still matters where something is.

    Args:
        places: a side has so many at most.
        dropout: before the linear layer.
    """

    def __init__(self, channels: int, side: int, out: int, *, places: int, dropout: float = 0.0) -> None:
        window = math.ceil(side / places)
        left = math.ceil(side / window)
        pool = [nn.AvgPool2d(window, ceil_mode=True)] if window > 1 else []
        dropped = [nn.Dropout(dropout)] if dropout else []
        super().__init__(*pool, nn.Flatten(), *dropped, nn.Linear(channels * left**2, out))
        self.channels, self.side, self.window, self.out = channels, side, window, out

    @torch.no_grad()
    def over_all_places(self) -> nn.Linear:
        """One linear layer that does the same to maps as they are, flattened with their channels last."""
        linear = self[-1]
        assert isinstance(linear, nn.Linear)
        seen_by = torch.arange(self.side, device=linear.weight.device) // self.window
        many = seen_by.bincount()[seen_by]
        small = linear.weight.unflatten(1, (self.channels, int(seen_by[-1]) + 1, -1))
        spread = small[:, :, seen_by][..., seen_by] / (many[:, None] * many)
        whole = nn.Linear(self.channels * self.side**2, linear.out_features).to(linear.weight)
        whole.weight.copy_(spread.permute(0, 2, 3, 1).flatten(1))
        whole.bias.copy_(linear.bias)
        return whole


class Residual(nn.Module):
    """y = x + f(x); x itself where f is an open choice that is set to `Zero`."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.body, Place) and self.body.computes_nothing():
            return x  # as in the child: no sum to work out, no copy to keep for the backward pass
        return x + self.body(x)


def residual(body: nn.Module) -> nn.Module:
    """`Residual(body)`, or the identity where the body is `Zero`: what a child network runs for a bypass."""
    return nn.Identity() if isinstance(body, Zero) else Residual(body)


def classifier(features: Size, classes: int, dropout: float = 0.0) -> list[nn.Module]:
    """From maps `[B, features, H, W]` to scores `[B, classes]`: average over space, dropout, linear."""
    layers: list[nn.Module] = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return [*layers, *([nn.Dropout(dropout)] if dropout else []), linear(features, classes)]
