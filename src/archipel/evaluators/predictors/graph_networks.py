"""Graph networks in which operations are features of nodes: GIN and GCN, as dense products.

Letters: `B` batch, `V` nodes, `S` sizes of an operation, `C` of the code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archipel.evaluators.predictors.neural import Encoder

__all__ = ["GCN", "GIN"]


class _Nodes(nn.Module):
    """An embedding of each node's kind and sizes; nothing where there is no node."""

    def __init__(self, kinds: int, sizes: int, width: int) -> None:
        super().__init__()
        self.kinds = nn.Embedding(kinds + 1, width, padding_idx=0)
        self.sizes = nn.Linear(sizes, width, bias=False) if sizes else None

    def forward(self, kinds: Tensor, sizes: Tensor) -> Tensor:
        return self.kinds(kinds) if self.sizes is None else self.kinds(kinds) + self.sizes(sizes)


def _mean(x: Tensor, there: Tensor) -> Tensor:
    return (x * there).sum(1) / there.sum(1)


class GIN(Encoder):
    """h_v ← MLP((1 + ε) h_v + Σ_{u→v} h_u), then the mean over nodes (Xu et al., ICLR 2019).

    Three layers of width 32 with two-layer MLPs are NPENAS' predictor (Wei et al., arXiv 2003.12857). Its batch norm
    became layer norm, so that an architecture is judged alike in any company.
    """

    def __init__(self, kinds: int, *, sizes: int = 0, layers: int = 3, channels: int = 32) -> None:
        super().__init__()
        self.width = channels
        self.nodes = _Nodes(kinds, sizes, channels)
        self.own = nn.Parameter(torch.zeros(layers))  # ε
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Linear(channels, channels),
                nn.LayerNorm(channels),
                nn.ReLU(),
                nn.Linear(channels, channels),
                nn.ReLU(),
            )
            for _ in range(layers)
        )

    def forward(self, kinds: Tensor, sizes: Tensor, reaches: Tensor) -> Tensor:
        """What `node_tensors` gives: `[B, V]`, `[B, V, S]`, `[B, V, V]` → `[B, C]`."""
        there = (kinds > 0)[..., None].float()
        x = self.nodes(kinds, sizes)
        for own, layer in zip(self.own, self.layers):
            x = layer((1 + own) * x + reaches @ x) * there
        return _mean(x, there)


class GCN(Encoder):
    """h ← ½ ReLU(Â h W⁺) + ½ ReLU(Âᵀ h W⁻) with rows of Â of sum 1, self included; then the mean over nodes.

    Along the flow and against it: Wen et al., Neural predictor for neural architecture search, ECCV 2020.
    """

    def __init__(self, kinds: int, *, sizes: int = 0, layers: int = 3, channels: int = 144) -> None:
        super().__init__()
        self.width = channels
        self.nodes = _Nodes(kinds, sizes, channels)
        self.along = nn.ModuleList(nn.Linear(channels, channels) for _ in range(layers))
        self.against = nn.ModuleList(nn.Linear(channels, channels) for _ in range(layers))

    def forward(self, kinds: Tensor, sizes: Tensor, reaches: Tensor) -> Tensor:
        """What `node_tensors` gives: `[B, V]`, `[B, V, S]`, `[B, V, V]` → `[B, C]`."""
        there = (kinds > 0)[..., None].float()
        self_too = reaches + torch.eye(reaches.shape[-1], device=reaches.device)
        ahead = self_too / self_too.sum(2, keepdim=True)
        behind = self_too.mT / self_too.mT.sum(2, keepdim=True)
        x = self.nodes(kinds, sizes)
        for along, against in zip(self.along, self.against):
            x = (F.relu(along(ahead @ x)) + F.relu(against(behind @ x))) / 2 * there
        return _mean(x, there)
