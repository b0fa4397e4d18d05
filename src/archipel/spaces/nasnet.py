"""The cells of NASNet (Zoph et al., CVPR 2018)."""

from __future__ import annotations

from torch import nn

from archipel.choose import Choose
from archipel.spaces.two_input import Rule, stacked

__all__ = ["nasnet"]

_RULE = Rule(
    (
        "skip_connect", "conv_1x3_3x1", "conv_1x7_7x1", "dil_conv_3x3", "avg_pool_3x3", "max_pool_3x3", "max_pool_5x5",
        "max_pool_7x7", "conv_1x1", "conv_3x3", "sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7",
    ),
    combine=("add", "concat"),
)  # fmt: skip


def nasnet(
    choose: Choose,
    *,
    cells: int = 2,
    blocks: int = 5,
    filters: int = 32,
    classes: int = 10,
    channels: int = 3,
    size: int = 32,
    drop_path: float = 0.0,
    dropout: float = 0.0,
) -> nn.Module:
    """NASNet's cells (arXiv 1707.07012): two cells of five blocks, thirteen operations, added or concatenated.

    Choices `normal.b2.in1 .op1 .in2 .op2 .combine`, likewise `reduction`: which states block 2 reads, through what, and
    how the two become one. States 0 and 1 are the two cells before. Blocks that no other reads are a cell's output.
    Concatenated blocks go through a 1×1 convolution. Convolutions that are separable run twice, as in the paper.

    Args:
        cells: normal cells in each of the three stages (N); 2 while searching, 6 afterwards in the paper.
        blocks: of a cell (B).
        filters: channels of a block in the first stage (F); 32 while searching.
        size: side of the images; from 112 on, the stem halves them three times.
        drop_path: how often an edge of the last cell is left out for a sample when the training ends.
        dropout: before the classifier.

    Raises:
        SpaceError: no cells, blocks or filters, or a rate that is no share.
    """
    return stacked(
        choose, _RULE, cells=cells, blocks=blocks, filters=filters, classes=classes, channels=channels, size=size,
        drop_path=drop_path, dropout=dropout,
    )  # fmt: skip
