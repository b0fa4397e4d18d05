"""A shallow MobileNetV2 that can answer early: ours, for cascades whose stages share what they compute."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from torch import nn

from archipel.choose import Choose
from archipel.nn.blocks import ConvBN, InvertedResidual, PooledLinear, Residual, classifier
from archipel.spaces.macro import MACROS, Macro, macro_for, round_channels, stages, tail_channels

__all__ = ["mobilenet_exits"]

SHALLOW: dict[str, Macro] = {
    **MACROS,
    "digits": Macro(1, stages((16, 1, 1), (24, 1, 2), (32, 1, 1), (64, 1, 2), (96, 1, 1)), tail=256),
    "compact": Macro(2, stages((16, 1, 1), (24, 1, 2), (32, 1, 1), (64, 1, 2), (96, 1, 1), (128, 1, 1)), tail=640),
    "compact_large": Macro(
        2, stages((16, 1, 1), (24, 1, 2), (32, 2, 2), (64, 2, 2), (96, 1, 1), (128, 1, 1)), tail=640
    ),
}
EARLY: dict[str, tuple[int, ...]] = {
    "digits": (0, 2),
    "compact": (0, 2),
    "compact_large": (0, 2),
    "cifar": (1, 3),
    "tiny": (1, 3),
    "imagenet": (1, 3),
}
"""Of a macro-structure: the stages behind which it can answer before the end."""
PLACES = 4
"""Of a side, that an early head looks at; smaller maps have fewer."""


def mobilenet_exits(
    choose: Choose,
    *,
    macro: str | None = None,
    width: float = 1.0,
    classes: int = 10,
    channels: int = 3,
    size: int = 32,
    dropout: float = 0.0,
) -> nn.Module:
    """MobileNetV2 (arXiv 1801.04381) with a second head or a third on the way (BranchyNet, arXiv 1709.01686).

    Choices `exit1`, `exit2` and so on, from the first head: `leave` or `go`. So there are as many architectures as
    heads, and each goes on where the one before turns off. An early head is one linear layer over maps averaged down to
    4 × 4 places at most: images that go on pay for it too, and so early it still matters where something is. Our own
    macro-structures have a layer where `mobilenet_v2` has several: on few data and one core a layer costs more time
    than it is worth.

    Args:
        macro: see `archipel.spaces.macro`; by image size if not given.
        width: multiplier of all channel counts; that of the published tail is not below 1.
        size: side of the images in pixels.
        dropout: before each classifier.

    Raises:
        SpaceError: no such macro-structure, or a width of 0.
    """
    skeleton = macro_for(macro, size, SHALLOW)
    (early,) = (EARLY[name] for name, known in SHALLOW.items() if known is skeleton)
    c = round_channels(skeleton.stem * width)
    stem = ConvBN(channels, c, 3, stride=skeleton.stem_stride, act=nn.ReLU6)

    def onwards(first: int, c: int, side: int, exits: int) -> list[nn.Module]:
        """Layers from a stage on, `exits` heads being behind it."""
        layers: list[nn.Module] = []
        for s, stage in enumerate(skeleton.stages[first:], start=first):
            c_out = round_channels(stage.channels * width)
            for i in range(stage.layers):
                stride = stage.stride if i == 0 else 1
                block = InvertedResidual(c, c_out, expand=6 if s else 1, stride=stride, act=nn.ReLU6)
                layers.append(Residual(block) if stride == 1 and c == c_out else block)
                c, side = c_out, math.ceil(side / stride)
            if s in early:
                options: dict[str, Callable[[], nn.Module]] = {
                    "leave": partial(PooledLinear, c, side, classes, places=PLACES, dropout=dropout),
                    "go": partial(rest, s + 1, c, side, exits + 1),
                }
                return [*layers, choose.op(f"exit{exits + 1}", options)]
        tail = tail_channels(skeleton.tail, width)
        return [*layers, ConvBN(c, tail, act=nn.ReLU6), *classifier(tail, classes, dropout)]

    def rest(first: int, c: int, side: int, exits: int) -> nn.Module:
        return nn.Sequential(*onwards(first, c, side, exits))

    return nn.Sequential(stem, *onwards(0, c, math.ceil(size / skeleton.stem_stride), 0))
