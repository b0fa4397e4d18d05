"""FBNet's search space as HW-NAS-Bench and HELP measured it (Wu et al., CVPR 2019; Li et al., ICLR 2021)."""

from __future__ import annotations

from torch import nn

from archipel.choose import Choose, Factory
from archipel.nn.blocks import ConvBN, Zero, classifier, residual
from archipel.nn.initial import he_fan_out
from archipel.spaces.macro import Macro, round_channels, stages

__all__ = ["OPERATIONS", "fbnet"]

# (kernel, expansion, groups of the 1×1 convolutions), in the order of the columns of published tables.
OPERATIONS: dict[str, tuple[int, int, int]] = {
    "k3_e1": (3, 1, 1),
    "k3_e1_g2": (3, 1, 2),
    "k3_e3": (3, 3, 1),
    "k3_e6": (3, 6, 1),
    "k5_e1": (5, 1, 1),
    "k5_e1_g2": (5, 1, 2),
    "k5_e3": (5, 3, 1),
    "k5_e6": (5, 6, 1),
}

_LATE = ((32, 4, 2), (64, 4, 2), (112, 4, 1), (184, 4, 2), (352, 1, 1))
_CIFAR = Macro(1, stages((16, 1, 1), (24, 4, 1), *_LATE), stem=16, tail=1504)
_IMAGENET = Macro(2, stages((16, 1, 1), (24, 4, 2), *_LATE), stem=16, tail=1984)


def fbnet(
    choose: Choose,
    *,
    width: float = 1.0,
    classes: int = 100,
    channels: int = 3,
    size: int = 32,
    dropout: float = 0.0,
) -> nn.Module:
    """FBNet (arXiv 1812.03443) as HW-NAS-Bench and HELP measured it: 22 layers, each one of nine operations.

    Choices `l0` to `l21` are the rows of their tables and the options, `k3_e1 k3_e1_g2 k3_e3 k3_e6 k5_e1 k5_e1_g2
    k5_e3 k5_e6 skip`, the columns. An operation is 1×1 expansion, depthwise convolution, linear 1×1 projection; `g2`
    groups both 1×1 and shuffles the channels behind the first. Where a layer keeps its shape it has a shortcut and
    `skip` is the identity, elsewhere `skip` is a 1×1 convolution. From 112 pixels on, stem and second stage stride as
    the paper's do and the tail has 1984 channels; below, as HW-NAS-Bench's for CIFAR-100: neither, and 1504.

    Args:
        width: multiplier of all channel counts, rounded to multiples of 8.
        size: side of the images in pixels.
        dropout: before the classifier.

    Raises:
        SpaceError: a width of 0.
    """
    skeleton = _CIFAR if size < 112 else _IMAGENET
    c = round_channels(skeleton.stem * width)
    layers: list[nn.Module] = [ConvBN(channels, c, 3, stride=skeleton.stem_stride)]
    for stage in skeleton.stages:
        c_out = round_channels(stage.channels * width)
        for i in range(stage.layers):
            layers.append(_layer(choose, f"l{len(layers) - 1}", c, c_out, stage.stride if i == 0 else 1))
            c = c_out
    tail = round_channels(skeleton.tail * width)
    return he_fan_out(nn.Sequential(*layers, ConvBN(c, tail), *classifier(tail, classes, dropout)))


def _layer(choose: Choose, name: str, c_in: int, c_out: int, stride: int) -> nn.Module:
    def operation(kernel: int, expand: int, groups: int) -> Factory:
        hidden = c_in * expand
        return lambda: nn.Sequential(
            ConvBN(c_in, hidden, groups=groups),
            *([nn.ChannelShuffle(groups)] if groups > 1 else []),
            ConvBN(hidden, hidden, kernel, stride=stride, groups=hidden),
            ConvBN(hidden, c_out, groups=groups, act=None),
        )

    candidates = {option: operation(*shape) for option, shape in OPERATIONS.items()}
    if stride > 1 or c_in != c_out:
        return choose.op(name, {**candidates, "skip": lambda: ConvBN(c_in, c_out, stride=stride)})
    return residual(choose.op(name, {**candidates, "skip": Zero}))
