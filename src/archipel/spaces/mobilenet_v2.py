"""MobileNetV2 at any width: the static reference (Sandler et al., CVPR 2018). A space of one architecture."""

from __future__ import annotations

from torch import nn

from archipel.choose import Choose
from archipel.nn.blocks import ConvBN, InvertedResidual, Residual, classifier
from archipel.spaces.macro import macro_for, round_channels, tail_channels

__all__ = ["mobilenet_v2"]


def mobilenet_v2(
    choose: Choose,  # noqa: ARG001 - nothing is left open
    *,
    macro: str | None = None,
    width: float = 1.0,
    classes: int = 10,
    channels: int = 3,
    size: int = 32,
    dropout: float = 0.0,
) -> nn.Module:
    """MobileNetV2 (arXiv 1801.04381), table 2: expansion 6, the first stage 1; 300.8 M MAdds, 3.50 M parameters
    at 224 pixels and 1000 classes.

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
        for i in range(stage.layers):
            stride = stage.stride if i == 0 else 1
            block = InvertedResidual(c, c_out, expand=6 if s else 1, stride=stride, act=nn.ReLU6)
            layers.append(Residual(block) if stride == 1 and c == c_out else block)
            c = c_out
    tail = tail_channels(skeleton.tail, width)
    return nn.Sequential(*layers, ConvBN(c, tail, act=nn.ReLU6), *classifier(tail, classes, dropout))
