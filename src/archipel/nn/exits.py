"""A network that can answer early: layers in a row, and heads that answer from what has been computed so far
(BranchyNet, Teerapittayanon et al., ICPR 2016; shallow-deep networks, Kaya et al., ICML 2019).

Letters: `B` images of a batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from archipel.errors import SpaceError

__all__ = ["Exits"]


class Exits(nn.Module):
    """Trunks in a row, and a head behind each.

    Args:
        trunks: what is computed between two answers, `[B, ...] → [B, ...]`; the first begins with the images.
        heads: one a trunk, `[B, ...] → [B, classes]`.

    Raises:
        SpaceError: there are not as many of each.
    """

    def __init__(self, trunks: Sequence[nn.Module], heads: Sequence[nn.Module]) -> None:
        super().__init__()
        if not heads or len(trunks) != len(heads):
            raise SpaceError(f"exits need a head behind every trunk; there are {len(trunks)} and {len(heads)}")
        self.trunks = nn.ModuleList(trunks)
        self.heads = nn.ModuleList(heads)

    @classmethod
    def of(cls, networks: Sequence[nn.Module]) -> Exits:
        """What networks have in common becomes their trunks: each begins with all layers that the one before shares
        with the next, weights included, and ends in layers of its own.

        Args:
            networks: nested `nn.Sequential`s, shallow to deep; two layers are the same if they are written alike and
                hold the same numbers.

        Raises:
            SpaceError: a network goes on where the one before has already turned off, or has nothing of its own.
        """
        rows = [_layers(network) for network in networks]
        common = [_common(a, b) for a, b in itertools.pairwise(rows)] + [len(rows[-1]) - 1]
        trunks, heads, begin = [], [], 0
        for number, (row, end) in enumerate(zip(rows, common)):
            if end < begin or end >= len(row):
                raise SpaceError(
                    f"network {number + 1} of {len(rows)} shares {end} layers with the next and {begin} with the one "
                    "before; give networks in which each goes on where the one before turns off"
                )
            trunks.append(nn.Sequential(*rows[-1][begin:end]))
            heads.append(nn.Sequential(*row[end:]))
            begin = end
        return cls(trunks, heads)

    def __len__(self) -> int:
        return len(self.heads)

    def child(self, number: int) -> nn.Sequential:
        """The network that always answers at an exit: same weights, no other head."""
        return nn.Sequential(*list(self.trunks)[: number + 1], self.heads[number])

    def answers(self, inputs: Tensor) -> list[Tensor]:
        """`[B, C, H, W]` → `[B, classes]` of every exit."""
        found, x = [], inputs
        for trunk, head in zip(self.trunks, self.heads):
            x = trunk(x)
            found.append(head(x))
        return found

    def forward(self, inputs: Tensor) -> Tensor:
        """`[B, C, H, W]` → `[B, classes]`, the last answer; no other head runs."""
        x = inputs
        for trunk in self.trunks:
            x = trunk(x)
        y: Tensor = self.heads[-1](x)
        return y


def _layers(network: nn.Module) -> list[nn.Module]:
    """Of nested `nn.Sequential`s, which are no more than their parts in a row."""
    if type(network) is not nn.Sequential:
        return [network]
    return [layer for part in network for layer in _layers(part)]


def _common(a: Sequence[nn.Module], b: Sequence[nn.Module]) -> int:
    """How many layers two networks begin with alike."""
    count = 0
    for one, other in zip(a, b):
        mine, yours = one.state_dict(), other.state_dict()
        if repr(one) != repr(other) or mine.keys() != yours.keys():
            break
        if any(not torch.equal(mine[name], yours[name]) for name in mine):
            break
        count += 1
    return count
