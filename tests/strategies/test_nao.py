"""NAO: nothing twice, rounds of the size asked for, and codes that were moved uphill."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from torch import Tensor

from archipel.architecture import Architecture
from archipel.errors import OptionError
from archipel.space import Space
from archipel.spaces import nasbench201
from archipel.strategies import NAO


@pytest.fixture(scope="module")
def space() -> Space:
    return Space(nasbench201)


class Planted:
    """Instead of the learned predictor: a step of η moves an architecture η places on in the space's order."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.fitted: list[int] = []
        self.steps: list[float] = []
        self.best: list[list[Architecture]] = []

    def fit(self, architectures: Sequence[Architecture], scores: Tensor) -> None:
        assert scores.tolist() == [float(self.space.rank(a)) for a in architectures]
        self.fitted.append(len(architectures))

    def moved(self, architectures: Sequence[Architecture], step: float) -> list[Architecture]:
        self.best.append(list(architectures))
        self.steps.append(step)
        return [self.space.unrank(min(self.space.rank(a) + int(step), self.space.size - 1)) for a in architectures]


def run(own: NAO, trials: int) -> list[Architecture]:
    found = []
    for _ in range(trials):
        found.append(own.ask())
        own.tell(found[-1], (float(own.space.rank(found[-1])),))
    return found


def test_the_best_move_further_until_enough_is_new(space: Space) -> None:
    own = NAO(space, seed=0, initial=6, batch=5, top=2)
    planted = Planted(space)
    own.predictor = planted  # type: ignore[assignment]
    found = run(own, 16)
    assert len(set(found)) == 16
    assert planted.fitted == [6, 11]
    first = sorted(found[:6], key=lambda a: -space.rank(a))[:2]
    assert planted.best[:3] == [first] * 3, "the best two, from where they stand each time"
    assert planted.steps[:3] == [1, 2, 3], "two, four, then the fifth"
    assert [space.rank(a) for a in found[6:10]] == [space.rank(a) + step for step in (1, 2) for a in first]


def test_what_is_missing_is_random(space: Space) -> None:
    own = NAO(space, seed=0, initial=3, batch=4, longest=2)
    planted = Planted(space)
    planted.moved = lambda architectures, step: list(architectures)  # type: ignore[method-assign]  # noqa: ARG005
    own.predictor = planted  # type: ignore[assignment]
    assert len(set(run(own, 11))) == 11
    assert planted.fitted == [3, 7]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"batch": 0}, "batch is 0; give 1 or more"),
        ({"trade_off": 1.5}, "trade_off is 1.5; give a share from 0 to 1"),
        ({"objectives": 2}, "nao makes one objective better, not 2"),
    ],
)
def test_mistakes(space: Space, settings, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        NAO(space, **settings)
