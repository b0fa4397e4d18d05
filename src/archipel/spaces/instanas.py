"""The search space of InstaNAS (Cheng et al., AAAI 2020): 17 layers × 5 candidates, any subset of them a layer."""

from __future__ import annotations

from typing import Literal

from torch import nn

from archipel.choose import Choose
from archipel.errors import SpaceError
from archipel.nn.blocks import BasicBlock, ConvBN, InvertedResidual, Residual, Zero, classifier, residual
from archipel.spaces.macro import macro_for, round_channels

__all__ = ["instanas"]


def instanas(
    choose: Choose,
    *,
    macro: str | None = None,
    width: float = 1.0,
    shortcut: Literal["shared", "per_op"] = "shared",
    combine: Literal["mean", "sum"] = "mean",
    classes: int = 10,
    channels: int = 3,
    size: int = 32,
    dropout: float = 0.0,
) -> nn.Module:
    """InstaNAS (arXiv 1811.10201): MobileNetV2 skeleton, each layer any of five candidates together.

    A layer that keeps its shape may be empty and is then the identity; where the shape changes, an empty layer
    runs `basic_k3`. Parameter and multiply-add totals of the released program hold at width 1 for both shortcuts.

    Args:
        macro: `cifar`, `tiny`, `imagenet` (the paper's), `compact`, `digits` (ours); by image size if not given.
        width: multiplier of all channel counts, rounded to multiples of 8.
        shortcut: `per_op` adds the layer's input once per active inverted residual, as released (k active
            candidates give k·x + Σf, which batch norm cannot follow); `shared` adds it once.
        combine: `sum` adds the active candidates, as released; `mean` averages them, so that batch norm downstream
            serves one active candidate as well as five.
        size: side of the images in pixels.
        dropout: before the classifier.

    Raises:
        SpaceError: no such macro-structure, shortcut or way to combine, or a width of 0.
    """
    if shortcut not in ("shared", "per_op"):
        raise SpaceError(f"shortcut is '{shortcut}'; give 'shared' or 'per_op'")
    if combine not in ("mean", "sum"):
        raise SpaceError(f"combine is '{combine}'; give 'mean' or 'sum'")
    skeleton = macro_for(macro, size)
    c = round_channels(skeleton.stem * width)
    layers: list[nn.Module] = [ConvBN(channels, c, 3, stride=skeleton.stem_stride)]
    for stage in skeleton.stages:
        c_out = round_channels(stage.channels * width)
        for i in range(stage.layers):
            layers.append(
                _layer(
                    choose, f"l{len(layers) - 1}", c, c_out, stage.stride if i == 0 else 1, i == 0, shortcut, combine
                )
            )
            c = c_out
    tail = round_channels(skeleton.tail * width)
    return nn.Sequential(*layers, ConvBN(c, tail), *classifier(tail, classes, dropout))


def _layer(
    choose: Choose, name: str, c_in: int, c_out: int, stride: int, is_head: bool, shortcut: str, combine: str
) -> nn.Module:
    mean = combine == "mean"
    keeps_shape = stride == 1 and c_in == c_out

    def inverted(kernel: int, expand: int) -> nn.Module:
        block = InvertedResidual(c_in, c_out, kernel=kernel, expand=expand, stride=stride)
        return Residual(block) if keeps_shape and shortcut == "per_op" else block

    candidates = {
        "mb6_k3": lambda: inverted(3, 6),
        "mb3_k3": lambda: inverted(3, 3),
        "mb6_k5": lambda: inverted(5, 6),
        "mb3_k5": lambda: inverted(5, 3),
        "basic_k3": lambda: BasicBlock(c_in, c_out, stride=stride),
    }
    if is_head:  # A head stays one when a small width makes its channel counts equal.
        return choose.subset(name, candidates, empty="basic_k3", mean=mean)
    if shortcut == "per_op":
        return choose.subset(name, candidates, empty=nn.Identity, mean=mean)
    return residual(choose.subset(name, candidates, empty=Zero, mean=mean))
