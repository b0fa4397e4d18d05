"""Blocks that networks are made of."""

from archipel.nn.blocks import BasicBlock, ConvBN, InvertedResidual, PooledLinear, Residual, Zero, classifier, residual
from archipel.nn.elastic import batch_norm2d, conv2d, linear, resize, stack
from archipel.nn.initial import he_fan_out
from archipel.nn.segment import segment

__all__ = [
    "BasicBlock",
    "ConvBN",
    "InvertedResidual",
    "PooledLinear",
    "Residual",
    "Zero",
    "batch_norm2d",
    "classifier",
    "conv2d",
    "he_fan_out",
    "linear",
    "residual",
    "resize",
    "segment",
    "stack",
]
