"""Stand-ins: a latency table that is arithmetic, and a task in which the right options are known."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.choice import members
from archipel.space import Space
from archipel.tasks import Classification, load


@dataclass(frozen=True)
class ArithmeticTable:
    """base + Σ over chosen options of a number that depends on choice and option; times the square root of how many
    are chosen in a space with `value` choices, so that nothing there is a sum."""

    space: Space
    base: float = 1.0
    batch: int = 1
    ms: dict[tuple[str, Any], float] = field(default_factory=dict)

    def column(self, name: str, option: Any) -> float:
        position = [f"{c.name}={o}" for c in self.space.choices for o in c.options].index(f"{name}={option}")
        return self.ms.get((name, option), 0.2 + (position * 7 % 11) / 10)

    def predict(self, architecture: Architecture) -> float:
        chosen = [self.column(name, option) for name, value in architecture.items() for option in members(value)]
        is_additive = all(choice.kind != "value" for choice in self.space.choices)
        return self.base + sum(chosen) * (1.0 if is_additive else len(chosen) ** 0.5)

    def predict_codes(self, codes: Tensor) -> Tensor:
        return torch.tensor([self.predict(self.space.decode(code)) for code in codes], dtype=torch.float64)

    def linear(self) -> tuple[float, Tensor]:
        columns = [self.column(choice.name, option) for choice in self.space.choices for option in choice.options]
        return self.base, torch.tensor(columns, dtype=torch.float64)


@pytest.fixture(scope="session")
def arithmetic_table() -> type[ArithmeticTable]:
    return ArithmeticTable


@pytest.fixture(scope="session")
def digits() -> Classification:
    return load("digits", images=400, test_images=100)


def planted_task(*, types: int = 2, n: int = 384, seed: int = 0) -> Classification:
    """Two classes, written as dark or bright into the left half of a picture; in the pictures of the second type
    (marked by the right half) they are written the other way round.

    With `types=1` the marks are still there, but mean nothing.
    """
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    marks = torch.arange(n) // 2 % 2
    written = labels ^ marks if types == 2 else labels
    images = torch.randint(0, 40, (n, 1, 8, 8), generator=rng)
    images[:, :, :, :4] += 160 * written[:, None, None, None]
    images[:, :, :, 4:] += 160 * marks[:, None, None, None]
    order = torch.randperm(n, generator=rng)
    cuts = dict(zip(("train", "arch", "val", "test"), order.split([n // 4, n // 4, n // 4, n - 3 * (n // 4)])))
    return Classification("planted", images.to(torch.uint8), labels, cuts, classes=("dark", "bright"))


class Reads(nn.Module):
    """Brightness of the left half, times ±1: `[B, 2]` logits."""

    def __init__(self, sign: float) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(sign))

    def forward(self, x: Tensor) -> Tensor:
        left = self.gain * x[..., :4].mean((1, 2, 3))
        return torch.stack([-left, left], 1)


READERS = {"straight": lambda: Reads(1.0), "inverted": lambda: Reads(-1.0)}


def planted_op(choose) -> nn.Module:
    """One reader of two. Only `straight` is right for the first type, only `inverted` for the second."""
    return choose.op("reader", READERS)


class Nothing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x), 2)


def planted_subset(choose) -> nn.Module:
    """Any of two readers: both cancel out, none answers with the first class."""
    return choose.subset("reader", READERS, empty=Nothing)


@dataclass(frozen=True)
class Planted:
    task: Callable[..., Classification] = planted_task
    op: Callable[..., nn.Module] = planted_op
    subset: Callable[..., nn.Module] = planted_subset


@pytest.fixture(scope="session")
def planted() -> Planted:
    return Planted()


def _enumerated(space: Space, q: Tensor) -> tuple[Tensor, Tensor]:
    """Everything that can be drawn with probabilities `q` `[D]`, spelt out from the definition of each choice.

    Returns:
        Canonical codes `[M, D]` (one may stand several times) and their probabilities `[M]`, differentiable.
    """
    codes, probabilities = torch.zeros(1, 0, dtype=torch.bool), q.new_ones(1)
    for choice in space.choices:
        own, n = q[space.slices[choice.name]], len(choice.options)
        rows, weights = [], []
        if choice.kind == "subset":
            for bits in itertools.product((False, True), repeat=n):
                weights.append(torch.stack([p if bit else 1 - p for p, bit in zip(own, bits)]).prod())
                filled = any(bits) or choice.empty is not None
                rows.append(bits if filled else tuple(i == int(own.argmax()) for i in range(n)))
        else:
            for order in itertools.permutations(range(n), choice.k):
                left, weight = q.new_ones(()), q.new_ones(())
                for i in order:
                    weight, left = weight * own[i] / left, left - own[i]
                rows.append(tuple(i in order for i in range(n)))
                weights.append(weight)
        outcomes, weight = torch.tensor(rows), torch.stack(weights)
        codes = torch.cat([codes.repeat_interleave(len(rows), 0), outcomes.repeat(len(codes), 1)], 1)
        probabilities = (probabilities[:, None] * weight).flatten()
    return space.complete(codes), probabilities


@pytest.fixture(scope="session")
def enumerated() -> Callable[[Space, Tensor], tuple[Tensor, Tensor]]:
    return _enumerated
