"""The cells of Progressive NAS (Liu et al., ECCV 2018)."""

from __future__ import annotations

from torch import nn

from archipel.choose import Choose
from archipel.spaces.two_input import Rule, stacked

__all__ = ["pnas"]

_RULE = Rule(
    (
        "sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7", "conv_1x7_7x1", "skip_connect", "avg_pool_3x3", "max_pool_3x3",
        "dil_conv_3x3",
    ),
    unread=False,
    alike=True,
    grows=True,
)  # fmt: skip


def pnas(
    choose: Choose,
    *,
    cells: int = 2,
    blocks: int = 5,
    filters: int = 24,
    classes: int = 10,
    channels: int = 3,
    size: int = 32,
    drop_path: float = 0.0,
    dropout: float = 0.0,
) -> nn.Module:
    """PNAS' cells (arXiv 1712.00559): one cell of one to five blocks, strided where it reduces; eight operations.

    Choices `cell.blocks`, how many there are, and `cell.b2.in1 .op1 .in2 .op2`: which states block 2 reads, and through
    what. States 0 and 1 are the two cells before. All blocks are the cell's output, as in the released PNASNet-5. A
    block whose halves are swapped gives the same network; `archipel.strategies.pnas` tries one of them.

    Args:
        cells: normal cells in each of the three stages (N); 2 while searching, 3 afterwards in the paper.
        blocks: at most (B).
        filters: channels of a block in the first stage (F); 24 while searching, 48 afterwards.
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
