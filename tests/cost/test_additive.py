"""Additive costs against each architecture's own, by enumeration where the space is small."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from planted import COSTS
from torch import Tensor, nn

from archipel.cost import LatencyTable
from archipel.cost.additive import AdditiveCost, complexity_cost, latency_cost, reach
from archipel.cost.complexity import layers, madds, parameters
from archipel.errors import ArchitectureError, OptionError, TableError
from archipel.nn import ConvBN
from archipel.nn.blocks import Zero, residual
from archipel.space import Space

SHAPE = (3, 8, 8)


def activation_bytes(module: nn.Module, input_shape: tuple[int, ...]) -> int:
    return 4 * sum(row.activations for row in layers(module, input_shape))


COUNTS: dict[str, Callable[[nn.Module], int]] = {
    "madds": lambda net: madds(net, SHAPE),
    "parameters": parameters,
    "activations": lambda net: activation_bytes(net, SHAPE),
}


def conv(kernel: int) -> Callable[[], nn.Module]:
    return lambda: ConvBN(4, 4, kernel)


def tree(choose) -> nn.Module:
    """Conditional choices two deep, one decision under two options, one that stands twice, a block that may vanish."""

    def act() -> nn.Module:
        return choose.op("act", {"prelu": lambda: nn.PReLU(4), "relu": nn.ReLU})

    def deep() -> nn.Module:
        return nn.Sequential(ConvBN(4, 4), act(), choose.op("inner", {"k1": conv(1), "deeper": deeper}))

    def deeper() -> nn.Module:
        return nn.Sequential(ConvBN(4, 4, 5), choose.op("innermost", {"k3": conv(3), "none": nn.Identity}))

    return nn.Sequential(
        ConvBN(3, 4),
        choose.op("top", {"k3": conv(3), "deep": deep, "flat": lambda: nn.Sequential(act(), ConvBN(4, 4))}),
        *(residual(choose.op("twice", {"k1": conv(1), "k5": conv(5), "zero": Zero})) for _ in range(2)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 10),
    )


TREE = Space(tree)


def random_probabilities(space: Space, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {c.name: torch.rand(len(c.options), generator=generator).double().softmax(0) for c in space.choices}


def random_cost(space: Space, seed: int = 0) -> AdditiveCost:
    columns = torch.randn(space.width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return AdditiveCost(space, "random", "ms", 2.5, columns)


def likelihood(space: Space, probabilities: dict[str, Tensor], architecture) -> float:
    options = {choice.name: choice.options for choice in space.choices}
    return float(torch.stack([probabilities[n][options[n].index(o)] for n, o in architecture.items()]).prod())


class TestExpectation:
    @pytest.mark.parametrize("seed", range(3))
    def test_it_is_the_mean_over_all_architectures(self, seed: int) -> None:
        cost, p = random_cost(TREE, seed), random_probabilities(TREE, seed)
        weights = [likelihood(TREE, p, architecture) for architecture in TREE]
        assert sum(weights) == pytest.approx(1)
        mean = sum(w * cost.of(architecture) for w, architecture in zip(weights, TREE))
        assert cost.expected(p).item() == pytest.approx(mean, abs=1e-12)

    def test_at_certainty_it_is_the_architectures_own(self) -> None:
        cost = random_cost(TREE)
        options = {choice.name: choice.options for choice in TREE.choices}
        for architecture in TREE:
            one_hot = {name: torch.zeros(len(o)) for name, o in options.items()}
            for name, choice in options.items():
                one_hot[name][choice.index(architecture.get(name, choice[0]))] = 1.0
            assert cost.expected(one_hot).item() == pytest.approx(cost.of(architecture), abs=1e-9)

    def test_its_gradient_is_that_of_the_mean(self) -> None:
        """By central differences in the logits, conditional choices included."""
        cost = random_cost(TREE)
        logits = {c.name: torch.randn(len(c.options), dtype=torch.float64, requires_grad=True) for c in TREE.choices}

        def mean() -> Tensor:
            return cost.expected({name: logit.softmax(0) for name, logit in logits.items()})

        mean().backward()
        for logit in logits.values():
            assert logit.grad is not None
            for i in range(len(logit)):
                with torch.no_grad():
                    logit[i] += 1e-5
                    above = mean().item()
                    logit[i] -= 2e-5
                    below = mean().item()
                    logit[i] += 1e-5
                assert logit.grad[i].item() == pytest.approx((above - below) / 2e-5, abs=1e-8)

    def test_float32_probabilities_keep_their_gradient(self) -> None:
        logits = torch.zeros(3, requires_grad=True)
        p = {**random_probabilities(TREE, 0), "top": logits.softmax(0)}
        (torch.ones(()) + random_cost(TREE).expected(p)).backward()
        assert logits.grad is not None
        assert logits.grad.dtype == torch.float32

    def test_members_of_subsets_are_weighed_one_by_one(self) -> None:
        def bits(choose) -> nn.Module:
            return choose.subset("bits", {"a": nn.Identity, "b": nn.ReLU, "c": nn.Tanh}, empty=nn.Identity)

        space = Space(bits)
        cost, p = random_cost(space), {"bits": torch.tensor([0.2, 0.7, 0.4])}
        mean = 0.0
        for held in itertools.product([False, True], repeat=3):
            weight = torch.where(torch.tensor(held), p["bits"], 1 - p["bits"]).prod().item()
            mean += weight * cost(torch.tensor([held])).item()
        assert cost.expected(p).item() == pytest.approx(mean, abs=1e-6)

    def test_reach_is_the_share_of_architectures_in_which_a_choice_is_active(self) -> None:
        p = random_probabilities(TREE, 4)
        reached = reach(TREE, p)
        for name, value in reached.items():
            share = sum(likelihood(TREE, p, a) for a in TREE if name in a)
            assert value.item() == pytest.approx(share, abs=1e-12)
        assert reached["top"].item() == 1.0

    def test_what_does_not_fit_is_named(self) -> None:
        p = random_probabilities(TREE, 0)
        with pytest.raises(ArchitectureError, match=r"choice 'top'.*did you mean 'tops'"):
            random_cost(TREE).expected({"tops" if name == "top" else name: value for name, value in p.items()})
        with pytest.raises(ArchitectureError, match=r"'inner' have shape \[3\]; give \[2\]"):
            random_cost(TREE).expected({**p, "inner": torch.ones(3)})


class TestComplexity:
    @pytest.mark.parametrize("what", COUNTS)
    def test_it_is_the_count_of_every_child(self, what) -> None:
        cost = complexity_cost(TREE, what, SHAPE)
        for architecture in TREE:
            assert cost.of(architecture) == COUNTS[what](TREE.build(architecture))
            assert cost.interval(architecture) == (cost.of(architecture), cost.of(architecture))

    @pytest.mark.parametrize("what", COUNTS)
    def test_with_every_verb_it_is_right_or_refused(self, small_space: Space, what) -> None:
        no_sum = [c for c in small_space.choices if c.kind == "value" or c.empty not in (None, "identity", *c.options)]
        if no_sum:
            with pytest.raises(TableError, match=f"no sum over its code: choice '{no_sum[0].name}'"):
                complexity_cost(small_space, what, SHAPE)
            return
        cost = complexity_cost(small_space, what, SHAPE)
        rng = random.Random(0)
        for _ in range(4):
            architecture = small_space.sample(rng)
            assert cost.of(architecture) == COUNTS[what](small_space.build(architecture))

    def test_a_tensor_that_stands_in_several_places_counts_once(self) -> None:
        def tied(choose) -> nn.Module:
            conv = nn.Conv2d(3, 3, 1, bias=False)  # 9 numbers, in the stem and under an option
            return nn.Sequential(conv, choose.op("l", {"tied": lambda: conv, "own": lambda: nn.Conv2d(3, 3, 1)}))

        space = Space(tied)
        cost = complexity_cost(space, "parameters", SHAPE)
        assert cost.base == 9
        assert cost.columns.tolist() == [0, 12]
        for architecture in space:
            assert cost.of(architecture) == parameters(space.build(architecture))

    def test_options_of_two_choices_that_share_a_tensor_have_no_sum(self) -> None:
        """However rarely both are on: here in one of 10,000 architectures."""

        def tied(choose) -> nn.Module:
            conv = nn.Conv2d(3, 3, 1)
            own = {f"own{i}": lambda: nn.Conv2d(3, 3, 1) for i in range(9)}
            options = {"shared": lambda: conv, **own}
            return nn.Sequential(*(choose.op(f"l{i}", options if i in (0, 3) else own) for i in range(4)))

        with pytest.raises(TableError, match="share a tensor"):
            complexity_cost(Space(tied), "parameters", SHAPE)

    def test_options_that_change_the_size_of_what_follows_have_no_sum(self) -> None:
        def shrinking(choose) -> nn.Module:
            first = choose.op("first", {"pool": lambda: nn.AvgPool2d(2), "keep": nn.Identity})
            return nn.Sequential(first, choose.op("second", {"k1": conv_of(3, 1), "k3": conv_of(3, 3)}))

        def conv_of(channels: int, kernel: int) -> Callable[[], nn.Module]:
            return lambda: ConvBN(channels, 4, kernel)

        space = Space(shrinking)
        for what in ("madds", "activations"):
            with pytest.raises(TableError, match="differs from child to child"):
                complexity_cost(space, what, SHAPE)
        assert complexity_cost(space, "parameters", SHAPE).columns.tolist() == [0, 0, 20, 116]

    def test_an_unknown_quantity_is_named(self) -> None:
        with pytest.raises(OptionError, match=r"no complexity 'madd'.*did you mean 'madds'"):
            complexity_cost(TREE, "madd", SHAPE)

    def test_a_space_of_one_architecture(self) -> None:
        space = Space(lambda choose: nn.Conv2d(3, 5, 1, bias=False))  # noqa: ARG005
        cost = complexity_cost(space, "madds", SHAPE)
        assert cost.of({}) == cost.expected({}).item() == 15 * 64

    def test_counting_leaves_the_random_numbers_alone(self) -> None:
        torch.manual_seed(5)
        expected = torch.rand(3)
        torch.manual_seed(5)
        for what in COUNTS:
            complexity_cost(TREE, what, SHAPE)
        assert torch.equal(torch.rand(3), expected)


class TestLatency:
    def test_it_is_the_tables_prediction_and_interval(self, table: LatencyTable) -> None:
        cost = latency_cost(table)
        rng = random.Random(0)
        for _ in range(50):
            architecture = table.space.sample(rng)
            assert cost.of(architecture) == pytest.approx(table.predict(architecture), rel=1e-12)
            for level in (0.5, 0.9):
                assert cost.interval(architecture, level) == pytest.approx(table.interval(architecture, level))
        with pytest.raises(OptionError, match="calibration networks"):
            cost.interval(architecture, 0.999)

    def test_the_upper_end_is_a_cost(self, table: LatencyTable) -> None:
        cost = latency_cost(table)
        upper = cost.upper(0.9)
        for architecture in itertools.islice(table.space, 20):
            assert upper.of(architecture) == pytest.approx(cost.interval(architecture, 0.9)[1])

    def test_intervals_cover_as_they_say(self, table: LatencyTable) -> None:
        """Of new networks whose errors are distributed as those of 19 calibration networks, 18 in 20 lie inside, on the
        mean over tables; the share of one table is Beta(18, 2), standard deviation 0.065."""
        rng = random.Random(7)
        architectures = [table.space.sample(rng) for _ in range(10)]
        tables, inside = 300, 0
        for _ in range(tables):
            residuals = tuple(rng.gauss(0, 0.02) for _ in range(19))
            cost = latency_cost(replace(table, calibration=replace(table.calibration, residuals=residuals)))
            margin = cost.upper(0.9).base / cost.base - 1
            assert margin == pytest.approx(sorted(map(abs, residuals))[17])
            for architecture in architectures:
                low, high = cost.interval(architecture, 0.9)
                inside += low <= cost.of(architecture) * (1 + rng.gauss(0, 0.02)) <= high
        standard_error = (0.065**2 / tables + 0.09 / (10 * tables)) ** 0.5
        assert inside / (10 * tables) == pytest.approx(0.9, abs=4 * standard_error)

    def test_planted_columns_come_back(self, table: LatencyTable) -> None:
        cost = latency_cost(table)
        start = table.space.slices["top"].start
        options = next(choice.options for choice in table.space.choices if choice.name == "top")
        assert cost.columns[start + options.index("plain")].item() == pytest.approx(COSTS["top"]["plain"], rel=1e-6)


class TestErrors:
    def test_independent_entries_add_in_squares_and_shared_ones_in_line(self) -> None:
        def two(choose) -> nn.Module:
            options = {"a": nn.Identity, "b": nn.ReLU}
            return nn.Sequential(choose.op("l0", options), choose.op("l1", options))

        space = Space(two)
        # Entry 0 stands under l0=a and l1=a, entry 1 in the base, entry 2 under l1=b.
        errors = torch.tensor([[0, 3.0, 0, 3.0, 0], [4.0, 0, 0, 0, 0], [0, 0, 0, 0, 5.0]], dtype=torch.float64)
        cost = AdditiveCost(space, "t", "ms", 10.0, torch.zeros(4, dtype=torch.float64), errors=errors)

        def half(**choices: str) -> float:
            low, high = cost.interval(space.canonical(choices), 0.6826894921370859)  # one standard deviation
            assert (low + high) / 2 == pytest.approx(10.0)
            return (high - low) / 2

        assert half(l0="a", l1="a") == pytest.approx((36 + 16) ** 0.5)
        assert half(l0="b", l1="a") == pytest.approx((9 + 16) ** 0.5)
        assert half(l0="a", l1="b") == pytest.approx((9 + 16 + 25) ** 0.5)
        for architecture in space:
            assert cost.upper(0.9).of(architecture) >= cost.interval(architecture, 0.9)[1] - 1e-12
        with pytest.raises(OptionError, match=r"level 1.5"):
            cost.interval(space.canonical({"l0": "a", "l1": "a"}), 1.5)
