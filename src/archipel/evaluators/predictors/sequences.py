"""Architectures as sequences of decisions, of one length for a whole space, and LSTMs over them.

Letters: `N` architectures, `B` batch, `L` length of the sequence, `D` columns of the space's code, `C` of the code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.choice import Choice, members
from archipel.evaluators.predictors.neural import Encoder
from archipel.space import Space

__all__ = ["LSTM", "Decisions", "Slot"]


@dataclass(frozen=True)
class Slot:
    """One place of the sequence: what a choice is set to, or whether one option of a subset is taken."""

    choice: Choice
    number: int
    """Of those of its choice."""
    columns: range
    """Of the space's code, of the options that can stand here."""


class Decisions:
    """A space's decisions in its own order, parents before what they open.

    An `op` or `value` choice has one place, an `inputs` choice k, a `subset` one for each option. Tokens are columns of
    the space's code, counted from 1; 0 stands for a choice that is not active and an option that is not taken.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.slots: tuple[Slot, ...] = tuple(_slots(space))

    def __call__(self, architectures: Sequence[Architecture]) -> tuple[Tensor]:
        """`[N, L]` int64."""
        return (torch.tensor([self.tokens(architecture) for architecture in architectures]),)

    def tokens(self, architecture: Architecture) -> list[int]:
        """The sequence of one architecture."""
        canonical = self.space.canonical(architecture)
        return [self._token(slot, canonical) for slot in self.slots]

    def _token(self, slot: Slot, architecture: Architecture) -> int:
        if slot.choice.name not in architecture:
            return 0
        chosen = members(architecture[slot.choice.name])
        start = 1 + self.space.slices[slot.choice.name].start
        if slot.choice.kind == "subset":
            return 1 + slot.columns[0] if slot.choice.options[slot.number] in chosen else 0
        return start + slot.choice.options.index(chosen[slot.number])

    def allowed(self, slot: Slot, before: Sequence[int]) -> list[int]:
        """The tokens that can follow `before`, the tokens of all slots before this one, in some architecture."""
        choice, start = slot.choice, 1 + self.space.slices[slot.choice.name].start
        if not self._active(choice, before):
            return [0]
        own = before[len(before) - slot.number :]
        if choice.kind == "subset":
            last = slot.number == len(choice.options) - 1
            must = last and not any(own) and choice.empty is None
            return [start + slot.number] if must else [0, start + slot.number]
        if choice.kind == "inputs":  # ascending, and enough left for the places behind this one
            first = own[-1] + 1 if own else start
            return list(range(first, start + len(choice.options) - (choice.k - slot.number - 1)))
        return list(range(start, start + len(choice.options)))

    def _active(self, choice: Choice, before: Sequence[int]) -> bool:
        if choice.parent is None:
            return True
        parent = next(c for c in self.space.choices if c.name == choice.parent)
        start = 1 + self.space.slices[parent.name].start
        taken = [option for i, option in enumerate(parent.options) if start + i in before]
        if not taken and parent.empty in parent.options and self._active(parent, before):
            taken = [parent.empty]  # what an empty selection runs
        return not choice.when.isdisjoint(taken)

    def architecture(self, tokens: Sequence[int]) -> Architecture:
        """Inverse of `tokens`."""
        taken = {token for token in tokens if token}
        values: dict[str, Any] = {}
        for choice in self.space.choices:
            start = 1 + self.space.slices[choice.name].start
            chosen = tuple(option for i, option in enumerate(choice.options) if start + i in taken)
            if choice.takes_several:
                values[choice.name] = chosen
            elif chosen:
                values[choice.name] = chosen[0]
        return self.space.canonical(values)


def _slots(space: Space) -> Iterator[Slot]:
    for choice in space.choices:
        start = space.slices[choice.name].start
        if choice.kind == "subset":
            yield from (Slot(choice, i, range(start + i, start + i + 1)) for i in range(len(choice.options)))
        else:
            count = choice.k if choice.kind == "inputs" else 1
            yield from (Slot(choice, i, range(start, start + len(choice.options))) for i in range(count))


class LSTM(Encoder):
    """The last output of an LSTM over embedded decisions (PNAS: embedding 100, 100 units).

    Args:
        columns: D.
    """

    def __init__(self, columns: int, *, embedding: int = 100, units: int = 100) -> None:
        super().__init__()
        self.width = units
        self.tokens = nn.Embedding(columns + 1, embedding)
        self.lstm = nn.LSTM(embedding, units, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        """`[B, L]` → `[B, C]`."""
        outputs, _ = self.lstm(self.tokens(tokens))
        return outputs[:, -1]
