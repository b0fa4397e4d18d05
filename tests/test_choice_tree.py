"""Counts by hand, and what is active; that ranks, counts and samples of every space agree is in test_space.py."""

from __future__ import annotations

import math
import random
from collections import Counter

from archipel.choice import Choice
from archipel.choice_tree import ChoiceTree

OUTER = Choice("outer", "op", ("plain", "open"))
INNER = Choice("inner", "op", ("x", "y", "z"), parent="outer", when=frozenset({"open"}))


def test_options_add_up_and_choices_multiply() -> None:
    others = [Choice("v", "value", (1, 2)), Choice("s", "subset", ("x", "y", "z"))]
    assert ChoiceTree([OUTER, *others, INNER]).size == (1 + 3) * 2 * 7


def test_inputs_count_what_their_edges_open() -> None:
    taken = Choice("in", "inputs", tuple(range(5)), k=3)
    edges = [Choice(f"e{i}", "op", ("x", "y"), parent="in", when=frozenset({i})) for i in range(5)]
    assert ChoiceTree([taken, *edges]).size == math.comb(5, 3) * 2**3


def test_a_large_count_is_exact() -> None:
    tree = ChoiceTree([Choice(f"l{i}", "op", tuple("abcdefg")) for i in range(40)])
    assert tree.size == 7**40
    index = 7**40 * 2 // 3
    assert tree.rank(tree.unrank(index)) == index


def test_what_an_option_opens_is_active_with_it() -> None:
    tree = ChoiceTree([OUTER, INNER])
    assert [c.name for c in tree.active({"outer": "plain", "inner": "x"})] == ["outer"]
    assert [c.name for c in tree.active({"outer": "open"})] == ["outer", "inner"]
    grows = {}
    for choice in tree.active(grows):
        grows[choice.name] = "open" if choice is OUTER else "y"
    assert grows == {"outer": "open", "inner": "y"}


def test_a_drawn_option_is_as_likely_as_what_it_opens_is_many() -> None:
    tree, rng = ChoiceTree([OUTER, INNER]), random.Random(0)
    assert tree.first(OUTER) == "plain"
    drawn = Counter(tree.drawn(OUTER, rng) for _ in range(2000))
    assert abs(drawn["open"] - 1500) < 4 * math.sqrt(2000 * 0.75 * 0.25)
