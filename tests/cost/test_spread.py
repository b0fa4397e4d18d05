"""Spread samples reach the ends; covering sets hold every option."""

from __future__ import annotations

import random
import statistics
from collections import Counter

from torch import nn

from archipel.choose import Choose
from archipel.cost.spread import covering, spread_sample
from archipel.space import Space
from archipel.spaces import instanas


def test_spread_reaches_sparse_and_dense_where_uniform_does_not() -> None:
    # Of 35 bits uniform draws set 17.5 ± 3; a keep probability drawn evenly sets 17.5 ± 35 / √12 of them.
    space, rng = Space(instanas, macro="digits", channels=1, size=8), random.Random(0)
    spread = [int(space.encode(spread_sample(space, rng)).sum()) for _ in range(300)]
    uniform = [int(space.encode(space.sample(rng)).sum()) for _ in range(300)]
    assert statistics.stdev(spread) > 2 * statistics.stdev(uniform)
    assert min(spread) < min(uniform)
    assert max(spread) > max(uniform)


def test_spread_reaches_networks_of_one_kind() -> None:
    def kinds(choose: Choose) -> nn.Module:
        return nn.Sequential(*(choose.op(f"l{i}", dict.fromkeys("abc", nn.Identity)) for i in range(12)))

    space, rng = Space(kinds), random.Random(0)
    # A uniform draw is of one kind once in 177,147.
    assert {
        option
        for a in (spread_sample(space, rng) for _ in range(300))
        if len(set(a.values())) == 1
        for option in a.values()
    } == set("abc")


def test_covering_holds_every_option_about_equally_often(space: Space) -> None:
    drawn = covering(space, 24, random.Random(0))
    met = Counter(
        (name, option)
        for a in drawn
        for name, value in a.items()
        for option in (value if isinstance(value, tuple) else (value,))
    )
    assert len(set(drawn)) == 24
    assert all(met[choice.name, option] >= 6 for choice in space.choices for option in choice.options)


def test_covering_keeps_off_what_it_must_avoid(space: Space) -> None:
    first = covering(space, 20, random.Random(0))
    second = covering(space, 20, random.Random(0), avoid=frozenset(first))
    assert not set(first) & set(second)


def test_same_seed_same_architectures(space: Space) -> None:
    assert covering(space, 10, random.Random(4)) == covering(space, 10, random.Random(4))
