"""Distributions over the architectures of a space: a string of tokens, each drawn after those before it.

A token is one decision: of an `op` or `value` choice its option; of an `inputs` choice k positions, one after another,
none twice; of a `subset` one yes or no for each option. Inactive choices have none. Letters: `T` tokens, `V` values of
a token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.choice import Choice
from archipel.space import Space

__all__ = ["Anchors", "IndependentPolicy", "Policy", "RecurrentPolicy", "Slot", "Token", "skips_of", "slots_of"]


@dataclass(frozen=True)
class Slot:
    """A place for a token."""

    choice: Choice
    number: int
    """Among all slots of the space."""
    width: int
    """How many values its token can have (V)."""
    offset: int
    """Of its first value among the values of all slots."""


Token: TypeAlias = "tuple[Slot, tuple[bool, ...], int]"
"""A slot, which values were allowed there, and the one that was drawn."""


class Policy(Protocol):
    """What policy gradients move."""

    def draw(self, rng: torch.Generator) -> tuple[Architecture, list[Token]]:
        """An architecture, and the tokens that say it; without a gradient."""

    def log_prob(self, tokens: Sequence[Token]) -> tuple[Tensor, Tensor]:
        """Logarithm of a string's probability, and the entropies of its tokens added up; `[]` each."""

    def parameters(self) -> Any: ...


def slots_of(space: Space) -> dict[str, list[Slot]]:
    """Slots of every choice, in the order in which their tokens are drawn."""
    found: dict[str, list[Slot]] = {}
    number = offset = 0
    for choice in space.choices:
        count = {"subset": len(choice.options), "inputs": choice.k}.get(choice.kind, 1)
        width = 2 if choice.kind == "subset" else len(choice.options)
        found[choice.name] = [Slot(choice, number + i, width, offset + i * width) for i in range(count)]
        number, offset = number + count, offset + count * width
    return found


def _assembled(
    space: Space, slots: dict[str, list[Slot]], draw: Callable[[Slot, list[bool]], int]
) -> tuple[Architecture, list[Token]]:
    """Tokens drawn one after another, those before them decided: which choices are active, which positions are free."""
    values: dict[str, Any] = {}
    tokens: list[Token] = []
    for choice in space.active(values):  # grows as the loop sets values
        taken: list[int] = []
        for i, slot in enumerate(slots[choice.name]):
            allowed = [True] * slot.width
            if choice.kind == "inputs":
                allowed = [position not in taken for position in range(slot.width)]
            elif choice.kind == "subset" and choice.empty is None and i + 1 == len(choice.options):
                allowed[0] = bool(taken)
            value = draw(slot, allowed)
            tokens.append((slot, tuple(allowed), value))
            if choice.kind != "subset":
                taken.append(value)
            elif value:
                taken.append(i)
        options = [choice.options[i] for i in taken]
        values[choice.name] = options if choice.takes_several else options[0]
    return space.canonical(values), tokens


def _drawn(logits: Tensor, allowed: Sequence[bool], rng: torch.Generator) -> int:
    return int(torch.multinomial(_masked(logits, allowed).softmax(-1), 1, generator=rng))


def _masked(logits: Tensor, allowed: Sequence[bool]) -> Tensor:
    return logits if all(allowed) else logits.masked_fill(~torch.tensor(allowed), -1e9)


def _told(logits: Sequence[Tensor], tokens: Sequence[Token]) -> tuple[Tensor, Tensor]:
    log_prob, entropy = torch.zeros(()), torch.zeros(())
    for row, (_, allowed, value) in zip(logits, tokens, strict=True):
        log = _masked(row, allowed).log_softmax(-1)
        log_prob = log_prob + log[value]
        entropy = entropy - (log.exp() * log).sum()
    return log_prob, entropy


class IndependentPolicy(nn.Module):
    """Logits of their own for every slot, whatever the other tokens are."""

    def __init__(self, space: Space, *, rng: torch.Generator) -> None:
        super().__init__()
        self.space, self.slots = space, slots_of(space)
        self.logits = nn.ParameterList(
            nn.Parameter(1e-3 * torch.randn(slot.width, generator=rng))
            for slots in self.slots.values()
            for slot in slots
        )

    def draw(self, rng: torch.Generator) -> tuple[Architecture, list[Token]]:
        with torch.no_grad():
            return _assembled(
                self.space, self.slots, lambda slot, allowed: _drawn(self.logits[slot.number], allowed, rng)
            )

    def log_prob(self, tokens: Sequence[Token]) -> tuple[Tensor, Tensor]:
        return _told([self.logits[slot.number] for slot, _, _ in tokens], tokens)


