"""The cells of DARTS (Liu et al., ICLR 2019)."""

from __future__ import annotations

from torch import nn

from archipel.choose import Choose
from archipel.spaces.two_input import Rule, stacked

__all__ = ["darts"]

_RULE = Rule(
    (
        "max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5",
    ),
    distinct=True,
    unread=False,
)  # fmt: skip


def darts(
    choose: Choose,
    *,
    cells: int = 2,
    blocks: int = 4,
    filters: int = 16,
    classes: int = 10,
    channels: int = 3,
    size: int = 32,
    drop_path: float = 0.0,
    dropout: float = 0.0,
) -> nn.Module:
    """DARTS' cells (arXiv 1806.09055): four nodes, each the sum of an operation of two different earlier ones, 1.1e18.

    Choices `normal.b2.in` (which two) and `normal.b2.e0` (the operation of the edge from state 0), likewise
    `reduction`. All nodes are a cell's output. What is not here: the operation `none`, which takes part in DARTS'
    relaxation and in no network, and the batch norm without scale behind pooling while it searches.

    Args:
        cells: normal cells in each of the three stages (N); 2 while searching, 6 afterwards in the paper.
        blocks: nodes of a cell.
        filters: channels of a block in the first stage (F); 16 while searching, 36 afterwards.
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
