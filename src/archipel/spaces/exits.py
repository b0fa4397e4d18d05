"""Networks that can answer early: what the spaces of exits have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import nn

from archipel.choose import Choose
from archipel.nn.blocks import PooledLinear
from archipel.spaces.macro import Maps

__all__ = ["early_head", "exits"]

PLACES = 4
"""Of a side, that an early head looks at; smaller maps have fewer."""


def exits(
    choose: Choose, trunks: Sequence[Callable[[], list[nn.Module]]], heads: Sequence[Callable[[], nn.Module]]
) -> nn.Module:
    """Trunks in a row with a head behind each (BranchyNet, arXiv 1709.01686).

    Choices `exit1`, `exit2` and so on, from the first head: `leave` or `go`. So there are as many architectures as
    heads, and each goes on where the one before turns off.

    Args:
        trunks: the layers between two heads, from the images on.
        heads: one a trunk; the last answers what has not left.
    """

    def onwards(k: int) -> nn.Module:
        layers = trunks[k]()
        if k == len(trunks) - 1:
            return nn.Sequential(*layers, heads[k]())
        return nn.Sequential(*layers, choose.op(f"exit{k + 1}", {"leave": heads[k], "go": partial(onwards, k + 1)}))

    return onwards(0)


def early_head(maps: Maps, classes: int, dropout: float) -> nn.Module:
    """One linear layer over maps averaged down to 4 × 4 places at most: images that go on pay for it too, and so early
    it still matters where something is."""
    return PooledLinear(maps.channels, maps.side, classes, places=PLACES, dropout=dropout)
