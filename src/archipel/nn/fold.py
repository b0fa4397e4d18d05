"""Fold layers into the one beside them, as every deployed network does: batch norm into the convolution before it, and
averages over windows into the linear layer behind them."""

from __future__ import annotations

import copy
import itertools
from collections import Counter

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from archipel.nn.blocks import PooledLinear
from archipel.nn.elastic import ElasticBatchNorm2d, ElasticConv2d, ElasticLayer, SwitchedBatchNorm2d

__all__ = ["fold_for_inference"]

LARGEST = 2**16
"""Numbers of a matrix that a core keeps in its second cache beside the layers around it."""


def fold_for_inference(module: nn.Module) -> nn.Module:
    """An evaluation-mode copy of `module` whose `Conv2d → BatchNorm2d` pairs are single convolutions.

    A pair is a convolution directly followed by a batch norm in an `nn.Sequential` or a subclass of it; outputs
    stay equal up to rounding. Left as it is: a pair whose convolution or norm stands in several places, and
    a norm without running statistics (it normalises by the batch in evaluation mode too). In a plain
    `Sequential` the folded norm disappears; a subclass with a `forward` of its own may address it by
    name or position, so there an `nn.Identity` keeps its place. A pair of elastic layers becomes one convolution for
    every way in which their sizes are chosen, which takes that much more memory.

    A `PooledLinear` becomes one matrix over all places where that has at most `LARGEST` numbers: more products than
    averaging first, in a third of the calls, which is what a small layer costs.
    """
    folded = copy.deepcopy(module).eval()
    for part in list(folded.modules()):
        for name, layer in part.named_children():
            if isinstance(layer, PooledLinear) and layer.out * layer.channels * layer.side**2 <= LARGEST:
                setattr(part, name, _ChannelsLastLinear(layer.over_all_places()))
    places = Counter(id(part) for _, part in folded.named_modules(remove_duplicate=False))
    for sequence in list(folded.modules()):
        if isinstance(sequence, nn.Sequential):
            _fold_in(sequence, places)
    return folded


def _fold_in(sequence: nn.Sequential, places: Counter[int]) -> None:
    keeps_its_forward = type(sequence).forward is nn.Sequential.forward
    children = list(sequence._modules.items())  # `named_children` leaves out what stands there a second time
    for (first, conv), (second, norm) in itertools.pairwise(children):
        if places[id(conv)] > 1 or places[id(norm)] > 1:
            continue
        if isinstance(conv, ElasticConv2d) and isinstance(norm, ElasticBatchNorm2d | SwitchedBatchNorm2d):
            sequence._modules[first] = _FoldedConv2d(conv, norm)
        elif not _fuse(conv, norm):
            continue
        if keeps_its_forward:
            del sequence._modules[second]
        else:
            sequence._modules[second] = nn.Identity()


def _fuse(conv: nn.Module | None, norm: nn.Module | None) -> bool:
    """Fold `norm` into `conv` if they are such a pair."""
    if not (isinstance(conv, nn.Conv2d) and type(conv).forward is nn.Conv2d.forward):
        return False  # another forward need not compute a convolution of `weight`
    if not (isinstance(norm, nn.BatchNorm2d) and type(norm).forward is nn.BatchNorm2d.forward):
        return False
    if norm.running_mean is None or norm.running_var is None:
        return False
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    return True


class _FoldedConv2d(ElasticLayer):
    """An elastic convolution with its batch norm: a plain one for every way in which their choices are set."""

    def __init__(self, conv: ElasticConv2d, norm: ElasticBatchNorm2d | SwitchedBatchNorm2d) -> None:
        super().__init__(**conv.sizes, **{f"norm_{name}": size for name, size in norm.sizes.items()})
        self.convolutions = nn.ModuleDict()
        for assignment in self.settings():
            n, own = conv.numbers(assignment), conv.tensors(assignment)
            fused = nn.Conv2d(
                n["c_in"],
                n["c_out"],
                (n["height"], n["width"]),
                n["stride"],
                (n["height"] // 2, n["width"] // 2),
                groups=n["groups"],
                bias="bias" in own,
            )
            plain = nn.BatchNorm2d(n["c_out"], norm.full.eps)
            for layer, tensors in ((fused, own), (plain, norm.tensors(assignment))):
                layer.to(own["weight"])
                layer.load_state_dict(tensors)
            _fuse(fused, plain)
            self.convolutions[self.key(assignment)] = fused.eval()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.convolutions[self.key(self.now())](x)
        return y


class _ChannelsLastLinear(nn.Module):
    """Maps, in the order in which channels-last memory has them, times a matrix."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x.permute(0, 2, 3, 1).flatten(1))
        return y
