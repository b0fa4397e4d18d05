"""NSGA-II: fronts and crowding against their definitions, and a front that is found."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from archipel.architecture import Architecture
from archipel.space import Space
from archipel.spaces import nasbench201
from archipel.strategies import NSGA2, RandomSearch, Strategy
from archipel.strategies.nsga2 import crowding, fronts


def test_fronts_by_their_definition() -> None:
    points = np.random.default_rng(0).integers(0, 5, (60, 3)).astype(float)
    left = set(range(60))
    for front in fronts(points):
        beaten = {
            j for i, j in itertools.permutations(left, 2)
            if (points[i] >= points[j]).all() and (points[i] > points[j]).any()
        }  # fmt: skip
        assert set(front) == left - beaten
        left -= set(front)
    assert not left


def test_crowding() -> None:
    front = np.array([[0.0, 4.0], [1.0, 3.0], [3.0, 1.0], [4.0, 0.0]])
    assert crowding(front).tolist() == [np.inf, 3 / 4 + 3 / 4, 3 / 4 + 3 / 4, np.inf]
    assert crowding(np.array([[1.0, 1.0]])).tolist() == [np.inf]
    assert np.isfinite(crowding(np.zeros((3, 2)))).sum() == 1


class TestOnTwoObjectives:
    """Accuracy by convolutions, cost by their size: the whole front is known."""

    space = Space(nasbench201)

    def scores(self, architecture: Architecture) -> tuple[float, float]:
        three = sum(v == "nor_conv_3x3" for v in architecture.values())
        one = sum(v == "nor_conv_1x1" for v in architecture.values())
        return float(3 * three + one), -float(9 * three + one + sum(v == "avg_pool_3x3" for v in architecture.values()))

    def reached(self, own: Strategy, trials: int = 400) -> int:
        """Points of the true front among those tried."""
        front = {(float(3 * t + o), -float(9 * t + o)) for t in range(7) for o in range(7 - t) if t == 0 or o + t == 6}
        found = set()
        for _ in range(trials):
            asked = own.ask()
            own.tell(asked, self.scores(asked))
            found.add(self.scores(asked))
        return len(found & front)

    def test_it_finds_more_of_the_front_than_chance(self) -> None:
        own = [self.reached(NSGA2(self.space, objectives=2, seed=seed)) for seed in range(4)]
        chance = [self.reached(RandomSearch(self.space, objectives=2, seed=seed)) for seed in range(4)]
        assert min(own) > max(chance)

    def test_the_best_stay_whatever_their_age(self) -> None:
        own = NSGA2(self.space, objectives=1, seed=0, population=6)
        best = own.ask()
        own.tell(best, (100.0,))
        for i in range(40):
            asked = own.ask()
            own.tell(asked, (float(i % 5),))
        assert best in own.parents
        assert len(own.parents) == 6

    def test_mistakes(self) -> None:
        with pytest.raises(ValueError, match="crossover is 2; give a share from 0 to 1"):
            NSGA2(self.space, crossover=2)
