"""The cells of ENAS' micro search, which are those of NAO with weight sharing."""

from __future__ import annotations

from torch import nn

from archipel.choose import Choose
from archipel.spaces.two_input import Rule, stacked

__all__ = ["enas"]

_RULE = Rule(("skip_connect", "sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3"))


def enas(
    choose: Choose,
    *,
    cells: int = 2,
    blocks: int = 5,
    filters: int = 20,
    classes: int = 10,
    channels: int = 3,
    size: int = 32,
    drop_path: float = 0.0,
    dropout: float = 0.0,
) -> nn.Module:
    """ENAS' cells (Pham et al., ICML 2018, arXiv 1802.03268), and NAO's with shared weights (Luo et al., NeurIPS 2018).

    Choices `normal.b2.in1 .op1 .in2 .op2`, likewise `reduction`: which states block 2 reads, and through what. States 0
    and 1 are the two cells before. Blocks that no other reads are a cell's output. As in ENAS' code, an operation has
    weights of its own for each state it may read.

    Args:
        cells: normal cells in each of the three stages (N); 2 while searching, 5 afterwards in the paper.
        blocks: of a cell (B).
        filters: channels of a block in the first stage (F); 20 while searching, 36 afterwards.
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
