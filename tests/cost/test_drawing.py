"""The three sets a table is made of."""

from __future__ import annotations

import random

import pytest
from torch import nn

from archipel.choose import Choose
from archipel.cost.drawing import draw, first_with_each
from archipel.errors import TableError
from archipel.space import Space


def few(choose: Choose, *, layers: int = 2) -> nn.Module:
    return nn.Sequential(*(choose.op(f"l{i}", dict.fromkeys(("a", "b", "c"), nn.Identity)) for i in range(layers)))


@pytest.mark.parametrize("seed", range(3))
def test_a_large_space_gives_three_sets_without_a_common_member(space: Space, seed: int) -> None:
    drawn = draw(space, random.Random(seed), by_part=12, calibrating=10, held_out=8)
    sets = [drawn.by_part, drawn.calibrating, drawn.held_out]
    assert [len(each) for each in sets] == [12, 10, 8]
    assert len({a for each in sets for a in each}) == 30
    assert drawn.how == "half uniform, half spread"
    pairs = {(name, o) for a in drawn.by_part for name, v in a.items() for o in (v if isinstance(v, tuple) else (v,))}
    assert len(pairs) == space.width  # every option is measured


def test_a_small_space_judges_on_what_it_was_not_made_with() -> None:
    space = Space(few)
    drawn = draw(space, random.Random(0), by_part=12, calibrating=10, held_out=8)
    assert 2 <= len(drawn.held_out) <= space.size // 3
    assert not set(drawn.held_out) & {*drawn.by_part, *drawn.calibrating}
    assert {*drawn.held_out, *drawn.by_part, *drawn.calibrating} == set(space)
    assert drawn.how == "uniform"


def test_too_small_a_space_is_refused() -> None:
    with pytest.raises(TableError, match="too few for a latency table"):
        draw(Space(few, layers=1), random.Random(0), by_part=12, calibrating=10, held_out=8)


def test_the_first_with_each_option_hold_what_all_hold(space: Space) -> None:
    rng = random.Random(4)
    everyone = [space.sample(rng) for _ in range(60)]
    found = first_with_each(everyone)
    assert found[0] is everyone[0]
    assert len(found) < len(everyone)

    def held(architectures: list) -> set:
        return {(name, str(value)) for a in architectures for name, v in a.items()
                for value in (v if isinstance(v, tuple) else (v,))}  # fmt: skip

    assert held(found) == held(everyone)
    for i in range(1, len(found)):
        assert not held(found[i : i + 1]) <= held(found[:i])
