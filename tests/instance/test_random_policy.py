"""Random policies: the wanted mean latency, and no more said than that."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from archipel.instance.code_cost import CodeCost
from archipel.instance.policy import CodePolicy
from archipel.instance.random_policy import RandomPolicy
from archipel.space import Space


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_architectures_of_any_space_cost_the_target_on_average(
    small_space: Space, arithmetic_table, share: float
) -> None:
    cost = CodeCost(small_space, arithmetic_table(small_space))
    low, high = cost.of(cost.cheapest()), cost.of(cost.everything())
    target = low + share * (high - low)
    policy = RandomPolicy.costing(cost, target, chance(1))
    n = 1500
    latency = cost(policy.draw(n, chance(2)))
    # 512 draws decide how steep it is.
    assert abs(float(latency.mean()) - target) < 4 * float(latency.std()) * (1 / n + 1 / 512) ** 0.5


def latency_is_a_sum(space: Space) -> bool:
    """Elsewhere prices do not tell the extremes."""
    return all(c.kind == "op" or (c.kind == "subset" and c.empty == "identity") for c in space.choices)


@pytest.mark.of_spaces(where=latency_is_a_sum)
def test_beyond_the_ends_it_is_the_nearest(small_space: Space, arithmetic_table) -> None:
    cost = CodeCost(small_space, arithmetic_table(small_space))
    drawn = RandomPolicy.costing(cost, 0.0, chance()).draw(50, chance())
    assert float(cost(drawn).max()) == pytest.approx(cost.of(cost.cheapest()))


def test_it_is_the_least_informed_of_its_latency(arithmetic_table, enumerated) -> None:
    """P(architecture) ∝ exp(−λ · latency), by enumeration, conditional choices included."""

    def tree(choose) -> nn.Module:
        leaf = lambda: choose.op("leaf", {"x": nn.ReLU, "y": nn.Tanh, "z": nn.Identity})  # noqa: E731
        bits = lambda: choose.subset("bits", {"a": nn.ReLU, "b": leaf}, empty=nn.Identity)  # noqa: E731
        top = choose.op("top", {"deep": bits, "flat": nn.Identity})
        return nn.Sequential(top, choose.op("one", dict.fromkeys("pq", nn.Identity)))

    space = Space(tree)
    cost = CodeCost(space, arithmetic_table(space))
    policy = RandomPolicy.costing(cost, cost.of(cost.cheapest()) * 1.2, chance())
    codes, weights = enumerated(space, CodePolicy(space).probabilities(policy.logits[None].double())[0])
    unique, same = codes.unique(dim=0, return_inverse=True)
    p = torch.zeros(len(unique), dtype=torch.float64).index_add_(0, same, weights)
    latency = cost(unique)
    slope = (p[1] / p[0]).log() / (latency[1] - latency[0])
    assert float(slope) < 0
    assert (p / p[0]).log().allclose(slope * (latency - latency[0]), atol=1e-4)


def test_it_is_its_logits(small_space: Space, arithmetic_table) -> None:
    cost = CodeCost(small_space, arithmetic_table(small_space))
    policy = RandomPolicy.costing(cost, float(cost.of(cost.first())), chance())
    again = RandomPolicy(small_space, policy.logits.tolist())
    assert again.draw(30, chance(3)).equal(policy.draw(30, chance(3)))
