"""The operations of cells: what an edge from one node of a cell to another can be.

In the order ReLU, convolution, batch norm; strides halve the sides, rounded up. Letters: `c` channels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archipel.errors import SpaceError, did_you_mean

__all__ = ["OPERATIONS", "FactorizedReduce", "Halved", "operation"]


class Halved(nn.Module):
    """1×1 convolutions of every second pixel, and of those between: half of the channels from either, sides halved.

    No information is thrown away for want of a stride (path reduction of NASNet's code). Nothing is normalised.
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.even = nn.Conv2d(c_in, c_out // 2, 1, 2, bias=False)
        self.odd = nn.Conv2d(c_in, c_out - c_out // 2, 1, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.even(x), self.odd(F.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:])], 1)


class FactorizedReduce(nn.Sequential):
    """BN(halved(ReLU(x))): an identity where the sides are halved."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(nn.ReLU(), Halved(c_in, c_out), nn.BatchNorm2d(c_out))


def _convolved(c: int, *convolutions: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.ReLU(), *convolutions, nn.BatchNorm2d(c))


def _depthwise(c: int, kernel: int, stride: int, dilation: int = 1) -> list[nn.Module]:
    padding = kernel // 2 * dilation
    return [
        nn.Conv2d(c, c, kernel, stride, padding, dilation, groups=c, bias=False),
        nn.Conv2d(c, c, 1, bias=False),
    ]


Operation = Callable[[int, int], nn.Module]


def _separable(kernel: int) -> Operation:
    """Depthwise and pointwise, twice; the first one is strided."""

    def make(c: int, stride: int) -> nn.Module:
        return nn.Sequential(
            *_convolved(c, *_depthwise(c, kernel, stride)), *_convolved(c, *_depthwise(c, kernel, stride=1))
        )

    return make


def _dilated(kernel: int) -> Operation:
    return lambda c, stride: _convolved(c, *_depthwise(c, kernel, stride, dilation=2))


def _plain(kernel: int) -> Operation:
    return lambda c, stride: _convolved(c, nn.Conv2d(c, c, kernel, stride, kernel // 2, bias=False))


def _rows_and_columns(kernel: int) -> Operation:
    """1×k, then k×1."""
    half = kernel // 2

    def make(c: int, stride: int) -> nn.Module:
        return _convolved(
            c,
            nn.Conv2d(c, c, (1, kernel), (1, stride), (0, half), bias=False),
            nn.Conv2d(c, c, (kernel, 1), (stride, 1), (half, 0), bias=False),
        )

    return make


def _max(kernel: int) -> Operation:
    return lambda c, stride: nn.MaxPool2d(kernel, stride, kernel // 2)  # noqa: ARG005


def _average(kernel: int) -> Operation:
    return lambda c, stride: nn.AvgPool2d(kernel, stride, kernel // 2, count_include_pad=False)  # noqa: ARG005


OPERATIONS: dict[str, Operation] = {
    "skip_connect": lambda c, stride: nn.Identity() if stride == 1 else FactorizedReduce(c, c),
    "conv_1x1": _plain(1),
    "conv_3x3": _plain(3),
    "conv_1x3_3x1": _rows_and_columns(3),
    "conv_1x7_7x1": _rows_and_columns(7),
    "sep_conv_3x3": _separable(3),
    "sep_conv_5x5": _separable(5),
    "sep_conv_7x7": _separable(7),
    "dil_conv_3x3": _dilated(3),
    "dil_conv_5x5": _dilated(5),
    "avg_pool_3x3": _average(3),
    "max_pool_3x3": _max(3),
    "max_pool_5x5": _max(5),
    "max_pool_7x7": _max(7),
}
"""Name → f(channels, stride), as many channels out as in."""


def operation(name: str, c: int, stride: int = 1) -> nn.Module:
    """A fresh operation by name.

    Raises:
        SpaceError: there is none of that name.
    """
    if name not in OPERATIONS:
        raise SpaceError(f"there is no operation '{name}' ({', '.join(OPERATIONS)}){did_you_mean(name, OPERATIONS)}")
    return OPERATIONS[name](c, stride)
