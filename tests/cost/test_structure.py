"""Which modules count as equal."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from archipel.choose import Select, Sum
from archipel.cost.structure import structure_of
from archipel.nn.blocks import InvertedResidual, Residual

BLOCKS = st.builds(
    dict,
    c_in=st.sampled_from([8, 16]),
    c_out=st.sampled_from([8, 16]),
    kernel=st.sampled_from([3, 5]),
    expand=st.sampled_from([1, 3]),
    stride=st.sampled_from([1, 2]),
    act=st.sampled_from([nn.ReLU, nn.ReLU6]),
)


@given(BLOCKS, BLOCKS)
def test_equal_settings_and_only_they_are_equal(one: dict, other: dict) -> None:
    assert (structure_of(InvertedResidual(**one)) == structure_of(InvertedResidual(**other))) == (one == other)


def test_weights_do_not_count() -> None:
    torch.manual_seed(0)
    a, b = nn.Linear(3, 4), nn.Linear(3, 4)
    assert not torch.equal(a.weight, b.weight)
    assert structure_of(a) == structure_of(b.eval().to("meta"))


class Scaled(nn.Module):
    def __init__(self, by: object) -> None:
        super().__init__()
        self.by = by


class Setting:
    def __init__(self, of: object) -> None:
        self.of = of


class Opaque:
    __slots__ = ()


def times(k: int) -> Callable[[int], int]:
    return lambda x: k * x


def ring() -> Setting:
    setting = Setting(None)
    setting.of = [setting]
    return setting


KEPT = [Opaque(), Opaque()]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: nn.Linear(3, 4), lambda: nn.Linear(3, 4, bias=False)),
        (lambda: nn.Linear(3, 4), lambda: nn.Linear(3, 4).double()),
        (lambda: nn.Sequential(nn.ReLU()), lambda: nn.ReLU()),
        (lambda: Residual(nn.ReLU()), lambda: nn.Sequential(nn.ReLU())),
        (lambda: Scaled(1), lambda: Scaled(2)),
        (lambda: Scaled([1, {"a": 2}]), lambda: Scaled([1, {"a": 3}])),
        (lambda: Scaled(torch.relu), lambda: Scaled(torch.sigmoid)),
        (lambda: Scaled(nn.ReLU), lambda: Scaled(nn.ReLU6)),
        (lambda: Scaled(torch.zeros(3)), lambda: Scaled(torch.zeros(4))),
        (lambda: Scaled(Setting(1)), lambda: Scaled(Setting(2))),
        (lambda: Scaled(times(1)), lambda: Scaled(times(2))),
        (lambda: Scaled(functools.partial(torch.clamp, min=0)), lambda: Scaled(functools.partial(torch.clamp, min=1))),
        (lambda: Scaled(KEPT[0]), lambda: Scaled(KEPT[1])),
        (lambda: Select({"0": nn.ReLU()}), lambda: Select({"1": nn.ReLU()})),
        (lambda: Select({"0": nn.ReLU()}), lambda: Sum({"0": nn.ReLU()})),
    ],
)
def test_different_modules_differ(one: Callable[[], nn.Module], other: Callable[[], nn.Module]) -> None:
    assert structure_of(one()) != structure_of(other())


@pytest.mark.parametrize(
    "make",
    [
        *(
            lambda by=by: by
            for by in (3, 0.5, "same", None, (1, 2), {"a": [1]}, {2, 1}, torch.relu, nn.ReLU, torch.int8)
        ),
        lambda: torch.zeros(3),
        lambda: times(2),
        lambda: functools.partial(torch.clamp, min=0),
        lambda: Setting([Setting("a"), times(3)]),
        ring,
    ],
)
def test_settings_are_compared_by_value(make: Callable[[], object]) -> None:
    assert structure_of(Scaled(make())) == structure_of(Scaled(make()))
