"""Random search is uniform."""

from __future__ import annotations

from collections import Counter

from archipel.space import Space
from archipel.strategies import RandomSearch


def test_uniform(small_space: Space) -> None:
    own, draws = RandomSearch(small_space, seed=3), 12 * small_space.size
    counts = Counter(own.ask() for _ in range(draws))
    assert len(counts) == small_space.size
    deviation = sum((n - 12) ** 2 / 12 for n in counts.values())
    freedom = small_space.size - 1
    assert abs(deviation - freedom) < 4.5 * (2 * freedom) ** 0.5
