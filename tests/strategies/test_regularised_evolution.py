"""Regularised evolution: children are one decision away from the best of a tournament, and the oldest dies."""

from __future__ import annotations

import pytest

from archipel.errors import OptionError
from archipel.space import Space
from archipel.spaces import nasbench201
from archipel.strategies import RegularisedEvolution


@pytest.fixture(scope="module")
def space() -> Space:
    return Space(nasbench201)


def test_the_oldest_dies_however_good(space: Space) -> None:
    own = RegularisedEvolution(space, seed=0, population=4, sample=50)
    first = own.ask()
    own.tell(first, (100.0,))
    for i in range(3):
        own.tell(own.ask(), (float(i),))
    child = own.ask()  # fifty draws of four members: the best is among them but for a chance of 1e-6
    assert child in space.neighbours(first)
    own.tell(child, (0.0,))
    assert first not in [member for _, member in own.population]
    assert len(own.population) == 4


def test_what_failed_is_no_parent(space: Space) -> None:
    own = RegularisedEvolution(space, seed=0, population=2)
    for _ in range(5):
        own.tell(own.ask(), None)
    assert not own.population


def test_mistakes(space: Space) -> None:
    with pytest.raises(OptionError, match="a population of 0 and a sample of 3 are given; give 1 or more"):
        RegularisedEvolution(space, population=0)
