"""Blocks that networks are made of."""

from archipel.nn.blocks import BasicBlock, ConvBN, InvertedResidual, Residual, Zero, residual
from archipel.nn.elastic import batch_norm2d, conv2d, linear, resize, stack

__all__ = [
    "BasicBlock",
    "ConvBN",
    "InvertedResidual",
    "Residual",
    "Zero",
    "batch_norm2d",
    "conv2d",
    "linear",
    "residual",
    "resize",
    "stack",
]
