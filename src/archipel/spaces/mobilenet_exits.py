"""A shallow MobileNetV2 that can answer early: ours, for cascades whose stages share what they compute."""

from __future__ import annotations

import itertools
from functools import partial

from torch import nn

from archipel.choose import Choose
from archipel.nn.blocks import ConvBN, InvertedResidual, Residual, classifier
from archipel.spaces.exits import early_head, exits
from archipel.spaces.macro import MACROS, Macro, macro_for, stages, tail_channels

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
    """MobileNetV2 (arXiv 1801.04381) with a second head or a third on the way (`archipel.spaces.exits`).

    Our own macro-structures have a layer where `mobilenet_v2` has several: on few data and one core a layer costs more
    time than it is worth.

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
    maps = skeleton.maps(size, width)

    def trunk(first: int, end: int) -> list[nn.Module]:
        layers: list[nn.Module] = []
        if first == 0:
            layers.append(ConvBN(channels, maps[0].channels, 3, stride=skeleton.stem_stride, act=nn.ReLU6))
        for s in range(first, end):
            c, c_out = maps[s].channels, maps[s + 1].channels
            for i in range(skeleton.stages[s].layers):
                stride = skeleton.stages[s].stride if i == 0 else 1
                block = InvertedResidual(c, c_out, expand=6 if s else 1, stride=stride, act=nn.ReLU6)
                layers.append(Residual(block) if stride == 1 and c == c_out else block)
                c = c_out
        return layers

    def last() -> nn.Module:
        tail = tail_channels(skeleton.tail, width)
        return nn.Sequential(ConvBN(maps[-1].channels, tail, act=nn.ReLU6), *classifier(tail, classes, dropout))

    ends = [s + 1 for s in early]
    trunks = [partial(trunk, a, b) for a, b in itertools.pairwise([0, *ends, len(skeleton.stages)])]
    return exits(choose, trunks, [*(partial(early_head, maps[end], classes, dropout) for end in ends), last])
