"""Which cascades a run is compared with."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from archipel.instance.cascade import Cascade, CascadePoint, sweep
from archipel.recipes.instanas.cascade import Pair, best_pair
from archipel.recipes.instanas.thresholds import RULES, Rule, worth_having
from archipel.recipes.instanas.timing import typical

PLAIN, JOINED = Rule(committee=False, learnt=False), Rule(committee=True, learnt=False)
ALONE = {"small": (1.0, 0.7), "middle": (2.0, 0.75), "large": (3.0, 0.9)}


class TestBestPair:
    @staticmethod
    def line(first: tuple[float, float], second: tuple[float, float], bend: float) -> list[CascadePoint]:
        """From the first network's point towards the second's accuracy at both costs, bent upwards."""
        points = []
        for i in range(11):
            share = i / 10
            accuracy = first[1] + (second[1] - first[1]) * min(1.0, share * bend)
            points.append(CascadePoint((0.5,), accuracy, first[0] + share * second[0], (1 - share, share)))
        return points

    def test_the_one_that_lifts_the_frontier_most(self) -> None:
        bends = {("small", "large"): 3.0, ("small", "middle"): 3.0, ("middle", "large"): 1.0}
        pairs = {Pair(a, b, PLAIN): self.line(ALONE[a], ALONE[b], bend) for (a, b), bend in bends.items()}
        assert best_pair(pairs, ALONE) == ("small", "large", PLAIN)
        worse = pairs | {Pair("small", "large", PLAIN): self.line(ALONE["small"], ALONE["large"], 0.3)}
        assert best_pair(worse, ALONE) == ("small", "middle", PLAIN)
        joined = worse | {Pair("small", "large", JOINED): self.line(ALONE["small"], ALONE["large"], 3.0)}
        assert best_pair(joined, ALONE) == ("small", "large", JOINED)

    def test_where_none_helps_the_cheapest_and_the_dearest(self) -> None:
        alone = {"small": (1.0, 0.9), "middle": (2.0, 0.9), "large": (3.0, 0.9)}
        pairs = {
            Pair(a, b, rule): self.line(alone[a], alone[b], 1.0)
            for a, b in (("middle", "large"), ("small", "middle"), ("small", "large"))
            for rule in reversed(RULES)
        }
        assert best_pair(pairs, alone) == ("small", "large", PLAIN)


class TestWorthHaving:
    def test_neither_network_alone_and_nothing_that_the_second_beats(self) -> None:
        """The first knows its 30 mistakes of 100, the second makes none."""
        right = torch.arange(100) < 70
        doubts = torch.where(right, torch.linspace(0.0, 0.3, 100), torch.linspace(0.5, 0.9, 100))
        points = sweep(doubts[None], torch.stack([right, torch.ones_like(right)]), (1.0, 3.0))
        kept = worth_having(points, [(1.0, 0.7), (3.0, 1.0)])
        assert kept
        assert all(0.0 < point.shares[1] < 1.0 for point in kept)
        assert all(point.ms < 3.0 for point in kept)
        assert max(point.accuracy for point in kept) == 1.0

    def test_a_point_that_any_network_alone_beats_is_not(self) -> None:
        right = torch.arange(100) < 70
        points = sweep(torch.linspace(0.0, 0.9, 100)[None], torch.stack([right, torch.ones_like(right)]), (1.0, 3.0))
        assert worth_having(points, [(1.0, 0.7), (3.0, 1.0)])
        (left,) = worth_having(points, [(1.0, 1.0), (3.0, 1.0)])
        assert left.accuracy == 1.0

    def test_where_there_is_nothing_the_most_accurate_stays(self) -> None:
        (point,) = worth_having(sweep(torch.zeros(1, 4), torch.eye(4)[:2] > 0, (1.0, 3.0)), [(3.0, 0.25)])
        assert (point.accuracy, point.ms) == (0.25, 1.0)


class Graded(nn.Module):
    """As unsure as the image is dark."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x.mean((1, 2, 3)), torch.zeros(len(x))], 1)


@pytest.mark.parametrize("shares", [(1.0, 0.0), (0.9, 0.1), (0.5, 0.5), (0.0, 1.0), (0.5, 0.3, 0.2), (0.0, 0.0, 1.0)])
def test_a_batch_is_timed_with_the_shares_that_leave_on_average(shares: tuple[float, ...]) -> None:
    x = torch.linspace(0.0, 4.0, 20)[:, None, None, None].expand(20, 1, 2, 2)
    stages, passed = [Graded() for _ in shares], [0.2] * (len(shares) - 1)
    cascade = typical(Cascade(stages, thresholds=passed, costs_ms=[1.0] * len(shares)), x, shares)
    counts = cascade.answer(x).stage.bincount(minlength=len(shares))
    assert counts.tolist() == [round(20 * share) for share in shares]
    dark = cascade.answer(x).stage
    assert (dark[:-1] >= dark[1:]).all()  # the darkest go furthest
