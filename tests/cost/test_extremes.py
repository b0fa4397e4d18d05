"""The smallest and the largest child: the ends of every small space, and what they are of the large ones."""

from __future__ import annotations

from archipel.cost import madds
from archipel.cost.attribution import ghost
from archipel.cost.extremes import extremes
from archipel.space import Space
from archipel.spaces import instanas

SHAPE = (3, 8, 8)
COUNTED = {"subsets": (1808, 57104), "elastic": (1952, 24336), "segments": (648, 48912)}
"""Of the spaces that are too large to count in every run, all children counted once."""


def test_none_is_smaller_or_larger(small_space: Space) -> None:
    found = tuple(madds(ghost(small_space, architecture), SHAPE) for architecture in extremes(small_space, SHAPE))
    if small_space.size > 20:
        assert found == COUNTED[small_space.name]
        return
    every = [madds(ghost(small_space, architecture), SHAPE) for architecture in small_space]
    assert found == (min(every), max(every))


def test_subsets_are_all_on_or_as_empty_as_they_may_be() -> None:
    space = Space(instanas, macro="digits", width=0.25, size=8)
    ends = extremes(space, SHAPE)
    for choice in space.choices:
        assert ends.largest[choice.name] == choice.options
        # A layer that may be empty is; where the shape changes, one candidate is left.
        assert len(ends.smallest[choice.name]) == (0 if choice.allows_empty else 1)
