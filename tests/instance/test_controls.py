"""The controls: as slow as they may be, no slower; the same architectures, other images."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from archipel.architecture import Architecture
from archipel.instance import controls
from archipel.instance.code_cost import CodeCost
from archipel.instance.controls import best_static_child, candidates, dearest, most_common, shuffled, static_union
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
    def test_none_is_above_the_budget(self, cost: CodeCost, share: float) -> None:
        low, high = cost.of(cost.cheapest()), cost.of(cost.everything())
        budget = low + share * (high - low)
        pool = candidates(cost, budget, draw_codes(SPACE, 50, 0.5, chance()), count=16, generator=chance())
        assert len(pool) == len(set(pool)) >= 1
        assert max(cost.of(architecture) for architecture in pool) <= budget
        if share > 0.1:  # where there are many they use what they may
            assert sorted(cost.of(a) for a in pool)[len(pool) // 2] > budget - 0.1 * (high - low)

    def test_what_the_policy_suggests_is_among_them_where_it_fits(self, cost: CodeCost) -> None:
        codes = draw_codes(SPACE, 30, 0.5, chance())
        codes = torch.cat([codes, codes[:1].repeat(5, 1)])
        favourite = SPACE.decode(codes[0])
        majority = SPACE.decode(SPACE.complete(codes.double().mean(0, keepdim=True) >= 0.5)[0])
        everything = cost.of(cost.everything())
        pool = candidates(cost, everything, codes, count=4, generator=chance())
        assert favourite in pool
        assert majority in pool
        below = min(cost.of(favourite), cost.of(majority)) - 1e-6
        assert not {favourite, majority} & set(candidates(cost, below, codes, count=4, generator=chance()))

    def test_other_spaces_too(self, small_space: Space, arithmetic_table) -> None:
        cost = CodeCost(small_space, arithmetic_table(small_space))
        codes = draw_codes(small_space, 20, 0.5, chance())
        budget = float(cost(codes).mean())
        pool = candidates(cost, budget, codes, count=4, generator=chance())
        assert all(cost.of(architecture) <= budget for architecture in pool)

    def test_where_nothing_fits_the_cheapest_is_all_there_is(self, cost: CodeCost) -> None:
        codes = draw_codes(SPACE, 20, 0.5, chance())
        assert candidates(cost, 0.0, codes, count=4, generator=chance()) == [cost.cheapest()]


class TestMajority:
    def test_one_that_every_choice_is_set_to_most_often_is_suggested(self, arithmetic_table) -> None:
        def ops(choose) -> nn.Module:
            return nn.Sequential(*(choose.op(f"l{i}", dict.fromkeys("abc", nn.Identity)) for i in range(3)))

        space = Space(ops)
        cost = CodeCost(space, arithmetic_table(space))
        votes = [("a", "b", "c"), ("a", "c", "c"), ("b", "b", "a"), ("a", "a", "c")]
        codes = torch.stack([space.encode({f"l{i}": o for i, o in enumerate(vote)}) for vote in votes])
        pool = candidates(cost, 99.0, codes, count=1, generator=chance())
        assert space.canonical({"l0": "a", "l1": "b", "l2": "c"}) in pool


def test_the_dearest_is_one_of_them(small_space: Space, arithmetic_table) -> None:
    cost = CodeCost(small_space, arithmetic_table(small_space))
    codes = draw_codes(small_space, 20, 0.5, chance())
    found = dearest(codes, cost)
    assert found.tolist() in codes.tolist()
    assert float(cost(found[None])[0]) == pytest.approx(float(cost(codes).max()))


@dataclass
class Judged:
    score: float


def of_weights(architecture: Architecture) -> float:
    """A score of a child that only its architecture decides."""
    return sum(sum(map(ord, str(value))) * (i + 1) % 17 for i, value in enumerate(architecture.values())) / 100


class TestBestStaticChild:
    @pytest.fixture
    def scored(self, monkeypatch: pytest.MonkeyPatch, graph: MetaGraph) -> dict[Architecture, float]:
        """What was judged, in order; the judgement is arithmetic."""
        seen: dict[Architecture, float] = {}
        asked: list[Architecture] = []

        def noting(architecture: Architecture) -> nn.Module:
            asked.append(architecture)
            return nn.Identity()

        def judged(child: nn.Module, *args: object, **more: object) -> Judged:  # noqa: ARG001
            seen[asked[-1]] = of_weights(asked[-1])
            return Judged(seen[asked[-1]])

        monkeypatch.setattr(graph, "extract", noting)
        monkeypatch.setattr(controls, "recalibrate", lambda *_: None)
        monkeypatch.setattr(controls, "evaluate", judged)
        return seen

    def pool(self) -> list[Architecture]:
        return [SPACE.decode(code) for code in draw_codes(SPACE, 4, 0.5, chance())]

    def test_it_is_the_best_judged_and_each_is_judged_once(self, graph: MetaGraph, cost, digits, scored) -> None:
        budget = max(map(cost.of, self.pool()))
        calls: list[int] = []
        best, score = best_static_child(
            graph, digits, self.pool(), calibration=list, fits=lambda a: cost.of(a) <= budget, steps=6,
            advance=lambda: calls.append(1),
        )  # fmt: skip
        assert score == scored[best] == max(scored.values())
        assert len(calls) == len(scored) == 10
        assert all(cost.of(architecture) <= budget for architecture in scored)

    def test_it_goes_on_from_the_best_so_far(self, graph: MetaGraph, digits, scored) -> None:
        best_static_child(graph, digits, self.pool(), calibration=list, fits=lambda _: True, steps=5)
        order = list(scored)
        for i in range(4, 9):
            start = max(order[:i], key=scored.__getitem__)
            assert order[i] in SPACE.neighbours(start)

    def test_where_nothing_near_fits_the_pool_is_all(self, graph: MetaGraph, digits, scored) -> None:
        best_static_child(graph, digits, self.pool(), calibration=list, fits=lambda _: False, steps=5)
        assert list(scored) == self.pool()


def test_the_best_static_child_is_the_one_with_the_best_score(graph: MetaGraph, digits) -> None:
    from archipel.sharing import evaluate, recalibrate

    pool = [SPACE.decode(code) for code in draw_codes(SPACE, 4, 0.5, chance())]
    calls: list[int] = []
    before = {name: t.clone() for name, t in graph.state_dict().items()}
    best, score = best_static_child(
        graph,
        digits,
        pool,
        calibration=lambda: digits.calibration(1, 64),
        fits=lambda _: True,
        advance=lambda: calls.append(1),
    )
    scores = {}
    for architecture in pool:
        child = graph.extract(architecture)
        recalibrate(child, digits.calibration(1, 64))
        scores[architecture] = evaluate(child, digits, "val").score
    assert score == scores[best] == max(scores.values())
    assert len(calls) == 4
    assert all(t.equal(before[name]) for name, t in graph.state_dict().items())
