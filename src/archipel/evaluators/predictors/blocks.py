"""PNAS' predictors: cells as sequences of blocks that share embeddings, so that what was learned of small cells speaks
of larger ones too (Liu et al., ECCV 2018, §3.4).

Letters: `N` architectures, `B` blocks of the largest, `E` embedding, `C` numbers of a code.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.errors import SpaceError
from archipel.evaluators.predictors.losses import Absolute
from archipel.evaluators.predictors.neural import Encoder, Fitting, NeuralPredictor, mlp
from archipel.space import Space
from archipel.spaces.two_input import blocks_of

__all__ = ["FITTING", "BlockLSTM", "BlockMean", "Blocks", "block_lstm", "block_mean"]


class Blocks:
    """Cells of two-slot blocks as tokens: of each block two inputs and two operations.

    Raises:
        SpaceError: the space has no such blocks.
    """

    def __init__(self, space: Space) -> None:
        self.names = blocks_of(choice.name for choice in space.choices)
        if not self.names:
            raise SpaceError(f"space '{space.name}' has no blocks of two slots; read its decisions instead (lstm)")
        by_name = {choice.name: choice for choice in space.choices}
        self.operations = {option: i for i, option in enumerate(by_name[f"{self.names[0]}.op1"].options, 1)}
        self.inputs = 1 + max(len(by_name[f"{name}.in1"].options) for name in self.names)
        """Rows of an embedding of inputs, the one of no block among them."""

    def __call__(self, architectures: Sequence[Architecture]) -> tuple[Tensor]:
        """`[N, B, 4]` int64, input, input, operation, operation; from 1 on, and 0 where there is no block."""
        return (torch.tensor([[self._tokens(a, name) for name in self.names] for a in architectures]),)

    def _tokens(self, architecture: Architecture, name: str) -> list[int]:
        if f"{name}.in1" not in architecture:
            return [0, 0, 0, 0]
        inputs = [1 + architecture[f"{name}.in{s}"][0] for s in (1, 2)]  # type: ignore[index,operator]
        return [*inputs, *(self.operations[str(architecture[f"{name}.op{s}"])] for s in (1, 2))]


class _Embedded(Encoder):
    """One embedding for all inputs and one for all operations, wherever they stand."""

    def __init__(self, blocks: Blocks, embedding: int) -> None:
        super().__init__()
        self.states = nn.Embedding(blocks.inputs, embedding)
        self.operations = nn.Embedding(1 + len(blocks.operations), embedding)

    def embed(self, tokens: Tensor) -> Tensor:
        """`[N, B, 4]` → `[N, B, 4, E]`."""
        return torch.cat([self.states(tokens[..., :2]), self.operations(tokens[..., 2:])], 2)


class BlockLSTM(_Embedded):
    """The output of an LSTM behind the last token of the last block there is."""

    def __init__(self, blocks: Blocks, *, embedding: int = 100, units: int = 100) -> None:
        super().__init__(blocks, embedding)
        self.width = units
        self.lstm = nn.LSTM(embedding, units, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        """`[N, B, 4]` → `[N, C]`."""
        there = tokens[..., 0] > 0  # blocks of an architecture may lie apart: those of two cells
        order = (~there).int().argsort(dim=1, stable=True)
        front = tokens.gather(1, order[..., None].expand(tokens.shape))
        outputs, _ = self.lstm(self.embed(front).flatten(1, 2))
        return outputs[torch.arange(len(tokens)), 4 * there.sum(1) - 1]


class BlockMean(_Embedded):
    """An MLP of two layers over the mean of the blocks, each its four embeddings in a row."""

    def __init__(self, blocks: Blocks, *, embedding: int = 100, units: int = 100) -> None:
        super().__init__(blocks, embedding)
        self.width = units
        self.layers = nn.Sequential(mlp(4 * embedding, (units, units)), nn.ReLU())

    def forward(self, tokens: Tensor) -> Tensor:
        """`[N, B, 4]` → `[N, C]`."""
        there = (tokens[..., :1] > 0).float()
        mean = (self.embed(tokens).flatten(2) * there).sum(1) / there.sum(1)
        return self.layers(mean)


FITTING = Fitting(loss=Absolute(), epochs=50, batch=32, lr=2e-3, hidden=(), dropout=0.0)
"""As published: absolute error, Adam at 0.002; epochs and batch are ours."""


def block_lstm(space: Space, *, fitting: Fitting = FITTING, seed: int = 0) -> NeuralPredictor:
    """PNAS' recurrent predictor."""
    blocks = Blocks(space)
    return NeuralPredictor(blocks, lambda: BlockLSTM(blocks), fitting, seed=seed)


def block_mean(space: Space, *, fitting: Fitting = FITTING, seed: int = 0) -> NeuralPredictor:
    """PNAS' predictor of the mean block."""
    blocks = Blocks(space)
    return NeuralPredictor(blocks, lambda: BlockMean(blocks), fitting, seed=seed)
