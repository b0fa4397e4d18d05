"""The rows of a mobile network as published latency tables list them: stem, blocks, feature mix, classifier.

Shapes are those of one forward pass on torch's meta device; nothing is computed from strides, so odd sizes come out
right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from archipel.cost.complexity import on_meta
from archipel.nn.blocks import InvertedResidual, Residual

__all__ = ["BlockRow", "Maps", "block_rows"]

Maps: TypeAlias = tuple[int, int, int]
"""Height, width, channels; 1, 1, channels of a vector."""

_POOLS = (nn.AdaptiveAvgPool2d, nn.AvgPool2d, nn.AdaptiveMaxPool2d, nn.MaxPool2d)
_ROWS = (InvertedResidual, nn.Conv2d, nn.Linear, *_POOLS)


@dataclass(frozen=True)
class BlockRow:
    """An inverted residual with the shortcut around it, or a layer outside all of them."""

    kind: Literal["block", "conv", "linear", "pool"]
    input: Maps
    output: Maps
    pooled: Maps
    """The maps that were last before it, themselves or averaged: what a classifier's pooling is given."""
    kernel: int = 0
    stride: int = 1
    hidden: int = 0
    """Channels of a block's depthwise convolution."""
    shortcut: bool = False
    squeezed: int = 0
    """Channels between a block's squeeze and its excitation; 0 where it has none."""
    act: str = ""
    """Class of a block's activation, `ReLU6` say."""


def block_rows(module: nn.Module, input_shape: tuple[int, ...]) -> list[tuple[str, BlockRow]]:
    """(module path, row) of every inverted residual, convolution, linear layer and pooling, in running order.

    Args:
        input_shape: `[C, H, W]`.
    """
    net = on_meta(module, shapes_only=True)
    rows: list[tuple[str, BlockRow]] = []
    running: list[str] = []  # inverted residuals
    maps: list[Maps] = [_maps((1, *input_shape))]

    def enter(path: str) -> Callable[..., None]:
        return lambda *_: running.append(path)

    def leave(path: str) -> Callable[..., None]:
        def note(part: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            if isinstance(part, InvertedResidual):
                running.pop()
            if running:
                return
            around = net.get_submodule(path.rpartition(".")[0])
            rows.append((path, _row(part, around, _maps(inputs[0].shape), _maps(output.shape), maps[-1])))
            if output.dim() == 4 and not isinstance(part, _POOLS):
                maps.append(_maps(output.shape))

        return note

    for path, part in net.named_modules():
        if isinstance(part, InvertedResidual):
            part.register_forward_pre_hook(enter(path))
        if isinstance(part, _ROWS):
            part.register_forward_hook(leave(path))
    with torch.no_grad():
        net(torch.empty(1, *input_shape, device="meta"))
    return rows


def _row(part: nn.Module, around: nn.Module, given: Maps, made: Maps, pooled: Maps) -> BlockRow:
    if isinstance(part, nn.Conv2d):
        return BlockRow("conv", given, made, pooled, part.kernel_size[0], part.stride[0])
    if isinstance(part, InvertedResidual):
        inner = list(part.modules())
        depthwise = next(p for p in inner if isinstance(p, nn.Conv2d) and p.groups == p.in_channels)
        acts = [type(p).__name__ for p in inner if type(p).__module__ == nn.ReLU.__module__]
        return BlockRow(
            "block",
            given,
            made,
            pooled,
            kernel=depthwise.kernel_size[0],
            stride=depthwise.stride[0],
            hidden=depthwise.out_channels,
            shortcut=isinstance(around, Residual),
            squeezed=_squeezed(inner),
            act=acts[0] if acts else "",
        )
    return BlockRow("linear" if isinstance(part, nn.Linear) else "pool", given, made, pooled)


def _squeezed(inner: list[nn.Module]) -> int:
    """Channels of the first layer beside a pooling inside a block."""
    for part in inner:
        beside = list(part.children())
        if any(isinstance(p, _POOLS) for p in beside):
            return next(
                (p.weight.shape[0] for q in beside for p in q.modules() if isinstance(p, nn.Conv2d | nn.Linear)), 0
            )
    return 0


def _maps(shape: tuple[int, ...]) -> Maps:
    _, channels, *sides = (*shape, 1, 1) if len(shape) == 2 else shape
    return sides[0], sides[1], channels
