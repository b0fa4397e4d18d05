"""The controls: as slow as they may be, no slower; the same architectures, other images."""

from __future__ import annotations

import pytest
import torch

from archipel.instance.code_cost import CodeCost
from archipel.instance.controls import best_static_child, candidates, keep_for, most_common, shuffled, static_union
from archipel.metagraph import MetaGraph
from archipel.sharing.policies import draw_codes
from archipel.space import Space
from archipel.spaces import instanas


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


SPACE = Space(instanas, macro="digits", width=0.25, size=8, channels=1)


@pytest.fixture(scope="module")
def graph() -> MetaGraph:
    return MetaGraph(SPACE)


@pytest.fixture(scope="module")
def cost(arithmetic_table) -> CodeCost:
    return CodeCost(SPACE, arithmetic_table(SPACE))


def test_most_common() -> None:
    codes = torch.tensor([[0, 1], [1, 0], [1, 0], [1, 1]], dtype=torch.bool)
    assert most_common(codes).tolist() == [True, False]


class TestShuffled:
    def test_the_same_architectures_go_to_other_images(self) -> None:
        codes = draw_codes(SPACE, 200, 0.5, chance())
        dealt = shuffled(codes, chance(1))
        assert not dealt.equal(codes)
        assert sorted(dealt.tolist()) == sorted(codes.tolist())

    def test_the_mean_latency_stays(self, cost: CodeCost) -> None:
        codes = draw_codes(SPACE, 200, 0.5, chance())
        assert float(cost(shuffled(codes, chance(1))).mean()) == pytest.approx(float(cost(codes).mean()))

    def test_pairs_are_dealt_uniformly(self) -> None:
        codes = torch.eye(4, dtype=torch.bool)
        stays = [float((shuffled(codes, chance(s)) & codes).sum()) for s in range(2000)]
        # Fixed points of a uniform permutation: mean 1, variance 1.
        assert abs(sum(stays) / 2000 - 1.0) < 4 / 2000**0.5


class TestUnion:
    def test_it_holds_every_option_that_any_image_uses_and_no_other(self, cost: CodeCost) -> None:
        codes = draw_codes(SPACE, 12, 0.2, chance())
        union = static_union(codes)
        assert all(bool((union | code).equal(union)) for code in codes)
        assert all(any(bool(code[i]) for code in codes) for i in union.nonzero()[:, 0])
        assert SPACE.encode(SPACE.decode(union)).equal(union)
        assert float(cost(union[None])[0]) >= float(cost(codes).max())


class TestCandidates:
    @pytest.mark.parametrize("share", [0.02, 0.3, 0.7])
    def test_none_is_above_the_budget(self, graph: MetaGraph, cost: CodeCost, share: float) -> None:
        low, high = cost.of(cost.cheapest()), cost.of(cost.everything())
        budget = low + share * (high - low)
        pool = candidates(graph, cost, budget, draw_codes(SPACE, 50, 0.5, chance()), count=16, generator=chance())
        assert len(pool) == len(set(pool)) >= 1
        assert max(cost.of(architecture) for architecture in pool) <= budget
        if share > 0.1:  # where there are many they use what they may
            assert sorted(cost.of(a) for a in pool)[len(pool) // 2] > budget - 0.1 * (high - low)

    def test_what_the_policy_suggests_is_among_them_where_it_fits(self, graph: MetaGraph, cost: CodeCost) -> None:
        codes = draw_codes(SPACE, 30, 0.5, chance())
        codes = torch.cat([codes, codes[:1].repeat(5, 1)])
        favourite = SPACE.decode(codes[0])
        majority = SPACE.decode(SPACE.complete(codes.double().mean(0, keepdim=True) >= 0.5)[0])
        everything = cost.of(cost.everything())
        pool = candidates(graph, cost, everything, codes, count=4, generator=chance())
        assert favourite in pool
        assert majority in pool
        below = min(cost.of(favourite), cost.of(majority)) - 1e-6
        assert not {favourite, majority} & set(candidates(graph, cost, below, codes, count=4, generator=chance()))

    def test_other_spaces_too(self, small_space: Space, arithmetic_table) -> None:
        cost = CodeCost(small_space, arithmetic_table(small_space))
        codes = draw_codes(small_space, 20, 0.5, chance())
        budget = float(cost(codes).mean())
        pool = candidates(MetaGraph(small_space), cost, budget, codes, count=4, generator=chance())
        assert all(cost.of(architecture) <= budget for architecture in pool)

    def test_where_nothing_fits_the_cheapest_is_all_there_is(self, graph: MetaGraph, cost: CodeCost) -> None:
        codes = draw_codes(SPACE, 20, 0.5, chance())
        assert candidates(graph, cost, 0.0, codes, count=4, generator=chance()) == [cost.cheapest()]


def test_the_best_static_child_is_the_one_with_the_best_score(graph: MetaGraph, digits) -> None:
    from archipel.sharing import evaluate, recalibrate

    pool = [SPACE.decode(code) for code in draw_codes(SPACE, 4, 0.5, chance())]
    calls: list[int] = []
    before = {name: t.clone() for name, t in graph.state_dict().items()}
    best, score = best_static_child(
        graph, digits, pool, calibration=lambda: digits.calibration(1, 64), advance=lambda: calls.append(1)
    )
    scores = {}
    for architecture in pool:
        child = graph.extract(architecture)
        recalibrate(child, digits.calibration(1, 64))
        scores[architecture] = evaluate(child, digits, "val").score
    assert score == scores[best] == max(scores.values())
    assert len(calls) == 4
    assert all(t.equal(before[name]) for name, t in graph.state_dict().items())


@pytest.mark.parametrize("share", [0.1, 0.4, 0.8])
def test_random_architectures_of_that_keep_probability_cost_the_target(
    graph: MetaGraph, cost: CodeCost, share: float
) -> None:
    low = float(cost(draw_codes(SPACE, 512, 0.0, chance())).mean())
    high = cost.of(cost.everything())
    target = low + share * (high - low)
    keep = keep_for(graph, cost, target, chance(1))
    n = 20_000
    latency = cost(draw_codes(SPACE, n, keep, chance(2)))
    # 512 draws decide the keep probability.
    assert abs(float(latency.mean()) - target) < 4 * float(latency.std()) * (1 / n + 1 / 512) ** 0.5
