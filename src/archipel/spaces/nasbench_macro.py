"""The networks of NAS-Bench-Macro (Su et al., CVPR 2021), every one of which was trained by its authors."""

from __future__ import annotations

from torch import nn

from archipel.choose import Choose, Factory
from archipel.nn.blocks import ConvBN, InvertedResidual, Zero, classifier, residual
from archipel.spaces.macro import round_channels

__all__ = ["BLOCKS", "nasbench_macro"]

BLOCKS: dict[str, tuple[int, int]] = {"MB3_K3": (3, 3), "MB6_K5": (6, 5)}
"""Option → (expansion, kernel)."""

_STAGES = (2, 3, 3)
"""Layers; the first of each halves the sides and doubles the channels."""


def nasbench_macro(
    choose: Choose,
    *,
    width: float = 1.0,
    classes: int = 10,
    channels: int = 3,
    dropout: float = 0.0,
) -> nn.Module:
    """NAS-Bench-Macro (arXiv 2103.11922): eight layers, each one of two MobileNetV2 blocks or absent, 6,561 networks.

    Choices `l0` to `l7` are the digits of the benchmark's codes and the options, `Identity MB3_K3 MB6_K5`, what they
    count. Where a layer changes the shape (`l0`, `l2`, `l5`) `Identity` is a 1×1 convolution. An absent layer behind
    those is the same network wherever it stands in its stage; the benchmark counts and lists all of them.

    Args:
        width: multiplier of all channel counts, rounded to multiples of 8.
        dropout: before the classifier.

    Raises:
        SpaceError: a width of 0.
    """
    c = round_channels(32 * width)
    layers: list[nn.Module] = [ConvBN(channels, c, 3)]
    for count in _STAGES:
        for i in range(count):
            name = f"l{len(layers) - 1}"
            if i:
                layers.append(residual(choose.op(name, {"Identity": Zero, **_blocks(c, c, 1)})))
            else:
                layers.append(choose.op(name, {"Identity": _downsample(c), **_blocks(c, 2 * c, 2)}))
                c *= 2
    tail = round_channels(1280 * width)
    return nn.Sequential(*layers, ConvBN(c, tail), *classifier(tail, classes, dropout))


def _downsample(c: int) -> Factory:
    return lambda: ConvBN(c, 2 * c, stride=2, act=None)


def _blocks(c_in: int, c_out: int, stride: int) -> dict[str, Factory]:
    def block(expand: int, kernel: int) -> Factory:
        return lambda: InvertedResidual(c_in, c_out, kernel=kernel, expand=expand, stride=stride)

    return {option: block(*shape) for option, shape in BLOCKS.items()}
