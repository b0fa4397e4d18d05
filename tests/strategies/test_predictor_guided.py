"""A predictor in the loop: nothing twice, the best of the pool, and what a perfect predictor reaches."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from archipel.architecture import Architecture
from archipel.errors import OptionError
from archipel.evaluators.predictors.scale import NormalScores
from archipel.space import Space
from archipel.spaces import nasbench201
from archipel.strategies import PredictorGuided, RandomSearch, Strategy, strategy
from archipel.strategies.predictor_guided import around, children


@pytest.fixture(scope="module")
def space() -> Space:
    return Space(nasbench201)


def worth(architecture: Architecture) -> float:
    """Two convolutions in a row beside a shortcut, as on the real table."""
    return sum({"nor_conv_3x3": 2.0, "nor_conv_1x1": 1.0, "none": -1.0}.get(str(v), 0.0) for v in architecture.values())


class Oracle:
    """Ranks by truth; the upper bound."""

    def __init__(self) -> None:
        self.fitted: list[int] = []

    def fit(self, architectures: Sequence[Architecture], scores: Tensor) -> None:
        order = [worth(a) for a in architectures]
        assert scores.argsort(stable=True).tolist() == torch.tensor(order).argsort(stable=True).tolist()
        self.fitted.append(len(architectures))

    def predict(self, architectures: Sequence[Architecture]) -> Tensor:
        return torch.tensor([worth(a) for a in architectures], dtype=torch.float64)


def run(own: Strategy, trials: int) -> list[Architecture]:
    found = []
    for _ in range(trials):
        found.append(own.ask())
        own.tell(found[-1], (worth(found[-1]),))
    return found


def test_nothing_is_asked_for_twice_and_it_learns_anew_every_round(space: Space) -> None:
    oracle = Oracle()
    found = run(PredictorGuided(space, [oracle], seed=0, initial=8, batch=4, candidates=30), 40)
    assert len(set(found)) == 40
    assert oracle.fitted == [8, 12, 16, 20, 24, 28, 32, 36]


def test_with_a_perfect_predictor_the_optimum_is_found_soon(space: Space) -> None:
    for seed in range(3):
        guided = run(PredictorGuided(space, [Oracle()], seed=seed), 70)
        chance = run(RandomSearch(space, seed=seed), 70)
        assert max(map(worth, guided)) == 12.0 > max(map(worth, chance))


def test_what_failed_is_not_learned_from_and_not_tried_again(space: Space) -> None:
    own = PredictorGuided(space, [Oracle()], seed=0, initial=3, batch=2)
    seen = set()
    for i in range(20):
        asked = own.ask()
        assert asked not in seen
        seen.add(asked)
        own.tell(asked, None if i % 2 else (worth(asked),))
    assert len(own.known) == 10


class Sure(Oracle):
    """Knows both objectives of a planted problem exactly: `worth`, or how few convolutions there are."""

    def __init__(self, which: int) -> None:
        super().__init__()
        self.which = which

    def fit(self, architectures: Sequence[Architecture], scores: Tensor) -> None:  # noqa: ARG002
        self.scale = NormalScores.of(torch.tensor([two(a)[self.which] for a in architectures], dtype=torch.float64))

    def predict_spread(self, architectures: Sequence[Architecture]) -> tuple[Tensor, Tensor]:
        exact = self.scale.forward(torch.tensor([two(a)[self.which] for a in architectures], dtype=torch.float64))
        return exact, torch.zeros_like(exact)


def two(architecture: Architecture) -> tuple[float, float]:
    return worth(architecture), -float(sum("conv" in str(v) for v in architecture.values()))


def test_two_objectives_find_the_whole_front(space: Space) -> None:
    """Of 0 to 6 convolutions the best, all large ones, as far as they are better than the middle random cell."""
    own = PredictorGuided(space, [Sure(0), Sure(1)], seed=0, batch=5, propose="around", candidates=200, acquire="ei")
    for _ in range(100):
        asked = own.ask()
        own.tell(asked, two(asked))
    known = list(own.known.values())
    middle = statistics.median(score for score, _ in known[:10])
    assert middle < 6
    assert {(2.0 * n, -float(n)) for n in range(7) if 2.0 * n > middle} <= set(known)


def test_scores_may_be_stretched(space: Space) -> None:
    """Only their order counts."""
    plain, cubed = (strategy("bayesian,candidates=40", space, seed=1) for _ in range(2))
    for _ in range(20):
        asked = plain.ask()
        assert asked == cubed.ask()
        plain.tell(asked, (worth(asked),))
        cubed.tell(asked, (worth(asked) ** 3,))


@pytest.mark.parametrize(
    ("predictors", "settings", "said"),
    [
        ([Sure(0)], {"batch": 0}, "batch is 0; give 1 or more"),
        ([Sure(0)], {"propose": "arond"}, r"no proposals 'arond' \(children, around\); did you mean 'around'"),
        (
            [Sure(0)] * 2,
            {"acquire": "ucb"},
            "acquire=ucb makes one objective better, not 2; give one, or use nsga2",
        ),
        ([Sure(0)] * 3, {"acquire": "ei"}, "makes two objectives better, not 3; use nsga2"),
    ],
)
def test_mistakes(space: Space, predictors, settings, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        PredictorGuided(space, predictors, **settings)


def test_around_are_neighbours_and_theirs(space: Space) -> None:
    best, other = space.unrank(0), space.unrank(15_624)
    near = space.neighbours(best)
    found = around(space, [best, other], 100, {near[0]}, random.Random(0))
    assert set(near[1:]) | set(space.neighbours(other)) <= set(found)
    assert near[0] not in found
    assert len(set(found)) == len(found) == 100
    steps = [min(sum(a[c.name] != p[c.name] for c in space.choices) for p in (best, other)) for a in found]
    assert max(steps) <= 2


class TestChildren:
    def test_of_one_parent_where_it_can_fill_the_pool(self, space: Space) -> None:
        best, other = space.unrank(0), space.unrank(15_624)
        found = children(space, [best, other], 20, set(), random.Random(0))
        assert len(set(found)) == 20
        assert all(sum(child[c.name] != best[c.name] for c in space.choices) <= 5 for child in found)
        assert children(space, [best], 20, set(), random.Random(0)) == found, "the second parent was not asked"

    def test_none_that_was_seen(self, small_space: Space) -> None:
        everything = list(small_space)
        kept = set(everything[:-2])
        found = children(small_space, everything, 10, kept, random.Random(0))
        assert set(found) <= set(everything[-2:])
        assert not children(small_space, everything[:3], 10, set(everything), random.Random(0))
