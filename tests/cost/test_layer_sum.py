"""Sums over layers against each architecture on its own."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping

import pytest
import torch
from torch import nn

from archipel.architecture import Architecture
from archipel.choice import members
from archipel.cost.layer_sum import LayerSum
from archipel.nn import conv2d
from archipel.space import Space


def wide(choose) -> nn.Module:
    """Layers between widths; every layer is decided by two numbers, those behind `depth` by three."""
    c = [choose.value(f"w{i}", [1, 2, 3]) for i in range(6)]
    choose.value("depth", [2, 3, 4])
    return nn.Sequential(*(conv2d(a, b) for a, b in itertools.pairwise(c)))


SPACE = Space(wide)


def figures(architecture: Architecture) -> dict[str, float]:
    depth = int(architecture["depth"])  # type: ignore[arg-type]
    w = [float(architecture[f"w{i}"]) for i in range(6)]  # type: ignore[arg-type]
    return {"stem": 3.0} | {f"l{i}": (w[i] + 0.5) * w[i + 1] ** 2 for i in range(5) if i < depth}


class Counting:
    def __init__(self) -> None:
        self.asked: list[Architecture] = []

    def __call__(self, architecture: Architecture) -> Mapping[str, float]:
        self.asked.append(architecture)
        return figures(architecture)


def codes_of(space: Space, n: int, seed: int = 5) -> torch.Tensor:
    rng = random.Random(seed)
    return torch.stack([space.encode(space.sample(rng)) for _ in range(n)])


def test_it_is_every_architectures_sum() -> None:
    total = LayerSum(SPACE, figures)
    codes = codes_of(SPACE, 300)
    assert total(codes).tolist() == pytest.approx([sum(figures(SPACE.decode(code)).values()) for code in codes])


def test_no_architecture_is_looked_at_twice_and_few_at_all() -> None:
    counting = Counting()
    total = LayerSum(SPACE, counting)
    codes = codes_of(SPACE, 600)
    total(codes)
    total(codes)
    assert len(counting.asked) == len(set(counting.asked)) < 200 < len(codes.unique(dim=0))


def test_any_small_space(small_space: Space) -> None:
    """Also conditional choices, and figures that everything decides."""

    def strange(architecture: Architecture) -> dict[str, float]:
        chosen = [f"{name}={option}" for name, value in architecture.items() for option in members(value)]
        return {option: float(len(option)) for option in chosen} | {"all": float(len(chosen)) ** 0.5}

    codes = codes_of(small_space, 60)
    found = LayerSum(small_space, strange)(codes)
    assert found.tolist() == pytest.approx([sum(strange(small_space.decode(code)).values()) for code in codes])


def test_covering_architectures_hold_every_layer_in_every_way() -> None:
    held: dict[str, set[float]] = {}
    for architecture in LayerSum(SPACE, figures).covering():
        for part, figure in figures(architecture).items():
            held.setdefault(part, set()).add(figure)
    assert {part: len(ways) for part, ways in held.items()} == {"stem": 1} | {f"l{i}": 9 for i in range(4)}
