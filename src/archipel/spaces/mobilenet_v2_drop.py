"""MobileNetV2 whose layers may be left out where they keep their shape: the backbone of ours on which methods that
leave out blocks are compared."""

from __future__ import annotations

from torch import nn

from archipel.choose import Choose
from archipel.nn.blocks import ConvBN, InvertedResidual, Zero, classifier, residual
from archipel.spaces.macro import macro_for, round_channels, tail_channels

__all__ = ["mobilenet_v2_drop"]


def mobilenet_v2_drop(
    choose: Choose,
    *,
    macro: str | None = None,
    width: float = 1.0,
    classes: int = 10,
    channels: int = 3,
    size: int = 32,
    dropout: float = 0.0,
) -> nn.Module:
    """MobileNetV2 (arXiv 1801.04381), each layer with a shortcut around it kept or left out: one bit a layer.

    A layer that is left out gives its input. The first layer of a stage always runs: ten bits remain of the published
    17 layers. All on, it is `mobilenet_v2`.

    Args:
        macro: see `archipel.spaces.macro`; by image size if not given.
        width: multiplier of all channel counts; that of the published tail is not below 1.
        size: side of the images in pixels.
        dropout: before the classifier.
    """
    skeleton = macro_for(macro, size)
    c = round_channels(skeleton.stem * width)
    layers: list[nn.Module] = [ConvBN(channels, c, 3, stride=skeleton.stem_stride, act=nn.ReLU6)]
    for s, stage in enumerate(skeleton.stages):
        c_out = round_channels(stage.channels * width)
        expand = 6 if s else 1
        for i in range(stage.layers):
            if i == 0:
                layers.append(InvertedResidual(c, c_out, expand=expand, stride=stage.stride, act=nn.ReLU6))
            else:
                layers.append(_droppable(choose, f"l{len(layers) - 1}", c_out, expand))
            c = c_out
    tail = tail_channels(skeleton.tail, width)
    return nn.Sequential(*layers, ConvBN(c, tail, act=nn.ReLU6), *classifier(tail, classes, dropout))


def _droppable(choose: Choose, name: str, channels: int, expand: int) -> nn.Module:
    def block() -> nn.Module:
        return InvertedResidual(channels, channels, expand=expand, act=nn.ReLU6)

    return residual(choose.subset(name, {"block": block}, empty=Zero))
