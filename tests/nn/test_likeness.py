"""Modules that compute the same of their weights are alike, and no others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from archipel.nn import ConvBN
from archipel.nn.likeness import likeness


class Scaled(nn.Module):
    def __init__(self, by: object) -> None:
        super().__init__()
        self.by = by

    def forward(self, x: Tensor) -> Tensor:
        return x * self.by


class Tied(nn.Module):
    """W'Wx or W'Vx."""

    def __init__(self, *, tied: bool) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = self.first if tied else nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.first(x))
        return y


def double(x: Tensor) -> Tensor:
    return 2 * x


MADE: dict[str, Callable[[], nn.Module]] = {
    "convolution": lambda: ConvBN(4, 8, 3),
    "wider": lambda: ConvBN(4, 9, 3),
    "other kernel": lambda: ConvBN(4, 8, 5),
    "stride": lambda: nn.Sequential(nn.Conv2d(4, 8, 3, 2)),
    "padding": lambda: nn.Sequential(nn.Conv2d(4, 8, 3, 2, 1)),
    "no bias": lambda: nn.Sequential(nn.Conv2d(4, 8, 3, 2, bias=False)),
    "relu": lambda: nn.Sequential(nn.ReLU()),
    "tanh": lambda: nn.Sequential(nn.Tanh()),
    "two": lambda: nn.Sequential(nn.ReLU(), nn.ReLU()),
    "times 2": lambda: Scaled(2),
    "times 2.0": lambda: Scaled(2.0),
    "times 3": lambda: Scaled(3),
    "times a constant": lambda: Scaled(torch.tensor([2.0])),
    "times another": lambda: Scaled(torch.tensor([3.0])),
    "times a function": lambda: Scaled(double),
    "times many": lambda: Scaled({"a": [1, 2]}),
    "times as many": lambda: Scaled({"a": (1, 2)}),
    "tied": lambda: Tied(tied=True),
    "untied": lambda: Tied(tied=False),
    "double": lambda: Tied(tied=True).double(),
}


def test_what_is_made_alike_is_alike_whatever_its_weights() -> None:
    for name, make in MADE.items():
        assert likeness(make()) == likeness(make()), name
    assert len({likeness(make()) for make in MADE.values()}) == len(MADE)


def test_what_cannot_be_compared_is_itself_alone() -> None:
    own = object()
    assert likeness(Scaled(own)) == likeness(Scaled(own)) != likeness(Scaled(object()))
    assert likeness(Scaled(lambda x: x)) != likeness(Scaled(lambda x: x))


@pytest.mark.parametrize("hook", ["register_forward_hook", "register_forward_pre_hook"])
def test_hooks_count(hook: str) -> None:
    hooked = nn.ReLU()
    getattr(hooked, hook)(lambda *_: None)
    assert likeness(hooked) != likeness(nn.ReLU())


def test_training_counts() -> None:
    assert likeness(nn.Dropout()) != likeness(nn.Dropout().eval())
