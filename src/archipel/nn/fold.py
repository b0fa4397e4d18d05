"""Fold batch norm into the convolution before it, as every deployed network does."""

from __future__ import annotations

import copy
import itertools
from collections import Counter

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

__all__ = ["fold_batch_norm"]


def fold_batch_norm(module: nn.Module) -> nn.Module:
    """An evaluation-mode copy of `module` whose `Conv2d → BatchNorm2d` pairs are single convolutions.

    A pair is a convolution directly followed by a batch norm in an `nn.Sequential` or a subclass of it; outputs
    stay equal up to rounding. Left as it is: a pair whose convolution or norm stands in several places, and
    a norm without running statistics (it normalises by the batch in evaluation mode too). In a plain
    `Sequential` the folded norm disappears; a subclass with a `forward` of its own may address it by
    name or position, so there an `nn.Identity` keeps its place.
    """
    folded = copy.deepcopy(module).eval()
    places = Counter(id(part) for _, part in folded.named_modules(remove_duplicate=False))
    for sequence in list(folded.modules()):
        if isinstance(sequence, nn.Sequential):
            _fold_in(sequence, places)
    return folded


def _fold_in(sequence: nn.Sequential, places: Counter[int]) -> None:
    keeps_its_forward = type(sequence).forward is nn.Sequential.forward
    children = list(sequence._modules.items())  # `named_children` leaves out what stands there a second time
    for (_, conv), (second, norm) in itertools.pairwise(children):
        if not (isinstance(conv, nn.Conv2d) and type(conv).forward is nn.Conv2d.forward):
            continue  # another forward, an elastic one say, need not compute a convolution of `weight`
        if not (isinstance(norm, nn.BatchNorm2d) and type(norm).forward is nn.BatchNorm2d.forward):
            continue
        if norm.running_mean is None or norm.running_var is None:
            continue
        if places[id(conv)] > 1 or places[id(norm)] > 1:
            continue
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        if keeps_its_forward:
            del sequence._modules[second]
        else:
            sequence._modules[second] = nn.Identity()
