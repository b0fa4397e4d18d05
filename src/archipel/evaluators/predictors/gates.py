"""GATES: operations as gates on the information that flows through a graph (Ning et al., ECCV 2020, arXiv 2004.01899).

Letters: `B` batch, `G` cells of an architecture, `V` nodes, `K` kinds of operations, `S` sizes of an operation, `E`
width of embeddings, `C` of the code.
"""

from __future__ import annotations

import itertools
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archipel.evaluators.predictors.neural import Encoder

__all__ = ["GatesOnEdge", "GatesOnNode"]


class GatesOnEdge(Encoder):
    """N_j ← N_j W_x + Σ_i m_ij ⊙ (N_i W_x), m_ij = σ(EMB(op_ij) W_o), 0 where there is no operation.

    Between layers ReLU; the code is the last node's vector, those of several cells side by side. Node 0 starts from a
    learned vector, the others from a common one, so that the order of nodes between cannot matter.

    Args:
        residual: the N_j W_x is kept at every node, as in the paper's formula, or at the input alone, as in the
            authors' configuration for NAS-Bench-201, where every other node is then what reaches it and nothing else.
    """

    def __init__(
        self,
        kinds: int,
        cells: int = 1,
        *,
        layers: int = 5,
        channels: int = 128,
        embedding: int = 48,
        hidden: int = 96,
        residual: Literal["all", "input"] = "input",
    ) -> None:
        super().__init__()
        self.width = cells * channels
        self.residual = residual
        self.kinds = nn.Embedding(kinds, embedding)
        self.source = nn.Parameter(torch.randn(embedding))  # E
        self.enter = nn.Linear(embedding, hidden)
        widths = [hidden] + [channels] * layers
        self.weights = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in itertools.pairwise(widths))  # W_x
        self.gates = nn.ModuleList(nn.Linear(embedding, channels) for _ in range(layers))  # W_o

    def forward(self, edges: Tensor) -> Tensor:
        """`[B, G, V, V]` int64, kind + 1 at (j, i) and 0 for none → `[B, C]`."""
        batch, cells, nodes, _ = edges.shape
        start = torch.cat([self.source[None], self.source.new_zeros(nodes - 1, len(self.source))])
        x = self.enter(start).expand(batch * cells, nodes, -1)
        flat = edges.flatten(0, 1)  # [B·G, V, V]
        is_input = (torch.arange(nodes, device=edges.device) == 0)[:, None]
        for i, (weight, gate) in enumerate(zip(self.weights, self.gates)):
            open_to = torch.sigmoid(gate(self.kinds.weight))  # [K, C]
            gates = torch.cat([torch.zeros_like(open_to[:1]), open_to])[flat]  # [B·G, V, V, C]
            x = weight(x)
            kept = x if self.residual == "all" else x * is_input
            x = kept + (gates * x[:, None]).sum(2)
            if i < len(self.weights) - 1:
                x = F.relu(x)
        return x[:, -1].view(batch, -1)


class GatesOnNode(Encoder):
    """N ← σ(EMB(op) W_o) ⊙ (Ã N W_x) + N W_x, where Ã holds what reaches each node.

    Args:
        kinds: how many there are, without padding; the first two are the input's and the output's.
        sizes: of an operation; with them EMB(op) is the embedding of its kind plus a linear map of its sizes.
        readout: the output's vector, for which layers must be as many as the longest way is long, or the mean of all
            nodes' beside it, for graphs that are deeper than that.
    """

    def __init__(
        self,
        kinds: int,
        *,
        sizes: int = 0,
        layers: int = 5,
        channels: int = 128,
        embedding: int = 48,
        hidden: int = 96,
        residual: Literal["all", "input"] = "all",
        readout: Literal["output", "mean"] = "output",
    ) -> None:
        super().__init__()
        self.width = channels if readout == "output" else 2 * channels
        self.residual, self.readout = residual, readout
        self.kinds = nn.Embedding(kinds + 1, embedding, padding_idx=0)
        self.sizes = nn.Linear(sizes, embedding, bias=False) if sizes else None
        self.source = nn.Parameter(torch.randn(embedding))  # E
        self.enter = nn.Linear(embedding, hidden)
        widths = [hidden] + [channels] * layers
        self.weights = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in itertools.pairwise(widths))  # W_x
        self.gates = nn.ModuleList(nn.Linear(embedding, channels) for _ in range(layers))  # W_o

    def forward(self, kinds: Tensor, sizes: Tensor, reaches: Tensor) -> Tensor:
        """What `node_tensors` gives: `[B, V]`, `[B, V, S]`, `[B, V, V]` → `[B, C]`."""
        is_input, is_output = (kinds == 1)[..., None].float(), (kinds == 2)[..., None].float()
        operations = self.kinds(kinds)
        if self.sizes is not None:
            operations = operations + self.sizes(sizes)
        x = self.enter(is_input * self.source)
        for i, (weight, gate) in enumerate(zip(self.weights, self.gates)):
            x = weight(x)
            kept = x if self.residual == "all" else x * is_input
            x = torch.sigmoid(gate(operations)) * (reaches @ x) + kept
            if i < len(self.weights) - 1:
                x = F.relu(x)
        output = (x * is_output).sum(1)
        if self.readout == "output":
            return output
        there = (kinds > 0)[..., None].float()
        return torch.cat([output, (x * there).sum(1) / there.sum(1)], 1)
