"""MobileNetV2 of any width and depth in each stage: ours, for controllers that decide how much of it an image needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from torch import nn

from archipel.choose import Choose
from archipel.errors import SpaceError
from archipel.nn.blocks import ConvBN, InvertedResidual, Residual, classifier
from archipel.nn.elastic import Size, mapped, stack
from archipel.nn.segment import segment
from archipel.spaces.macro import macro_for, round_channels, tail_channels

__all__ = ["mobilenet_elastic"]


def mobilenet_elastic(
    choose: Choose,
    *,
    macro: str | None = None,
    width: float = 1.0,
    widths: Literal["network", "stage"] = "network",
    ratios: Sequence[float] = (0.25, 0.5, 1.0),
    expansions: Sequence[int] = (3, 6),
    kernels: Sequence[int] = (3,),
    classes: int = 10,
    channels: int = 3,
    size: int = 32,
    dropout: float = 0.0,
) -> nn.Module:
    """MobileNetV2 (arXiv 1801.04381) with slices for children: the network has a width, every stage an expansion, and
    a depth where it has more than one layer; the first channels, the centre of kernels and the first layers run
    (slimmable networks, Yu et al. 2019; Once-for-All, Cai et al. 2020).

    Choices `width`, `s1.expand`, `s1.depth` and so on, by stage. The largest child is MobileNetV2; the smallest has
    less than an eighth of its multiply-adds at width 1. Stages are segments (`nn.segment`): images of one batch that
    differ in any of this share what they have in common.

    Args:
        macro: see `archipel.spaces.macro`; by image size if not given.
        width: multiplier of all channel counts of the largest child; that of the published tail is not below 1.
        widths: one width for all of the network, or one for each stage (`s1.width`), the stem with the first stage
            (`stem`) and the tail (`tail`), which are more children and more groups in a batch.
        ratios: widths of a stage, as shares of its largest; counts are rounded to multiples of 8.
        expansions: how many times wider a block is inside.
        kernels: odd kernel sizes of the depthwise convolutions; a choice `s1.kernel` where there are several.
        size: side of the images in pixels.
        dropout: before the classifier.

    Raises:
        SpaceError: no such macro-structure or kind of widths, a width or ratio of 0, an even kernel, or an expansion
            below 1.
    """
    for expansion in expansions:
        if not isinstance(expansion, int) or expansion < 1:
            raise SpaceError(f"an expansion is {expansion}; give whole numbers above 0, such as 3, 6")

    if widths not in ("network", "stage"):
        raise SpaceError(f"widths is '{widths}'; give 'network' or 'stage'")

    def number(name: str, values: Sequence[float]) -> Any:
        return choose.value(name, values) if len(values) > 1 else values[0]

    common = number("width", sorted(set(ratios))) if widths == "network" else None

    def count(name: str, largest: float) -> Size:
        """Channels, of which `largest` at most."""
        if common is not None:
            return mapped(common, lambda ratio: round_channels(ratio * largest))
        found: Size = number(name, sorted({round_channels(ratio * largest) for ratio in ratios}))
        return found

    skeleton = macro_for(macro, size)
    first, *further = skeleton.stages
    stem = count("stem", skeleton.stem * width)
    # Half the stem, as in every macro-structure: one choice for both.
    c = stem * first.channels // skeleton.stem if common is None else count("", first.channels * width)
    layers: list[nn.Module] = [
        segment(
            channels,
            ConvBN(channels, stem, 3, stride=skeleton.stem_stride, act=nn.ReLU6),
            InvertedResidual(stem, c, expand=1, stride=first.stride, act=nn.ReLU6),
        )
    ]
    before: tuple[Size, ...] = ()  # what besides its width shapes the stage before
    for s, stage in enumerate(further, start=1):
        c_out = count(f"s{s}.width", stage.channels * width)
        expand = number(f"s{s}.expand", sorted(expansions))
        kernel = number(f"s{s}.kernel", sorted(kernels))
        block = {"kernel": kernel, "expand": expand, "act": nn.ReLU6}
        layers.append(segment(c, InvertedResidual(c, c_out, stride=stage.stride, by=before, **block)))
        before = (kernel, expand)
        if stage.layers > 1:
            depth = number(f"s{s}.depth", range(1, stage.layers + 1))
            before = (kernel, expand, depth)
            layers.append(segment(c_out, stack(depth - 1, _further(c_out, block))))
        c = c_out
    tail = count("tail", tail_channels(skeleton.tail, width))
    head = segment(c, ConvBN(c, tail, act=nn.ReLU6, by=before))
    layers.append(segment(c, head, *classifier(tail, classes, dropout)))
    # With one width for all, images part at the first layer and meet at the last; between, by expansion and depth.
    return nn.Sequential(*layers) if common is None else segment(channels, *layers)


def _further(channels: Size, block: Mapping[str, Any]) -> Callable[[int], nn.Module]:
    """The layers of a stage after the first."""
    return lambda _: Residual(InvertedResidual(channels, channels, **block))
