"""What a batch costs, against sums written out by hand and machines made of arithmetic."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from archipel.errors import TableError
from archipel.instance.batch_cost import BatchCost, Timed, mixed_batches
from archipel.instance.executors import EXECUTORS, Executor
from archipel.metagraph import MetaGraph
from archipel.nn import ConvBN
from archipel.space import Space


def chain(choose) -> nn.Module:
    kinds = {"a": lambda: ConvBN(3, 3), "b": lambda: ConvBN(3, 3, 3)}
    return nn.Sequential(choose.op("l0", kinds), choose.subset("l1", kinds, empty=nn.Identity), ConvBN(3, 4))


SPACE = Space(chain)
GRAPH = MetaGraph(SPACE)


@dataclass(frozen=True)
class Line:
    """A table whose option d takes begin + (d + 1)·n ms for n images, and everything else 1 + n."""

    batch: int
    begin: float = 0.5

    def linear(self) -> tuple[float, torch.Tensor]:
        return 1.0 + self.batch, torch.tensor([self.begin + (d + 1.0) * self.batch for d in range(4)]).double()


def lines(*sizes: int, begin: float = 0.5) -> BatchCost:
    return BatchCost.of(GRAPH, [Line(size, begin) for size in sizes])  # type: ignore[list-item]


def codes_of(*rows: str) -> torch.Tensor:
    return torch.tensor([[bit == "1" for bit in row] for row in rows])


def work(cost: BatchCost, codes: torch.Tensor, name: Executor) -> float:
    shared, options, *_ = cost.features(codes)[name]
    return shared + options


class TestWork:
    """Affine costs are met exactly, inside the measured sizes and beyond them."""

    CODES = codes_of("1010", "1010", "0111", "1000")

    def test_gathered(self) -> None:
        # l0.a 3 images, l0.b 1; l1.a 3, l1.b 1.
        by_hand = (1 + 4) + (0.5 + 1 * 3) + (0.5 + 2 * 1) + (0.5 + 3 * 3) + (0.5 + 4 * 1)
        assert work(lines(1, 2, 8), self.CODES, "gathered") == pytest.approx(by_hand)

    def test_masked(self) -> None:
        assert work(lines(1, 2), self.CODES, "masked") == pytest.approx(5 + 4 * 0.5 + 4 * (1 + 2 + 3 + 4))

    def test_grouped(self) -> None:
        groups = [(2, (1, 3)), (1, (2, 3, 4)), (1, (1,))]
        by_hand = sum(1 + n + sum(0.5 + d * n for d in options) for n, options in groups)
        assert work(lines(1, 2, 8), self.CODES, "grouped") == pytest.approx(by_hand)

    def test_prefix(self) -> None:
        # l0: {a: 3, b: 1}; then {a and l1.a: 2}, {b: l1.a and l1.b}, {a alone: 1}; base in three parts.
        options = (0.5 + 3) + (0.5 + 2) + (0.5 + 3 * 2) + (0.5 + 3) + (0.5 + 4)
        base = sum(1 + n for n in (3, 1, 2, 1, 1, 2, 1, 1)) / 3  # groups of 3 and 1, then twice of 2, 1 and 1
        assert work(lines(1, 2, 8), self.CODES, "prefix") == pytest.approx(options + base)

    def test_where_all_agree_all_cost_the_same(self) -> None:
        found = lines(1, 4).features(codes_of("1011", "1011"))
        works = [shared + options for shared, options, *_ in found.values()]
        assert works == pytest.approx([works[0]] * 4)


class TestFitting:
    def batches(self, seed: int) -> list[torch.Tensor]:
        return mixed_batches(SPACE, (2, 8, 16), 4, seed)

    def machine(self, cost: BatchCost, codes: torch.Tensor) -> dict[str, float]:
        """Milliseconds on a machine where the sum is 10 % off, and beginning and moving cost something."""
        weights = {"gathered": (1.2, 1.1, 0.2, 0.05, 1.0), "grouped": (1.0, 0.9, 0.3, 0.01, 2.0)}
        return {
            name: sum(w * f for w, f in zip(weights.get(name, (1.0, 1.3, 0.1, 0.0, 0.5)), found))
            for name, found in cost.features(codes).items()
        }

    def test_batches_not_fitted_to_are_told_right(self) -> None:
        cost = lines(1, 4, 16)
        fitted = cost.fitted([Timed(codes, self.machine(cost, codes)) for codes in self.batches(0)])
        for codes in self.batches(1):
            told, true = fitted.predict(codes), self.machine(cost, codes)
            assert told == pytest.approx(true, rel=1e-4)
            if true[fitted.cheapest(codes)] > min(true.values()):  # a tie, within what was told wrongly
                assert true["gathered"] == pytest.approx(min(true.values()), rel=1e-3)

    def test_in_doubt_it_gathers(self) -> None:
        """Predictions of a machine that flips coins are not acted on."""
        cost, rng = lines(1, 4, 16), random.Random(0)
        timed = [Timed(codes, {name: rng.uniform(1.0, 20.0) for name in EXECUTORS}) for codes in self.batches(0)]
        fitted = cost.fitted(timed)
        assert fitted.doubt > 0.1
        for codes in self.batches(1):
            told = fitted.predict(codes)
            if fitted.cheapest(codes) != "gathered":
                assert min(told.values()) < (1 - fitted.doubt) * told["gathered"]
            else:
                assert min(told.values()) >= (1 - fitted.doubt) * told["gathered"]

    def test_where_beginning_costs_nothing_nothing_beats_gathering(self) -> None:
        cost = lines(1, 4, begin=0.0)
        for codes in self.batches(2):
            told = cost.predict(codes)
            assert told["gathered"] == pytest.approx(min(told.values()))


class TestBatches:
    def test_they_reach_from_all_alike_to_nearly_all_different(self) -> None:
        found = mixed_batches(SPACE, (16,), 5, 0)
        distinct = [len(codes.unique(dim=0)) for codes in found]
        assert distinct[0] == 1 < max(distinct)
        assert all(len(codes) == 16 and SPACE.complete(codes).equal(codes) for codes in found)

    def test_any_space(self, small_space: Space) -> None:
        assert [len(codes) for codes in mixed_batches(small_space, (1, 3), 2, 0)] == [1, 1, 3, 3]


def test_two_tables_of_one_size_are_refused() -> None:
    with pytest.raises(TableError, match=r"batch sizes \[2, 2\]"):
        lines(2, 2)


def test_an_option_that_few_take_costs_them_more() -> None:
    cost = lines(1, 16)
    base, rare = cost.rates(torch.full((4,), 1 / 16), 16)
    _, common = cost.rates(torch.ones(4), 16)
    assert base == pytest.approx(17 / 16)
    assert rare.tolist() == pytest.approx([0.5 + d + 1 for d in range(4)])
    assert common.tolist() == pytest.approx([0.5 / 16 + d + 1 for d in range(4)])


def test_every_executor_is_told() -> None:
    assert set(lines(1, 2).predict(codes_of("1010"))) == set(EXECUTORS)
