"""Derivation against enumeration: argmax, budgets, Pareto sets, and controls drawn under a budget."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.cost.additive import AdditiveCost
from archipel.cost.memory import peak_activations
from archipel.errors import OptionError, SpaceError
from archipel.nn import ConvBN
from archipel.nn.blocks import InvertedResidual, Zero, residual
from archipel.sharing import derivation
from archipel.sharing.derivation import argmax, best_under, pareto, random_under
from archipel.space import Space


def tree(choose) -> nn.Module:
    """156 architectures: choices within options two deep, one decision under two options, one that stands alone."""

    def plain(*names: str):
        return dict.fromkeys(names, nn.Identity)

    def act() -> nn.Module:
        return choose.op("act", plain("relu", "tanh"))

    def deep() -> nn.Module:
        return nn.Sequential(act(), choose.op("inner", {**plain("a", "b"), "deeper": deeper}))

    def deeper() -> nn.Module:
        return choose.op("innermost", plain("p", "q", "r"))

    return nn.Sequential(
        choose.op("top", {**plain("x"), "deep": deep, "flat": act}),
        choose.op("next", plain("u", "v", "w")),
        choose.op("last", {**plain("s", "t"), "own": lambda: choose.op("last.own", plain("m", "n"))}),
    )


TREE = Space(tree)


def chain(layers: int, options: int) -> Space:
    def layered(choose) -> nn.Module:
        return nn.Sequential(
            *(choose.op(f"l{i}", {f"o{j}": nn.Identity for j in range(options)}) for i in range(layers))
        )

    return Space(layered)


def case(space: Space, seed: int, *, whole: bool = False) -> tuple[dict[str, Tensor], AdditiveCost]:
    """Random probabilities and costs, some columns negative as differences may be; whole numbers make many ties."""
    rng = np.random.default_rng(seed)
    p = {c.name: torch.tensor(rng.normal(0, 1.5, len(c.options))).softmax(0) for c in space.choices}
    columns = rng.integers(-1, 5, space.width).astype(float) if whole else rng.normal(2, 1.5, space.width)
    return p, AdditiveCost(space, "planted", "ms", 3.0, torch.tensor(columns))


def log_p(space: Space, p: dict[str, Tensor], architecture: Architecture) -> float:
    options = {c.name: c.options for c in space.choices}
    return sum(math.log(p[name][options[name].index(option)]) for name, option in architecture.items())


def everything(space: Space, p: dict[str, Tensor], *costs: AdditiveCost) -> list[tuple[float, ...]]:
    """(log p, cost, ...) of every architecture."""
    return [(log_p(space, p, a), *(cost.of(a) for cost in costs)) for a in space]


class TestBestUnder:
    @given(seed=st.integers(0, 10**6), share=st.floats(0, 1), whole=st.booleans())
    @settings(max_examples=40, deadline=None, derandomize=True)
    def test_it_is_the_most_probable_of_all_that_fit(self, seed: int, share: float, whole: bool) -> None:
        p, cost = case(TREE, seed, whole=whole)
        every = everything(TREE, p, cost)
        low, high = min(c for _, c in every), max(c for _, c in every)
        budget = low + share * (high - low)
        found = best_under(p, cost, budget)
        assert found.cost == cost.of(found.architecture) <= budget + 1e-9
        assert found.log_probability == pytest.approx(log_p(TREE, p, found.architecture))
        assert found.log_probability == pytest.approx(max(s for s, c in every if c <= budget + 1e-9))
        assert found.is_exact

    @given(seed=st.integers(0, 10**6), shares=st.tuples(st.floats(0, 1), st.floats(0, 1)))
    @settings(max_examples=40, deadline=None, derandomize=True)
    def test_several_budgets_at_once(self, seed: int, shares: tuple[float, float]) -> None:
        (p, first), (_, second) = case(TREE, seed), case(TREE, seed + 1)
        every = everything(TREE, p, first, second)
        budgets = [
            min(e[i] for e in every) + share * (max(e[i] for e in every) - min(e[i] for e in every))
            for i, share in enumerate(shares, 1)
        ]
        fitting = [s for s, a, b in every if a <= budgets[0] + 1e-9 and b <= budgets[1] + 1e-9]
        if not fitting:
            with pytest.raises(OptionError, match="at once"):
                best_under(p, first, budgets[0], also=[(second, budgets[1])])
            return
        found = best_under(p, first, budgets[0], also=[(second, budgets[1])])
        assert found.log_probability == pytest.approx(max(fitting))
        assert second.of(found.architecture) <= budgets[1] + 1e-9

    @given(seed=st.integers(0, 10**6), share=st.floats(0.1, 1))
    @settings(max_examples=25, deadline=None, derandomize=True)
    def test_options_that_are_not_allowed_are_left_out(self, seed: int, share: float) -> None:
        p, cost = case(TREE, seed)
        allowed = torch.tensor(np.random.default_rng(seed).random(TREE.width) < 0.7)
        fitting = [a for a in TREE if bool((allowed | ~TREE.encode(a)).all())]
        if not fitting:
            with pytest.raises(OptionError, match=r"no option of choice '.*' .* is allowed"):
                best_under(p, cost, 1e9, allowed=allowed)
            return
        costs = sorted(cost.of(a) for a in fitting)
        budget = costs[int(share * (len(costs) - 1))]
        found = best_under(p, cost, budget, allowed=allowed)
        assert found.log_probability == pytest.approx(
            max(log_p(TREE, p, a) for a in fitting if cost.of(a) <= budget + 1e-9)
        )

    def test_a_budget_below_the_cheapest_is_told_what_that_costs(self) -> None:
        p, cost = case(TREE, 0)
        least = cost.of(cost.cheapest())
        assert least == pytest.approx(min(c for _, c in everything(TREE, p, cost)))
        assert best_under(p, cost, least).cost == pytest.approx(least)
        with pytest.raises(OptionError, match=rf"below the cheapest .* costs {least:g} ms of planted"):
            best_under(p, cost, least - 1e-6)
        with pytest.raises(OptionError, match=rf"costs {least:g} ms"):
            pareto(p, cost).under(least - 1e-6)

    def test_a_wider_budget_is_never_less_probable(self) -> None:
        p, cost = case(chain(21, 7), 3)
        budgets = np.linspace(cost.of(cost.cheapest()), cost.of(cost.dearest()), 25)
        found = [best_under(p, cost, budget) for budget in budgets]
        assert all(a.log_probability <= b.log_probability + 1e-12 for a, b in itertools.pairwise(found))
        assert all(f.cost <= budget + 1e-9 for f, budget in zip(found, budgets))
        assert found[-1].architecture == argmax(p, cost).architecture

    def test_an_option_that_is_never_taken_is_still_what_a_budget_may_leave(self) -> None:
        space = chain(2, 2)
        p = {"l0": torch.tensor([0.0, 1.0]), "l1": torch.tensor([0.5, 0.5])}
        cost = AdditiveCost(space, "c", "ms", 0.0, torch.tensor([1.0, 5.0, 1.0, 5.0], dtype=torch.float64))
        assert best_under(p, cost, 2.0).architecture == Architecture(l0="o0", l1="o0")

    @pytest.mark.parametrize("seed", range(3))
    def test_648_choices_come_out_exactly(self, seed: int) -> None:
        """Whether they do is told by a bound: what Lagrangian multipliers promise at most."""
        space = chain(648, 7)
        p, cost = case(space, seed)
        low, high = cost.of(cost.cheapest()), argmax(p, cost).cost
        budget = low + 0.5 * (high - low)
        found = best_under(p, cost, budget)
        assert found.is_exact
        assert found.cost <= budget
        logs = np.stack([p[c.name].log().numpy() for c in space.choices])
        costs = cost.columns.numpy().reshape(648, 7)
        bound = min(
            (logs - price * costs).max(1).sum() + price * (budget - cost.base) for price in np.linspace(0, 3, 1000)
        )
        assert bound - 0.1 < found.log_probability <= bound + 1e-9

    def test_spaces_of_subsets_are_refused(self) -> None:
        def bits(choose) -> nn.Module:
            return choose.subset("bits", {"a": nn.Identity, "b": nn.ReLU})

        space = Space(bits)
        cost = AdditiveCost(space, "c", "ms", 0.0, torch.ones(2, dtype=torch.float64))
        p = {"bits": torch.tensor([0.5, 0.5])}
        for derive in (lambda: best_under(p, cost, 1), lambda: pareto(p, cost), lambda: argmax(p, cost)):
            with pytest.raises(SpaceError, match=r"choice 'bits' .* is a subset choice"):
                derive()
        with pytest.raises(SpaceError, match="subset"):
            random_under(space, cost, 1, random.Random(0), 1)


class TestPareto:
    @given(seed=st.integers(0, 10**6), whole=st.booleans())
    @settings(max_examples=20, deadline=None, derandomize=True)
    def test_it_holds_every_unbeaten_point_and_no_other(self, seed: int, whole: bool) -> None:
        p, cost = case(TREE, seed, whole=whole)
        every = everything(TREE, p, cost)
        unbeaten = {
            (round(s, 9), round(c, 9))
            for s, c in every
            if not any(t >= s - 1e-12 and d <= c + 1e-12 and (t > s + 1e-9 or d < c - 1e-9) for t, d in every)
        }
        front = pareto(p, cost)
        assert front.slack == 0
        assert {
            (round(float(s), 9), round(float(c), 9)) for s, c in zip(front.log_probabilities, front.costs)
        } == unbeaten
        for i, derived in enumerate(front):
            assert derived.cost == pytest.approx(front.costs[i])
            assert derived.log_probability == pytest.approx(log_p(TREE, p, derived.architecture))

    def test_21_blocks_of_7_give_the_whole_set(self) -> None:
        p, cost = case(chain(21, 7), 1)
        front = pareto(p, cost)
        assert front.slack == 0
        assert len(front) > 100
        assert front[0].architecture == cost.cheapest()
        assert front[-1].architecture == argmax(p, cost).architecture
        for budget in np.linspace(front.costs[0], front.costs[-1], 7):
            assert front.under(budget).log_probability == pytest.approx(best_under(p, cost, budget).log_probability)

    @pytest.mark.parametrize("seed", range(3))
    def test_what_is_too_large_is_put_on_a_grid_and_says_so(self, monkeypatch, seed: int) -> None:
        """Within every budget, and no less probable than the best under the budget less the slack that it tells."""
        p, cost = case(chain(40, 7), seed)
        exact = pareto(p, cost)
        monkeypatch.setattr(derivation, "combine", lambda c, width: _combine(c, width, most=256))
        coarse = pareto(p, cost)
        assert len(coarse) <= 256 < len(exact)
        assert 0 < coarse.slack < 0.5 * (exact.costs[-1] - exact.costs[0])
        for budget in np.linspace(exact.costs[0] + coarse.slack, exact.costs[-1], 20):
            found = coarse.under(budget)
            assert not found.is_exact
            assert found.cost <= budget + 1e-9
            assert found.log_probability <= exact.under(budget).log_probability + 1e-9
            assert found.log_probability >= exact.under(budget - coarse.slack).log_probability - 1e-9
        assert "grid" in coarse[0].sentence()
        assert "no architecture within its budget is more probable" in exact[0].sentence()


_combine = derivation.combine


def test_the_tree_has_as_many_architectures_as_it_says() -> None:
    assert TREE.size == (1 + 2 * (2 + 3) + 2) * 3 * (2 + 2) == 156


def test_argmax_takes_the_most_probable_option_of_every_active_choice() -> None:
    p, cost = case(TREE, 5)
    p["top"] = torch.tensor([0.1, 0.6, 0.3])
    found = argmax(p, cost)
    for choice in TREE.active(found.architecture):
        assert found.architecture[choice.name] == choice.options[int(p[choice.name].argmax())]
    assert found.cost == cost.of(found.architecture)
    assert found.log_probability == pytest.approx(log_p(TREE, p, found.architecture))
    assert argmax({c.name: torch.ones(len(c.options)) for c in TREE.choices}, cost).architecture["top"] == "x"


def test_peak_memory_is_a_hard_limit() -> None:
    def small(choose) -> nn.Module:
        def body(expand: int):
            return lambda: InvertedResidual(4, 4, expand=expand)

        layers = [residual(choose.op(f"l{i}", {"e2": body(2), "e6": body(6), "zero": Zero})) for i in range(4)]
        return nn.Sequential(ConvBN(3, 4), *layers)

    space = Space(small)
    peaks = peak_activations(space, (3, 8, 8))
    p = {c.name: torch.tensor([0.2, 0.7, 0.1]) for c in space.choices}
    cost = AdditiveCost(space, "c", "ms", 0.0, torch.arange(12, dtype=torch.float64))
    limit = peaks.of(space.canonical({c.name: "e2" for c in space.choices}))
    assert argmax(p, cost).architecture["l0"] == "e6"
    found = best_under(p, cost, 1e9, allowed=peaks.allowed(limit))
    assert set(found.architecture.values()) == {"e2"}
    assert peaks.of(found.architecture) <= limit
    with pytest.raises(OptionError, match="raise the limit"):
        pareto(p, cost, allowed=peaks.allowed(1))


class TestRandomUnder:
    @pytest.mark.parametrize("enumerated", [0, 1024])
    @pytest.mark.parametrize("quantile", [0.15, 0.5, 0.9])
    def test_every_architecture_of_the_band_is_equally_likely(
        self, monkeypatch, enumerated: int, quantile: float
    ) -> None:
        monkeypatch.setattr(derivation, "ENUMERATED", enumerated)
        _, cost = case(TREE, 2)
        budget = float(np.quantile([cost.of(a) for a in TREE], quantile))
        band = [a for a in TREE if 0.8 * budget <= cost.of(a) <= budget]
        assert len(band) >= 4
        drawn = Counter(random_under(TREE, cost, budget, random.Random(1), 100 * len(band), floor=0.8))
        assert set(drawn) == set(band)
        chi2 = sum((count - 100) ** 2 / 100 for count in drawn.values())
        degrees = len(band) - 1
        assert chi2 < degrees + 5 * (2 * degrees) ** 0.5 + 5

    @pytest.mark.parametrize("enumerated", [0, 1024])
    @pytest.mark.parametrize("quantile", [0.3, 0.9])
    def test_in_the_band_they_are_as_probable_as_was_said(self, monkeypatch, quantile: float, enumerated: int) -> None:
        monkeypatch.setattr(derivation, "ENUMERATED", enumerated)
        p, cost = case(TREE, 4)
        budget = float(np.quantile([cost.of(a) for a in TREE], quantile))
        band = {a: math.exp(log_p(TREE, p, a)) for a in TREE if 0.8 * budget <= cost.of(a) <= budget}
        drawn = Counter(random_under(TREE, cost, budget, random.Random(2), 4000, floor=0.8, probabilities=p))
        assert set(drawn) <= set(band)
        for architecture, weight in band.items():
            expected = 4000 * weight / sum(band.values())
            assert abs(drawn[architecture] - expected) < 5 * expected**0.5 + 3

    @pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.9])
    def test_budgets_anywhere_in_the_range_of_a_large_space(self, share: float) -> None:
        space = chain(21, 7)
        _, cost = case(space, 1)
        cost = AdditiveCost(space, "c", "ms", 20.0, cost.columns.abs())
        low, high = cost.of(cost.cheapest()), cost.of(cost.dearest())
        budget = low + share * (high - low)
        drawn = random_under(space, cost, budget, random.Random(0), 20)
        assert len(set(drawn)) == 20
        assert all(0.9 * budget <= cost.of(a) <= budget + 1e-9 for a in drawn)

    def test_the_tilt_is_taken_out_again(self) -> None:
        """Of two layers that cost nothing to choose, both options come equally often, however far the budget is."""
        space = chain(12, 2)
        columns = torch.tensor([1.0, 3.0] * 10 + [2.0, 2.0] * 2, dtype=torch.float64)
        cost = AdditiveCost(space, "c", "ms", 0.0, columns)
        drawn = random_under(space, cost, 18.0, random.Random(0), 600)
        # 14 to 34 in steps of 2: of 16.2 to 18 there is 18 alone, two dear layers.
        dear = Counter(sum(a[f"l{i}"] == "o1" for i in range(10)) for a in drawn)
        assert set(dear) == {2}
        for layer in ("l10", "l11"):
            share = sum(a[layer] == "o1" for a in drawn) / 600
            assert share == pytest.approx(0.5, abs=4 * 0.5 / 600**0.5)

    def test_one_seed_one_draw(self) -> None:
        space = chain(21, 7)
        _, cost = case(space, 1)
        budget = 0.5 * (cost.of(cost.cheapest()) + cost.of(cost.dearest()))
        first, again = (random_under(space, cost, budget, random.Random(3), 5) for _ in range(2))
        assert first == again

    @pytest.mark.parametrize("enumerated", [0, 1024])
    def test_a_band_without_architectures_is_refused(self, monkeypatch, enumerated: int) -> None:
        monkeypatch.setattr(derivation, "ENUMERATED", enumerated)
        monkeypatch.setattr(derivation, "PATIENCE", 200)
        space = chain(3, 2)
        cost = AdditiveCost(space, "c", "ms", 10.0, torch.tensor([0.0, 10.0] * 3, dtype=torch.float64))
        assert (
            random_under(space, cost, 10.0, random.Random(0), 2)
            == [space.canonical({f"l{i}": "o0" for i in range(3)})] * 2
        )
        for budget in (9.0, 18.0, 1000.0):
            with pytest.raises(OptionError, match="no architecture of space 'layered' was found that costs"):
                random_under(space, cost, budget, random.Random(0), 1)
