"""A shallow residual network that can answer early: ours, where the clock counts and multiply-adds do not."""

from __future__ import annotations

import itertools
from functools import partial

from torch import nn

from archipel.choose import Choose
from archipel.nn.blocks import ConvBN, ResidualBlock, classifier
from archipel.spaces.exits import early_head, exits
from archipel.spaces.macro import Macro, macro_for, stages

__all__ = ["resnet_exits"]

RESIDUAL: dict[str, Macro] = {
    "digits": Macro(1, stages((16, 1, 1), (32, 1, 2), (64, 1, 2)), stem=16),
    "compact": Macro(2, stages((16, 1, 1), (64, 1, 2), (128, 2, 2)), stem=16),
    "compact_large": Macro(2, stages((16, 1, 2), (64, 1, 2), (128, 2, 2)), stem=16),
    "cifar": Macro(1, stages((16, 3, 1), (32, 3, 2), (64, 3, 2)), stem=16),
    "tiny": Macro(1, stages((64, 2, 2), (128, 2, 2), (256, 2, 2), (512, 2, 2)), stem=64),
    "imagenet": Macro(2, stages((64, 2, 2), (128, 2, 2), (256, 2, 2), (512, 2, 2)), stem=64),
}


def resnet_exits(
    choose: Choose,
    *,
    macro: str | None = None,
    width: float = 1.0,
    classes: int = 10,
    channels: int = 3,
    size: int = 32,
    dropout: float = 0.0,
) -> nn.Module:
    """A residual network (arXiv 1512.03385) with a head behind every stage (`archipel.spaces.exits`).

    Its 3×3 convolutions take many times the multiply-adds of MobileNetV2's depthwise ones, but a core works through
    them several times as fast, and there are few of them. The last exit is ResNet-20 in `cifar`, and in
    `imagenet` ResNet-18 with a 3×3 stem and a stride for its pooling.

    Args:
        macro: `digits`, `compact`, `compact_large`, `cifar`, `tiny` or `imagenet`; by image size if not given.
        width: multiplier of all channel counts, rounded to multiples of 8.
        size: side of the images in pixels.
        dropout: before each classifier.

    Raises:
        SpaceError: no such macro-structure, or a width of 0.
    """
    skeleton = macro_for(macro, size, RESIDUAL)
    maps = skeleton.maps(size, width)

    def trunk(s: int) -> list[nn.Module]:
        stem = [] if s else [ConvBN(channels, maps[0].channels, 3, stride=skeleton.stem_stride)]
        widths = [maps[s].channels, *[maps[s + 1].channels] * skeleton.stages[s].layers]
        strides = [skeleton.stages[s].stride, *[1] * (skeleton.stages[s].layers - 1)]
        blocks = [ResidualBlock(*io, stride=stride) for io, stride in zip(itertools.pairwise(widths), strides)]
        return [*stem, *blocks]

    heads = [partial(early_head, behind, classes, dropout) for behind in maps[1:-1]]
    last = partial(_last, maps[-1].channels, classes, dropout)
    return exits(choose, [partial(trunk, s) for s in range(len(skeleton.stages))], [*heads, last])


def _last(c: int, classes: int, dropout: float) -> nn.Module:
    return nn.Sequential(*classifier(c, classes, dropout))
