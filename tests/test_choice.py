"""What a choice can be set to, and what is one step away; its errors are in test_space.py, where users meet them."""

from __future__ import annotations

import itertools

import pytest

from archipel.choice import Choice, members
from archipel.space import Space


def all_values(choice: Choice) -> list:
    if not choice.takes_several:
        return list(choice.options)
    sizes = [choice.k] if choice.kind == "inputs" else range(0 if choice.allows_empty else 1, len(choice.options) + 1)
    return [c for size in sizes for c in itertools.combinations(choice.options, size)]


CHOICES = [
    Choice("op", "op", ("a", "b", "c")),
    Choice("value", "value", (1, 2, 4.5)),
    Choice("inputs", "inputs", (0, 1, 2, 3), k=2),
    Choice("never empty", "subset", ("a", "b", "c")),
    Choice("default", "subset", ("a", "b", "c"), empty="b"),
    Choice("identity", "subset", ("a", "b", "c"), empty="identity"),
]


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: choice.name)
class TestChoice:
    def test_alternatives_are_canonical_different_and_symmetric(self, choice: Choice) -> None:
        for value in all_values(choice):
            near = list(choice.alternatives(value))
            assert len(near) == len(set(near)) > 0
            for other in near:
                assert other != value
                assert choice.canonical(other) == other
                assert value in list(choice.alternatives(other))

    def test_alternatives_connect_all_values(self, choice: Choice) -> None:
        reached, border = set(), {all_values(choice)[0]}
        while border:
            reached |= border
            border = {near for value in border for near in choice.alternatives(value)} - reached
        assert reached == set(all_values(choice))

    def test_canonical_forgets_order_only(self, choice: Choice) -> None:
        for value in all_values(choice):
            assert choice.canonical(value) == value
            if choice.takes_several:
                assert choice.canonical(list(reversed(value))) == value


def test_an_empty_subset_is_its_default() -> None:
    assert Choice("s", "subset", ("a", "b"), empty="b").canonical([]) == ("b",)
    assert Choice("s", "subset", ("a", "b"), empty="identity").canonical([]) == ()


def test_members() -> None:
    assert members("ab") == ("ab",)
    assert members(["a", "b"]) == ("a", "b")
    assert members(3) == (3,)


def test_whether_there_are_alternatives(small_space: Space) -> None:
    for architecture in itertools.islice(small_space, 0, None, max(1, small_space.size // 40)):
        for choice in small_space.active(architecture):
            assert choice.has_alternatives == any(True for _ in choice.alternatives(architecture[choice.name]))
    lonely = Choice("one", "subset", ("a",))
    assert not lonely.has_alternatives
    assert not list(lonely.alternatives(("a",)))
