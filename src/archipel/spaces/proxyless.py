"""ProxylessNAS' search space for images of any size (Cai et al., ICLR 2019): 21 blocks, each one of up to 7."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from archipel.choose import Choose, Factory
from archipel.errors import SpaceError
from archipel.nn.blocks import ConvBN, InvertedResidual, Zero, classifier, residual
from archipel.nn.initial import he_fan_out
from archipel.spaces.macro import Macro, macro_for, round_channels, stages, tail_channels

__all__ = ["BN_EPS", "MACROS", "proxyless"]

BN_EPS = 1e-3
"""Of every batch norm in the published networks; their momentum, 0.1, is torch's own."""

_PUBLISHED = ((24, 4, 2), (40, 4, 2), (80, 4, 2), (96, 4, 1), (192, 4, 2), (320, 1, 1))

# The first stage is the fixed block. `cifar`: as InstaNAS' macro-structure of that name, the first two strides are
# left out, so that 32 pixels end as 4; `tiny`: one is. `digits`, `compact` and `compact_large` are ours.
MACROS: dict[str, Macro] = {
    "digits": Macro(1, stages((16, 1, 1), (24, 2, 2), (40, 2, 1), (80, 1, 2)), tail=256),
    "compact": Macro(2, stages((16, 1, 1), (24, 3, 2), (40, 3, 1), (80, 3, 2), (96, 2, 1)), tail=640),
    "compact_large": Macro(2, stages((16, 1, 1), (24, 2, 2), (40, 3, 2), (80, 3, 2), (96, 2, 2)), tail=640),
    "cifar": Macro(1, stages((16, 1, 1), (24, 4, 1), *_PUBLISHED[1:])),
    "tiny": Macro(1, stages((16, 1, 1), *_PUBLISHED)),
    "imagenet": Macro(2, stages((16, 1, 1), *_PUBLISHED)),
}


def proxyless(
    choose: Choose,
    *,
    macro: str | None = None,
    width: float = 1.0,
    widths: Sequence[int] | None = None,
    kernels: Sequence[int] = (3, 5, 7),
    expansions: Sequence[int] = (3, 6),
    classes: int = 10,
    channels: int = 3,
    size: int = 32,
    dropout: float = 0.0,
) -> nn.Module:
    """ProxylessNAS (arXiv 1812.00332): MobileNetV2's skeleton, each block one of six kernels and expansions or absent.

    Choices `b1` to `b21`, numbered as the published networks number their blocks (block 0 is fixed: kernel 3,
    expansion 1), with options `k3e3 k3e6 k5e3 k5e6 k7e3 k7e6`, and `zero` where a block keeps its shape: it has a
    shortcut, and is the identity without its body. 6^6 · 7^15 = 221,502,229,807,900,608 architectures at width 1.

    Args:
        macro: `imagenet` (the paper's), `cifar`, `tiny` (the same blocks, fewer strides), `light` (ours, for few
            cores: `digits`, `compact` or `compact_large`); by image size if not given.
        width: multiplier of all channel counts, rounded to multiples of 8; that of the published tail is not
            below 1.
        widths: channels of the stem, the fixed block, every stage and the tail, in place of the macro-structure's.
        kernels: odd kernel sizes of the depthwise convolutions.
        expansions: how many times wider a block is inside.
        size: side of the images in pixels.
        dropout: before the classifier.

    Raises:
        SpaceError: no such macro-structure, a number of widths that is not its own, a width of 0, an even kernel, or an
            expansion below 1.
    """
    if macro is None and size < 20:
        macro = "cifar"  # the published blocks at any size; `digits` is one of ours
    skeleton = macro_for(macro, size, MACROS)
    stem, *stage_widths, tail = _widths(skeleton, widths)
    bodies = _bodies(kernels, expansions)
    c = round_channels(stem * width)
    layers: list[nn.Module] = [ConvBN(channels, c, 3, stride=skeleton.stem_stride, act=nn.ReLU6, eps=BN_EPS)]
    for s, (stage, stage_width) in enumerate(zip(skeleton.stages, stage_widths)):
        c_out = round_channels(stage_width * width)
        for i in range(stage.layers):
            stride = stage.stride if i == 0 else 1
            layers.append(
                _block(choose, f"b{len(layers) - 1}", c, c_out, stride, bodies)
                if s
                else InvertedResidual(c, c_out, expand=1, stride=stride, act=nn.ReLU6, eps=BN_EPS)
            )
            c = c_out
    tail = tail_channels(tail, width)
    return he_fan_out(
        nn.Sequential(*layers, ConvBN(c, tail, act=nn.ReLU6, eps=BN_EPS), *classifier(tail, classes, dropout))
    )


def _block(
    choose: Choose, name: str, c_in: int, c_out: int, stride: int, bodies: dict[str, tuple[int, int]]
) -> nn.Module:
    def body(kernel: int, expand: int) -> Factory:
        return lambda: InvertedResidual(
            c_in, c_out, kernel=kernel, expand=expand, stride=stride, act=nn.ReLU6, eps=BN_EPS
        )

    candidates = {option: body(kernel, expand) for option, (kernel, expand) in bodies.items()}
    if stride > 1 or c_in != c_out:
        return choose.op(name, candidates)
    return residual(choose.op(name, {**candidates, "zero": Zero}))


def _bodies(kernels: Sequence[int], expansions: Sequence[int]) -> dict[str, tuple[int, int]]:
    """Option name → (kernel, expansion)."""
    for kernel in kernels:
        if not isinstance(kernel, int) or kernel < 1 or kernel % 2 == 0:
            raise SpaceError(f"a kernel is {kernel}; give odd sizes, such as 3, 5, 7")
    for expansion in expansions:
        if not isinstance(expansion, int) or expansion < 1:
            raise SpaceError(f"an expansion is {expansion}; give whole numbers above 0, such as 3, 6")
    return {f"k{kernel}e{expansion}": (kernel, expansion) for kernel in kernels for expansion in expansions}


def _widths(skeleton: Macro, widths: Sequence[int] | None) -> list[int]:
    own = [skeleton.stem, *(stage.channels for stage in skeleton.stages), skeleton.tail]
    if widths is None:
        return own
    if len(widths) != len(own):
        raise SpaceError(
            f"{len(widths)} widths are given; this macro-structure has {len(own)}: stem, "
            f"{len(own) - 2} stages with the fixed block first, tail"
        )
    return list(widths)