class Anchors(nn.Module):
    """P(layer j is an input of layer i) = σ(vᵀ tanh(W_prev h_j + W_curr h_i)), each j on its own (Zoph and Le, ICLR
    2017, eq. 5)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.previous = nn.Linear(hidden, hidden, bias=False)
        self.current = nn.Linear(hidden, hidden, bias=False)
        self.v = nn.Linear(hidden, 1, bias=False)

    def forward(self, earlier: Tensor, now: Tensor) -> Tensor:
        """Logits of no and yes, `[A, 2]`, from states `[A, hidden]` of A earlier layers and `[hidden]` of this one."""
        yes: Tensor = self.v(torch.tanh(self.previous(earlier) + self.current(now)))
        return torch.cat([torch.zeros_like(yes), yes], 1)


def skips_of(space: Space) -> frozenset[str]:
    """The choices that say which earlier layers are read.

    These are the `subset` choices each of whose options is what the names of earlier choices begin with, as `l0` of
    `l0.height` is, of choices that are always active: options are layers there, and their layers have been decided.
    """
    found: set[str] = set()
    layers: set[str] = set()
    for choice in space.choices:
        if choice.kind == "subset" and layers.issuperset(choice.options):
            found.add(choice.name)
        elif choice.parent is None:
            layers.add(_layer(choice))
    return frozenset(found)


def _layer(choice: Choice) -> str:
    return choice.name.rpartition(".")[0]


class RecurrentPolicy(nn.Module):
    """An LSTM that reads the tokens so far; each slot has its own softmax over what the LSTM puts out.

    Skips (`skips_of`) are decided by anchors. All tokens of such a choice are one step of the LSTM, whose state then is
    that of the layer, h_i; of an earlier layer h_j is the state that has read the last token of its sizes. The step
    after it reads the mean of the tokens' embeddings.

    Args:
        hidden: units of each of `layers` layers; 35 and 2 in the paper (Zoph and Le, ICLR 2017).
        spread: weights are uniform in ± this.
    """

    def __init__(
        self, space: Space, *, rng: torch.Generator, hidden: int = 35, layers: int = 2, spread: float = 0.08
    ) -> None:
        super().__init__()
        self.space, self.slots, self.skips = space, slots_of(space), skips_of(space)
        every = [slot for slots in self.slots.values() for slot in slots]
        self.embedding = nn.Embedding(1 + sum(slot.width for slot in every), hidden)  # row 0 is the beginning
        self.lstm = nn.LSTM(hidden, hidden, layers)
        self.heads = nn.ModuleDict(
            {str(slot.number): nn.Linear(hidden, slot.width) for slot in every if slot.choice.name not in self.skips}
        )
        self.anchors = Anchors(hidden) if self.skips else None
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-spread, spread, generator=rng)

    def draw(self, rng: torch.Generator) -> tuple[Architecture, list[Token]]:
        state: Any = None
        states: dict[str, Tensor] = {}
        rows: Sequence[Tensor] = ()
        read: list[int] = [0]
        before: Slot | None = None

        def draw(slot: Slot, allowed: list[bool]) -> int:
            nonlocal state, rows, read, before
            if self._begins(slot):
                h, state = self.lstm(self._embedded([read]), state)
                rows, read = self._logits(before, slot, h[0, 0], states), []
                before = slot
            value = _drawn(rows[len(read)], allowed, rng)
            read.append(1 + slot.offset + value)
            return value

        with torch.no_grad():
            return _assembled(self.space, self.slots, draw)

    def log_prob(self, tokens: Sequence[Token]) -> tuple[Tensor, Tensor]:
        begun: list[Slot] = []
        read: list[list[int]] = [[0]]  # at each step, and what would be at the one after the last
        for slot, _, value in tokens:
            if self._begins(slot):
                begun.append(slot)
                read.append([])
            read[-1].append(1 + slot.offset + value)
        h, _ = self.lstm(self._embedded(read[: len(begun)] or read))  # [steps, 1, hidden]
        states: dict[str, Tensor] = {}
        logits: list[Tensor] = []
        for before, slot, now in zip([None, *begun], begun, h[:, 0]):
            logits += self._logits(before, slot, now, states)
        return _told(logits, tokens)

    def _begins(self, slot: Slot) -> bool:
        """Whether its token begins a step of the LSTM."""
        return slot.choice.name not in self.skips or slot.number == self.slots[slot.choice.name][0].number

    def _embedded(self, read: Sequence[Sequence[int]]) -> Tensor:
        """What the LSTM is given where it reads these tokens at each step, `[steps, 1, hidden]`."""
        rows = self.embedding(torch.tensor([token for step in read for token in step]))
        if len(rows) == len(read):
            return rows[:, None]
        return torch.stack([own.mean(0) for own in rows.split([len(step) for step in read])])[:, None]

    def _logits(self, before: Slot | None, slot: Slot, now: Tensor, states: dict[str, Tensor]) -> Sequence[Tensor]:
        """Of each token of a step whose state is `now` `[hidden]`, `before` being the step before it.

        Args:
            states: layer → h, by now; this adds to them.
        """
        if before is not None and before.choice.name not in self.skips:
            states[_layer(before.choice)] = now
        if self.anchors is None or slot.choice.name not in self.skips:
            return [self.heads[str(slot.number)](now)]
        return list(self.anchors(torch.stack([states[str(layer)] for layer in slot.choice.options]), now))
