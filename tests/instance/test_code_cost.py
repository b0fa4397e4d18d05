"""Latency of codes against the table's own predictions, and the ends of a space against brute force."""

from __future__ import annotations

import itertools
import random

import pytest
import torch
from torch import nn

from archipel.instance.code_cost import CodeCost
from archipel.nn import ConvBN, conv2d
from archipel.sharing.policies import draw_codes
from archipel.space import Space
from archipel.spaces import instanas


def codes_of(space: Space, n: int = 60) -> torch.Tensor:
    return draw_codes(space, n, 0.4, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("batch", [1, 8])
def test_it_is_the_tables_prediction_an_image_plus_the_controller(space: Space, arithmetic_table, batch: int) -> None:
    table = arithmetic_table(space, batch=batch)
    cost = CodeCost(space, table, overhead=0.6)
    codes = codes_of(space)
    expected = [(0.6 + table.predict(space.decode(code))) / batch for code in codes]
    assert cost(codes).tolist() == pytest.approx(expected)
    assert cost.of(space.decode(codes[3])) == pytest.approx(expected[3])


def test_bits_with_a_gradient_get_what_each_option_adds(arithmetic_table) -> None:
    space = Space(instanas, macro="digits", width=0.25, size=8, channels=1)
    table = arithmetic_table(space, batch=4)
    cost, codes = CodeCost(space, table, overhead=0.6), codes_of(space)
    bits = codes.float().requires_grad_()
    told = cost.through(bits)
    torch.testing.assert_close(told.detach().double(), cost(codes))
    told.sum().backward()
    assert bits.grad is not None
    torch.testing.assert_close(bits.grad, (table.linear()[1] / 4).float().expand(len(codes), -1))


class TestPrices:
    def test_of_a_sum_they_are_its_columns(self, arithmetic_table) -> None:
        space = Space(instanas, macro="digits", width=0.25, size=8, channels=1)
        table = arithmetic_table(space, batch=4)
        assert CodeCost(space, table).prices().allclose(table.linear()[1] / 4)

    def test_elsewhere_they_tell_dear_options_from_cheap_ones(self, arithmetic_table) -> None:
        def wide(choose) -> nn.Module:
            c = [choose.value(f"w{i}", [1, 2, 3, 4]) for i in range(6)]
            return nn.Sequential(*(conv2d(a, b) for a, b in itertools.pairwise(c)))

        space = Space(wide)
        table = arithmetic_table(space)
        prices = CodeCost(space, table).prices()
        for choice in space.choices:
            own = prices[space.slices[choice.name]].tolist()
            true = [table.column(choice.name, option) for option in choice.options]
            assert sorted(range(4), key=own.__getitem__) == sorted(range(4), key=true.__getitem__)


@pytest.mark.parametrize("seed", range(4))
def test_the_ends_of_a_small_space_are_found(small_space: Space, arithmetic_table, seed: int) -> None:
    """Also where columns are negative, as measured ones may be."""
    rng = random.Random(seed)
    ms = {(c.name, o): rng.uniform(-0.3 if seed % 2 else 0.05, 1.0) for c in small_space.choices for o in c.options}
    table = arithmetic_table(small_space, ms=ms)
    if any(choice.kind == "value" for choice in small_space.choices):
        table = arithmetic_table(small_space, ms={key: abs(value) for key, value in ms.items()})
    cost = CodeCost(small_space, table)
    every = [table.predict(architecture) for architecture in small_space]
    assert table.predict(cost.cheapest()) == pytest.approx(min(every))
    assert table.predict(cost.everything()) == pytest.approx(max(every))


def test_a_large_space_of_numbers_is_descended(arithmetic_table) -> None:
    def wide(choose) -> nn.Module:
        c = [choose.value(f"w{i}", [1, 2, 3, 4]) for i in range(6)]
        return nn.Sequential(*(conv2d(a, b) for a, b in itertools.pairwise(c)))

    space = Space(wide)
    table = arithmetic_table(space)
    cost = CodeCost(space, table)
    expected = sum(min(table.column(c.name, o) for o in c.options) for c in space.choices)
    assert table.predict(cost.cheapest()) == pytest.approx(1.0 + expected * 6**0.5)


class TestLandmarksOfInstanas:
    """Check 3 of the method: all off is the default candidate at the heads and nothing elsewhere."""

    space = Space(instanas, macro="digits", width=0.25, size=8, channels=1)

    def test_first_is_candidate_0_everywhere(self, arithmetic_table) -> None:
        cost = CodeCost(self.space, arithmetic_table(self.space))
        assert set(cost.first().values()) == {("mb6_k3",)}

    def test_all_off(self, arithmetic_table) -> None:
        table = arithmetic_table(self.space)
        cost = CodeCost(self.space, table)
        heads = [choice.name for choice in self.space.choices if choice.empty == "basic_k3"]
        assert 0 < len(heads) < len(self.space.choices)
        for name, value in cost.all_off().items():
            assert value == (("basic_k3",) if name in heads else ())
        expected = table.base + sum(table.column(name, "basic_k3") for name in heads)
        assert cost.of(cost.all_off()) == pytest.approx(expected)

    def test_everything_is_all_on(self, arithmetic_table) -> None:
        cost = CodeCost(self.space, arithmetic_table(self.space))
        assert all(len(value) == 5 for value in cost.everything().values())

    def test_what_is_fixed(self, arithmetic_table) -> None:
        assert CodeCost(self.space, arithmetic_table(self.space, batch=4), overhead=0.6).fixed == pytest.approx(0.4)


def test_landmarks_of_other_verbs(arithmetic_table) -> None:
    def mixed(choose) -> nn.Module:
        inner = lambda: choose.subset("inner", {"a": nn.ReLU, "b": nn.Tanh})  # noqa: E731
        return nn.Sequential(
            choose.op("op", {"deep": inner, "conv": lambda: ConvBN(3, 3)}), choose.inputs("pick", 3, k=2)
        )

    space = Space(mixed)
    cost = CodeCost(space, arithmetic_table(space))
    assert dict(cost.first()) == {"op": "deep", "inner": ("a",), "pick": (0, 1)}
    assert cost.all_off() == cost.cheapest()
