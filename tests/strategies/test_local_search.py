"""Local search: every neighbour before it gives up, none twice, and at once to what is better."""

from __future__ import annotations

import pytest

from archipel.architecture import Architecture
from archipel.space import Space
from archipel.spaces import nasbench201
from archipel.strategies import LocalSearch


@pytest.fixture(scope="module")
def space() -> Space:
    return Space(nasbench201)


def test_moves_to_the_first_that_is_better(space: Space) -> None:
    own = LocalSearch(space, seed=0)
    start = own.ask()
    own.tell(start, (0.0,))
    worse = own.ask()
    own.tell(worse, (-1.0,))
    assert own.centre == start
    better = own.ask()
    own.tell(better, (1.0,))
    assert {worse, better} <= set(space.neighbours(start))
    assert own.centre == better
    assert own.ask() in space.neighbours(better)


def test_tries_every_neighbour_once_and_then_begins_elsewhere(space: Space) -> None:
    own = LocalSearch(space, seed=1)
    start = own.ask()
    own.tell(start, (1.0,))
    near: list[Architecture] = []
    for _ in space.neighbours(start):
        near.append(own.ask())
        own.tell(near[-1], (0.0,))
    assert sorted(a.key for a in near) == sorted(a.key for a in space.neighbours(start))
    again = own.ask()
    assert again not in (start, *near)
    assert own.centre == again


def test_climbs_a_hill_without_a_second_look(space: Space) -> None:
    """Where every decision counts by itself there is one peak, and a search never needs more than all neighbours on
    the way."""
    worth = {option: i for i, option in enumerate(space.choices[0].options)}
    own, seen = LocalSearch(space, seed=2), set[Architecture]()
    for _ in range(200):
        asked = own.ask()
        assert asked not in seen
        seen.add(asked)
        own.tell(asked, (float(sum(worth[str(v)] for v in asked.values())),))
    peak = Architecture({choice.name: choice.options[-1] for choice in space.choices})
    assert peak in seen
