"""Multiply-adds of codes against each child counted whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from archipel.cost import madds
from archipel.cost.attribution import ghost
from archipel.instance.code_madds import CodeMadds
from archipel.nn import ConvBN
from archipel.sharing.policies import draw_codes
from archipel.space import Space

SHAPE = (3, 8, 8)


def check(space: Space, n: int = 6) -> CodeMadds:
    count = CodeMadds(space, SHAPE)
    codes = draw_codes(space, n, 0.4, torch.Generator().manual_seed(0))
    codes = torch.cat([codes, codes[:2]])
    found = count(codes)
    assert found.dtype == torch.int64
    own = [madds(ghost(space, space.decode(code)), SHAPE) for code in codes[:n]]
    assert found.tolist() == [*own, *own[:2]]
    return count


def is_counted_soon(space: Space) -> bool:
    """Others are counted as small ones with the same verbs are, only slower."""
    has_values = any(choice.kind == "value" for choice in space.choices)
    return len(space.choices) <= 20 and not (has_values and space.size > 1000)


@pytest.mark.of_spaces(where=is_counted_soon)
def test_it_is_the_count_of_each_child(space: Space) -> None:
    check(space)


@pytest.mark.parametrize("kind", ["bits", "ops"])
def test_big_spaces_are_sums(kind: str) -> None:
    def layers(choose) -> nn.Module:
        options: dict[str, Callable[[], nn.Module]] = {"k1": lambda: ConvBN(4, 4), "k3": lambda: ConvBN(4, 4, 3)}
        ask = choose.op if kind == "ops" else lambda n, o: choose.subset(n, o, empty=nn.Identity)
        return nn.Sequential(ConvBN(3, 4), *(ask(f"l{i}", options) for i in range(5)))

    assert check(Space(layers)).is_additive


def test_options_that_change_what_follows_are_counted_child_by_child() -> None:
    def shrinking(choose) -> nn.Module:
        first = choose.op("first", {"pool": lambda: nn.AvgPool2d(2), "keep": nn.Identity})
        second = choose.op("second", {"k1": lambda: ConvBN(3, 4), "k3": lambda: ConvBN(3, 4, 3)})
        return nn.Sequential(first, second, nn.AdaptiveAvgPool2d(1))

    assert not check(Space(shrinking)).is_additive
